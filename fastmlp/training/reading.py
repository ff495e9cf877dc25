"""Samples that stay in a file, read into memory a piece of an epoch at a time.

The kernels could read them through the mapping, but what is touched of a mapping counts as the process's own memory.
Pieces are small, so that what was read is still in the caches of the cores when it is gathered.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

import numpy as np

from fastmlp.kernels.arguments import Batches, Samples, Team
from fastmlp.kernels.reading import read_rows
from fastmlp.machine.mapped import MappedFile
from fastmlp.training.chosen import Chosen, Given, numbered
from fastmlp.training.memory import aligned, plain

AT_ONCE = 1 << 21  # bytes of images for each thread: EXPERIMENTS.md, "Gathering"


class Piece(NamedTuple):
    """Batches that are taken together.

    Attributes
    ----------
    samples : Samples
        As the kernels take them.
    batches : Batches
        Of numbers among these.
    numbers : array [n] of int64, or None
        The rows of the file that `samples.images` are; None if they are in memory.
    """

    samples: Samples
    batches: Batches
    numbers: np.ndarray | None


class Reader:
    """Reads samples into memory that is used again and again.

    Parameters
    ----------
    given : Samples or Chosen
    batches : Batches
        Of numbers among what is given.
    size : int
        Threads that read each piece together.
    """

    def __init__(self, given: Given, batches: Batches, size: int) -> None:
        self._file: MappedFile | None = None
        self._samples, order = numbered(given, batches.order)
        if isinstance(given, Chosen) and given.file is not None:
            self._file, self._numbers = given.file, order
            self._images = self._samples.images
            self._width = max(1, self._images.shape[1] * self._images.itemsize)
            self._most = max(1, AT_ONCE * size // (batches.size * self._width))
            length = min(self._most * batches.size, len(order)) * self._images.shape[1]
            # While some gather from one of them, others may read into the other one.
            self._rooms = [aligned(length, self._images.dtype) for _ in range(2)]
            order = np.zeros(len(order), np.int64)
        self._batches = batches._replace(order=plain(order, np.dtype(np.int64)))
        self._failed = np.zeros(size, np.int64)

    def pieces(self, first: int, last: int) -> list[Piece]:
        """Return the pieces of the batches from `first` to the one before `last`; one without any batch."""
        if self._file is None:
            return [Piece(self._samples, self._batches._replace(first=first, last=last), None)]
        starts = range(first, max(last, first + 1), self._most)
        return [self._piece(start, min(last, start + self._most)) for start in starts]

    def _piece(self, first: int, last: int) -> Piece:
        size = self._batches.size
        place = slice(first * size, last * size)
        numbers = self._numbers[place]
        self._batches.order[place] = np.arange(len(numbers))
        room = self._rooms[first // self._most % 2]
        width = self._images.shape[1]
        targets = self._samples.targets
        samples = self._samples._replace(
            images=room[: len(numbers) * width].reshape(len(numbers), width),
            labels=self._samples.labels[numbers],
            targets=targets[numbers] if len(targets) else targets,
        )
        return Piece(samples, self._batches._replace(first=first, last=last), numbers)

    def read(self, piece: Piece, team: Team) -> bool:
        """Read a piece with a team, all of whose members call this, and return whether all of it was read."""
        if piece.numbers is None:
            return True
        assert self._file is not None
        where = self._file.descriptor, self._file.place(self._images), self._width
        address = piece.samples.images.ctypes.data
        return bool(read_rows(*where, piece.numbers, address, self._failed, team))

    def check(self, pieces: list[Piece]) -> None:
        """Raise the error of a row that could not be read, if there is one among the pieces.

        Raises
        ------
        DataError
            If the file was cut.
        OSError
            If it cannot be read.
        """
        if self._file is None or not self._failed.any():
            return
        row, start = np.empty(self._width, np.uint8), self._file.place(self._images)
        for piece in pieces:
            for number in () if piece.numbers is None else piece.numbers.tolist():
                self._file.fill(row, start + number * self._width)
        raise OSError(errno.EIO, "could not be read", self._file.name)
