"""What a task makes of a network's outputs: answers, probabilities and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset, Normalization, Preparation
from fastmlp.datasets.labels import Task
from fastmlp.errors import DataError

FloatArray = NDArray[np.floating[Any]]


class Meaning(TypedDict):
    """What a network takes over from the data that it is trained on; see `fastmlp.Network`."""

    classes: Sequence[str]
    shape: Sequence[int]
    levels: Sequence[float] | None
    task: Task
    targets: Normalization | None
    preparation: Preparation | None


def meaning_of(train: Dataset) -> Meaning:
    """Return what a network takes over from the data that it is trained on."""
    return {
        "classes": train.classes,
        "shape": train.shape,
        "levels": train.levels,
        "task": train.task,
        "targets": targets_of(train),
        "preparation": train.preparation,
    }


def targets_of(train: Dataset) -> Normalization | None:
    """Return mean and standard deviation of each target of a regression, which weights of rows count for.

    None for other tasks. A network is trained on ``(target - mean) / std``.
    """
    if train.task != "regression":
        return None
    # Divided by a power of two before they are squared: the squares of extreme numbers would be infinite or zero.
    scale = np.exp2(np.frexp(np.abs(train.labels).max(axis=0))[1] - 1.0)
    values = train.labels / scale
    mean = np.average(values, axis=0, weights=train.weights)
    squares = np.average((values - mean) ** 2, axis=0, weights=train.weights)
    return Normalization(mean * scale, np.sqrt(squares) * scale)


def answers(task: Task, outputs: FloatArray, targets: Normalization | None) -> NDArray[Any]:
    """Return what a network predicts.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
    outputs : array [N, T]
        Of the last layer.
    targets : Normalization or None
        Of a regression.

    Returns
    -------
    array
        int64 [N], the class of the largest output, of equal ones the first; int64 [N, T] of 0 and 1, a label where its
        output is above 0, and its probability above one half; or float64 [N, T], in the units of the targets.
    """
    if targets is not None:
        return outputs * targets.std + targets.mean
    labels = outputs.argmax(axis=1) if task == "classification" else outputs > 0
    return labels.astype(np.int64)


def probabilities(task: Task, outputs: FloatArray) -> NDArray[np.float64]:
    """Return the probability of each class or label [N, T], in float64; those of classes sum to 1.

    Raises
    ------
    DataError
        For a regression.
    """
    if task == "regression":
        raise DataError(
            "predict_proba: found a network of a regression, which has no probabilities, expected a call of predict"
        )
    logits = outputs.astype(np.float64)
    if task == "multilabel":
        # In the form that does not overflow.
        small = np.exp(-np.abs(logits))
        chances: NDArray[np.float64] = np.where(logits >= 0, 1, small) / (1 + small)
        return chances
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def judged(task: Task, outputs: FloatArray, targets: Normalization | None) -> NDArray[np.float64]:
    """Return what metrics are computed of: probabilities [N, T], or what a regression predicts."""
    return answers(task, outputs, targets) if targets is not None else probabilities(task, outputs)
