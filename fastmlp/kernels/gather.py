"""Rows of a data set -> one batch, normalised, in panels.

Images stay uint8 until here: a row is gathered, flipped if asked, scaled and shifted, and written as float32 or
float64 in one pass.
"""

from fastmlp.kernels.jit import helper, inlined
from fastmlp.kernels.operands import write_operands
from fastmlp.kernels.simd import (
    REVERSED,
    convert_pairs,
    convert_vectors,
    multiply_add,
    packing,
    reverse,
)

# Panels of a row that are gathered before the next row is begun. A whole row at a time puts its stores a batch
# apart: with 256 rows these fall into the same few sets of the cache, and a batch took 360 us instead of 90.
BLOCK = 8


@inlined
def flip_row(source, row, columns, out, m):
    """Copy row `row` of `source` [N, D] to row `m` of `out`, reversing each stretch of `columns` values.

    With images stored channel, height, width and `columns` their width, this mirrors left and right.
    """
    width = source.shape[1]
    for first in range(0, width, columns):
        # One by one, half the batch mirrored made network A's step 9 % longer.
        if columns >= REVERSED:
            reverse(source, row * width + first, columns, out, m * width + first)
        else:
            last = first + columns - 1
            for j in range(columns):
                out[m, first + j] = source[row, last - j]


@helper
def gather(source, indices, flips, columns, scale, shift, X, C, R, scratch, row_from, row_to):
    """``X[:, m] = source[indices[m]] * scale + shift`` for a range of batch rows m.

    Parameters
    ----------
    source : array [N, D]
        uint8, float32 or float64 samples.
    indices : array [batch] of int64
        Rows of `source`.
    flips : array [batch] of bool
        Which rows to mirror.
    columns : int
        Width of an image, a divisor of D.
    scale, shift : arrays [D] of X's type
    X : array [D / lanes, batch, lanes]
        The batch; padding beyond D becomes zero. With fewer panels it is room for numbers on their way into C and R.
    C, R : arrays
        The batch as left operands, see ``operands.py``; X itself where products read it as it is.
    scratch : array [batch, D] of source's type
        Room for mirrored rows.
    row_from, row_to : int
        Batch rows to fill.
    """
    width = source.shape[1]
    batch, lanes = X.shape[1], X.shape[2]
    whole = width // lanes
    for m in range(row_from, row_to):
        if flips[m]:
            flip_row(source, indices[m], columns, scratch, m)
    done = 0
    if packing(C) == 2:
        # Two rows of two panels at a time, from registers into both operands: by way of X, as the rest of the row
        # goes, network A took 4 % longer at batch 100 and 6 % at 256.
        done = whole // 2 * 2
        for s in range(0, done, BLOCK):
            count = min(BLOCK, done - s) // 2
            for m in range(row_from, row_to, 2):
                other = min(m + 1, row_to - 1)
                convert_pairs(
                    source,
                    scratch,
                    flips[m],
                    (m if flips[m] else indices[m]) * width + s * lanes,
                    flips[other],
                    (other if flips[other] else indices[other]) * width + s * lanes,
                    other == m,
                    count,
                    scale,
                    shift,
                    s * lanes,
                    C,
                    (s // 2 * batch + m) * lanes,
                    batch * lanes,
                    R,
                    (s * R.shape[1] + m // 2) * lanes,
                    R.shape[1] * lanes,
                )
    is_whole = X.shape[0] * lanes >= width
    for s in range(done, whole, BLOCK):
        count = min(BLOCK, whole - s)
        first = s * lanes
        skipped = 0 if is_whole else s
        for m in range(row_from, row_to):
            out = ((s - skipped) * batch + m) * lanes
            if flips[m]:
                place = m * width + first
                convert_vectors(scratch, place, count, scale, shift, first, X, out, batch * lanes)
            else:
                place = indices[m] * width + first
                convert_vectors(source, place, count, scale, shift, first, X, out, batch * lanes)
        write_operands(X, s - skipped, C, R, s, s + count, row_from, row_to)
    if whole * lanes < width:
        last = whole if is_whole else 0
        for m in range(row_from, row_to):
            for j in range(whole * lanes, width):
                value = scratch[m, j] if flips[m] else source[indices[m], j]
                X[last, m, j - whole * lanes] = multiply_add(value, scale[j], shift[j])
            for j in range(width - whole * lanes, lanes):
                X[last, m, j] = 0
        write_operands(X, last, C, R, whole, whole + 1, row_from, row_to)
