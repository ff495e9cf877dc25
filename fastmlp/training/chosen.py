"""Samples of which some are meant, by their numbers: those of a data set that stays on disk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp.datasets.rows import Rows
from fastmlp.errors import DataError
from fastmlp.kernels.arguments import Samples


class Chosen(NamedTuple):
    """Some of the samples that the kernels know.

    Attributes
    ----------
    samples : Samples
        All of them.
    numbers : array [n] of int64
        Which are meant, in their order.
    """

    samples: Samples
    numbers: np.ndarray


Given = Samples | Chosen
"""What the engine takes."""


def in_place(values: np.ndarray | None, images: Rows) -> np.ndarray | None:
    """Return the labels or targets of some rows, each in the place that its image has in the whole; zeros elsewhere.

    Raises
    ------
    DataError
        If an image comes twice, with two labels.
    """
    if values is None:
        return None
    whole = np.zeros((len(images.source), *values.shape[1:]), values.dtype)
    whole[images.numbers] = values
    wrong = (whole[images.numbers] != values).reshape(len(values), -1).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"labels: found another label at row {row} than where its image comes again, expected one an image"
        )
    return whole


def numbered(samples: Given, order: np.ndarray | None) -> tuple[Samples, np.ndarray]:
    """Return samples as the kernels know them, and the numbers there of those in an order, by default of all."""
    if isinstance(samples, Chosen):
        return samples.samples, samples.numbers if order is None else samples.numbers[order]
    return samples, np.arange(len(samples.images)) if order is None else order
