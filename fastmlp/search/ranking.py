"""SearchResult: the ranked points of a search, and scikit-learn's table of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmlp.search.experiment import Metric, Point
from fastmlp.search.record import Trial
from fastmlp.search.showing import SearchShowing
from fastmlp.training.config import TrainConfig
from fastmlp.training.metrics import loss_of
from fastmlp.training.network import Network


@dataclass(frozen=True)
class RankedPoint:
    """A point of a grid with its trials and its rank.

    Parameters
    ----------
    rank : int
        From 1, the best. Points with a diverged trial follow those without, and points with a failed
        trial come last; among equals the order of the grid decides.
    index : int
        The place in the grid, from 0.
    parameters : dict
        The fields in the grid, with the values at this point.
    config : TrainConfig
        All settings, with the first seed.
    trials : tuple of Trial
        One for each seed.
    """

    rank: int
    index: int
    parameters: Mapping[str, Any]
    config: TrainConfig = field(repr=False)
    trials: tuple[Trial, ...]

    @property
    def sound(self) -> bool:
        """Whether every trial came to a regular end."""
        return all(trial.sound for trial in self.trials)

    def mean(self, name: str) -> float | None:
        """Return the mean over seeds; None if a trial lacks it.

        Parameters
        ----------
        name : str
            As for `Trial.value`.
        """
        values = [value for trial in self.trials if (value := trial.value(name)) is not None]
        return None if len(values) < len(self.trials) else math.fsum(values) / len(values)

    def deviation(self, name: str) -> float | None:
        """Return the sample standard deviation over seeds; None if a trial lacks it or there is one.

        Parameters
        ----------
        name : str
            As for `Trial.value`.
        """
        values = [value for trial in self.trials if (value := trial.value(name)) is not None]
        return None if len(values) < max(2, len(self.trials)) else statistics.stdev(values)


@dataclass(frozen=True, repr=False)
class SearchResult(SearchShowing):
    """What a search found.

    Parameters
    ----------
    points : tuple of RankedPoint
        All points, the best first.
    metric : str
        Points are ranked by its mean over seeds.
    trained, skipped : int
        The numbers of trials trained by this call and found in the store.
    network : Network or None
        The network of the best trial of the best point; None if no point is sound.
    others : tuple of (TrainConfig, Trial)
        What the store also holds, of other grids, seeds or searches. They have no rank.
    """

    points: tuple[RankedPoint, ...]
    metric: Metric
    trained: int
    skipped: int
    network: Network | None
    others: tuple[tuple[TrainConfig, Trial], ...] = ()

    @property
    def best(self) -> RankedPoint | None:
        """The first point; None if no point is sound."""
        return self.points[0] if self.points[0].sound else None

    @property
    def best_trial(self) -> Trial | None:
        """The trial that `network` belongs to; None if no point is sound."""
        if self.best is None:
            return None
        return self.best.trials[best_of(self.best.trials, self.metric)]

    @property
    def score_word(self) -> str:
        """What the trials' accuracies are: "accuracy", or "R2" of a regression."""
        rows = (row for point in self.points for trial in point.trials for row in trial.history)
        return "R2" if "train_r2" in next(rows, {}) else "accuracy"

    def cv_results(self) -> dict[str, Any]:
        """Return a table with the names of scikit-learn's ``cv_results_``, in the order of the grid.

        Seeds take the place of splits, and the validation part that of scikit-learn's test folds.
        Better scores are greater, so losses have the opposite sign. A diverged or failed trial has
        the score NaN.
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
    """Return the mean score over seeds, which is greater if better; None if a trial is not sound."""
    if not all(trial.sound for trial in trials):
        return None
    scores = [_score(trial, metric) for trial in trials]
    return math.fsum(scores) / len(scores)


def best_of(trials: Sequence[Trial], metric: Metric) -> int:
    """Return the index of the best of a point's sound trials; the first among equals."""
    scores = [_score(trial, metric) for trial in trials]
    return scores.index(max(scores))


def _score(trial: Trial, metric: str) -> float:
    """Return the score of a trial, which is greater if better; NaN if it is not sound or has none."""
    value = trial.value(metric) if trial.sound else None
    return -loss_of(metric.split("_", 1)[1], value)
