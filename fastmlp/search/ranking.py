"""SearchResult: finished trials -> ranked points, and scikit-learn's table of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.search.experiment import Metric, Point
from fastmlp.search.record import Trial
from fastmlp.training.config import TrainConfig
from fastmlp.training.network import Network


@dataclass(frozen=True)
class RankedPoint:
    """A point of the grid with its trials.

    Attributes
    ----------
    rank : int
        From 1, the best. Points with a diverged trial follow those without, points with a failed
        one come last; among equals the grid's order decides.
    index : int
        Its place in the grid, from 0.
    parameters : dict
        The grid's fields and this point's values.
    config : TrainConfig
        All of its settings, with the first seed.
    trials : tuple of Trial
        One a seed.
    """

    rank: int
    index: int
    parameters: Mapping[str, Any]
    config: TrainConfig
    trials: tuple[Trial, ...]

    @property
    def sound(self) -> bool:
        """Whether every trial came to a regular end."""
        return all(trial.sound for trial in self.trials)

    def mean(self, name: str) -> float | None:
        """Return the mean over seeds of a number of `Trial`, None if a trial lacks it."""
        values = [getattr(trial, name) for trial in self.trials]
        return None if None in values else math.fsum(values) / len(values)

    def deviation(self, name: str) -> float | None:
        """Return the sample standard deviation over seeds, None for fewer than two values."""
        values = [getattr(trial, name) for trial in self.trials]
        return None if None in values or len(values) < 2 else statistics.stdev(values)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    points : tuple of RankedPoint
        All of them, the best first.
    metric : {"valid_accuracy", "valid_loss"}
        What they are ranked by: its mean over seeds.
    trained, skipped : int
        Trials trained by this call, and found in the store.
    network : Network or None
        Of the best trial of the best point; None if no point is sound.
    """

    points: tuple[RankedPoint, ...]
    metric: Metric
    trained: int
    skipped: int
    network: Network | None

    @property
    def best(self) -> RankedPoint | None:
        """The first point, unless no point is sound."""
        return self.points[0] if self.points[0].sound else None

    @property
    def best_trial(self) -> Trial | None:
        """The trial that `network` is of."""
        if self.best is None:
            return None
        return self.best.trials[best_of(self.best.trials, self.metric)]

    def cv_results(self) -> dict[str, Any]:
        """Return the table under the names of scikit-learn's ``cv_results_``, in the grid's order.

        Seeds take the place of splits, and the validation part that of scikit-learn's test folds.
        Scores are greater for better (a loss has its sign turned); NaN where a trial diverged or
        failed.
        """
        points = sorted(self.points, key=lambda point: point.index)
        seconds = np.array([[trial.seconds for trial in point.trials] for point in points])
        table: dict[str, Any] = {
            "mean_fit_time": seconds.mean(axis=1),
            "std_fit_time": seconds.std(axis=1),
        }
        for name in sorted({name for point in points for name in point.parameters}):
            column: Any = np.ma.array([None] * len(points), object, mask=True)
            for row, point in enumerate(points):
                if name in point.parameters:
                    column[row] = point.parameters[name]
            table[f"param_{name}"] = column
        table["params"] = [dict(point.parameters) for point in points]
        for part, metric in (("test", self.metric), ("train", f"train_{self.metric[6:]}")):
            scores = np.array(
                [[_score(trial, metric) for trial in point.trials] for point in points]
            )
            means = scores.mean(axis=1)
            for seed, column in enumerate(scores.T):
                table[f"split{seed}_{part}_score"] = column
            table[f"mean_{part}_score"] = means
            table[f"std_{part}_score"] = scores.std(axis=1)
            if part == "test":
                comparable = np.nan_to_num(means, nan=-np.inf)
                better = (comparable[:, None] < comparable).sum(axis=1)
                table["rank_test_score"] = (1 + better).astype(np.int32)
        return table


def rank(
    points: Sequence[Point], trials: Sequence[Sequence[Trial]], metric: Metric
) -> tuple[RankedPoint, ...]:
    """Return the points with their trials, the best first; see `RankedPoint`."""

    def place(index: int) -> tuple[bool, bool, float, int]:
        merit = merit_of(trials[index], metric)
        failed = any(trial.status == "failed" for trial in trials[index])
        return failed, merit is None, 0.0 if merit is None else -merit, index

    order = sorted(range(len(points)), key=place)
    return tuple(
        RankedPoint(number, index, *points[index], tuple(trials[index]))
        for number, index in enumerate(order, 1)
    )


def merit_of(trials: Sequence[Trial], metric: Metric) -> float | None:
    """Return the mean score over seeds, greater for better; None if a trial is not sound."""
    if not all(trial.sound for trial in trials):
        return None
    scores = [_score(trial, metric) for trial in trials]
    return math.fsum(scores) / len(scores)


def best_of(trials: Sequence[Trial], metric: Metric) -> int:
    """Return which of one point's sound trials is the best; among equals, the first."""
    scores = [_score(trial, metric) for trial in trials]
    return scores.index(max(scores))


def _score(trial: Trial, metric: str) -> float:
    """Return a trial's metric, greater for better; NaN if it has none that counts."""
    value: float | None = getattr(trial, metric) if trial.sound else None
    if value is None:
        return math.nan
    return -value if metric.endswith("loss") else value
