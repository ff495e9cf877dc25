"""Matrices <-> panels, and the part of panels that a call is about."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.arguments import Part

Array = NDArray[Any]
Float64 = NDArray[np.float64]


def to_matrix(panels: Array) -> Float64:
    """Return the matrix [M, N] that panels [N / lanes, M, lanes] hold, padding included."""
    count, rows, lanes = panels.shape
    return panels.astype(np.float64).transpose(1, 0, 2).reshape(rows, count * lanes)


def to_panels(matrix: Array, lanes: int) -> Float64:
    """Return the panels [ceil(N / lanes), M, lanes] of a matrix [M, N], zero beyond N."""
    rows, columns = matrix.shape
    count = -(-columns // lanes)
    padded = np.pad(matrix.astype(np.float64), ((0, 0), (0, count * lanes - columns)))
    return padded.reshape(rows, count, lanes).transpose(1, 0, 2)


def within(part: Part) -> tuple[slice, slice]:
    """Return what selects a part of panels [panels, rows, lanes]."""
    return slice(part.panel_from, part.panel_to), slice(part.row_from, part.row_to)
