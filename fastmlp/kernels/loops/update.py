"""The weight gradient and the optimiser's step, fused: dW is never stored.

``emit/steps.py`` has the rules. D already carries the 1 / batch of a mean loss. A bias is the single row of weights
of an input that is always one, so it takes the same step. Where D is mostly zero, ``nonzeros.py`` forms the gradient.
EXPERIMENTS.md, "Updates", tells what did not help.
"""

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.emit.pairs import packing
from fastmlp.kernels.emit.products import PREFETCH_FROM_BATCH, largest_update, update_tile
from fastmlp.kernels.jit import inlined
from fastmlp.kernels.loops.nonzeros import FROM_BATCH, SLABS, alike, update_sparse
from fastmlp.kernels.loops.operands import write_right_operand

# Panels side by side where memory sets the pace, in small batches and in bfloat16: EXPERIMENTS.md, "Updates".
FEW_VECTORS = 2


@inlined
def update(X, D, weights, inputs, rule, hyper, marks, part):
    """Change a part of W, and of V and S where the rule has them, by one step.

    Parameters
    ----------
    X : array [K / lanes, batch, lanes], or pairs of its rows
        The layer's input.
    D : array [N / lanes, batch, lanes], or pairs of its rows
        Gradient of the layer's output before its activation.
    weights : Weights
        Rows beyond `inputs` are padding and stay as they are. `right` is empty for biases, which no product reads.
    inputs : int
        Rows of W in use.
    rule : int
        PLAIN, HEAVY_BALL, VELOCITY, ADAM or RMSPROP.
    hyper : array [COLUMNS]
    marks : Marks
        Memory of W's type for ``nonzeros.py``.
    part : Part
        Panels, and as rows groups of `lanes` rows, of W.
    """
    lanes = weights.W.shape[2]
    batch = X.shape[1]
    by_arithmetic = batch >= PREFETCH_FROM_BATCH and packing(X) == 1
    most = largest_update(weights.W)[1] if by_arithmetic else FEW_VECTORS
    # Whole tiles of inputs, none of them padding.
    tiles = max(0, min(part.row_to, inputs // lanes) - part.row_from) // SLABS
    may_be_sparse = tiles > 0 and batch >= FROM_BATCH and packing(X) == 1
    first = part.panel_from
    while first < part.panel_to:
        last, slab = part.panel_to, part.row_from
        if may_be_sparse:
            last, is_sparse = alike(D, marks, first, part.panel_to)
            if is_sparse:
                slab += tiles * SLABS
                update_sparse(
                    X, D, weights, rule, hyper, marks, Part(first, last, part.row_from, slab)
                )
        dense = Part(first, last, slab, part.row_to)
        update_dense(X, D, weights, inputs, rule, hyper, most, dense)
        first = last


@inlined
def update_dense(X, D, weights, inputs, rule, hyper, most, part):
    """`update`, whose parameters these are, by tiles that leave nothing out, at most `most` panels wide."""
    W = weights.W
    lanes, batch = W.shape[2], X.shape[1]
    most_rows = largest_update(W)[0]
    for p in range(part.panel_from, part.panel_to, most):
        vectors = min(most, part.panel_to - p)
        for s in range(part.row_from, part.row_to):
            top = 0
            bottom = min(lanes, inputs - s * lanes)
            while top < bottom:
                rows = most_rows if bottom - top >= most_rows else 1
                tile = (
                    rows,
                    vectors,
                    s * batch * lanes + top,
                    p * batch * lanes,
                    (p * W.shape[1] + s * lanes + top) * lanes,
                )
                update_tile(X, D, W, weights.V, weights.S, tile, rule, hyper)
                top += rows
            if weights.right.size > 0:
                write_right_operand(W, weights.right, Part(p, p + vectors, s, s + 1))
