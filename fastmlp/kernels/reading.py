"""Rows of a file into memory, without the interpreter between two of them.

A call from Python for each row costs several times what the system needs for it, and no two threads of Python make such
calls at once.
"""

import numpy as np
from numba import types

from fastmlp.kernels.jit import kernel

# Of the C library; the address as a number.
pread = types.ExternalFunction(
    "pread", types.intp(types.int32, types.uintp, types.uintp, types.int64)
)


@kernel
def read_rows(descriptor, start, width, numbers, address):
    """Read rows, and return how many: fewer than are wanted if one could not be read whole, and none after it.

    Parameters
    ----------
    descriptor : int
        Of a file in which rows of `width` bytes lie one behind the other from byte `start` on.
    numbers : array [n] of int64
        Of the rows, from 0.
    address : int
        Of memory for n rows.
    """
    for i in range(numbers.shape[0]):
        place = np.int64(start + numbers[i] * width)
        to, length = np.uintp(address + i * width), np.uintp(width)
        if pread(np.int32(descriptor), to, length, place) != width:
            return i
    return numbers.shape[0]
