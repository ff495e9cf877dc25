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
    metric = "valid_accuracy"       # what the best point is chosen by, or "valid_loss", "valid_f1_macro" ...

A search may have several grids, each a ``[[grid]]``: all points of the first, then those of the
second. A ``[study]`` table is allowed and ignored; `fastmlp.studies` reads it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, shown
from fastmlp.machine.toml import read_toml
from fastmlp.search.data_table import DataTable as DataTable
from fastmlp.search.data_table import checked_table as checked_table
from fastmlp.search.data_table import load_parts as load_parts
from fastmlp.training.config import TrainConfig
from fastmlp.training.metrics import SELECTED, check_selected

Metric = str
"""What points are compared by on the validation part: one of `METRICS`."""

METRICS: tuple[str, ...] = tuple(f"valid_{name}" for name in SELECTED)
IN_EVERY_HISTORY = ("loss", "accuracy", "r2")

Grid = Mapping[str, Sequence[Any]]
"""Fields of TrainConfig, each with the values to try."""

MOST_POINTS = 100_000  # more are a mistake in a grid, and would take long even to list
MOST_SEEDS = 10_000
MOST_TRIALS = 100_000  # points times seeds
NOT_IN_A_GRID = {
    "seed": "use [search] seeds = N, which trains each point with N seeds",
    "threads": "results do not depend on it",
    "select": "points are compared by one metric: use [search] metric",
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
    metric : str, optional
        One of `METRICS`, such as "valid_f1_macro"; see `metric_for`.
    """

    data: DataTable
    config: TrainConfig
    grid: tuple[Grid, ...]
    seeds: int = 1
    metric: Metric = ""

    def __post_init__(self) -> None:
        """Raise a ConfigError for a wrong value, or a point that cannot be trained."""
        config, metric = metric_for(self.config, self.metric or None)
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "metric", metric)
        check_choice(self.seeds, self.metric)
        expand(self.config, self.grid, self.seeds)

    @classmethod
    def from_toml(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> Self:
        """Read a file.

        Parameters
        ----------
        path : str or Path
            A TOML file.
        changes : mapping, optional
            Fields of the data table that are others than in the file.

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
        return cls.from_document(path, read_toml(Path(path)), changes)

    @classmethod
    def from_document(
        cls, path: str | Path, document: dict[str, Any], changes: Mapping[str, Any] | None = None
    ) -> Self:
        """Read what `from_toml` does from a file's content: a pipe can be read but once."""
        try:
            checked_table("", document, ["data", "config", "grid", "search", "study"])
            search = checked_table("search", document.get("search", {}), ["seeds", "metric"])
            grid = document.get("grid", {})
            data = DataTable.from_table(document.get("data", {}), changes)
            return cls(
                data,
                data.base_config.replace(**checked_table("config", document.get("config", {}))),
                tuple(grid) if isinstance(grid, list) else (grid,),
                **search,
            )
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None


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


def metric_for(config: TrainConfig, metric: Metric | None) -> tuple[TrainConfig, Metric]:
    """Return settings and a metric that fit each other: the history of a training has what it selects by.

    Parameters
    ----------
    config : TrainConfig
    metric : str or None
        One of `METRICS`, which the settings then select by, too, unless each history has it. By default what they
        select by, and of those that select by the loss the accuracy (of a regression R2).

    Raises
    ------
    ConfigError
        If the settings select by one metric and points are to be compared by another.
    """
    if metric is None:
        return config, "valid_accuracy" if config.select == "loss" else f"valid_{config.select}"
    name = str(metric).removeprefix("valid_")
    if metric not in METRICS or name in (*IN_EVERY_HISTORY, config.select):
        return config, metric
    if config.select != "loss":
        raise ConfigError(
            f"metric: found {metric!r} with select {config.select!r}, expected the same metric for both"
        )
    return config.replace(select=name), metric


def points_of(
    config: TrainConfig, grid: Grid | Sequence[Grid], seeds: int, metric: Metric | None
) -> tuple[tuple[Point, ...], Metric]:
    """Return the points of `expand` and what they are compared by, with the settings of `metric_for`."""
    config, metric = metric_for(config, metric)
    check_choice(seeds, metric)
    return expand(config, grid, seeds), metric


def check_metric(metric: Metric, valid: Dataset) -> None:
    """Raise a ConfigError unless points can be compared by a metric of this validation part."""
    if metric not in ("valid_accuracy", "valid_loss"):
        check_selected(metric.removeprefix("valid_"), valid, valid.task)


def check_choice(seeds: object, metric: object) -> None:
    """Raise a ConfigError for a wrong number of seeds or an unknown metric."""
    if type(seeds) is not int or not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(
            f"seeds: found {shown(seeds)}, expected an integer from 1 to {MOST_SEEDS}"
        )
    if metric not in METRICS:
        raise ConfigError(f"metric: found {shown(metric)}, expected one of {', '.join(METRICS)}")


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
