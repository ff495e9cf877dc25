"""Arrays as the kernels want them: at the beginning of a cache line, contiguous, of one type."""

from __future__ import annotations

import numpy as np


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """Return zeros [count] whose first element begins a cache line: a vector load must not straddle two."""
    line = 64 // dtype.itemsize
    buffer = np.zeros(count + line, dtype)
    start = -(buffer.ctypes.data // dtype.itemsize) % line
    return buffer[start : start + count]


class _Memory:
    """The memory of a read-only array, offered as if it might be written."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array  # keeps the memory
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def plain(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the array, contiguous and of a type that says nothing of being read-only (as joblib's memory maps are).

    Numba compiles everything once more for another type; the kernels do not write to it.
    """
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.writeable else np.asarray(_Memory(array))
