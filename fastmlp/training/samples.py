"""Raw images -> what the kernels gather batches from."""

from __future__ import annotations

import numpy as np

from fastmlp.datasets import Dataset, Normalization
from fastmlp.training.chosen import Given as Given
from fastmlp.training.engine import Engine
from fastmlp.training.magnitudes import check_values


def read_as_they_are(images: np.ndarray, normalization: Normalization, dtype: np.dtype) -> bool:
    """Return whether the kernels take these images as they are and scale them, instead of normalised ones."""
    match images.dtype:
        case np.uint8:
            return True
        case np.float32:
            return normalization.scales(dtype)
    return normalization.fits(dtype)


def normalized(
    engine: Engine,
    images: np.ndarray,
    normalization: Normalization,
    *,
    labels: np.ndarray | None = None,
    columns: int | None = None,
) -> Given:
    """Return `Engine.samples` of raw images, which are scaled when a batch is gathered.

    float64 values far from zero, such as times in seconds, would be rounded to equal numbers in float32. Such images
    are normalised here, into a new array; so are those whose scale is no number of the engine's type.

    Raises
    ------
    DataError
        If images are too large for the engine's type; it names the feature.
    """
    check_values(images, normalization, engine.dtype)
    if read_as_they_are(images, normalization, engine.dtype):
        scale = 1 / normalization.std
        shift = -normalization.mean * scale
    else:
        with np.errstate(invalid="ignore"):  # of values that are not finite: the training diverges
            images = normalization.apply(images).astype(engine.dtype)
        scale, shift = np.ones_like(normalization.std), np.zeros_like(normalization.mean)
    return engine.samples(images, scale, shift, labels=labels, columns=columns)


def samples_of(engine: Engine, dataset: Dataset, normalization: Normalization) -> Given:
    """Return `Engine.samples` of a data set, as `normalized` makes them."""
    images, labels, columns = dataset.images, dataset.labels, dataset.shape[2]
    return normalized(engine, images, normalization, labels=labels, columns=columns)
