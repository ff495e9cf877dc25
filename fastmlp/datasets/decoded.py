"""Decoded pictures of a folder, kept in a file, so that each picture is decoded once.

The file holds the pictures as they stand in a Dataset, then a description in JSON, its length (8 bytes) and its
SHA-256. The description says what the file was made of (`Wanted.key`: names, sizes and times of all files, the wanted
size, and the version of the decoder), and the SHA-256 of each block of pictures. A file of anything else, or a damaged
one, is made again. It is memory-mapped, so that it may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.pictures import read_pictures
from fastmlp.datasets.rows import BLOCK_BYTES, file_of
from fastmlp.datasets.transforms import LARGEST_SIDE
from fastmlp.errors import DataError
from fastmlp.machine.cores import usable_cores
from fastmlp.machine.own_folder import OwnFolder
from fastmlp.machine.schema import items, table, text, whole
from fastmlp.machine.streams import BestEffort, warn
from fastmlp.machine.threads import started_pool

VERSION = "1"
SUFFIX = ".pictures"
TOGETHER = 64  # pictures that are decoded before any of them is kept
TAIL = 40  # bytes of the description's length and sum
LONGEST_DESCRIPTION = 1 << 28  # bytes
_DIGEST = text(most=64)
_check = table(
    {
        "key": _DIGEST,
        "shape": items(whole(1, LARGEST_SIDE), least=3, most=3),
        "unsound": table({"numbers": items(whole()), "reasons": items(text())}),
        "sums": items(_DIGEST),
    }
)


class PictureFile(NamedTuple):
    """A file below a folder of pictures.

    Attributes
    ----------
    name : str
        Its path below the folder, with slashes.
    state : (int, int, int)
        Its size, and when its content and its entry were last changed, in nanoseconds.
    """

    name: str
    state: tuple[int, int, int]


@dataclass(frozen=True)
class Wanted:
    """What is to be decoded.

    Attributes
    ----------
    folder : Path
    files : sequence of PictureFile
    size : (height, width) or None
        What the pictures are scaled to.
    """

    folder: Path
    files: Sequence[PictureFile]
    size: tuple[int, int] | None

    @property
    def place(self) -> str:
        """What the name of its file begins with: pictures of this folder in this size have one file."""
        return _digest(os.path.realpath(self.folder), self.size)[:24]

    @cached_property
    def key(self) -> str:
        """What the decoded pictures follow from."""
        import PIL

        return _digest(VERSION, PIL.__version__, self.size, self.files)


class Decoded(NamedTuple):
    """Decoded pictures.

    Attributes
    ----------
    images : uint8 array [N, D]
        The sound ones in their order.
    shape : (channels, height, width)
    unsound : dict of int to str
        Of the other files, their numbers, and what is wrong with them.
    """

    images: npt.NDArray[np.uint8]
    shape: tuple[int, int, int]
    unsound: dict[int, str]


Check = Callable[[dict[int, str]], None]
"""Raises a DataError for the pictures that are not sound, if they are too many."""


def decode(wanted: Wanted, places: Sequence[Path], check: Check) -> Decoded:
    """Return the pictures of a folder, out of the file that keeps them or decoded, with a progress bar on a terminal.

    Parameters
    ----------
    wanted : Wanted
    places : sequence of Path
        Folders that the file may lie in; where none can be used, the pictures stay in memory.
    check : callable
        Takes `Decoded.unsound`, and raises a DataError if that ends the matter; then nothing is kept.

    Raises
    ------
    DataError
        If the sound pictures have different sizes or are too large.
    """
    name = f"{wanted.place}-{wanted.key[:24]}{SUFFIX}"
    for place in places:
        if place.is_dir() and (found := _read(place, name, wanted)) is not None:
            check(found.unsound)
            return found
    problem: OSError | None = None
    for place in places:
        is_new = not place.is_dir()
        try:
            _write(OwnFolder(place), name, wanted, check)
        except OSError as error:
            problem = error
            continue
        except DataError:
            if is_new:
                with suppress(OSError):
                    place.rmdir()
            raise
        if (found := _read(place, name, wanted)) is not None:
            return found
    if problem is not None:
        where, why = problem.filename or places[-1], problem.strerror or problem
        warn(f"{where}: {why}; decoded pictures are not kept for the next time", RuntimeWarning)
    memory = _Memory(len(wanted.files))
    shape, unsound = _decode(wanted, memory)
    check(unsound)
    return Decoded(memory.images[: memory.count], shape, unsound)


def _read(place: Path, name: str, wanted: Wanted) -> Decoded | None:
    """Return the pictures that a file keeps; None if there is none that is whole and of these pictures."""
    try:
        with OwnFolder(place).reading(name) as file:
            length = os.fstat(file.fileno()).st_size
            file.seek(max(0, length - TAIL))
            tail = file.read(TAIL)
            count = int.from_bytes(tail[:8], "little")
            if count > min(length - TAIL, LONGEST_DESCRIPTION):
                return None
            file.seek(length - TAIL - count)
            content = file.read(count)
            if hashlib.sha256(content).digest() != tail[8:]:
                return None
            described = json.loads(content)
            _check(name, described)
            unsound = dict(
                zip(described["unsound"]["numbers"], described["unsound"]["reasons"], strict=True)
            )
            sides = described["shape"]
            shape = (len(wanted.files) - len(unsound), math.prod(sides))
            if described["key"] != wanted.key or shape[0] * shape[1] != length - TAIL - count:
                return None
            images = np.memmap(file, np.uint8, "r", shape=shape)
            images.filename = str(place / name)  # by which other processes open it
    except (OSError, ValueError, RecursionError):
        return None
    if _sums(images) != described["sums"]:
        return None
    return Decoded(images, tuple(sides), unsound)


def _write(folder: OwnFolder, name: str, wanted: Wanted, check: Check) -> None:
    """Decode pictures into a file, in place of those of the same folder and size."""
    with folder.writing(name) as file:
        kept = _File(file)
        shape, unsound = _decode(wanted, kept)
        check(unsound)
        described = {
            "key": wanted.key,
            "shape": shape,
            "unsound": {"numbers": list(unsound), "reasons": list(unsound.values())},
            "sums": kept.sums(),
        }
        content = json.dumps(described).encode()
        file.write(content + len(content).to_bytes(8, "little") + hashlib.sha256(content).digest())
    for other in folder.names():
        if other.startswith(f"{wanted.place}-") and other != name:
            folder.remove(other)


class _Sink(Protocol):
    """What takes pictures [n, D], and forgets them again."""

    def put(self, images: npt.NDArray[np.uint8]) -> None: ...
    def clear(self) -> None: ...


class _Memory:
    """Pictures in one array."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.clear()

    def clear(self) -> None:
        self.images, self.count = np.empty((0, 0), np.uint8), 0

    def put(self, images: npt.NDArray[np.uint8]) -> None:
        if not self.images.size:
            self.images = np.empty((self._most, images.shape[1]), np.uint8)
        self.images[self.count : self.count + len(images)] = images
        self.count += len(images)


