"""Loss and accuracy of a network."""

from __future__ import annotations

import reprlib

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.datasets.dataset import check_dataset
from fastmlp.errors import DataError
from fastmlp.training.network import Network, forward


def evaluate(network: Network, dataset: Dataset) -> dict[str, float]:
    """Return the mean cross-entropy and the share of right answers: ``{"loss": ..., "accuracy": ...}``.

    Parameters
    ----------
    network : Network
        A trained network.
    dataset : Dataset
        Images of the network's shape, with labels of its classes.

    Raises
    ------
    DataError
        If the data set's images or classes do not fit the network.
    """
    check_dataset("dataset", dataset)
    found, own = dataset.classes, tuple(network.classes)
    # Names may differ (those of a `state_dict` are numbers), but not the order of the same names.
    fits = len(found) == len(own) and (found == own or set(found) != set(own))
    if dataset.images.shape[1] != network.sizes[0] or not fits:
        raise DataError(
            f"dataset: found {dataset.shape} images of {reprlib.repr(found)}, expected "
            f"{network.shape} of {reprlib.repr(own)} as in the network's training"
        )
    return score(forward(network, dataset.images), dataset.labels)


def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the mean cross-entropy and the accuracy of logits [N, C] for labels [N], in float64."""
    losses, correct = score_each(logits, labels)
    return {"loss": float(losses.mean()), "accuracy": float(correct.mean())}


def score_each(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-entropy [N] in float64 of logits [N, C] for labels [N], and which of them [N] are right."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return losses, logits.argmax(1) == labels
