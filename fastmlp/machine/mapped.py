"""The file behind an array that is mapped into memory, and its values read without the mapping.

What a process touches of a mapping counts as its own memory, up to the whole file, and Linux maps up to 2 MB a touch.
Calls that read a file leave what they read in the system's cache of files, which is nobody's. The file is found by the
mapping's address, so that views, files without a name and files that were replaced since are no special cases: it is
the one that the system says lies there, through a descriptor that the mapping itself keeps open.
"""

from __future__ import annotations

import mmap
import os
import stat
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp.errors import DataError

MAPS, DESCRIPTORS = Path("/proc/self/maps"), Path("/proc/self/fd")
DENSE = 4  # times the bytes of a view that are read with it, where they lie between its values
GAP = 4096  # bytes between two rows that are read with them: they cost less than another call
MOST = 1 << 26  # bytes that are read at once, where others than those that are wanted lie between


class MappedFile:
    """A file that an array is mapped from.

    Parameters
    ----------
    name : str
        For messages.
    descriptor : int
        Of the file; closed with this object.
    shift : int
        A value's place in the file, in bytes, less its address.
    """

    def __init__(self, name: str, descriptor: int, shift: int) -> None:
        self.name, self.descriptor, self._shift = name, descriptor, shift
        weakref.finalize(self, os.close, descriptor)

    def place(self, array: npt.NDArray[Any]) -> int:
        """Return where in the file the first value of a view of the mapping lies, in bytes."""
        return array.ctypes.data + self._shift

    def fill(self, out: npt.NDArray[Any], place: int) -> None:
        """Read a C-contiguous array from a place on.

        Raises
        ------
        DataError
            If the file ends before.
        OSError
            If it cannot be read.
        """
        if sys.platform == "win32":
            raise NotImplementedError  # `file_behind` finds none there
        rest = out.reshape(-1).view(np.uint8).data
        while len(rest):
            try:
                count = os.preadv(self.descriptor, [rest], place)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self.name) from None
            if not count:
                length = os.fstat(self.descriptor).st_size
                raise DataError(
                    f"{self.name}: found its end at byte {length:,}, expected {place + len(rest):,} bytes or more: it "
                    "was cut while it was in use; write it anew"
                )
            rest, place = rest[count:], place + count

    def copy(self, view: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values of a view of the mapping, whatever its strides, as a C-contiguous array.

        Raises
        ------
        DataError, OSError
            As for `fill`.
        """
        out = np.empty(view.shape, view.dtype)
        if view.size:
            self._copy(view, out)
        return out

    def _copy(self, view: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        if view.flags.c_contiguous and out.flags.c_contiguous:
            self.fill(out, self.place(view))
            return
        first, end = extent(view)
        if end - first <= min(DENSE * view.nbytes, MOST):
            content = np.empty(end - first, np.uint8)
            self.fill(content, first + self._shift)
            start = view.ctypes.data - first
            out[...] = np.ndarray(view.shape, view.dtype, content, start, view.strides)
            return
        axis = int(np.argmax(np.abs(view.strides) * (np.array(view.shape) - 1)))
        middle = view.shape[axis] // 2
        for half in (slice(middle), slice(middle, None)):
            key = (slice(None),) * axis + (half,)
            self._copy(view[key], out[key])

    def rows(self, source: npt.NDArray[Any], numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return rows of an array in this mapping, as ``source[numbers]`` does.

        Parameters
        ----------
        source : C-contiguous array [M, ...]
        numbers : int64 array [n]
            From 0 to M - 1, in any order. Rows that lie near each other and ascend are read together.

        Raises
        ------
        DataError, OSError
            As for `fill`.
        """
        if sys.platform == "win32":
            raise NotImplementedError  # `file_behind` finds none there
        if not source[:1].nbytes or not len(numbers):
            return source[numbers]
        width = source[:1].nbytes
        steps = np.diff(numbers)
        apart = (steps < 0) | (steps * width > GAP)
        places = np.cumsum(np.append(0, np.where(apart, 1, steps)))  # in what is read
        if (places[-1] + 1) * width > MOST and len(numbers) > 1:
            halves = np.array_split(numbers, 2)
            return np.concatenate([self.rows(source, half) for half in halves])
        firsts = np.flatnonzero(np.append(True, apart))
        lasts = np.append(firsts[1:], len(numbers)) - 1
        starts = (self.place(source) + numbers[firsts] * width).tolist()
        lengths = ((numbers[lasts] - numbers[firsts] + 1) * width).tolist()
        with suppress(OSError):
            pieces = [
                os.pread(self.descriptor, length, start)
                for start, length in zip(starts, lengths, strict=True)
            ]
            content = bytearray().join(pieces)
            if len(content) == sum(lengths):
                found = np.frombuffer(content, source.dtype).reshape(-1, *source.shape[1:])
                is_plain = len(found) == len(numbers) and bool((steps != 0).all())
                return found if is_plain else found[places]
        slowly = np.empty((len(numbers), *source.shape[1:]), source.dtype)  # and with a message
        for row, number in zip(slowly, numbers.tolist(), strict=True):
            self.fill(row, self.place(source) + number * width)
        return slowly


class _Region(NamedTuple):
    """A line of Linux's list of mappings: addresses, place in the file, whether writers share it, and which file."""

    first: int
    end: int
    offset: int
    is_shared: bool
    file: tuple[bytes, ...]


def extent(array: npt.NDArray[Any]) -> tuple[int, int]:
    """Return the address of the first byte that belongs to an array, and the one after its last."""
    spans = [stride * (count - 1) for stride, count in zip(array.strides, array.shape, strict=True)]
    first = array.ctypes.data
    return first + sum(min(0, span) for span in spans), (
        first + sum(max(0, span) for span in spans) + array.itemsize
    )


def file_behind(array: npt.NDArray[Any]) -> MappedFile | None:
    """Return the file that an array is mapped from.

    None if it is no such array, if its mapping is private, so that the file may hold other values, or if the system
    does not tell; then it is read as any other array.
    """
    if not sys.platform.startswith("linux") or not array.size:
        return None
    first, end = extent(array)
    with suppress(OSError, ValueError):
        here = [one for one in _regions() if one.first < end and one.end > first]
        is_one = all(
            a.end == b.first and a.file == b.file and a.first - a.offset == b.first - b.offset
            for a, b in pairwise(here)
        )
        if not here or not is_one or not all(one.is_shared for one in here):
            return None
        if here[0].first > first or here[-1].end < end:
            return None
        shift = here[0].offset - here[0].first
        descriptor = _descriptor_of(here[0].file)
        if descriptor is not None:
            name = os.fsdecode(here[0].file[-1]).removesuffix(" (deleted)")
            return MappedFile(name, descriptor, shift)
    return None


def _regions() -> Iterator[_Region]:
    """Yield what is mapped into this process."""
    for line in MAPS.read_bytes().splitlines():
        addresses, rights, offset, *file = line.split(None, 5)
        if len(file) == 3:  # device, number and name: something lies behind it
            first, end = addresses.split(b"-")
            yield _Region(
                int(first, 16), int(end, 16), int(offset, 16), b"s" in rights, tuple(file)
            )


def _descriptor_of(file: tuple[bytes, ...]) -> int | None:
    """Return a new descriptor of a mapped file; None if it is not among the open ones.

    Which of the open files it is shows a page of each that is mapped for a moment. The numbers of `os.fstat` are others
    than those of mappings on some file systems (overlays, Btrfs); they only say which are looked at first.
    """
    found: list[tuple[bool, int]] = []
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):  # it is closed again
            state = os.fstat(int(name))
            if stat.S_ISREG(state.st_mode):
                found.append((state.st_ino != int(file[1]), int(name)))
    for _, number in sorted(found):
        with suppress(OSError):
            descriptor = os.dup(number)
            if _is_of(descriptor, file):
                return descriptor
            os.close(descriptor)
    return None


def _is_of(descriptor: int, file: tuple[bytes, ...]) -> bool:
    """Return whether a descriptor is one of a mapped file."""
    try:
        page = mmap.mmap(descriptor, mmap.PAGESIZE, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # only written to, or empty
        return False
    with page:
        address = np.frombuffer(page, np.uint8).ctypes.data
        return any(one.first <= address < one.end and one.file == file for one in _regions())
