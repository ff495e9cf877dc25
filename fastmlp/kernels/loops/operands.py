"""Activations, gradients and weights -> what the products read.

In float32 and float64 a product reads them as they are and everything here does nothing. In bfloat16 it reads pairs
along the sum, rounded to nearest even; a matrix [M, N] is summed over its columns (forward, input gradient) or over
its rows (weight gradient, weights as right operands), so that two copies are kept:

    pairs of columns  [ceil(N / (2 lanes)), M, lanes]    pairs of rows  [ceil(N / lanes), ceil(M / 2), lanes]
"""

from fastmlp.kernels.emit.pairs import pair_columns, pair_rows
from fastmlp.kernels.jit import helper, inlined


@helper
def write_operands(source, source_from, columns, rows, part):
    """Write a part of `source` [panels, M, lanes] as pairs of columns and as pairs of rows.

    Panel ``part.panel_from`` is number `source_from` of the source. ``part.row_from`` is even, and ``part.row_to``
    even or M. Where an operand has the type of `source` it is `source`, and stays.
    """
    _, height, lanes = source.shape
    count = part.row_to - part.row_from
    for p in range(part.panel_from, part.panel_to):
        first = ((p - part.panel_from + source_from) * height + part.row_from) * lanes
        half = (p % 2) * (lanes // 2)
        place = ((p // 2) * height + part.row_from) * lanes + half
        is_alone = p == rows.shape[0] - 1 and half == 0
        pair_columns(source, first, count, columns, place, int(is_alone))
        pair_rows(source, first, count, rows, (p * rows.shape[1] + part.row_from // 2) * lanes)


@inlined
def write_right_operand(W, right, part):
    """Write part of W [panels, K, lanes], panels and groups of `lanes` rows, as pairs of rows."""
    lanes = W.shape[2]
    for p in range(part.panel_from, part.panel_to):
        for s in range(part.row_from, part.row_to):
            block = (p * W.shape[1] + s * lanes) * lanes
            place = (p * right.shape[1] + s * lanes // 2) * lanes
            pair_rows(W, block, lanes, right, place)
