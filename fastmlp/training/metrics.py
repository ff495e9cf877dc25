"""Metrics of a network's answers, for every task: those of scikit-learn, whose import would take a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset
from fastmlp.datasets.transforms import is_finite
from fastmlp.errors import ConfigError
from fastmlp.training.answers import Answers, Floats
from fastmlp.training.bootstrap import LEVEL, draws_of, intervals_of
from fastmlp.training.curves import Ranked
from fastmlp.training.statistics import Statistics, class_sums_of, rates_of, statistics_of

CALIBRATION_BINS = 15
MOST_IN_INTERVALS = 10_000_000  # scores, drawn again; they take about 0.2 s
TOP = 5
MANY_CLASSES = 10  # from which the share of right answers among the first `TOP` says something
WORDS = {
    "roc_auc": "ROC AUC",
    "r2": "R2",
    "mae": "MAE",
    "rmse": "RMSE",
    "log_loss": "log loss",
    "top_5_accuracy": "top-5 accuracy",
}
LOWER_IS_BETTER = ("loss", "log_loss", "calibration_error", "mae", "rmse")


_AVERAGES = tuple(
    f"{word}_{average}"
    for average in ("macro", "weighted")
    for word in ("precision", "recall", "f1")
)
CURVES = ("roc_auc", "average_precision")
METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": (
        *("accuracy", "balanced_accuracy", *_AVERAGES, "top_5_accuracy", *CURVES),
        *("log_loss", "calibration_error"),
    ),
    "multilabel": ("accuracy", *_AVERAGES, *CURVES, "log_loss", "calibration_error"),
    "regression": ("r2", "mae", "rmse"),
}
SELECTED: tuple[str, ...] = tuple(
    dict.fromkeys(("loss", *(name for names in METRICS.values() for name in names)))
)
"""What a network can be selected by, with one task or another."""


def metrics_of(dataset: Dataset, outputs: Floats, *, intervals: bool = True) -> dict[str, Any]:
    """Return the metrics of a network's answers, weighted by the data's sample weights.

    Parameters
    ----------
    dataset : Dataset
        With labels.
    outputs : float64 array [N, C]
        Of `Network.predict_proba`; for a regression [N, T] of `Network.predict`.
    intervals : bool
        Whether to add bootstrap intervals.

    Returns
    -------
    dict
        Plain values, those of scikit-learn's functions of the same names:

        - classification: ``accuracy``, ``balanced_accuracy``; ``precision``, ``recall`` and ``f1``, each ``_macro``
          and ``_weighted``; ``roc_auc`` (of two classes that of the second, else the mean over one-vs-rest) and
          ``average_precision`` over the classes that have them; ``top_5_accuracy`` of ten or more classes;
          ``log_loss``; ``calibration_error`` (expected, of `CALIBRATION_BINS` bins of equal width of the likeliest
          class's probability);
        - multilabel: the same without ``balanced_accuracy`` and ``top_5_accuracy``; ``accuracy`` is the share of rows
          whose labels are all right, ``log_loss`` the mean over labels;
        - regression: ``r2``, ``mae`` and ``rmse``, means over targets;
        - ``classes`` (``targets`` in a regression): for each name what can be said of it alone, with ``support``, its
          rows' number or weight;
        - ``intervals``: ``level``, ``draws``, and for each name the two ends; see `fastmlp.training.bootstrap`.

        What does not exist, such as a curve of a class without rows, is left out. So are the curves of more than
        `fastmlp.training.answers.MOST_IN_CURVES` probabilities, and the intervals of several curves where draws, rows
        and curves multiply to more than `MOST_IN_INTERVALS`.
    """
    answers = Answers.of(dataset, np.asarray(outputs, np.float64))
    sums = statistics_of(answers)
    found: dict[str, Any] = _values(answers, METRICS[dataset.task], sums)
    if dataset.task == "regression":
        found["targets"] = _each_target(answers)
    else:
        found["calibration_bins"] = CALIBRATION_BINS
        found["classes"] = _each_class(answers)
    if intervals:
        rows = len(answers.truth)
        ends = intervals_of(_with_curves(answers, sums), rows, answers.weights)
        found["intervals"] = {
            "level": LEVEL,
            "draws": draws_of(rows),
            **{name: list(pair) for name, pair in ends.items() if name in found},
        }
    return found


def metric_of(name: str, dataset: Dataset, outputs: Floats) -> float | None:
    """Return one metric of `metrics_of` by its name; None where it does not exist, or outputs are not finite."""
    if not is_finite(outputs):
        return None
    answers = Answers.of(dataset, np.asarray(outputs, np.float64))
    return _values(answers, (name,), statistics_of(answers)).get(name)


def check_selected(name: str, valid: Dataset | None, task: str) -> None:
    """Raise a ConfigError unless networks for a task can be compared by a metric of a validation part."""
    if name == "loss":
        return
    if valid is None:
        raise ConfigError(f"select: found {name!r} without validation data, expected a part for it")
    known = ("loss", *METRICS[task])
    if name not in known:
        raise ConfigError(
            f"select: found {name!r} for a {task}, expected one of {', '.join(known)}"
        )
    even = np.full((len(valid), len(valid.classes)), 1 / len(valid.classes))
    if metric_of(name, valid, even) is None:
        raise ConfigError(
            f"select: found {name!r}, which the validation part does not have with {len(valid):,} rows of "
            f"{len(valid.classes)} classes, expected another metric, or a part with rows of several classes"
        )


def words_of(name: str) -> str:
    """Return the name of a metric in words."""
    return WORDS.get(name, name.replace("_", " "))


def lower_is_better(name: str) -> bool:
    """Return whether a metric, or one of a part such as "valid_loss", is lower if better."""
    return name.removeprefix("valid_") in LOWER_IS_BETTER


def loss_of(name: str, value: float | None) -> float:
    """Return a metric as a loss, which is lower if better; NaN for None."""
    if value is None:
        return float("nan")
    return value if lower_is_better(name) else -value


def _values(answers: Answers, names: tuple[str, ...], sums: Statistics) -> dict[str, float]:
    """Return metrics by name, without those that do not exist."""
    summed = sums(_column(answers))
    found = {name: _value(name, answers, summed) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _value(name: str, answers: Answers, summed: Mapping[str, Floats]) -> float | None:
    if name in CURVES:
        return _over_classes(name, answers)
    if name == "top_5_accuracy":
        return _top(answers)
    if name == "calibration_error":
        return _calibration_error(answers)
    if name == "r2" and len(answers.truth) < 2:
        return None
    return float(summed[name][0])


def _column(answers: Answers) -> Floats:
    """Return the weights [N, 1] of all rows as they are."""
    if answers.weights is None:
        return np.ones((len(answers.truth), 1))
    return np.asarray(answers.weights, np.float64)[:, None]


def _with_curves(answers: Answers, sums: Statistics) -> Statistics:
    """Return statistics with the areas of ROC curves, unless there are so many that they would take long."""
    drawn = len(answers.truth) * draws_of(len(answers.truth))
    labels = () if answers.task == "regression" else _with_a_curve(answers)
    if len(labels) == 0 or (len(labels) > 1 and drawn * len(labels) > MOST_IN_INTERVALS):
        return sums
    curves = [Ranked(answers.outputs[:, one], answers.yes[:, one]) for one in labels]

    def compute(weights: Floats) -> Mapping[str, Floats]:
        areas = [one.roc_auc(weights) for one in curves]
        return {**sums(weights), "roc_auc": np.mean(areas, axis=0)}

    return compute


def _over_classes(name: str, answers: Answers) -> float | None:
    values = [_areas(answers, one)[name] for one in _with_a_curve(answers)]
    return float(np.mean(values)) if values else None


def _with_a_curve(answers: Answers) -> NDArray[np.int64]:
    """Return the classes whose curves count; of two classes that of the second says all."""
    two = answers.task == "classification" and len(answers.classes) == 2
    return answers.split[answers.split == 1] if two else answers.split


def _areas(answers: Answers, label: int) -> Mapping[str, float]:
    if label not in answers.areas:
        ranked = Ranked(answers.outputs[:, label], answers.yes[:, label])
        weights = _column(answers)
        answers.areas[label] = {name: float(getattr(ranked, name)(weights)[0]) for name in CURVES}
    return answers.areas[label]


def _top(answers: Answers) -> float | None:
    if len(answers.classes) < MANY_CLASSES:
        return None
    truth, outputs = answers.truth[:, None], answers.outputs
    own = np.take_along_axis(outputs, truth, axis=1)
    # Of equal probabilities the later class comes first, as in scikit-learn.
    before = (outputs > own) | ((outputs == own) & (np.arange(outputs.shape[1]) > truth))
    return answers.mean(before.sum(axis=1) < TOP)


def _calibration_error(answers: Answers) -> float:
    """Return the mean distance between how sure the answers of a bin are and how many are right."""
    if answers.task == "classification":
        sure = answers.outputs.max(axis=1)
        right = answers.predicted == answers.truth
    else:
        sure = np.maximum(answers.outputs, 1 - answers.outputs)
        right = answers.predicted == answers.truth
    weights = np.ones(len(sure)) if answers.weights is None else answers.weights
    if sure.ndim > 1:
        weights = np.repeat(weights, sure.shape[1])
    bins = np.clip(np.ceil(sure.ravel() * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins.astype(np.int64), weights * (right.ravel() - sure.ravel()))
    return float(np.abs(gaps).sum() / weights.sum())


def _each_class(answers: Answers) -> dict[str, dict[str, float]]:
    sums = class_sums_of(answers)(_column(answers))
    columns = [one[:, 0].tolist() for one in (*rates_of(*sums), sums[0])]
    plain = int if answers.weights is None else float
    found: dict[str, dict[str, float]] = {
        name: {"precision": precision, "recall": recall, "f1": f1, "support": plain(support)}
        for name, precision, recall, f1, support in zip(answers.classes, *columns, strict=True)
    }
    for label in answers.split:
        found[answers.classes[label]].update(_areas(answers, label))
    return found


def _each_target(answers: Answers) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for column, name in enumerate(answers.classes):
        truth, outputs = (one[:, column, None] for one in (answers.truth, answers.outputs))
        one = Answers(answers.task, (name,), truth, outputs, answers.weights)
        found[name] = _values(one, METRICS["regression"], statistics_of(one))
    return found
