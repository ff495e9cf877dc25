"""Images that stay on disk: rows of a memory-mapped array, chosen by their numbers instead of copied.

A split of an array in memory is a copy. A split of one that may be larger than memory is a `Rows`: the array itself,
and the numbers of its rows in their order. Kernels gather batches by numbers anyway, so they read the same bits in the
same order. Other code sees what behaves like an array [N, D] where it is asked for some rows, its least or its greatest
values; ``np.asarray`` reads all of it.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastmlp.machine.own_folder import user_cache_folder

BLOCK_BYTES = 1 << 24  # read at a time
LARGE = 1 << 28  # bytes; smaller arrays are copied into memory where they have to be copied


class Rows:
    """Rows of an array, in any order, as an array [N, D] that is read when it is indexed.

    Parameters
    ----------
    source : ndarray [M, D]
        What they are rows of.
    numbers : int64 ndarray [N]
        Of each row, its number in `source`.
    """

    ndim = 2

    def __init__(self, source: npt.NDArray[Any], numbers: npt.NDArray[np.int64]) -> None:
        self.source, self.numbers = source, numbers

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self.numbers), self.source.shape[1]

    @property
    def size(self) -> int:
        """N * D."""
        return int(len(self.numbers) * self.source.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return self.source.dtype

    @property
    def nbytes(self) -> int:
        """The bytes of all values."""
        return int(self.size * self.dtype.itemsize)

    @property
    def flags(self) -> Any:
        """The flags of `source`."""
        return self.source.flags

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return a row, or a copy of the rows that a slice or an array chooses."""
        return cast(npt.NDArray[Any], self.source[self.numbers[key]])

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Yield row after row."""
        return (self.source[number] for number in self.numbers)

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Return all rows as an array in memory."""
        return np.asarray(self.source[self.numbers], dtype)

    def min(self, axis: int | None = None) -> Any:
        """Return the least value, or of each column the least."""
        return np.min([block.min(axis=axis) for block in blocks(self)], axis=axis)

    def max(self, axis: int | None = None) -> Any:
        """Return the greatest value, or of each column the greatest."""
        return np.max([block.max(axis=axis) for block in blocks(self)], axis=axis)


def blocks(images: npt.NDArray[Any] | Rows) -> Iterator[npt.NDArray[Any]]:
    """Yield images [N, D] in blocks of rows, which take little memory."""
    count = max(1, BLOCK_BYTES // max(1, images.shape[1] * images.dtype.itemsize))
    return (images[start : start + count] for start in range(0, len(images), count))


def chosen(images: npt.NDArray[Any], rows: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return rows of images [N, D]: a view or a copy in memory, and `Rows` of what stays on disk."""
    if isinstance(images, Rows):
        return cast(npt.NDArray[Any], Rows(images.source, images.numbers[rows]))
    if isinstance(rows, slice) or not is_mapped(images):
        return images[rows]
    return cast(npt.NDArray[Any], Rows(images, rows.astype(np.int64)))


def contiguous(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array with its values in order: itself or a copy, which of a large array in a file is one, too.

    The file lies among the user's caches, has no name, and takes its place until the array is forgotten.
    """
    if array.flags.c_contiguous or array.nbytes < LARGE or not is_mapped(array):
        return np.ascontiguousarray(array)
    folder = user_cache_folder()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(array.nbytes)
        memory = mmap.mmap(file.fileno(), array.nbytes)
    copy = np.frombuffer(memory, array.dtype).reshape(array.shape)
    count = max(1, BLOCK_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), count):
        copy[start : start + count] = array[start : start + count]
    return copy


def is_mapped(array: Any) -> bool:
    """Return whether an array lies in a memory-mapped file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return isinstance(array, mmap.mmap)
