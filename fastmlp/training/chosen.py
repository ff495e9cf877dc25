"""Samples of which some are meant, by their numbers: those of a data set that stays on disk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp.datasets.rows import Rows
from fastmlp.errors import DataError
from fastmlp.kernels.arguments import Samples
from fastmlp.training.memory import plain


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


def describe(
    images: np.ndarray | Rows,
    scale: np.ndarray,
    shift: np.ndarray,
    labels: np.ndarray | None,
    targets: np.ndarray | None,
    columns: int,
    dtype: np.dtype,
) -> Given:
    """Return a data set as the kernels take it; the parameters are those of `Engine.samples`."""
    if isinstance(images, Rows):
        places = in_place(labels, images), in_place(targets, images)
        whole = describe(images.source, scale, shift, *places, columns, dtype)
        assert isinstance(whole, Samples)
        return Chosen(whole, images.numbers)
    if labels is None:
        labels = np.zeros(len(images), np.int64)
    if targets is None:
        targets = np.zeros((0, 0))
    return Samples(
        plain(images, images.dtype),
        plain(labels, np.dtype(np.int64)),
        plain(targets, dtype),
        scale.astype(dtype),
        shift.astype(dtype),
        columns,
    )


def with_fill(given: Given, shape: tuple[int, ...]) -> Given:
    """Return samples with what pixels become that are cut out: what is normalised to zero, or is nearest to it."""
    if isinstance(given, Chosen):
        samples = with_fill(given.samples, shape)
        assert isinstance(samples, Samples)
        return given._replace(samples=samples)
    fill = -given.shift / given.scale
    kind = given.images.dtype
    if kind == np.uint8:
        fill = np.clip(np.rint(fill), 0, 255)
    return given._replace(fill=fill.astype(kind).reshape(shape))


def numbered(samples: Given, order: np.ndarray | None) -> tuple[Samples, np.ndarray]:
    """Return samples as the kernels know them, and the numbers there of those in an order, by default of all."""
    if isinstance(samples, Chosen):
        return samples.samples, samples.numbers if order is None else samples.numbers[order]
    return samples, np.arange(len(samples.images)) if order is None else order
