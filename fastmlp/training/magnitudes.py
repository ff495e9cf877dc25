"""Numbers that training cannot use, refused by the name of their feature before they give nonsense.

Training multiplies and squares what enters a network. Beyond the square root of a type's greatest number that
overflows, and below the root of its least one nothing is left.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastmlp.datasets import Normalization, Preparation
from fastmlp.datasets.rows import greatest, least
from fastmlp.errors import DataError


def bounds(dtype: npt.DTypeLike) -> tuple[float, float]:
    """Return the least and the greatest magnitude that a floating-point type can square."""
    limits = np.finfo(dtype)
    return float(limits.tiny) ** 0.5, float(limits.max) ** 0.5


def check_values(
    images: np.ndarray,
    normalization: Normalization,
    dtype: npt.DTypeLike,
    preparation: Preparation | None = None,
) -> None:
    """Raise a DataError that names the feature, unless all values that are finite can be computed with.

    Of others a training says that it diverged, and `fastmlp.training.network.forward` refuses them.

    Parameters
    ----------
    images : array [N, D]
        Raw images, of uint8, float32 or float64.
    normalization : Normalization
    dtype : dtype
        Of the arithmetic: float32 or float64.
    preparation : Preparation, optional
        Of the table that the images come from, whose columns then have names.
    """
    if images.dtype == np.uint8 or not len(images):
        return
    span = _Span(images, normalization)
    _, most = bounds(dtype)
    raw = np.maximum(np.abs(span.low), np.abs(span.high))
    # Values that are not normalised beforehand are converted to the type as they are.
    wrong = (span.far > most) | ((raw > np.finfo(dtype).max) & normalization.fits(dtype))
    wrong &= span.finite
    if wrong.any():
        raise DataError(
            f"images: found {span.told(wrong, preparation)}, expected values that are at most {most:.0e} in "
            f"{np.dtype(dtype)} after normalisation; scale them"
        )


def check_variation(
    images: np.ndarray,
    normalization: Normalization,
    dtype: npt.DTypeLike,
    preparation: Preparation | None = None,
    *,
    each: bool,
) -> None:
    """Raise a DataError that names a feature whose differences are lost after normalisation.

    Parameters
    ----------
    images : array [N, D]
        Those that are trained on.
    normalization, dtype, preparation
        As for `check_values`.
    each : bool
        Whether each feature must differ: those of a table, but not each pixel of a picture.
    """
    if images.dtype == np.uint8:
        return
    span = _Span(images, normalization)
    varies = (span.high > span.low) & span.finite
    # No type helps a feature that weights would have to grow by so much for.
    least = np.maximum(bounds(np.float32)[0], span.far * np.finfo(dtype).eps)
    lost = varies & (span.greatest - span.least < least)
    if lost.any() and (each or np.array_equal(lost, varies)):
        raise DataError(
            f"images: found {span.told(lost, preparation)}, which {np.dtype(dtype)} cannot tell apart after "
            "normalisation, expected values nearer to 1, or normalize='feature'"
        )


class _Span:
    """The least and the greatest value of each feature, raw and normalised, and whether they are finite."""

    def __init__(self, images: np.ndarray, normalization: Normalization) -> None:
        with np.errstate(all="ignore"):
            self.low, self.high = least(images, 0), greatest(images, 0)
            self.finite = np.isfinite(self.low) & np.isfinite(self.high)
            self.least, self.greatest = normalization.apply(np.stack([self.low, self.high]))
            self.far = np.maximum(np.abs(self.least), np.abs(self.greatest))

    def told(self, wrong: np.ndarray, preparation: Preparation | None) -> str:
        """Return the first wrong feature with its values, in words."""
        feature = int(wrong.argmax())
        place = f"feature {feature}"
        if preparation is not None:
            place = f"column {preparation.features[feature]!r}"
        return f"values from {self.low[feature]:.9g} to {self.high[feature]:.9g} in {place}"


def check_magnitudes(
    name: str, values: np.ndarray, dtype: npt.DTypeLike, features: npt.ArrayLike | None = None
) -> None:
    """Raise a DataError that names a column of numbers, unless it can be squared.

    Parameters
    ----------
    name : str
        Of the array.
    values : array [N, D]
        Finite numbers, not normalised.
    dtype : dtype
        Of the arithmetic: float32 or float64.
    features : sequence of str, optional
        The names of the columns.
    """
    least, most = bounds(dtype)
    low, high = values.min(axis=0), values.max(axis=0)
    peaks = np.maximum(np.abs(low.astype(np.float64)), np.abs(high.astype(np.float64)))
    wrong = (peaks > most) | ((peaks > 0) & (peaks < least))
    if wrong.any():
        column = int(wrong.argmax())
        told = f"column {column}" if features is None else repr(np.asarray(features)[column])
        raise DataError(
            f"{name}: found values from {low[column]:g} to {high[column]:g} in {told}, expected 0 or magnitudes "
            f"from {least:.0e} to {most:.0e} in {np.dtype(dtype)}; divide them by a constant"
        )
