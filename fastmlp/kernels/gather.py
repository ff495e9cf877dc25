"""Rows of a data set -> one batch, normalised, in panels.

Images stay uint8 until here: a row is gathered, flipped if asked, scaled and shifted, and written as float32 or
float64 in one pass.
"""

from fastmlp.kernels.jit import inlined, kernel
from fastmlp.kernels.simd import convert_vectors


@inlined
def flip_row(source, row, columns, out):
    """Copy row `row` of `source` [N, D] to `out` [D], reversing each stretch of `columns` values.

    With images stored channel, height, width and `columns` their width, this mirrors left and right.
    """
    width = source.shape[1]
    for first in range(0, width, columns):
        last = first + columns - 1
        for j in range(columns):
            out[first + j] = source[row, last - j]


@kernel
def gather(source, indices, flips, columns, scale, shift, X, scratch, row_from, row_to):
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
        The batch; padding beyond D becomes zero.
    scratch : array [1, D] of source's type
        Room for one flipped row, a thread's own.
    row_from, row_to : int
        Batch rows to fill.
    """
    width = source.shape[1]
    batch, lanes = X.shape[1], X.shape[2]
    whole = width // lanes
    for m in range(row_from, row_to):
        if flips[m]:
            flip_row(source, indices[m], columns, scratch[0])
            convert_vectors(scratch, 0, whole, scale, shift, X, m * lanes, batch * lanes)
            for j in range(whole * lanes, width):
                X[whole, m, j - whole * lanes] = scratch[0, j] * scale[j] + shift[j]
        else:
            row = indices[m]
            convert_vectors(source, row * width, whole, scale, shift, X, m * lanes, batch * lanes)
            for j in range(whole * lanes, width):
                X[whole, m, j - whole * lanes] = source[row, j] * scale[j] + shift[j]
        if whole * lanes < width:
            for j in range(width - whole * lanes, lanes):
                X[whole, m, j] = 0
