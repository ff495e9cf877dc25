"""The kinds of files that fastmlp reads: sound samples of each, how they are damaged, and what reading must give.

A damaged file is refused with a FastMLPError, or it is read as what was written. Where a damage makes the checksum
right again, or the format has none, it may also be read as something else that makes sense.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from fastmlp import Dataset, TrainConfig

SAME, OTHER = "same", "other"
"""Read as what was written; read as something else, which makes sense and which nothing could tell apart."""


class Believed(AssertionError):
    """A damaged file was read as something that was never written, or that makes no sense."""


@dataclass(frozen=True)
class Mutant:
    """A damaged file, or a folder of files of which some are damaged.

    Attributes
    ----------
    files : dict of str to bytes
        By their paths in a folder.
    sample : int
        Which of the kind's samples it was made of.
    sealed : bool
        Whether nothing in the files shows that they were damaged.
    """

    files: dict[str, bytes]
    sample: int
    sealed: bool


class Kind(Protocol):
    """A kind of file; a context, in which the package's tables are patched to fit small samples."""

    name: str

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def mutant(self, rng: random.Random) -> Mutant:
        """Return a damaged sample."""

    def sound(self, sample: int) -> dict[str, bytes]:
        """Return the files of a sample."""

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Read the files of a mutant in a folder, and return SAME or OTHER.

        Raises
        ------
        FastMLPError
            If the file is refused.
        Believed
            If it is not, and should be.
        """


class Patching:
    """The context of a kind, with patches that end with it; its samples are folders of files."""

    samples: Sequence[Any]

    def __init__(self) -> None:
        self.patches = ExitStack()

    def sound(self, sample: int) -> dict[str, bytes]:
        """Return the files of a sample."""
        return dict(self.samples[sample])

    def __enter__(self) -> Self:
        self.patches.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.patches.__exit__(kind, error, traceback)


def believe(holds: bool, what: str) -> None:
    """Raise Believed unless something holds."""
    if not holds:
        raise Believed(what)


def same_types(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal in type as well: True is not 1, and 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return set(one) == set(other) and all(same_types(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_types, one, other))
    return bool(one == other) or (one != one and other != other)


def drawn(count: int, seed: int, classes: int = 3) -> Dataset:
    """Return images [1, 4, 5] at random, with a class that shows."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    grey = rng.integers(0, 200, (count, 20)) + 20 * labels[:, None]
    return Dataset(grey.astype(np.uint8), labels, (1, 4, 5), tuple("abcdefgh"[:classes]), "drawn")


TRAIN, VALID = drawn(24, 0), drawn(12, 1)
SMALL = TrainConfig(hidden=(6,), epochs=3, batch_size=8, learning_rate=0.05, threads=1)


def outcome(result: Any) -> tuple[Any, ...]:
    """Return what must not differ between two trainings."""
    rows = [{k: v for k, v in row.items() if "second" not in k} for row in result.history]
    arrays = [array.tobytes() for array in result.network.state_dict().values()]
    return rows, arrays, result.status, result.reason, result.best_epoch
