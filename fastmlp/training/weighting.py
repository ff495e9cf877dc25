"""How much each row counts in the loss that is trained on, and in its mean.

A batch's loss is the sum of its rows' losses, each times the row's weight, divided by the sum of the weights: the
weighted mean of ``torch.nn.CrossEntropyLoss(weight=...)`` and of scikit-learn's ``sample_weight``. With
``reduction="sum"`` nothing is divided.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.datasets.labels import Task
from fastmlp.errors import ConfigError
from fastmlp.training.config import TrainConfig
from fastmlp.training.engine import EpochRecord


class TaskLoss(NamedTuple):
    """The kernels' loss of a task, and what it is multiplied by to be PyTorch's.

    Attributes
    ----------
    kernel : {"softmax", "logistic", "squared"}
        The kernels add up the outputs of a row.
    factor : float
        2 for the squared error, which the kernels halve.
    averages : bool
        Whether PyTorch's mean is one over the outputs of a row, too.
    """

    kernel: str
    factor: float
    averages: bool


LOSSES: dict[Task, TaskLoss] = {
    "classification": TaskLoss("softmax", 1, averages=False),
    "multilabel": TaskLoss("logistic", 1, averages=True),
    "regression": TaskLoss("squared", 2, averages=True),
}


class Weighting:
    """The weights of a training's rows.

    Parameters
    ----------
    config : TrainConfig
    train : Dataset
        The training part.

    Raises
    ------
    ConfigError
        If the configuration weighs classes, or smooths labels, of a task that has none.
    """

    def __init__(self, config: TrainConfig, train: Dataset) -> None:
        if train.task != "classification":
            for name, usual in (("class_weight", "none"), ("label_smoothing", 0)):
                if getattr(config, name) != usual:
                    raise ConfigError(
                        f"{name}: found {getattr(config, name)!r} with a {train.task}, expected {usual!r}: "
                        "only a classification has one class a row"
                    )
        loss = LOSSES[train.task]
        self.of_rows = train.weights
        self.of_losses = train.weights
        if config.class_weight == "balanced":
            balanced = balanced_weights(train.labels)
            self.of_losses = balanced if train.weights is None else balanced * train.weights
        self._is_sum = config.reduction == "sum"
        self._scale = loss.factor
        self._outputs = len(train.classes) if loss.averages else 1
        self._score = "r2" if train.task == "regression" else "accuracy"

    def factors(self, order: np.ndarray, batch_size: int) -> np.ndarray | None:
        """Return the factor [n] of each row's gradient for batches of ``order``; None for a plain mean.

        A batch whose weights are all 0 has factors of 0.
        """
        if self.of_losses is None and self._scale == self._outputs and not self._is_sum:
            return None
        weights = np.ones(len(order)) if self.of_losses is None else self.of_losses[order]
        if self._is_sum:
            return weights * self._scale
        starts = np.arange(0, len(order), batch_size)
        totals = np.add.reduceat(weights, starts)
        means = self._scale / self._outputs / np.where(totals > 0, totals, 1)
        factors: np.ndarray = weights * np.repeat(means, np.diff(starts, append=len(order)))
        return factors

    def scores(self, record: EpochRecord, order: np.ndarray) -> dict[str, float]:
        """Return the mean loss, and the accuracy or R2, of an epoch; rows count by their weights.

        Targets are standardised with the mean and deviation of the same rows, so R2 is 1 less the loss.
        """
        loss = _mean(record.losses, self.of_losses, order) * (self._scale / self._outputs)
        if self._score == "r2":
            return {"loss": loss, "r2": 1 - loss}
        return {"loss": loss, "accuracy": _mean(record.correct, self.of_rows, order)}


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Return the weight [N] of the class of each row, by scikit-learn's formula.

    It is ``N / (classes * rows of the class)``, of the classes that have rows.
    """
    counts = np.bincount(labels)
    of_classes = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    weights: np.ndarray = of_classes[labels]
    return weights


def _mean(values: np.ndarray, weights: np.ndarray | None, order: np.ndarray) -> float:
    return float(values.mean() if weights is None else np.average(values, weights=weights[order]))
