"""What `predict` is given, as the rows that a network was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp.datasets import Dataset, Preparation
from fastmlp.datasets.axes import converted
from fastmlp.datasets.parts import check_features
from fastmlp.datasets.transforms import is_finite
from fastmlp.machine.streams import warn
from fastmlp.training.shapes import spell_shape
from fastmlp.training.state import check

_IMAGE_TYPES = ("uint8", "float32", "float64")


def rows_of(X: Any, shape: Sequence[int], preparation: Preparation | None) -> np.ndarray:
    """Return X as a C-contiguous array [N, D] of an image type.

    Parameters
    ----------
    X : array [N, D], Dataset, or a table where there is a preparation
    shape : (channels, height, width)
        Of an image; the product is D.
    preparation : Preparation or None
        What makes rows of numbers of a table.

    Raises
    ------
    DataError
        If X is something else; the message says what is wrong.
    """
    if preparation is not None and hasattr(X, "columns"):
        X, notes = preparation.apply(X, "X")
        for note in notes:
            warn(note, UserWarning)
    if isinstance(X, Dataset):
        check_features("X", X, preparation)
    array = X.images if isinstance(X, Dataset) else converted(X, "X")
    values = math.prod(shape)
    rows = f"[N, {values}] ({spell_shape(shape)} values an image)"
    if preparation is not None:
        rows = f"a data frame with the columns of the training, or their features [N, {values}]"
    if array.shape == (values,):
        rows += "; pass X[None, :] for one image"
    elif array.ndim > 2 and math.prod(array.shape[1:]) == values:
        rows += "; pass X.reshape(len(X), -1)"
    check(array.shape[1:] == (values,), "X", f"shape {array.shape}", rows)
    check(array.dtype in _IMAGE_TYPES, "X", str(array.dtype), ", ".join(_IMAGE_TYPES))
    check(is_finite(array), "X", "values that are not finite", "grey levels")
    # A Dataset's images are contiguous, or stay on disk.
    return array if isinstance(X, Dataset) else np.ascontiguousarray(array)
