"""Layers with few outputs: loops around the tiles of ``emit/narrow.py``, and what is left to others.

Each sum has the terms and the order of that in the ordinary tile, so its bits are the same.
"""

from fastmlp.kernels.emit.narrow import narrow_update_tile
from fastmlp.kernels.jit import inlined


@inlined
def update_narrow(X, D, weights, inputs, columns, rule, hyper, part):
    """`update` of whole groups of rows of a narrow layer; return the first group of rows that is left to it.

    Parameters
    ----------
    columns : int
        What `narrow_columns` says of the layer; where that is 0, as in bfloat16, nothing is done.
    X, D, weights, inputs, rule, hyper, part
        As for `update`.
    """
    W = weights.W
    first = part.row_from
    if columns > 0 and part.panel_to - part.panel_from == W.shape[0]:
        lanes = W.shape[2]
        for s in range(first, min(part.row_to, inputs // lanes)):
            tile = (columns, s * X.shape[1] * lanes, s * lanes * lanes)
            narrow_update_tile(X, D, W, weights.V, weights.S, tile, rule, hyper)
            first = s + 1
    return first
