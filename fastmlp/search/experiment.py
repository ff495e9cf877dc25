"""Experiment: a TOML file that names the images, the settings, the grid and how the best point is chosen.

Its tables, of which only ``[data]`` is required::

    [data]                          # which images; see DataTable
    name = "cifar10"
    classes = ["airplane", "bird"]

    [config]                        # any field of TrainConfig, for all trials
    hidden = [512, 128, 32]

    [grid]                          # fields of TrainConfig, each with the values to try
    learning_rate = [0.1, 0.01]
    momentum = [0.0, 0.9]

    [search]
    seeds = 3                       # trainings of each point of the grid
    metric = "valid_accuracy"       # what the best point is chosen by

A search may have several grids, each a ``[[grid]]``: all points of the first, then those of the
second. A ``[study]`` table is allowed and ignored; `fastmlp.studies` reads it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, cast, get_args

import numpy as np

from fastmlp import datasets
from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, DataError, shown, suggest
from fastmlp.machine.toml import read_toml
from fastmlp.training.config import TrainConfig

Metric = Literal["valid_accuracy", "valid_loss"]
"""What points are compared by: the highest accuracy or the lowest loss on the validation part."""

Grid = Mapping[str, Sequence[Any]]
"""Fields of TrainConfig, each with the values to try."""

VALID_FRACTION = 0.1  # of the official training part
MOST_POINTS = 100_000  # more are a mistake in a grid, and would take long even to list
MOST_SEEDS = 10_000
MOST_TRIALS = 100_000  # points times seeds
NOT_IN_A_GRID = {
    "seed": "use [search] seeds = N, which trains each point with N seeds",
    "threads": "results do not depend on it",
}


class Point(NamedTuple):
    """A point of a grid: one set of hyper-parameters.

    Attributes
    ----------
    parameters : dict
        The fields in the grid, with the values at this point.
    config : TrainConfig
        All settings.
    """

    parameters: dict[str, Any]
    config: TrainConfig


@dataclass(frozen=True, kw_only=True)
class DataTable:
    """The images of a search or study: the ``[data]`` table of its file.

    Images are split into three parts first; then classes are picked and images resized. Without
    `split`, `train` and `valid`, the test part is the official one, and a tenth of the official
    training part, drawn with `seed`, is the validation part.

    Parameters
    ----------
    name : str
        One of `fastmlp.datasets.NAMES`.
    classes : tuple of str or None
        The classes to keep, labelled 0, 1, ... in this order; None keeps all.
    size : int, (int, int) or None
        The new size in pixels: the side of a square, or height and width.
    split : (float, float, float) or None
        The training, validation and test parts as shares of all images, official training and test
        parts together, drawn with `seed`.
    train, valid : (int, int) or None
        The training and validation parts as rows of the whole data set, from the first up to, but
        not including, the second; the test part is the official one. Both or neither.
    seed : int
        Seed of these draws.

    Raises
    ------
    ConfigError
        If a value is wrong or contradicts another.
    """

    name: str
    classes: tuple[str, ...] | None = None
    size: int | tuple[int, int] | None = None
    split: tuple[float, float, float] | None = None
    train: tuple[int, int] | None = None
    valid: tuple[int, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise a ConfigError that names the first wrong value."""
        for name, holds, expected in (
            ("name", self.name in datasets.NAMES, f"one of {', '.join(datasets.NAMES)}"),
            (
                "classes",
                _is(self.classes, str, count=None)
                and (self.classes is None or len(self.classes) > 1),
                "a list of names, two or more",
            ),
            ("size", type(self.size) is int or _is(self.size, int, 2), "pixels, such as 16"),
            (
                "split",
                _is(self.split, float, 3) and _are_shares(self.split),
                "three shares above 0 of at most 1 together, such as [0.8, 0.1, 0.1]",
            ),
            ("train", _is(self.train, int, 2), "rows, such as [0, 55000]"),
            ("valid", _is(self.valid, int, 2), "rows, such as [55000, 60000]"),
            ("seed", type(self.seed) is int and self.seed >= 0, "a whole number from 0"),
        ):
            if not holds:
                raise ConfigError(
                    f"data.{name}: found {shown(getattr(self, name))}, expected {expected}"
                )
        if (self.train is None) != (self.valid is None):
            alone = "valid" if self.train is None else "train"
            raise ConfigError(f"data.{alone}: found alone, expected both train and valid")
        if self.split is not None and self.train is not None:
            raise ConfigError("data.split: found beside train and valid, expected one or the other")

    @classmethod
    def from_table(cls, table: object) -> Self:
        """Return what a ``[data]`` table of a TOML file says.

        Parameters
        ----------
        table : object
            The table as it was read.
        """
        values = checked_table("data", table, [field.name for field in dataclasses.fields(cls)])
        if "name" not in values:
            raise ConfigError("data.name: not found, expected a data set: [data] name = ...")
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**plain)


