"""Raw images -> what the kernels gather batches from."""

from __future__ import annotations

import numpy as np

from fastmlp.datasets import Dataset, Normalization, Preparation
from fastmlp.errors import DataError
from fastmlp.training.chosen import Given as Given
from fastmlp.training.engine import Engine
from fastmlp.training.magnitudes import bounds, check_values


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
    targets: np.ndarray | None = None,
    columns: int | None = None,
    preparation: Preparation | None = None,
) -> Given:
    """Return `Engine.samples` of raw images, which are scaled when a batch is gathered.

    float64 values far from zero, such as times in seconds, would be rounded to equal numbers in float32. Such images
    are normalised here, into a new array; so are those whose scale is no number of the engine's type.

    Raises
    ------
    DataError
        If images are too large for the engine's type; it names the feature, or the table's column.
    """
    check_values(images, normalization, engine.dtype, preparation)
    if read_as_they_are(images, normalization, engine.dtype):
        scale = 1 / normalization.std
        shift = -normalization.mean * scale
    else:
        with np.errstate(invalid="ignore"):  # of values that are not finite: the training diverges
            images = normalization.apply(images).astype(engine.dtype)
        scale, shift = np.ones_like(normalization.std), np.zeros_like(normalization.mean)
    return engine.samples(images, scale, shift, labels=labels, targets=targets, columns=columns)


def samples_of(
    engine: Engine,
    dataset: Dataset,
    normalization: Normalization,
    targets: Normalization | None = None,
) -> Given:
    """Return `Engine.samples` of a data set, as `normalized` makes them; targets of a regression are standardised.

    Raises
    ------
    DataError
        As for `normalized`, and if a target is too large after standardising.
    """
    is_of_classes = dataset.task == "classification"
    labels = dataset.labels if is_of_classes else None
    wanted = None if is_of_classes else dataset.labels
    if targets is not None:
        wanted = targets.apply(dataset.labels)
        most = bounds(engine.dtype)[1]
        if np.abs(wanted).max() > most:
            row, column = np.argwhere(np.abs(wanted) > most)[0]
            raise DataError(
                f"{dataset.name}: found {dataset.labels[row, column]:g} at row {row} of {dataset.classes[column]!r}, "
                f"expected targets of at most {most:.0e} standard deviations in {engine.dtype}"
            )
    return normalized(
        engine,
        dataset.images,
        normalization,
        labels=labels,
        targets=wanted,
        columns=dataset.shape[2],
        preparation=dataset.preparation,
    )
