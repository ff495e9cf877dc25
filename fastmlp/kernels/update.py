"""The weight gradient and the optimiser's step, fused: dW is never stored.

With g = X.T @ D + weight_decay * w, the rules are those of ``torch.optim.SGD`` (dampening 0)::

    SGD        w -= learning_rate * g
    MOMENTUM   v = momentum * v + g;  w -= learning_rate * v
    NESTEROV   v = momentum * v + g;  w -= learning_rate * (g + momentum * v)

D already carries the 1 / batch of a mean loss. A bias is the single row of weights of an input that is always
one, so it takes the same step. The formulas themselves stand in ``simd.update_tile``, after its loop.
"""

from fastmlp.kernels.jit import kernel
from fastmlp.kernels.simd import update_tile
from fastmlp.kernels.tiles import TILE

ROWS, VECTORS = TILE.update_rows, TILE.update_vectors


@kernel
def update(X, D, W, V, inputs, rule, hyper, panel_from, panel_to, slab_from, slab_to):
    """Change a part of W (and V) by one step.

    Parameters
    ----------
    X : array [K / lanes, batch, lanes]
        The layer's input.
    D : array [N / lanes, batch, lanes]
        Gradient of the layer's output before its activation.
    W, V : arrays [N / lanes, rows, lanes]
        Weights and velocity; rows beyond `inputs` are padding and stay as they are.
    inputs : int
        Rows of W in use.
    rule : int
        SGD, MOMENTUM or NESTEROV.
    hyper : array [3]
        Learning rate, momentum, weight decay.
    panel_from, panel_to, slab_from, slab_to : int
        The part: panels, and groups of `lanes` rows, of W.
    """
    lanes = W.shape[2]
    batch = X.shape[1]
    for p in range(panel_from, panel_to, VECTORS):
        vectors = min(VECTORS, panel_to - p)
        for s in range(slab_from, slab_to):
            rows = min(lanes, inputs - s * lanes)
            tiles = (rows + ROWS - 1) // ROWS
            for t in range(tiles):
                top = t * rows // tiles
                bottom = (t + 1) * rows // tiles
                update_tile(
                    bottom - top,
                    vectors,
                    X,
                    s * batch * lanes + top,
                    D,
                    p * batch * lanes,
                    W,
                    V,
                    (p * W.shape[1] + s * lanes + top) * lanes,
                    rule,
                    hyper,
                )
