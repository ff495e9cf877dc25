"""Raw images -> what the kernels gather batches from."""

from __future__ import annotations

import numpy as np

from fastmlp.datasets import Dataset, Normalization
from fastmlp.kernels.arguments import Samples as Samples
from fastmlp.training.engine import Engine


def read_as_they_are(images: np.ndarray, normalization: Normalization, dtype: np.dtype) -> bool:
    """Return whether kernels scale these images themselves, rather than being handed normalised ones."""
    return images.dtype != np.float64 or normalization.fits(dtype)


def normalized(
    engine: Engine,
    images: np.ndarray,
    normalization: Normalization,
    *,
    labels: np.ndarray | None = None,
    columns: int | None = None,
) -> Samples:
    """`Engine.samples` of raw images: they stay as they are, scaled when a batch is gathered.

    But float64 values that lie too far from zero, such as times in seconds, would lose in float32 what tells them
    apart. They are normalised here, into an array of their own.
    """
    scale = 1 / normalization.std
    shift = -normalization.mean * scale
    if not read_as_they_are(images, normalization, engine.dtype):
        images = normalization.apply(images).astype(engine.dtype)
        scale, shift = np.ones_like(scale), np.zeros_like(shift)
    return engine.samples(images, scale, shift, labels=labels, columns=columns)


def samples_of(engine: Engine, dataset: Dataset, normalization: Normalization) -> Samples:
    """Hand a data set to an engine, as `normalized` does its images."""
    images, labels, columns = dataset.images, dataset.labels, dataset.shape[2]
    return normalized(engine, images, normalization, labels=labels, columns=columns)
