"""Twins of ``loops/operands.py``: pairs of columns and of rows; nothing in other types."""

import numpy as np

from fastmlp.kernels.arguments import PAIR, Part
from fastmlp.kernels.reference.bfloat16 import rows_of_pairs, to_bfloat16
from fastmlp.kernels.reference.panels import Array


def write_operands(
    source: Array, source_from: int, columns: Array, rows: Array, part: Part
) -> None:
    """Write a part of `source`, from its panel `source_from` on, as both kinds of pairs."""
    if columns.dtype != PAIR:
        return
    _, height, lanes = source.shape
    row_from, row_to = part.row_from, part.row_to
    of_columns, of_rows = columns.view(np.uint16), rows_of_pairs(rows)
    for p in range(part.panel_from, part.panel_to):
        numbers = to_bfloat16(source[p - part.panel_from + source_from, row_from:row_to])
        half = lanes * (p % 2)
        of_columns[p // 2, row_from:row_to, half : half + lanes] = numbers
        if p == len(rows) - 1 and half == 0:  # no neighbour
            of_columns[p // 2, row_from:row_to, lanes:] = 0
        for m in range(row_from, row_to):
            of_rows[p, m // 2, :, m % 2] = numbers[m - row_from]
        if row_to == height and height % 2 and row_from < row_to:  # no partner
            of_rows[p, height // 2, :, 1] = 0


def write_right_operand(W: Array, right: Array, part: Part) -> None:
    """Write some panels, and groups of `lanes` rows, of W as pairs of rows."""
    if right.dtype != PAIR:
        return
    lanes = W.shape[2]
    panels = slice(part.panel_from, part.panel_to)
    taken = W[panels, part.row_from * lanes : part.row_to * lanes].astype(np.float32)
    pairs = to_bfloat16(taken).reshape(len(taken), taken.shape[1] // 2, 2, lanes)
    depth = slice(part.row_from * lanes // 2, part.row_to * lanes // 2)
    rows_of_pairs(right)[panels, depth] = pairs.transpose(0, 1, 3, 2)
