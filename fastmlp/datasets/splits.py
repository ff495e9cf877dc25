"""The training, validation and test parts of your own data: drawn stratified, by group, or given.

A draw depends on the rows' labels (or groups), the shares and the seed alone, never on the order in which a library
draws: the raw stream of `fastmlp.datasets.dataset.permutation` is the only random number in it.

- **Stratified**, by default: rows are put in a random order, then sorted by class, and a part takes evenly spaced
  ones. Each class has its share of each part, up to one row. The first row of each class stays in the training part,
  which therefore has all classes. Rows of several labels are sorted by their pattern; those of a regression are not
  sorted.
- **By group**: groups are put in a random order and cut where the parts' shares are best met. They are not stratified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.dataset import Dataset, permutation
from fastmlp.datasets.labels import Task
from fastmlp.datasets.options import OwnOptions
from fastmlp.errors import ConfigError, DataError

SHARES = (0.8, 0.1, 0.1)  # of data that comes without parts
HELD_OUT = 0.1  # of the training part, for a part that is missing beside it

Rows = npt.NDArray[np.int64]


class Parts(NamedTuple):
    """What a format makes of a path. A part that is None is drawn from the training part by `complete`."""

    train: Dataset
    valid: Dataset | None = None
    test: Dataset | None = None


class Whole(NamedTuple):
    """The training, validation and test parts."""

    train: Dataset
    valid: Dataset
    test: Dataset


def complete(parts: Parts, options: OwnOptions) -> Whole:
    """Draw the parts that are missing from the training part, stratified.

    Parameters
    ----------
    parts : Parts
    options : OwnOptions
        Of which `split` and `seed` are read.

    Raises
    ------
    ConfigError
        If `split` is given for data that has parts of its own.
    DataError
        If there are too few rows.
    """
    train = parts.train
    missing = [part is None for part in parts[1:]]
    drawn = draw_missing(np.arange(len(train)), missing, options, train.labels, task=train.task)
    kept = train.take(drawn[0]) if any(missing) else train
    others = (
        train.take(rows) if part is None else part
        for part, rows in zip(parts[1:], drawn[1:], strict=True)
    )
    return Whole(kept, *others)


def draw_missing(
    rows: Rows,
    missing: Sequence[bool],
    options: OwnOptions,
    labels: npt.NDArray[Any],
    *,
    task: Task,
    groups: npt.NDArray[Any] | None = None,
) -> tuple[Rows, Rows, Rows]:
    """Return the rows of the training, validation and test parts; empty for a part that is not missing.

    Parameters
    ----------
    rows : int64 array [n]
        Those that may be drawn.
    missing : (bool, bool)
        Whether the validation and the test part are missing.
    options : OwnOptions
        Of which `split` and `seed` are read.
    labels : array [N] or [N, T]
        Of all rows.
    task : str
    groups : array [N], optional
        A number for each row; rows of the same stay together, and are not stratified.

    Raises
    ------
    ConfigError, DataError
        As for `complete`.
    """
    if options.split is not None and not all(missing):
        raise ConfigError(
            f"split: found {options.split} with data that has parts of its own, expected one or the other"
        )
    if not any(missing):
        return rows, rows[:0], rows[:0]
    both = (options.split or SHARES) if all(missing) else (1 - HELD_OUT, HELD_OUT)
    if groups is not None:
        drawn = _by_group(groups[rows], both, options.seed)
    else:
        drawn = _stratified(_strata(labels[rows], task), both, options.seed, task=task)
    found = iter(rows[part] for part in drawn[1:])
    others = [next(found) if absent else rows[:0] for absent in missing]
    return cast(tuple[Rows, Rows, Rows], (rows[drawn[0]], *others))


def _strata(labels: npt.NDArray[Any], task: Task) -> Rows:
    """Return a number for each row; rows of the same number are spread over the parts."""
    if task == "regression":
        return np.zeros(len(labels), np.int64)
    kinds = np.unique(labels, axis=0, return_inverse=True)[1]
    return kinds.reshape(-1).astype(np.int64)


def _sizes(count: int, shares: Sequence[float]) -> list[int]:
    """Return how many of the rows each part gets; together round(count * sum of the shares)."""
    bounds = np.rint(np.cumsum([0.0, *shares]) * count).astype(int)
    sizes = [int(size) for size in np.diff(bounds)]
    for share, size in zip(shares, sizes, strict=True):
        if not size:
            raise DataError(
                f"split: found share {share:g} of {count:,} rows, expected one that leaves no part empty; use a larger "
                "one, or more rows"
            )
    return sizes


def _stratified(strata: Rows, shares: Sequence[float], seed: int, *, task: Task) -> list[Rows]:
    """Return the rows of each part, in ascending order; the first part is the training part."""
    order = permutation(len(strata), seed)
    order = order[np.argsort(strata[order], kind="stable")]
    first = np.diff(strata[order], prepend=-1) > 0
    if task != "classification":
        first[:] = False
    kept, pool = order[first], order[~first]
    train, *others = _sizes(len(strata), shares)
    if len(pool) < sum(others) + max(0, train - len(kept)):
        raise DataError(
            f"split: found {len(strata):,} rows of {len(kept):,} classes, expected more rows of each class: the "
            "training part needs one of each, and the other parts need some, too"
        )
    drawn = []
    for size in others:
        chosen = _evenly(len(pool), size)
        drawn.append(pool[chosen])
        pool = np.delete(pool, chosen)
    rest = pool[_evenly(len(pool), max(0, train - len(kept)))]
    return [np.sort(part) for part in (np.concatenate([kept, rest]), *drawn)]


def _evenly(count: int, size: int) -> Rows:
    """Return `size` different numbers, evenly spaced in 0..count-1."""
    return (2 * np.arange(size, dtype=np.int64) + 1) * count // (2 * max(size, 1))


def _by_group(groups: npt.NDArray[Any], shares: Sequence[float], seed: int) -> list[Rows]:
    """Return the rows of each part, in ascending order, such that no group is in two parts."""
    codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    codes = codes.reshape(-1)
    if len(sizes) < len(shares):
        raise DataError(
            f"group: found {len(sizes)} groups, expected at least {len(shares)}, one for each part"
        )
    order = permutation(len(sizes), seed)
    ends = np.cumsum(sizes[order])
    cuts = [0]
    for number, target in enumerate(np.cumsum(shares) * len(codes), 1):
        after = int(np.argmin(np.abs(ends - target))) + 1
        # Each part has one group at least, and leaves one for each part that follows.
        cuts.append(min(max(after, cuts[-1] + 1), len(sizes) - len(shares) + number))
    part_of = np.full(len(sizes), -1)
    for number in range(len(shares)):
        part_of[order[cuts[number] : cuts[number + 1]]] = number
    return [np.flatnonzero(part_of[codes] == number) for number in range(len(shares))]
