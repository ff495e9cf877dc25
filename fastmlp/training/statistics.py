"""Metrics that are sums over rows: of all rows as they are, and of many draws of them at once.

A metric and its bootstrap interval come from the same lines: a draw is but another weight for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from fastmlp.training.answers import Answers, Floats

Statistics = Callable[[Floats], Mapping[str, Floats]]
"""Takes weights [N, B] of B draws and returns a metric's B values for each name."""


def statistics_of(answers: Answers) -> Statistics:
    """Return what computes metrics for each of B weights."""
    return _of_errors(answers) if answers.task == "regression" else _of_classes(answers)


def class_sums_of(answers: Answers) -> Callable[[Floats], tuple[Floats, Floats, Floats]]:
    """Return what computes three sums [C, B] of weights [N, B] for each class or label.

    They are over the rows that are of the class, that are said to be of it, and both.
    """
    if answers.task == "multilabel":  # rows of many labels, of which there are few
        yes, answered = (one.T.astype(np.float64) for one in (answers.yes, answers.answered))
        both = yes * answered
        return lambda weights: (yes @ weights, answered @ weights, both @ weights)
    count = len(answers.classes)
    hits = np.flatnonzero(answers.truth == answers.predicted)
    support, taken, right = (
        _Groups(labels, count) for labels in (answers.truth, answers.predicted, answers.truth[hits])
    )
    return lambda weights: (support(weights), taken(weights), right(weights[hits]))


def shares(numerators: Floats, denominators: Floats) -> Floats:
    """Return quotients, with 0 where scikit-learn's ``zero_division=0`` gives 0."""
    return np.divide(
        numerators, denominators, out=np.zeros_like(numerators), where=denominators != 0
    )


class _Groups:
    """Sums over the rows of each label."""

    def __init__(self, labels: NDArray[np.int64], count: int) -> None:
        self._order = np.argsort(labels, kind="stable")
        sizes = np.bincount(labels, minlength=count)
        self._count, self._present = count, np.flatnonzero(sizes)
        self._begins = (np.cumsum(sizes) - sizes)[self._present]

    def __call__(self, weights: Floats) -> Floats:
        sums = np.zeros((self._count, weights.shape[1]))
        if self._begins.size:
            sums[self._present] = np.add.reduceat(weights[self._order], self._begins, axis=0)
        return sums


def _of_classes(answers: Answers) -> Statistics:
    single = answers.task == "classification"
    sums = class_sums_of(answers)
    right = (answers.predicted == answers.truth).reshape(len(answers.truth), -1).all(axis=1)
    own = np.clip(answers.outputs, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    yes = answers.yes
    losses = -np.log(own[yes]) if single else -np.log(np.where(yes, own, 1 - own)).mean(axis=1)

    def compute(weights: Floats) -> Mapping[str, Floats]:
        total = weights.sum(axis=0)
        support, taken, hits = sums(weights)
        precision, recall, f1 = rates_of(support, taken, hits)
        present = support > 0
        # Classes that a draw has neither as an answer nor as a right one do not count in a macro mean.
        counted = present | (taken > 0) if single else np.ones_like(present)
        found = {"accuracy": right @ weights / total, "log_loss": losses @ weights / total}
        found["balanced_accuracy"] = recall.sum(axis=0) / present.sum(axis=0)
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
            found[f"{name}_macro"] = values.sum(axis=0) / counted.sum(axis=0)
            found[f"{name}_weighted"] = shares((values * support).sum(axis=0), support.sum(axis=0))
        return found

    return compute


def rates_of(support: Floats, taken: Floats, hits: Floats) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and F1 from the sums of `class_sums_of`."""
    return shares(hits, taken), shares(hits, support), shares(2 * hits, taken + support)


def _of_errors(answers: Answers) -> Statistics:
    truth, errors = answers.truth, answers.outputs - answers.truth
    # Sums of squares keep their digits.
    centred = truth - np.average(truth, axis=0, weights=answers.weights)
    flat = np.ptp(truth, axis=0) == 0
    # In units in which no square is infinite, nor all of them zero; powers of 2 round nothing.
    most = np.maximum(np.abs(errors).max(axis=0), np.abs(centred).max(axis=0))
    unit = 2.0 ** np.floor(np.log2(np.where(most > 0, most, 1)))
    errors, centred = errors / unit, centred / unit

    def compute(weights: Floats) -> Mapping[str, Floats]:
        total = weights.sum(axis=0)
        squares = (errors**2).T @ weights
        spread = (centred**2).T @ weights - (centred.T @ weights) ** 2 / total
        ratios = np.divide(squares, spread, out=np.full_like(squares, np.nan), where=spread > 0)
        ratios[flat] = squares[flat] > 0  # as scikit-learn, where a target never changes
        return {
            "r2": (1 - ratios).mean(axis=0),
            "mae": unit @ (np.abs(errors).T @ weights / total) / len(unit),
            "rmse": unit @ np.sqrt(squares / total) / len(unit),
        }

    return compute
