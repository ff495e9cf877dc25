"""Arrays as the kernels need them: aligned to cache lines, contiguous, and writable in type."""

from __future__ import annotations

import numpy as np

LINE = 128  # bytes: of Apple's processors; others have 64


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """Return zeros [count] aligned to a cache line, so that no vector load straddles two lines."""
    line = LINE // dtype.itemsize
    buffer = np.zeros(count + line, dtype)
    start = -(buffer.ctypes.data // dtype.itemsize) % line
    return buffer[start : start + count]


class _Memory:
    """The memory of a read-only array, presented as writable."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array  # keeps the memory
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def plain(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the array contiguous, and with a writable type even if it is read-only, as joblib's memory maps are.

    A read-only array is another type to Numba, which would compile everything once more. The kernels never
    write to it.
    """
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.writeable else np.asarray(_Memory(array))