class _File:
    """Pictures in a file, with a sum of each block."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.clear()

    def clear(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._sums: list[str] = []
        self._sum, self._left = hashlib.sha256(), BLOCK_BYTES

    def put(self, images: npt.NDArray[np.uint8]) -> None:
        content = images.reshape(-1).data
        self._file.write(content)
        while len(content):
            here = content[: self._left]
            self._sum.update(here)
            self._left -= len(here)
            content = content[len(here) :]
            if not self._left:
                self._sums.append(self._sum.hexdigest())
                self._sum, self._left = hashlib.sha256(), BLOCK_BYTES

    def sums(self) -> list[str]:
        """Return the sums of all blocks, of which the last may be shorter."""
        return [*self._sums, *([self._sum.hexdigest()] if self._left < BLOCK_BYTES else [])]


def _sums(images: npt.NDArray[np.uint8]) -> list[str]:
    """Return what `_File.sums` returned when these pictures were written."""
    flat = images.reshape(-1)
    starts = range(0, len(flat), BLOCK_BYTES)
    file = file_of(flat)

    def one(start: int) -> str:
        block = flat[start : start + BLOCK_BYTES]
        return hashlib.sha256((block if file is None else file.copy(block)).data).hexdigest()

    pool, _ = started_pool(min(usable_cores(), len(starts)), "fastmlp-sum")
    if pool is None:
        return list(map(one, starts))
    with pool:
        return list(pool.map(one, starts))


class _InColourError(Exception):
    """A picture in colour came after grey ones."""


def _decode(wanted: Wanted, sink: _Sink) -> tuple[tuple[int, int, int], dict[int, str]]:
    """Decode all pictures: into grey levels if all of them are grey, else into colours."""
    pool, _ = started_pool(usable_cores(), "fastmlp-picture")
    try:
        try:
            return _decode_as(wanted, None, sink, pool)
        except _InColourError:
            sink.clear()
            return _decode_as(wanted, 3, sink, pool)
    finally:
        if pool is not None:
            pool.shutdown()


def _decode_as(
    wanted: Wanted, channels: int | None, sink: _Sink, pool: ThreadPoolExecutor | None
) -> tuple[tuple[int, int, int], dict[int, str]]:
    """Decode all pictures to grey or colour; None takes what the first sound one is."""
    first: tuple[int, tuple[int, ...]] | None = None
    unsound: dict[int, str] = {}
    with _progress(len(wanted.files)) as bar:
        for start in range(0, len(wanted.files), TOGETHER):
            files = wanted.files[start : start + TOGETHER]
            paths = [wanted.folder / one.name for one in files]
            sound = []
            for number, one in enumerate(read_pictures(paths, channels, wanted.size, pool), start):
                if isinstance(one, DataError):
                    unsound[number] = str(one)
                    continue
                if first is None:
                    first = number, one.shape
                    channels = 3 if len(one) == 3 else None
                if len(one) > first[1][0]:
                    raise _InColourError
                _check_sides(wanted, first, (number, one.shape))
                # One that was read before it was known that all are in colour may be grey.
                sound.append(np.broadcast_to(one, first[1]).reshape(-1))
            if sound:
                sink.put(np.stack(sound))
            bar.update(len(files))
    shape = (1, 1, 1) if first is None else first[1]
    return cast(tuple[int, int, int], shape), unsound


def _progress(count: int) -> Any:
    """Return a bar on a terminal, and none elsewhere."""
    from tqdm import tqdm

    errors = BestEffort(sys.stderr)
    return tqdm(
        total=count,
        desc="decoding",
        unit="picture",
        file=errors,
        disable=not errors.isatty(),
        dynamic_ncols=True,
    )


def _check_sides(
    wanted: Wanted, first: tuple[int, tuple[int, ...]], one: tuple[int, tuple[int, ...]]
) -> None:
    """Raise a DataError for a picture of another size than the first, or one that is too large."""
    names = [
        f"{wanted.files[number].name} has {width} x {height} pixels"
        for number, (_, height, width) in (first, one)
    ]
    if max(one[1]) > LARGEST_SIDE:
        raise DataError(
            f"{wanted.folder}: {names[1]}, expected at most {LARGEST_SIDE} a side; say what size to scale all "
            "pictures to, such as size=64 (--size 64)"
        )
    if first[1][1:] != one[1][1:]:
        raise DataError(
            f"{wanted.folder}: found pictures of different sizes ({', '.join(names)}), expected one size; say "
            "what to scale them to, such as size=64 (--size 64)"
        )


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
