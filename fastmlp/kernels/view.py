"""Where an instruction finds its arrays: the buffers of a program as panels, in one batch and one thread."""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels.codes import COLUMNS
from fastmlp.kernels.emit.views import panels, row_at
from fastmlp.kernels.jit import helper, inlined
from fastmlp.kernels.program import BATCH, PAIRS_OF_BATCH


class Now(NamedTuple):
    """Where a thread is in an epoch.

    Attributes
    ----------
    batch : int
        Rows of this batch.
    start : int
        Number of its first row.
    step : int
        Its number.
    rank, size : int
        The thread's, and how many there are.
    """

    batch: int
    start: int
    step: int
    rank: int
    size: int


class Tables(NamedTuple):
    """What instructions of images look things up in.

    Attributes
    ----------
    buffers : array of BUFFER
    shapes, taps : arrays
        As of `Images`.
    """

    buffers: np.ndarray
    shapes: np.ndarray
    taps: np.ndarray


@helper
def rows_of(rows, batch):
    """How many rows a buffer has in this batch."""
    if rows == BATCH:
        return batch
    if rows == PAIRS_OF_BATCH:
        return (batch + 1) // 2
    return rows


def _view(memory, buffers, number, batch, rank):
    """A buffer as panels, this thread's copy of it where there are several."""
    one = buffers[number]
    return panels(memory, one.offset + rank * one.copy, one.panels, rows_of(one.rows, batch))


# Compiled into its callers by Numba or, where instructions of images have many, by LLVM.
view, image_view = inlined(_view), helper(_view)


@inlined
def hyper_of(one, rule, step):
    """The numbers of a step for an instruction's group of parameters."""
    return row_at(rule.hyper, (step * rule.hyper.shape[1] + one.group) * COLUMNS, COLUMNS)


@inlined
def mirrored_rows(room, rank):
    """A thread's room for mirrored images."""
    _, rows, width = room.mirrored.shape
    return row_at(room.mirrored, rank * rows * width, rows * width).reshape(rows, width)
