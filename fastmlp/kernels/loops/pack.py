"""Matrices <-> panels.

A matrix [M, N] is stored as panels [ceil(N / lanes), rows, lanes]: element (m, n) at (n // lanes, m, n % lanes).
Rows are M for activations and M rounded up to whole vectors for weights, so that a weight matrix can be
transposed in lanes x lanes blocks and read by a left operand whose last panel is padded. Padding is zero;
every kernel keeps it zero.
"""

import numpy as np

from fastmlp.kernels.emit.pairs import packing, transpose_block
from fastmlp.kernels.jit import helper
from fastmlp.kernels.tiles import TILE


def lanes_of(dtype: np.dtype) -> int:
    """Elements of `dtype` in one vector of this machine's tile."""
    return TILE.lanes(np.dtype(dtype).itemsize)


def round_up(count: int, lanes: int) -> int:
    """The smallest multiple of `lanes` that holds `count`."""
    return -(-count // lanes) * lanes


def pack(matrix: np.ndarray, panels: np.ndarray) -> None:
    """Write `matrix` [M, N] into `panels` [ceil(N / lanes), rows >= M, lanes], zeros elsewhere."""
    lanes = panels.shape[2]
    m = matrix.shape[0]
    panels[...] = 0
    for p in range(panels.shape[0]):
        block = matrix[:, p * lanes : (p + 1) * lanes]
        panels[p, :m, : block.shape[1]] = block


def pack_pairs(matrix: np.ndarray, pairs: np.ndarray) -> None:
    """Write `matrix` [M, N] of float32 into pairs of its rows [ceil(N / lanes), rows >= M / 2, lanes].

    Rounded as ``emit/bfloat16.py`` rounds: to nearest, ties to even, denormals to zero.
    """
    count, rows, lanes = pairs.shape
    numbers = np.zeros((count, 2 * rows, lanes), np.float32)
    pack(matrix, numbers)
    bits = numbers.view(np.uint32)
    bits[(bits & 0x7F800000) == 0] &= np.uint32(0x80000000)
    rounded = (bits + ((bits >> 16) & 1) + np.uint32(0x7FFF)) >> 16
    halves = np.where(np.isnan(numbers), (bits >> 16) | np.uint32(0x40), rounded).astype(np.uint16)
    pairs["first"], pairs["second"] = halves[:, ::2], halves[:, 1::2]


def unpack(panels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The matrix [rows, columns] that `panels` hold, as a copy."""
    lanes = panels.shape[2]
    matrix = np.empty((rows, columns), panels.dtype)
    for p in range(panels.shape[0]):
        block = matrix[:, p * lanes : (p + 1) * lanes]
        block[...] = panels[p, :rows, : block.shape[1]]
    return matrix


@helper
def transpose(W, T, part):
    """T = W.T for part of the weights.

    Parameters
    ----------
    W : array [N / lanes, K, lanes]
    T : array [K / lanes, N, lanes], or pairs of its rows [K / lanes, N / 2, lanes]
    part : Part
        Panels of W, and as rows groups of `lanes` rows of W, that is, panels of T.
    """
    lanes = W.shape[2]
    rows = lanes // packing(T)
    for p in range(part.panel_from, part.panel_to):
        for s in range(part.row_from, part.row_to):
            source = (p * W.shape[1] + s * lanes) * lanes
            transpose_block(W, source, T, (s * T.shape[1] + p * rows) * lanes)
