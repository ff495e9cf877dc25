"""Loss and accuracy, or R2, of a network.

The loss is PyTorch's of the same name, a mean over rows, and over the labels or targets of a row:

- classification: cross-entropy, as ``torch.nn.CrossEntropyLoss``;
- several labels a row: logistic loss, as ``torch.nn.BCEWithLogitsLoss``;
- regression: squared error of the standardised targets, as ``torch.nn.MSELoss``. A network that answers with the mean
  of the training part has a loss of 1 there.

Rows of data with weights count by their weights. Accuracy is the share of rows whose class, or whose labels all, are
right. R2 is the mean over targets, as of ``sklearn.metrics.r2_score``.
"""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np

from fastmlp.datasets import Dataset, Normalization
from fastmlp.datasets.parts import check_dataset, check_features
from fastmlp.errors import DataError
from fastmlp.training.metrics import metrics_of
from fastmlp.training.network import Network, forward


def evaluate(network: Network, dataset: Dataset) -> dict[str, float]:
    """Return the mean loss, and the accuracy or R2: ``{"loss": ..., "accuracy": ...}``, of a regression ``"r2"``.

    Rows count by their weights. The losses are those of `fastmlp.training.evaluation`.

    Parameters
    ----------
    network : Network
        A trained network.
    dataset : Dataset
        Images of the network's shape, with labels of its classes.

    Raises
    ------
    DataError
        If the data set's task, images or classes do not fit the network.
    """
    if not isinstance(network, Network):
        raise DataError(
            f"network: found {type(network).__name__}, expected a Network; fastmlp.load(path) reads one"
        )
    check_dataset("dataset", dataset)
    check_features("dataset", dataset, network.preparation)
    found, own = dataset.classes, tuple(network.classes)
    # Names may differ (those of a `state_dict` are numbers), but not the order of the same names.
    fits = len(found) == len(own) and (found == own or set(found) != set(own))
    fits = fits and dataset.task == network.task
    if dataset.images.shape[1] != network.sizes[0] or not fits:
        raise DataError(
            f"dataset: found a {dataset.task} of {dataset.shape} images, {reprlib.repr(found)}, expected a "
            f"{network.task} of {network.shape}, {reprlib.repr(own)}, as in the network's training"
        )
    outputs = forward(network, dataset.images)
    return score(outputs, dataset.labels, dataset.weights, network.targets)


def measure(network: Network, dataset: Dataset) -> dict[str, Any]:
    """Return the loss of `evaluate` and all metrics of `fastmlp.training.metrics.metrics_of`, with intervals.

    Parameters
    ----------
    network : Network
        A trained network.
    dataset : Dataset
        As for `evaluate`.

    Raises
    ------
    DataError
        As for `evaluate`; also if the network's outputs are not finite.
    """
    loss = evaluate(network, dataset)["loss"]
    return {"loss": loss, **metrics_of(dataset, outputs_of(network, dataset))}


def outputs_of(network: Network, dataset: Dataset) -> np.ndarray:
    """Return what metrics of a network are computed of: probabilities [N, T], of a regression its predictions."""
    ask = network.predict if network.task == "regression" else network.predict_proba
    return ask(dataset)


def score(
    outputs: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    targets: Normalization | None = None,
) -> dict[str, float]:
    """Return the mean loss, and the accuracy or R2, of outputs for labels, in float64.

    Parameters
    ----------
    outputs : array [N, T]
        Of a network's last layer.
    labels : array [N] or [N, T]
        As of a Dataset.
    weights : array [N], optional
        How much each row counts.
    targets : Normalization, optional
        Of a regression: mean and standard deviation of each target of the training part.
    """
    if targets is not None:
        labels = targets.apply(labels)
        with np.errstate(invalid="ignore", over="ignore"):
            errors = (outputs.astype(np.float64) - labels) ** 2
            loss = _mean(errors.mean(axis=1), weights)
        return {"loss": loss, "r2": _r2(errors, labels, weights)}
    each = score_each if labels.ndim == 1 else score_labels
    losses, correct = each(outputs, labels)
    return {"loss": _mean(losses, weights), "accuracy": _mean(correct, weights)}


def score_each(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-entropy [N] in float64 of logits [N, C] for labels [N], and which of them [N] are right."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return losses, logits.argmax(1) == labels


def score_labels(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean logistic loss [N] in float64 of logits [N, T] for labels [N, T], and which rows [N] are right."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        losses = np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))
    return losses.mean(axis=1), ((logits > 0) == (labels > 0)).all(axis=1)


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    return float(values.mean() if weights is None else np.average(values, weights=weights))


def _r2(errors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the mean over targets of R2, from squared errors [N, T]; of a constant target 1 if all are 0, else 0."""
    distances = (labels - np.average(labels, axis=0, weights=weights)) ** 2
    left, whole = (np.average(one, axis=0, weights=weights) for one in (errors, distances))
    with np.errstate(invalid="ignore", over="ignore"):
        shares = np.where(whole > 0, left / np.where(whole > 0, whole, 1), left > 0)
    return float(1 - shares.mean())
