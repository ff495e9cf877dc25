"""Samples of which some are meant, by their numbers: those of a data set that stays on disk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp.datasets.rows import Rows, file_of
from fastmlp.errors import DataError
from fastmlp.kernels.arguments import Samples
from fastmlp.machine.mapped import MappedFile
from fastmlp.training.memory import plain


class Chosen(NamedTuple):
    """Some of the samples that the kernels know.

    Attributes
    ----------
    samples : Samples
        All of them.
    numbers : array [n] of int64
        Which are meant, in their order.
    file : MappedFile or None
        What their images are read from, a part at a time; None if they are read like those in memory.
    """

    samples: Samples
    numbers: np.ndarray
    file: MappedFile | None


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
    file, numbers = file_of(images), None
    if isinstance(images, Rows):
        labels, targets = in_place(labels, images), in_place(targets, images)
        numbers = images.numbers
        images = images.source
    elif file is not None:
        numbers = np.arange(len(images))
    if labels is None:
        labels = np.zeros(len(images), np.int64)
    if targets is None:
        targets = np.zeros((0, 0))
    samples = Samples(
        plain(images, images.dtype),
        plain(labels, np.dtype(np.int64)),
        plain(targets, dtype),
        scale.astype(dtype),
        shift.astype(dtype),
        columns,
    )
    return samples if numbers is None else Chosen(samples, numbers, file)


def known(given: Given) -> Samples:
    """Return all samples that the kernels know, whether they are meant or not."""
    return given.samples if isinstance(given, Chosen) else given


def count_of(given: Given) -> int:
    """Return how many samples are meant."""
    return len(given.numbers if isinstance(given, Chosen) else given.images)


def with_fill(given: Given, shape: tuple[int, ...]) -> Given:
    """Return samples with what pixels become that are cut out: what is normalised to zero, or is nearest to it."""
    samples = known(given)
    fill = -samples.shift / samples.scale
    kind = samples.images.dtype
    if kind == np.uint8:
        fill = np.clip(np.rint(fill), 0, 255)
    samples = samples._replace(fill=fill.astype(kind).reshape(shape))
    return given._replace(samples=samples) if isinstance(given, Chosen) else samples


def numbered(samples: Given, order: np.ndarray | None) -> tuple[Samples, np.ndarray]:
    """Return samples as the kernels know them, and the numbers there of those in an order, by default of all."""
    if isinstance(samples, Chosen):
        return samples.samples, samples.numbers if order is None else samples.numbers[order]
    return samples, np.arange(len(samples.images)) if order is None else order
