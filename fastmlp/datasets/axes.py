"""Arrays of any origin: numbers of one shape, and which of their axes holds the channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.rows import contiguous
from fastmlp.datasets.transforms import check_finite
from fastmlp.errors import DataError, line_of

PICTURE_CHANNELS = (1, 3)
OTHER_CHANNELS = (2, 4)  # with transparency
DTYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))  # of images


def as_array(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return an array of real numbers; raise a DataError that names the first row of another shape."""
    array = converted(values, name)
    if array.dtype.kind == "O" and not array.ndim:
        raise DataError(f"{name}: found {type(values).__name__}, expected an array of numbers")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: found values of type {array.dtype}, expected numbers")
    return array


def converted(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return what NumPy makes of an array of any origin, or raise a DataError that says why it makes none."""
    try:
        return np.asarray(values)
    except Exception as error:  # arrays of other packages raise what they like
        if not isinstance(values, Sequence) or not isinstance(error, ValueError):
            raise DataError(
                f"{name}: found {type(values).__name__}, of which NumPy makes no array ({line_of(error)}), "
                "expected an array of numbers"
            ) from None
        shapes = [_shape_of(row) for row in values]
        odd = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), None)
        found = "" if odd is None else f" ({shapes[0]} at row 0, {shapes[odd]} at row {odd})"
        raise DataError(f"{name}: found rows of mixed shapes{found}, expected one shape") from None


def _shape_of(row: Any) -> list[int]:
    if hasattr(row, "shape"):
        return list(row.shape)
    return [len(row)] if hasattr(row, "__len__") else []


def pixels_of(
    images: npt.ArrayLike, shape: Sequence[int] | None, name: str
) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
    """Return images of any origin as rows [N, D], channels first, and what the axes of one image were.

    Parameters
    ----------
    images, shape, name
        As for `Dataset.from_arrays`.

    Raises
    ------
    DataError
        If the axes could be several things, or a value is not finite.
    """
    pixels = as_array(images, name)
    if pixels.ndim not in (2, 3, 4):
        raise DataError(
            f"{name}: images have shape {list(pixels.shape)}, "
            "expected [N, D], [N, height, width], [N, channels, height, width] or "
            "[N, height, width, channels]"
        )
    if pixels.dtype not in DTYPES:
        with np.errstate(over="ignore"):  # infinity is refused below
            pixels = pixels.astype(np.float64)
    if pixels.ndim == 4 and has_channels_last(pixels.shape[1:], shape, name):
        pixels = pixels.transpose(0, 3, 1, 2)
    sides = pixels.shape[1:]
    pixels = contiguous(pixels).reshape(len(pixels), math.prod(sides))
    check_finite(name, pixels)
    return pixels, sides


def has_channels_last(sides: Sequence[int], shape: Sequence[int] | None, name: str) -> bool:
    """Return whether images of four axes have their channels last.

    Parameters
    ----------
    sides : (int, int, int)
        Without the first axis.
    shape : (channels, height, width), optional
        What the images are said to be.
    name : str

    Raises
    ------
    DataError
        If they could have them first or last, or are not what they are said to be.
    """
    a, b, c = sides
    if shape is not None:
        first, last = tuple(shape) == (a, b, c), tuple(shape) == (c, a, b)
        if not first and not last:
            raise DataError(
                f"{name}: images have shape [N, {a}, {b}, {c}], expected [N, channels, height, width] or "
                f"[N, height, width, channels] of the shape {tuple(shape)}"
            )
        return last and not first
    # Of pictures that are but a line, none is likely.
    first = a in PICTURE_CHANNELS and min(b, c) > 1
    last = c in PICTURE_CHANNELS and min(a, b) > 1
    either = (first and last) or (
        c in OTHER_CHANNELS and a > max(*PICTURE_CHANNELS, *OTHER_CHANNELS)
    )
    if either:
        raise DataError(
            f"{name}: images have shape [N, {a}, {b}, {c}], which is {a} channels of {b} x {c} or {a} x {b} of "
            f"{c} channels, expected shape=({a}, {b}, {c}) or shape=({c}, {a}, {b}) to say which"
        )
    return last
