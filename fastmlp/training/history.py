"""The history of a training: one row per epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NotRequired, TypedDict, cast

from fastmlp.training.engine import EpochRecord


class Row(TypedDict):
    """The results of one epoch.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss, train_accuracy : float
        Means over the epoch, each batch measured before its step.
    valid_loss, valid_accuracy : float or None
        After the epoch; None without validation data.
    learning_rate : float
    seconds, samples_per_second : float
        Of training, without validation and compilation.
    train_cost, valid_cost : float, optional
        Loss plus the penalty of the weight decay, if the training measures it.
    valid_f1_macro and so on : float, optional
        The metric of `fastmlp.training.metrics` that the configuration selects by.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None
    learning_rate: float
    seconds: float
    samples_per_second: float
    train_cost: NotRequired[float]
    valid_cost: NotRequired[float]
    valid_balanced_accuracy: NotRequired[float]
    valid_precision_macro: NotRequired[float]
    valid_recall_macro: NotRequired[float]
    valid_f1_macro: NotRequired[float]
    valid_precision_weighted: NotRequired[float]
    valid_recall_weighted: NotRequired[float]
    valid_f1_weighted: NotRequired[float]
    valid_top_5_accuracy: NotRequired[float]
    valid_roc_auc: NotRequired[float]
    valid_average_precision: NotRequired[float]
    valid_log_loss: NotRequired[float]
    valid_calibration_error: NotRequired[float]
    valid_r2: NotRequired[float]
    valid_mae: NotRequired[float]
    valid_rmse: NotRequired[float]


def make_row(
    epoch: int,
    learning_rate: float,
    record: EpochRecord,
    seconds: float,
    scores: Mapping[str, float] | None,
) -> Row:
    """Make the row of an epoch.

    Parameters
    ----------
    epoch : int
        Counted from 1.
    learning_rate : float
    record : EpochRecord
        What the steps recorded.
    seconds : float
        How long the steps took.
    scores : mapping, optional
        ``loss`` and ``accuracy`` on the validation part, and further metrics.
    """
    row: Row = {
        "epoch": epoch,
        "train_loss": float(record.losses.mean()),
        "train_accuracy": float(record.correct.mean()),
        "valid_loss": None if scores is None else scores["loss"],
        "valid_accuracy": None if scores is None else scores["accuracy"],
        "learning_rate": learning_rate,
        "seconds": seconds,
        "samples_per_second": len(record.losses) / seconds,
    }
    others = {f"valid_{name}": value for name, value in (scores or {}).items()}
    return cast(Row, row | others)


def first_not_finite(row: Row) -> str | None:
    """Return the name of the first loss or cost in a row that is NaN or infinite; None if all are finite."""
    for name, value in row.items():
        if (
            name.endswith(("_loss", "_cost"))
            and isinstance(value, float)
            and not math.isfinite(value)
        ):
            return name
    return None
