"""Metrics of a network's answers, by scikit-learn, for every task.

scikit-learn is imported when a metric is computed, because that takes a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.datasets.transforms import is_finite
from fastmlp.errors import ConfigError
from fastmlp.training.answers import Answers, Floats
from fastmlp.training.bootstrap import LEVEL, draws_of, intervals_of, statistics_of

CALIBRATION_BINS = 15
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
        `fastmlp.training.answers.MOST_IN_CURVES` probabilities, and the intervals of curves of several classes, which
        would take long.
    """
    answers = Answers.of(dataset, np.asarray(outputs, np.float64))
    found: dict[str, Any] = {}
    for name, compute in METRICS[dataset.task].items():
        value = compute(answers)
        if value is not None:
            found[name] = value
    if dataset.task == "regression":
        found["targets"] = _each_target(answers)
    else:
        found["calibration_bins"] = CALIBRATION_BINS
        found["classes"] = _each_class(answers)
    if intervals:
        rows = len(answers.truth)
        ends = intervals_of(statistics_of(answers), rows, answers.weights)
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
    return METRICS[dataset.task][name](Answers.of(dataset, np.asarray(outputs, np.float64)))


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


# -- one at a time -------------------------------------------------------------------------------------


def _accuracy(answers: Answers) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(answers.truth, answers.predicted, sample_weight=answers.weights))


def _balanced_accuracy(answers: Answers) -> float:
    from sklearn.metrics import recall_score

    # balanced_accuracy_score would warn about answers that no row should have.
    present = np.flatnonzero(answers.yes.any(axis=0))
    recall = recall_score(
        answers.truth,
        answers.predicted,
        labels=present,
        average="macro",
        sample_weight=answers.weights,
    )
    return float(recall)


def _averaged(function: str, average: str) -> Callable[[Answers], float]:
    def compute(answers: Answers) -> float:
        from sklearn import metrics

        labels = answers.named if answers.task == "classification" else None
        value = getattr(metrics, function)(
            answers.truth,
            answers.predicted,
            labels=labels,
            average=average,
            sample_weight=answers.weights,
            zero_division=0,
        )
        return float(value)

    return compute


def _over_classes(function: str) -> Callable[[Answers], float | None]:
    def compute(answers: Answers) -> float | None:
        classes = answers.split
        if len(answers.classes) == 2 and answers.task == "classification":
            classes = classes[classes == 1]
        values = [_of_class(function, answers, one) for one in classes]
        return float(np.mean(values)) if values else None

    return compute


def _of_class(function: str, answers: Answers, label: int) -> float:
    from sklearn import metrics

    if (function, label) not in answers.areas:
        area = getattr(metrics, function)(
            answers.yes[:, label], answers.outputs[:, label], sample_weight=answers.weights
        )
        answers.areas[function, label] = float(area)
    return answers.areas[function, label]


def _top(answers: Answers) -> float | None:
    from sklearn.metrics import top_k_accuracy_score

    count = len(answers.classes)
    if count < MANY_CLASSES:
        return None
    return float(
        top_k_accuracy_score(
            answers.truth,
            answers.outputs,
            k=TOP,
            labels=np.arange(count),
            sample_weight=answers.weights,
        )
    )


def _log_loss(answers: Answers) -> float:
    from sklearn.metrics import log_loss

    if answers.task == "classification":
        pairs = [(answers.truth, answers.outputs, np.arange(len(answers.classes)))]
    else:
        pairs = [
            (truth, shares, np.arange(2))
            for truth, shares in zip(answers.truth.T, answers.outputs.T, strict=True)
        ]
    losses = [
        log_loss(truth, shares, labels=labels, sample_weight=answers.weights)
        for truth, shares, labels in pairs
    ]
    return float(np.mean(losses))


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


def _error(function: str) -> Callable[[Answers], float | None]:
    def compute(answers: Answers) -> float | None:
        from sklearn import metrics

        if len(answers.truth) < 2 and function == "r2_score":
            return None
        compare = getattr(metrics, function)
        return float(compare(answers.truth, answers.outputs, sample_weight=answers.weights))

    return compute


_AVERAGES: dict[str, Callable[[Answers], float | None]] = {
    f"{word}_{average}": _averaged(f"{word}_score", average)
    for average in ("macro", "weighted")
    for word in ("precision", "recall", "f1")
}
_SURE: dict[str, Callable[[Answers], float | None]] = {
    "roc_auc": _over_classes("roc_auc_score"),
    "average_precision": _over_classes("average_precision_score"),
    "log_loss": _log_loss,
    "calibration_error": _calibration_error,
}
METRICS: Mapping[str, Mapping[str, Callable[[Answers], float | None]]] = {
    "classification": {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        **_AVERAGES,
        "top_5_accuracy": _top,
        **_SURE,
    },
    "multilabel": {"accuracy": _accuracy, **_AVERAGES, **_SURE},
    "regression": {
        "r2": _error("r2_score"),
        "mae": _error("mean_absolute_error"),
        "rmse": _error("root_mean_squared_error"),
    },
}
SELECTED: tuple[str, ...] = tuple(
    dict.fromkeys(("loss", *(name for names in METRICS.values() for name in names)))
)
"""What a network can be selected by, with one task or another."""


def _each_class(answers: Answers) -> dict[str, dict[str, float]]:
    from sklearn.metrics import precision_recall_fscore_support

    labels = np.arange(len(answers.classes))
    columns = precision_recall_fscore_support(
        answers.truth,
        answers.predicted,
        labels=labels,
        sample_weight=answers.weights,
        zero_division=0,
    )
    plain = int if answers.weights is None else float
    found: dict[str, dict[str, float]] = {
        name: {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": plain(support),
        }
        for name, precision, recall, f1, support in zip(answers.classes, *columns, strict=True)
    }
    for label in answers.split:
        for name in ("roc_auc", "average_precision"):
            value = _of_class(f"{name}_score", answers, label)
            found[answers.classes[label]][name] = value
    return found


def _each_target(answers: Answers) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for column, name in enumerate(answers.classes):
        one = Answers(
            answers.task,
            (name,),
            answers.truth[:, column],
            answers.outputs[:, column],
            answers.weights,
        )
        values = {key: compute(one) for key, compute in METRICS["regression"].items()}
        found[name] = {key: value for key, value in values.items() if value is not None}
    return found
