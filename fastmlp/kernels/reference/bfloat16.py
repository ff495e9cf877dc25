"""Numbers <-> bfloat16, and operands made of pairs of them.

Seen as uint16, an array of pairs of columns is a panel of twice the width, and one of pairs of rows has a last axis
of two rows.
"""

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.arguments import PAIR
from fastmlp.kernels.reference.panels import Array, Float64, to_matrix


def to_bfloat16(x: Array) -> NDArray[np.uint16]:
    """Return the bits of x in bfloat16: to nearest, ties to even, denormals to zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        fraction, exponent = np.frexp(x.astype(np.float64))
        near = np.ldexp(np.rint(fraction * 256) / 256, exponent).astype(np.float32)
    near[abs(x) < np.finfo(np.float32).tiny] = 0
    near = np.copysign(near, x.astype(np.float32))
    return (near.view(np.uint32) >> 16).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the numbers that bits of bfloat16 stand for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rows_of_pairs(pairs: Array) -> NDArray[np.uint16]:
    """View pairs of rows [panels, M / 2, lanes] as bfloat16 [panels, M / 2, lanes, 2]."""
    return pairs.view(np.uint16).reshape(*pairs.shape, 2)


def columns_of(operand: Array) -> Float64:
    """Return the matrix [M, K] of a left operand: panels of numbers, or pairs of columns."""
    if operand.dtype == PAIR:
        operand = from_bfloat16(operand.view(np.uint16))
    return to_matrix(operand)


def rows_of(operand: Array) -> Float64:
    """Return the panels [N / lanes, K, lanes] of a right operand: of numbers, or pairs of rows."""
    if operand.dtype != PAIR:
        return operand.astype(np.float64)
    count, depth, lanes = operand.shape
    numbers = from_bfloat16(rows_of_pairs(operand)).transpose(0, 1, 3, 2)
    return numbers.reshape(count, 2 * depth, lanes).astype(np.float64)
