"""What happens to images before training: resizing, and the statistics that normalise them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.rows import blocks, each, greatest, least
from fastmlp.errors import ConfigError, DataError

LARGEST_SIDE = 1024
HALF_RANGE = 127.5  # of the grey levels 0..255
USUAL_EXPONENT = 256  # of two; squares of such numbers, and their sums, are float64 numbers
CHUNK_ROWS = 64  # converted to float64 at a time: little memory, and a chunk stays in the cache


class Images(Protocol):
    """The part of a Dataset that `Normalization.of` reads."""

    @property
    def images(self) -> npt.NDArray[Any]:
        """One row an image, flattened channel by channel: [N, D]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width."""


def is_rows(shape: Sequence[int]) -> bool:
    """Return whether images of a shape are rows of features, and no pictures: one channel of height 1."""
    return tuple(shape[:2]) == (1, 1)


def is_finite(array: npt.NDArray[Any]) -> bool:
    """Return whether all values of an array are finite."""
    if array.dtype.kind != "f" or not array.size:
        return True
    # The least and the greatest value suffice, and need no array as large as np.isfinite(array).
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(least(array)) and np.isfinite(greatest(array)))


def check_finite(name: str, images: npt.NDArray[Any]) -> None:
    """Raise a DataError that names the first value of images [N, D] that is not finite."""
    if is_finite(images):
        return
    first, image = next(pair for pair in enumerate(each(images)) if not is_finite(pair[1]))
    column = int(np.argmin(np.isfinite(image)))
    raise DataError(
        f"{name}: image {first} holds {image[column]} at value {column}, expected finite numbers"
    )


def resize(
    images: npt.NDArray[Any], shape: tuple[int, ...], size: int | tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
    """Scale images with Pillow: bilinear, with a filter as wide as the reduction (antialiased).

    Parameters
    ----------
    images : uint8 ndarray [N, channels * height * width]
    shape : (channels, height, width)
    size : int or (height, width)
        In pixels, 1..1024.

    Returns
    -------
    images : uint8 ndarray [N, channels * new height * new width]
    shape : (channels, new height, new width)

    Raises
    ------
    DataError
        If the size is wrong, or the images are not uint8 or rows that are no pictures.
    """
    from PIL import Image

    channels, height, width = shape
    if is_rows(shape):
        raise DataError(
            f"resize: found rows of {width} values, expected pictures; give from_arrays their shape"
        )
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(
        isinstance(side, int) and 1 <= side <= LARGEST_SIDE for side in sides
    ):
        raise DataError(
            f"size: found {size!r}, expected one or two whole numbers of pixels, 1..{LARGEST_SIDE}"
        )
    if images.dtype != np.uint8:
        raise DataError(f"resize: images are {images.dtype}, expected uint8 grey levels")
    target = (sides[::-1], Image.Resampling.BILINEAR)
    scaled = np.empty((len(images), channels, *sides), np.uint8)
    for image, small in zip(each(images), scaled, strict=True):
        picture = image.reshape(channels, height, width)
        if channels == 3:  # the same bits as channel by channel, in half the time
            colour = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
            small[:] = np.asarray(colour.resize(*target)).transpose(2, 0, 1)
        else:
            for plane, small_plane in zip(picture, small, strict=True):
                small_plane[:] = np.asarray(Image.fromarray(plane).resize(*target))
    return scaled.reshape(len(images), -1), (channels, *sides)


@dataclass(frozen=True, eq=False, repr=False)
class Normalization:
    """(X - mean) / std, with a mean and a standard deviation for each of the D values of an image.

    Parameters
    ----------
    mean, std : float64 ndarray [D]
        In the units of the images (grey levels 0..255), so raw images need no scaling first.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]

    def __repr__(self) -> str:
        spans = (" to ".join(f"{one:g}" for one in dict.fromkeys((of.min(), of.max())))
                 for of in (self.mean, self.std))  # fmt: skip
        return "<Normalization of {} values, means {}, deviations {}>".format(
            len(self.mean), *spans
        )

    @classmethod
    def of(cls, part: Images, per: str = "channel") -> Normalization:
        """Measure images, which should be those of the training part alone.

        Parameters
        ----------
        part : Dataset
            The images.
        per : {"channel", "feature", "range", "none"}
            One mean and deviation for all pixels of a channel, one for each of the D values, 127.5
            throughout (which scales 0..255 to -1..1), or 0 and 1 throughout. Rows that are no pictures
            have no channels: each of their values is measured by itself.

        Returns
        -------
        Normalization
            Sums are taken in float64, in two passes and always in the same order. The deviation is
            the population's; it is set to 1 (or the rounding, if that is more) where it is 0 up to
            rounding (a pixel that never changes).
        """
        width = part.images.shape[1]
        if per == "none":
            return cls(np.zeros(width), np.ones(width))
        if per == "range":
            return cls(np.full(width, HALF_RANGE), np.full(width, HALF_RANGE))
        if per not in ("channel", "feature"):
            raise ConfigError(f"normalize: found {per!r}, expected channel, feature, range or none")

        # Of values that are not finite come statistics that are not, and of these a training that says so.
        with np.errstate(invalid="ignore"):
            return cls(*_measured(part, single=per == "feature" or is_rows(part.shape)))

    def fits(self, dtype: npt.DTypeLike) -> bool:
        """Return whether normalising in a floating-point type keeps 14 bits of the differences between values.

        Parameters
        ----------
        dtype : dtype
            Of the arithmetic.
        """
        most_deviations = 2.0**-13 / np.finfo(dtype).eps  # between zero and a mean
        with np.errstate(over="ignore"):
            far = np.abs(self.mean) > most_deviations * self.std
        return self.scales(dtype) and not far.any()

    def scales(self, dtype: npt.DTypeLike) -> bool:
        """Return whether deviations, and values 2**14 times as small or large, are normal numbers of a type.

        Parameters
        ----------
        dtype : dtype
            Of the arithmetic.
        """
        limits = np.finfo(dtype)
        least, most = float(limits.tiny) * 2.0**14, float(limits.max) / 2.0**14
        return bool(((self.std > least) & (self.std < most)).all())

    def apply(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return (X - mean) / std.

        Parameters
        ----------
        X : ndarray [N, D]
            Raw images.

        Returns
        -------
        float64 ndarray [N, D]
            A new array.
        """
        if X.ndim != 2 or X.shape[1] != len(self.mean):
            raise DataError(f"X: found shape {list(X.shape)}, expected [N, {len(self.mean)}]")
        normal: npt.NDArray[np.float64] = np.subtract(X, self.mean, dtype=np.float64)
        normal /= self.std
        return normal


def _measured(
    part: Images, *, single: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and deviation of each of the D values: of their channels, or of single values."""
    count, width = part.images.shape

    def share(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        average: npt.NDArray[np.float64] = sums / count
        if single:
            return average
        channels = average.reshape(part.shape[0], -1)
        return np.repeat(channels.mean(axis=1), channels.shape[1])

    exponents = _exponents(part.images)
    if not single:
        largest = exponents.reshape(part.shape[0], -1).max(axis=1)
        exponents = np.repeat(largest, width // part.shape[0])

    def chunks() -> Iterator[npt.NDArray[Any]]:
        rows = blocks(part.images, CHUNK_ROWS)
        return (np.ldexp(one, -exponents) for one in rows) if exponents.any() else rows

    total, squares = np.zeros(width), np.zeros(width)
    for chunk in chunks():
        total += chunk.sum(axis=0, dtype=np.float64)
    mean = share(total)
    for chunk in chunks():
        distance = chunk - mean
        # Of einsum, products and sums are rounded once on ARM and twice on x86.
        squares += np.square(distance, out=distance).sum(axis=0)
    std = np.sqrt(share(squares))
    rounding = np.finfo(np.float64).eps * count * np.abs(mean)
    constant = std <= rounding
    mean, std, rounding = (np.ldexp(one, exponents) for one in (mean, std, rounding))
    std = np.maximum(std, np.finfo(np.float64).smallest_subnormal)
    return mean, np.where(constant, np.maximum(rounding, 1.0), std)


def _exponents(images: npt.NDArray[Any]) -> npt.NDArray[np.intc]:
    """Return what power of two each column is divided by before it is squared; 0 but for extreme float64 numbers.

    Their squares would be infinite or zero. Divided, they are not, and no other bit changes.
    """
    if images.dtype != np.float64:
        return np.zeros(images.shape[1], np.intc)
    peaks = np.maximum(np.abs(least(images, 0)), np.abs(greatest(images, 0)))
    exponents = np.frexp(np.where(np.isfinite(peaks), peaks, 0))[1]
    return np.where(np.abs(exponents) > USUAL_EXPONENT, exponents, 0).astype(np.intc)
