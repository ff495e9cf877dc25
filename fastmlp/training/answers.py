"""Answers: what a network says of rows, beside what is true."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset

Floats = NDArray[np.float64]

MOST_IN_CURVES = 5_000_000  # probabilities, whose curves take about a second


def answers_of(task: str, outputs: Floats) -> NDArray[Any]:
    """Return class indices [N] or labels of 0 and 1 [N, T] that probabilities stand for, or a regression's numbers."""
    if task == "classification":
        return np.asarray(outputs.argmax(axis=1))
    return (outputs > 0.5).astype(np.uint8) if task == "multilabel" else outputs


@dataclass(frozen=True)
class Answers:
    """The rows of a part beside what a network says of them; rows of weight 0 are left out.

    Attributes
    ----------
    task : {"classification", "multilabel", "regression"}
    classes : tuple of str
        The names of classes, labels or targets.
    truth : int64 [N], uint8 [N, T] or float64 [N, T]
    outputs : float64 [N, C] or [N, T]
        Probabilities; of a regression the predictions.
    weights : float64 [N] or None
    """

    task: str
    classes: tuple[str, ...]
    truth: NDArray[Any]
    outputs: Floats
    weights: Floats | None

    @classmethod
    def of(cls, dataset: Dataset, outputs: Floats) -> Answers:
        """Return the answers for the rows of a data set."""
        truth, weights = dataset.labels, dataset.weights
        if weights is not None and not weights.all():
            rows = np.flatnonzero(weights)
            truth, outputs, weights = truth[rows], outputs[rows], weights[rows]
        return cls(dataset.task, dataset.classes, truth, outputs, weights)

    @cached_property
    def predicted(self) -> NDArray[Any]:
        """What `answers_of` returns."""
        return answers_of(self.task, self.outputs)

    @cached_property
    def yes(self) -> NDArray[np.bool_]:
        """Whether a class or label [N, C] is that of the row."""
        if self.task == "classification":
            return np.asarray(self.truth[:, None] == np.arange(len(self.classes)))
        return np.asarray(self.truth != 0)

    @cached_property
    def answered(self) -> NDArray[np.bool_]:
        """Whether a class or label [N, C] was given to the row."""
        if self.task == "classification":
            return np.asarray(self.predicted[:, None] == np.arange(len(self.classes)))
        return np.asarray(self.predicted != 0)

    @cached_property
    def areas(self) -> dict[int, dict[str, float]]:
        """Areas under curves by class and name, as far as they were computed."""
        return {}

    @cached_property
    def split(self) -> NDArray[np.int64]:
        """The classes that some rows have and others have not, for which there are curves; none if that took long."""
        if self.outputs.size > MOST_IN_CURVES:
            return np.empty(0, np.int64)
        count = self.yes.sum(axis=0)
        return np.flatnonzero((count > 0) & (count < len(self.truth)))

    def mean(self, values: NDArray[Any]) -> float:
        """Return the weighted mean of a value for each row."""
        return float(np.average(values, weights=self.weights))
