"""The weight gradient and the optimiser's step, fused: dW is never stored.

With g = X.T @ D + DECAY * w and the columns of `hyper` in capitals, the rules are::

    PLAIN      w -= GRADIENT_STEP * g
    HEAVY_BALL v = MOMENTUM * v + g;          w -= STEP * v
    VELOCITY   v = MOMENTUM * v + GAIN * g;   w -= STEP * v + GRADIENT_STEP * g
    ADAM       v = MOMENTUM * v + GAIN * g;   s = SQUARE_DECAY * s + SQUARE_GAIN * g**2
               w -= STEP * v / (ROOT_SCALE * sqrt(s) + EPSILON)
    RMSPROP    s as for ADAM;                 w -= STEP * g / (ROOT_SCALE * sqrt(s) + EPSILON)

``torch.optim.SGD`` (dampening 0) is HEAVY_BALL with STEP the learning rate; with Nesterov's momentum VELOCITY with
GAIN 1, STEP learning rate times momentum and GRADIENT_STEP the learning rate. scikit-learn puts the rate into the
velocity: GAIN is the learning rate, STEP 1. ``fastmlp.training.optimizers`` fills the columns in.

D already carries the 1 / batch of a mean loss. A bias is the single row of weights of an input that is always
one, so it takes the same step. The formulas are emitted in ``simd.take_step``. Where D is mostly zero, ``sparse.py``
forms the gradient.

What did not help at batch 10 (Zen 5, network A, two threads): the product with the next batch right behind the step,
6 panels of 8 groups of rows at a time, while they are in L2 (-10 to +1 %; alone, without the rest of a step, +4 %);
asking for a tile's weights and velocities before its loop, or for the next tile's (-4 to -5 %).
"""

from fastmlp.kernels.jit import inlined
from fastmlp.kernels.operands import write_right_operand
from fastmlp.kernels.simd import PREFETCH_FROM_BATCH, packing, sum_of_squares, update_tile
from fastmlp.kernels.sparse import FROM_BATCH, SLABS, alike, update_sparse
from fastmlp.kernels.tiles import TILE

ROWS, VECTORS = TILE.update_rows, TILE.update_vectors

# Panels side by side where memory sets the pace, in small batches and in bfloat16: network A on two threads takes 6 %
# less than with three at batch 10 (with one as long), in bfloat16 3 to 5 % less at batch 100 and 256.
FEW_VECTORS = min(2, VECTORS)


@inlined
def update(
    X,
    D,
    W,
    V,
    S,
    right,
    inputs,
    rule,
    hyper,
    squares,
    room,
    marks,
    sums,
    panel_from,
    panel_to,
    slab_from,
    slab_to,
):
    """Change a part of W, and of V and S where the rule has them, by one step.

    Parameters
    ----------
    X : array [K / lanes, batch, lanes], or pairs of its rows
        The layer's input.
    D : array [N / lanes, batch, lanes], or pairs of its rows
        Gradient of the layer's output before its activation.
    W, V, S : arrays [N / lanes, rows, lanes]
        Weights, velocity and mean squares; rows beyond `inputs` are padding and stay as they are.
    right : array
        W as the forward product reads it: W itself, or pairs of its rows, which are written anew. Empty for
        biases, which no product reads.
    inputs : int
        Rows of W in use.
    rule : int
        PLAIN, HEAVY_BALL, VELOCITY, ADAM or RMSPROP.
    hyper : array [COLUMNS]
    squares : array [panels, K / lanes] of float64
        Receives the sum of squares of each lanes x lanes block of W before its step; not if it is empty.
    room : array
        Of W's type, with space for ``sparse.py`` at the elements `marks` and `sums`.
    panel_from, panel_to, slab_from, slab_to : int
        The part: panels, and groups of `lanes` rows, of W.
    """
    lanes = W.shape[2]
    batch = X.shape[1]
    by_arithmetic = batch >= PREFETCH_FROM_BATCH and packing(X) == 1
    most = VECTORS if by_arithmetic else FEW_VECTORS
    # Whole tiles of inputs, none of them padding.
    tiles = max(0, min(slab_to, inputs // lanes) - slab_from) // SLABS
    may_be_sparse = tiles > 0 and batch >= FROM_BATCH and packing(X) == 1
    first = panel_from
    while first < panel_to:
        last, slab = panel_to, slab_from
        if may_be_sparse:
            last, is_sparse = alike(D, room, marks, first, panel_to)
            if is_sparse:
                slab += tiles * SLABS
                update_sparse(
                    X,
                    D,
                    W,
                    V,
                    S,
                    rule,
                    hyper,
                    squares,
                    room,
                    marks,
                    sums,
                    first,
                    last,
                    slab_from,
                    slab,
                )
        for p in range(first, last, most):
            vectors = min(most, last - p)
            for s in range(slab, slab_to):
                if squares.size > 0:
                    for q in range(p, p + vectors):
                        block = (q * W.shape[1] + s * lanes) * lanes
                        squares[q, s] = sum_of_squares(W, block, lanes)
                top = 0
                bottom = min(lanes, inputs - s * lanes)
                while top < bottom:
                    rows = ROWS if bottom - top >= ROWS else 1
                    update_tile(
                        rows,
                        vectors,
                        X,
                        s * batch * lanes + top,
                        D,
                        p * batch * lanes,
                        W,
                        V,
                        S,
                        (p * W.shape[1] + s * lanes + top) * lanes,
                        rule,
                        hyper,
                    )
                    top += rows
                if right.size > 0:
                    write_right_operand(W, right, p, p + vectors, s, s + 1)
        first = last