@dataclass(frozen=True)
class Experiment:
    """The content of a search or study file.

    Parameters
    ----------
    data : DataTable
        The images.
    config : TrainConfig
        The settings that the grid does not vary.
    grid : tuple of Grid
        The values to try.
    seeds : int
        Trainings of each point, with seeds ``config.seed``, ``config.seed + 1``, ...
    metric : {"valid_accuracy", "valid_loss"}
        What the best point is chosen by.
    """

    data: DataTable
    config: TrainConfig
    grid: tuple[Grid, ...]
    seeds: int = 1
    metric: Metric = "valid_accuracy"

    def __post_init__(self) -> None:
        """Raise a ConfigError for a wrong value, or a point that cannot be trained."""
        check_choice(self.seeds, self.metric)
        expand(self.config, self.grid, self.seeds)

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read a file.

        Parameters
        ----------
        path : str or Path
            A TOML file.

        Returns
        -------
        Experiment
            What the file leaves out has its default.

        Raises
        ------
        ConfigError
            If the file cannot be read, is not TOML, or has an unknown name, a wrong value or a point
            that cannot be trained.
        """
        document = read_toml(Path(path))
        try:
            checked_table("", document, ["data", "config", "grid", "search", "study"])
            search = checked_table("search", document.get("search", {}), ["seeds", "metric"])
            grid = document.get("grid", {})
            return cls(
                DataTable.from_table(document.get("data", {})),
                TrainConfig().replace(**checked_table("config", document.get("config", {}))),
                tuple(grid) if isinstance(grid, list) else (grid,),
                **search,
            )
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None


def load_parts(
    data: DataTable, data_home: str | Path | None = None
) -> tuple[Dataset, Dataset, Dataset]:
    """Return the training, validation and test parts that a ``[data]`` table describes.

    Parameters
    ----------
    data : DataTable
    data_home : path, optional
        The data folder, as for `fastmlp.datasets.load`.

    Raises
    ------
    DataError
        If the data cannot be loaded, or has other classes, sizes or rows.
    """
    whole = datasets.load(data.name, data_home)
    if data.split is not None:
        parts = whole.split(data.split, data.seed)
    elif data.train is not None and data.valid is not None:
        parts = _rows(whole, "train", data.train), _rows(whole, "valid", data.valid), whole.test
    else:
        shares = (1 - VALID_FRACTION, VALID_FRACTION)
        # A view would keep all images in memory, beside the copies in the other parts.
        test = dataclasses.replace(whole.test, images=whole.test.images.copy())
        parts = (*whole.train.split(shares, data.seed), test)
    if data.classes is not None:
        parts = tuple(part.pick(data.classes) for part in parts)
    if data.size is not None:
        parts = tuple(part.resize(data.size) for part in parts)
    return cast(tuple[Dataset, Dataset, Dataset], parts)


def expand(config: TrainConfig, grid: Grid | Sequence[Grid], seeds: int = 1) -> tuple[Point, ...]:
    """Return the points of a grid, in the order of scikit-learn's ParameterGrid.

    Parameters
    ----------
    config : TrainConfig
        What the grid does not vary.
    grid : mapping, or sequence of mappings
        Fields of TrainConfig, each with a list of values. The points of several grids follow each
        other; a point that comes twice is taken once.
    seeds : int
        How often each point will be trained.

    Raises
    ------
    ConfigError
        If a name is no field, a value is wrong, a point cannot be trained, or there are too many trials.
    """
    grids = [grid] if isinstance(grid, Mapping) else list(grid)
    if not grids:
        raise ConfigError("grid: found an empty list, expected at least one grid")
    for one in grids:
        _check_grid(one)
    count = sum(math.prod(map(len, one.values())) for one in grids)
    if count > MOST_POINTS:
        raise ConfigError(f"grid: found {count:,} points, expected at most {MOST_POINTS:,}")
    if count * seeds > MOST_TRIALS:
        raise ConfigError(
            f"grid: found {count:,} points with {seeds:,} seeds each, {count * seeds:,} trials, expected at "
            f"most {MOST_TRIALS:,}; take fewer values or seeds"
        )
    points: dict[TrainConfig, Point] = {}
    for names, values in _combinations(grids):
        changed = config.replace(**dict(zip(names, values, strict=True)))
        parameters = {name: getattr(changed, name) for name in names}
        points.setdefault(changed, Point(parameters, changed))
    return tuple(points.values())


def check_choice(seeds: object, metric: object) -> None:
    """Raise a ConfigError for a wrong number of seeds or an unknown metric."""
    if type(seeds) is not int or not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(
            f"seeds: found {shown(seeds)}, expected an integer from 1 to {MOST_SEEDS}"
        )
    if metric not in get_args(Metric):
        raise ConfigError(
            f"metric: found {shown(metric)}, expected {' or '.join(get_args(Metric))}"
        )


def _combinations(grids: Iterable[Grid]) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
    for grid in grids:
        names = sorted(grid)
        for values in itertools.product(*(grid[name] for name in names)):
            yield names, values


def _check_grid(grid: object) -> None:
    if not isinstance(grid, Mapping):
        raise ConfigError(f"grid: found {shown(grid)}, expected a table of lists, [grid]")
    for name, values in grid.items():
        if name in NOT_IN_A_GRID:
            raise ConfigError(f"grid.{name}: cannot be searched over; {NOT_IN_A_GRID[name]}")
        if not isinstance(values, list | tuple | np.ndarray) or not len(values):
            raise ConfigError(
                f"grid.{name}: found {shown(values)}, expected a list of values to try"
            )


def _rows(whole: Dataset, part: str, rows: tuple[int, int]) -> Dataset:
    first, stop = rows
    if not 0 <= first < stop <= len(whole):
        raise DataError(
            f"data.{part}: found rows {list(rows)}, expected first < stop within 0..{len(whole)}"
        )
    return whole.take(np.arange(first, stop))


def checked_table(name: str, table: object, known: Sequence[str] | None = None) -> dict[str, Any]:
    """Return a table as a dict, or raise a ConfigError that names the first unknown name in it."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{name}: found {shown(table)}, expected a table, [{name}]")
    for key in table:
        if known is not None and key not in known:
            raise ConfigError(f"{name}{name and '.'}{key}: no such name; {suggest(key, known)}")
    return dict(table)


def _are_shares(values: tuple[float, ...] | None) -> bool:
    return values is None or (min(values) > 0 and sum(values) <= 1 + 1e-9)


def _is(value: object, kind: type, count: int | None) -> bool:
    """Return whether a value is None or a tuple of one type; whole numbers count as floats."""
    kinds = (int, float) if kind is float else (kind,)
    return value is None or (
        isinstance(value, tuple)
        and (len(value) == count if count else len(value) > 0)
        and all(type(one) in kinds for one in value)
    )
