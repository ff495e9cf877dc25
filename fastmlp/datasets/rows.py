"""Images that stay on disk: rows of a memory-mapped array, chosen by their numbers instead of copied.

A split of an array in memory is a copy. A split of one that may be larger than memory is a `Rows`: the array itself,
and the numbers of its rows in their order. Kernels gather batches by numbers anyway, so they read the same bits in the
same order. Other code sees what behaves like an array [N, D] where it is asked for some rows, its least or its greatest
values; ``np.asarray`` reads all of it.

Large files are read, where the system says which they are, instead of touched through their mapping
(`fastmlp.machine.mapped`): `blocks`, `least` and `greatest` do so for arrays and `Rows` alike.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastmlp.errors import DataError
from fastmlp.machine.mapped import MappedFile, file_behind
from fastmlp.machine.own_folder import user_cache_folder

BLOCK_BYTES = 1 << 24  # read at a time
# Bytes; smaller arrays are read through their mapping, and copied into memory where they have to be.
LARGE = 1 << 28


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

    @cached_property
    def file(self) -> MappedFile | None:
        """What `source` is read from; None if it is read as it lies in memory."""
        return file_of(self.source)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has other files open."""
        return Rows, (self.source, self.numbers)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return a row, or a copy of the rows that a slice or an array chooses."""
        numbers = self.numbers[key]
        if self.file is None:
            return cast(npt.NDArray[Any], self.source[numbers])
        found = self.file.rows(self.source, np.atleast_1d(numbers))
        return found if np.ndim(numbers) else cast(npt.NDArray[Any], found[0])

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Yield row after row."""
        return each(self)

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Return all rows as an array in memory."""
        values = np.empty(self.shape, self.dtype)
        start = 0
        for block in blocks(self):
            values[start : start + len(block)] = block
            start += len(block)
        return np.asarray(values, dtype)

    def min(self, axis: int | None = None) -> Any:
        """Return the least value, or of each column the least."""
        return least(self, axis)

    def max(self, axis: int | None = None) -> Any:
        """Return the greatest value, or of each column the greatest."""
        return greatest(self, axis)


Images = npt.NDArray[Any] | Rows


def file_of(images: Images) -> MappedFile | None:
    """Return the file that images are read from instead of through its mapping; None if that is not so."""
    if isinstance(images, Rows):
        return images.file
    is_large = images.nbytes >= LARGE and is_mapped(images)
    return file_behind(images) if is_large else None


def blocks(images: Images, count: int | None = None) -> Iterator[npt.NDArray[Any]]:
    """Yield images [N, ...] in blocks of rows, which take little memory: views of what is in memory, or copies.

    Parameters
    ----------
    images : array or Rows
    count : int, optional
        Rows of a block, by default `BLOCK_BYTES`.
    """
    if count is None:
        count = max(1, BLOCK_BYTES * len(images) // max(1, images.nbytes))
    file = None if isinstance(images, Rows) else file_of(images)
    for start in range(0, len(images), count):
        block = images[start : start + count]
        yield block if file is None else file.copy(block)


def each(images: Images) -> Iterator[npt.NDArray[Any]]:
    """Yield row after row of images [N, ...]."""
    return (row for block in blocks(images) for row in block)


def least(images: Images, axis: int | None = None) -> Any:
    """Return the least value, or along axis 0 that of each column."""
    return np.min([block.min(axis=axis) for block in blocks(images)], axis=axis)


def greatest(images: Images, axis: int | None = None) -> Any:
    """Return the greatest value, or along axis 0 that of each column."""
    return np.max([block.max(axis=axis) for block in blocks(images)], axis=axis)


def joined(parts: Sequence[Images]) -> npt.NDArray[Any]:
    """Return the rows of all parts: in memory, or as `Rows` if all of them are such of one array."""
    sources = [part.source if isinstance(part, Rows) else None for part in parts]
    if sources[0] is None or any(one is not sources[0] for one in sources):
        return np.concatenate([np.asarray(part) for part in parts])
    numbers = np.concatenate([cast(Rows, part).numbers for part in parts])
    return cast(npt.NDArray[Any], Rows(sources[0], numbers))


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

    Raises
    ------
    DataError
        If there is no room for it.
    """
    if array.flags.c_contiguous or array.nbytes < LARGE or not is_mapped(array):
        return np.ascontiguousarray(array)
    folder = user_cache_folder()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            for block in blocks(array):
                file.write(np.ascontiguousarray(block).data)
            file.flush()
        except OSError as error:
            raise DataError(
                f"{folder or tempfile.gettempdir()}: {error.strerror or error}, expected room for {array.nbytes:,} "
                "bytes of images whose values lie in another order than channels, rows, columns; save them in that "
                "order"
            ) from None
        memory = mmap.mmap(file.fileno(), array.nbytes)
    return np.frombuffer(memory, array.dtype).reshape(array.shape)


def is_mapped(array: Any) -> bool:
    """Return whether an array lies in a memory-mapped file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return isinstance(array, mmap.mmap)
