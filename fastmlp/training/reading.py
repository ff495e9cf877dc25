"""Samples that stay in a file, read into memory for a part of an epoch at a time.

The kernels could read them through the mapping, but what is touched of a mapping counts as the process's own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastmlp.kernels.arguments import Batches, Samples, Team
from fastmlp.kernels.reading import read_rows
from fastmlp.machine.mapped import MappedFile
from fastmlp.training.chosen import Chosen, Given, numbered
from fastmlp.training.memory import aligned, plain
from fastmlp.training.team import Threads

AT_ONCE = 1 << 24  # bytes of images

Cut = Callable[[int, int], Iterator[tuple[int, int]]]
"""Takes a number of batches and the most of a part; yields the first batch of each part, and the one after its last."""


def evenly(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut batches into as few parts as possible, one part without any batch."""
    return ((first, min(count, first + most)) for first in range(0, max(1, count), most))


class Reader:
    """Reads samples into memory that is used again and again.

    Parameters
    ----------
    team : Threads
        Those that share the work.
    """

    def __init__(self, team: Threads) -> None:
        self._team = team
        self._buffer = np.empty(0, np.uint8)

    def parts(
        self, given: Given, batches: Batches, cut: Cut = evenly
    ) -> Iterator[tuple[Samples, Batches]]:
        """Yield samples as the kernels take them, and the batches that are to be taken of them next.

        Parameters
        ----------
        given : Samples or Chosen
        batches : Batches
            All of them; the numbers of their order are those of what is given.
        cut : callable
            What cuts them into parts. Samples in a file are cut so that `AT_ONCE` bytes hold a part, or one batch.

        Raises
        ------
        DataError
            If the file of the samples was cut.
        OSError
            If it cannot be read.
        """
        if not isinstance(given, Chosen) or given.file is None:
            samples, order = numbered(given, batches.order)
            batches = batches._replace(order=plain(order, np.dtype(np.int64)))
            for first, last in cut(batches.last, max(1, batches.last)):
                yield samples, batches._replace(first=first, last=last)
            return
        whole, size, order = given.samples, batches.size, batches.order
        batches = batches._replace(order=np.zeros(len(order), np.int64))
        width = max(1, whole.images.shape[1] * whole.images.itemsize)
        for first, last in cut(batches.last, max(1, AT_ONCE // (size * width))):
            place = slice(first * size, last * size)
            numbers = given.numbers[order[place]]
            batches.order[place] = np.arange(len(numbers))
            samples = whole._replace(
                images=self._read(given.file, whole.images, numbers),
                labels=whole.labels[numbers],
                targets=whole.targets[numbers] if len(whole.targets) else whole.targets,
            )
            yield samples, batches._replace(first=first, last=last)

    def _read(self, file: MappedFile, images: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return rows of images in a file; what was read before is overwritten."""
        count, width = len(numbers), images.shape[1] * images.itemsize
        start = file.place(images)
        if len(self._buffer) < count * width:
            self._buffer = aligned(count * width, np.dtype(np.uint8))
        rows = self._buffer[: count * width].view(images.dtype).reshape(count, images.shape[1])

        def read(team: Team) -> None:
            first, last = (count * rank // team.size for rank in (team.rank, team.rank + 1))
            address = rows[first:last].ctypes.data
            done = read_rows(file.descriptor, start, width, numbers[first:last], address)
            for row in range(first + done, last):  # one of them failed, and this tells why
                file.fill(rows[row], start + int(numbers[row]) * width)

        self._team.call(read, together=count > 0)
        return rows
