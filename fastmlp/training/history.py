"""The history of a training: one row per epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast


class Row(TypedDict):
    """The results of one epoch.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss : float
        Mean over the epoch, each batch measured before its step.
    train_accuracy, train_r2 : float
        The share of right answers, as the loss; of a regression R2 instead.
    valid_loss, valid_accuracy, valid_r2 : float or None
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
    train_accuracy: NotRequired[float]
    train_r2: NotRequired[float]
    valid_loss: float | None
    valid_accuracy: NotRequired[float | None]
    valid_r2: NotRequired[float | None]
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
    valid_mae: NotRequired[float]
    valid_rmse: NotRequired[float]


def make_row(
    epoch: int,
    learning_rate: float,
    train: Mapping[str, float],
    seconds: float,
    samples: int,
    valid: Mapping[str, float] | None,
) -> Row:
    """Make the row of an epoch.

    Parameters
    ----------
    epoch : int
        Counted from 1.
    learning_rate : float
    train : mapping
        ``loss``, and ``accuracy`` or ``r2``, over the steps.
    seconds : float
        How long the steps took.
    samples : int
        How many rows they were taken with.
    valid : mapping, optional
        The same as `train` on the validation part, and what the configuration selects by.
    """
    scores: dict[str, Any] = {}
    for part, values in (("train", train), ("valid", valid)):
        scores |= {f"{part}_{name}": None if values is None else values[name] for name in train}
    scores |= {f"valid_{name}": value for name, value in (valid or {}).items()}
    row = {
        "epoch": epoch,
        **scores,
        "learning_rate": learning_rate,
        "seconds": seconds,
        "samples_per_second": samples / seconds,
    }
    return cast(Row, row)


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
