"""CIFAR-10's batch files: binary records, and pickles that are read without unpickling anything.

A pickle is a program. This module never runs it: `pickletools.genops` lists its instructions with
their arguments, and the labels and the string of pixels are taken from that list. The published
files are dictionaries of Python 2 (protocol 2) with the keys batch_label, labels, data and
filenames; a file with any other instruction is refused as foreign.
"""

from __future__ import annotations

import pickletools
from itertools import pairwise
from typing import IO, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from fastmlp.errors import DataError

PIXELS = 3072  # bytes of an image: 32 x 32 red, then green, then blue
LARGEST_FILE = 40_000_000  # bytes; the published ones take 31 MB
CHUNK = 1 << 20
LARGEST_PROGRAM = 100_000  # instructions; the published ones take 20,000 to 40,000

KEYS = {"batch_label", "labels", "data", "filenames"}
GLOBALS = {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
MEMO = {"BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
LIST = {"EMPTY_LIST", "MARK", "APPENDS"}
INSTRUCTIONS = {
    *MEMO,
    *LIST,
    *("PROTO", "EMPTY_DICT", "SETITEMS", "STOP"),
    *("SHORT_BINSTRING", "BINSTRING", "BININT", "BININT1", "BININT2", "NONE", "NEWFALSE"),
    *("GLOBAL", "REDUCE", "BUILD", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
}


def read_records(
    file: BinaryIO, where: str, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> None:
    """Fill images [N, 3072] and labels [N] from N records, each a label byte and 3072 pixel bytes."""
    size = len(images) * (1 + PIXELS)
    content = file.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else len(content)
        raise DataError(
            f"{where}: found {found} bytes, expected {size}: {len(images)} records of {1 + PIXELS}"
        )
    records = np.frombuffer(content, np.uint8).reshape(len(images), 1 + PIXELS)
    labels[:] = records[:, 0]
    images[:] = records[:, 1:]


def read_pickle(
    file: BinaryIO, where: str, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> None:
    """Fill images [N, 3072] and labels [N] from a pickled batch of N images without executing it."""
    sections = _sections(file, where)
    count = len(images)
    numbers = [token for token in sections.get("labels", []) if token not in LIST]
    if len(numbers) != count or not all(isinstance(number, int) for number in numbers):
        raise DataError(f"{where}: found {len(numbers)} labels, expected {count} whole numbers")
    # The array is: shape (count, 3072), type u1, False (not column by column), the bytes.
    data = sections.get("data", [])
    description = data[: data.index("NEWFALSE")] if "NEWFALSE" in data else data
    pixels = data[len(description) + 1] if len(data) > len(description) + 1 else None
    shaped = (count, PIXELS) in pairwise(description) and "u1" in description
    if not shaped or not isinstance(pixels, str) or len(pixels) != images.size:
        raise DataError(f"{where}: found no pixels, expected uint8 [{count}, {PIXELS}] row by row")
    labels[:] = numbers
    for start in range(0, images.size, CHUNK):  # in pieces: no second copy of all pixels
        piece = pixels[start : start + CHUNK].encode("latin-1")
        images.reshape(-1)[start : start + CHUNK] = np.frombuffer(piece, np.uint8)


def _sections(file: BinaryIO, where: str) -> dict[str, list[Any]]:
    """List the instructions after each key: their arguments, or their names if they have none."""
    section: list[Any] = []
    sections: dict[str, list[Any]] = {}
    program = pickletools.genops(cast(IO[bytes], _Bounded(file)))
    for count, (instruction, argument, _) in enumerate(program):
        name = instruction.name
        foreign = name not in INSTRUCTIONS or (name == "GLOBAL" and argument not in GLOBALS)
        if foreign or count == LARGEST_PROGRAM:
            raise DataError(
                f"{where}: foreign pickle, instruction {count} is {name} {str(argument)[:60]!r}; "
                "expected a published CIFAR-10 batch"
            )
        if name == "SHORT_BINSTRING" and argument in KEYS:
            if argument in sections:
                raise DataError(f"{where}: found the key {argument!r} twice, expected it once")
            section = sections[argument] = []
        elif name not in MEMO:
            section.append(name if argument is None else argument)
    if file.read(1):
        raise DataError(
            f"{where}: found more bytes after the last instruction, expected the end of the file"
        )
    return sections


class _Bounded:
    """A file that limits the reads of genops, which asks for as many bytes as the pickle says, up to 2**63."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.readline = file.readline

    def read(self, size: int) -> bytes:
        return self.file.read(min(size, LARGEST_FILE))
