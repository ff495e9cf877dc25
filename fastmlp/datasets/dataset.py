"""Dataset: images, labels and their meaning, in one value to slice, pick, resize and split.

Images stay as the files hold them (uint8, one row an image, channel after channel). They are normalised with the
statistics of the training part (`transforms.Normalization`), by the kernels that gather a batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastmlp.datasets import transforms
from fastmlp.errors import DataError

MOST_CLASSES = 100_000  # a stray label of 10**12 must not create as many names
PICTURE_CHANNELS = (1, 3)
OTHER_CHANNELS = (2, 4)  # with transparency
DTYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


def permutation(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the numbers 0..count-1 in an order that depends on the seed alone.

    NumPy promises that the raw stream of a bit generator never changes, but promises nothing about
    `Generator.permutation`. The raw stream is sorted, so a split is the same with every NumPy.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed: found {seed!r}, expected a whole number from 0")
    return np.argsort(np.random.PCG64(int(seed)).random_raw(count), kind="stable")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images.

    Parameters
    ----------
    images : ndarray [N, D], C-contiguous
        One row an image, flattened channel by channel, row by row. uint8 grey levels (generic
        arrays may be float32 or float64).
    labels : int64 ndarray [N]
        Index into `classes`.
    shape : (channels, height, width)
        Their product is D.
    classes : tuple of str
        The name of each label.
    name : str
        The name of this data in error messages and reports.
    train_size : int or None
        The first `train_size` rows are the official training part, the others the official test
        part; None for a derived part, which has neither.

    Raises
    ------
    DataError
        If the arrays do not fit each other, or a label is outside 0..len(classes)-1.
    """

    images: npt.NDArray[Any] = field(repr=False)
    labels: npt.NDArray[np.int64] = field(repr=False)
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    name: str
    train_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit: compiled kernels check no bounds."""
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))  # a list equals no tuple
        images, labels = self.images, self.labels
        if images.ndim != 2 or images.dtype not in DTYPES or not images.flags.c_contiguous:
            raise DataError(
                f"{self.name}: images are {images.dtype} {list(images.shape)}, expected [N, D] of "
                "uint8, float32 or float64, C-contiguous; Dataset.from_arrays converts"
            )
        if not len(images):
            raise DataError(f"{self.name}: found no images, expected at least one")
        if len(self.shape) != 3 or math.prod(self.shape) != images.shape[1] or min(self.shape) < 1:
            raise DataError(
                f"{self.name}: shape is {self.shape}, expected (channels, height, width) "
                f"of {images.shape[1]} values"
            )
        if labels.shape != (len(images),) or labels.dtype != np.int64:
            raise DataError(
                f"{self.name}: labels are {labels.dtype} {list(labels.shape)}, "
                f"expected int64 [{len(images)}], one an image"
            )
        if len(set(self.classes)) != len(self.classes):
            raise DataError(f"{self.name}: classes are {self.classes}, expected different names")
        check_labels(labels, len(self.classes), self.name)

    @classmethod
    def from_arrays(
        cls,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        shape: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
    ) -> Dataset:
        """Check and convert arrays of any origin.

        Parameters
        ----------
        images : array-like [N, D], [N, height, width], [N, channels, height, width] or [N, height, width, channels]
            Kept if they are uint8, float32 or float64 (and not copied if contiguous); others become float64. A last
            axis of 1 or 3 is taken for channels; they are brought to the front.
        labels : array-like of whole numbers [N]
            Indices into `classes`.
        shape : (channels, height, width), optional
            By default that of `images`; rows [N, D] are (1, 1, D), which stands for no pictures. It decides where the
            channels are if `images` could be either.
        classes : sequence of str, optional
            By default "0", "1", ... up to the largest label.
        name : str
            What messages and reports call the data.

        Raises
        ------
        DataError
            For mixed shapes, NaN, infinity or a label that is no class; the message names the row. Also for a shape
            that has channels first or last.
        """
        pixels = _as_array(images, name)
        if pixels.ndim not in (2, 3, 4):
            raise DataError(
                f"{name}: images have shape {list(pixels.shape)}, "
                "expected [N, D], [N, height, width], [N, channels, height, width] or "
                "[N, height, width, channels]"
            )
        if pixels.dtype not in DTYPES:
            pixels = pixels.astype(np.float64)
        if pixels.ndim == 4 and _has_channels_last(pixels.shape[1:], shape, name):
            pixels = pixels.transpose(0, 3, 1, 2)
        one = pixels.shape[1:]
        pixels = np.ascontiguousarray(pixels).reshape(len(pixels), math.prod(one))
        transforms.check_finite(name, pixels)
        numbers = _as_array(labels, name)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise DataError(
                f"{name}: labels are {numbers.dtype} {list(numbers.shape)}, "
                "expected whole numbers [N]"
            )
        numbers = numbers.astype(np.int64)
        check_labels(numbers, MOST_CLASSES, name)
        if classes is None:
            classes = [str(label) for label in range(int(numbers.max(initial=0)) + 1)]
        if shape is None:
            shape = (*(1,) * (3 - len(one)), *one)
        return cls(pixels, numbers, tuple(map(int, shape)), tuple(map(str, classes)), name)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def train(self) -> Dataset:
        """The official training part, a view."""
        return self._rows(slice(0, self._official()))

    @property
    def test(self) -> Dataset:
        """The official test part, a view."""
        return self._rows(slice(self._official(), None))

    @cached_property
    def checksum(self) -> str:
        """Hex sha256 of images, labels, shape and classes, but not of the name."""
        digest = hashlib.sha256(
            repr((self.images.dtype.str, len(self), self.shape, self.classes)).encode()
        )
        digest.update(self.images.data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    @cached_property
    def levels(self) -> tuple[float, float] | None:
        """The least and the greatest value of these images; None if they are not finite."""
        with np.errstate(invalid="ignore"):
            low, high = float(self.images.min()), float(self.images.max())
        return (low, high) if math.isfinite(low) and math.isfinite(high) else None

    def normalization(self, per: str = "channel") -> transforms.Normalization:
        """Return `Normalization.of` these images, which is measured once however many models train on them.

        Parameters
        ----------
        per : {"channel", "feature", "range", "none"}
            As for `Normalization.of`.
        """
        if per not in self._normalizations:
            self._normalizations[per] = transforms.Normalization.of(self, per)
        return self._normalizations[per]

    @cached_property
    def _normalizations(self) -> dict[str, transforms.Normalization]:
        return {}

    def pick(self, classes: Sequence[str]) -> Dataset:
        """Return the images of some classes, in their order, relabelled 0, 1, ... in the order of `classes`.

        Parameters
        ----------
        classes : sequence of str
            Names out of those of this data.

        Raises
        ------
        DataError
            If a name is no class of this data or comes twice, or if no image is left.
        """
        classes = (classes,) if isinstance(classes, str) else tuple(classes)
        if not set(classes) <= set(self.classes) or len(set(classes)) < len(classes) or not classes:
            raise DataError(
                f"classes: found {list(classes)}, "
                f"expected different names out of {list(self.classes)}"
            )
        new = np.full(len(self.classes), -1, np.int64)
        new[[self.classes.index(one) for one in classes]] = np.arange(len(classes))
        labels = new[self.labels]
        rows = np.flatnonzero(labels >= 0)
        picked = replace(self._rows(rows), labels=labels[rows], classes=classes)
        if self.train_size is None:
            return picked
        return replace(picked, train_size=int(np.searchsorted(rows, self.train_size)))

    def resize(self, size: int | tuple[int, int]) -> Dataset:
        """Return the images scaled, bilinear and antialiased; see `transforms.resize`.

        Parameters
        ----------
        size : int or (int, int)
            The side of a square, or height and width, in pixels.
        """
        images, shape = transforms.resize(self.images, self.shape, size)
        return replace(self, images=images, shape=shape)

    def split(self, fractions: Sequence[float], seed: int) -> tuple[Dataset, ...]:
        """Return disjoint parts of the images, drawn at random, each a fraction of the whole.

        Parameters
        ----------
        fractions : sequence of float
            Each above 0, together at most 1; the remaining images go to no part. The k-th part ends
            at row round(N * sum of the first k fractions) of the shuffled order, so fractions that
            sum to 1 use every image.
        seed : int
            The parts depend on N, the fractions and the seed alone.

        Raises
        ------
        DataError
            If a fraction or the seed is wrong, or a part is left without images.
        """
        ends = np.cumsum([0.0, *fractions])
        if len(ends) < 2 or not (np.diff(ends) > 0).all() or not ends[-1] <= 1 + 1e-9:
            raise DataError(
                f"split: found fractions {list(fractions)}, "
                "expected numbers above 0 with a sum of at most 1"
            )
        order = permutation(len(self), seed)
        bounds = np.rint(ends * len(self)).astype(int)
        for fraction, size in zip(fractions, np.diff(bounds), strict=True):
            if not size:
                raise DataError(
                    f"split: found fraction {fraction} of {len(self):,} images, expected one that "
                    "leaves no part empty; use a larger one"
                )
        return tuple(self._rows(order[a:b]) for a, b in pairwise(bounds))

    def take(self, indices: npt.ArrayLike) -> Dataset:
        """Return the images at `indices`, in that order, as a copy.

        Parameters
        ----------
        indices : array-like of whole numbers 0..N-1
            Rows.

        Raises
        ------
        DataError
            If an index is outside.
        """
        rows = np.asarray(indices)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or not rows.size:
            raise DataError(
                f"indices: found {rows.dtype} {list(rows.shape)}, expected a list of whole numbers"
            )
        if rows.min() < 0 or rows.max() >= len(self):
            raise DataError(
                f"indices: found {rows.min()}..{rows.max()}, expected 0..{len(self) - 1}"
            )
        return self._rows(rows)

    def _rows(self, rows: slice | npt.NDArray[Any]) -> Dataset:
        return replace(self, images=self.images[rows], labels=self.labels[rows], train_size=None)

    def _official(self) -> int:
        if self.train_size is None:
            raise DataError(f"{self.name}: a derived part has no official parts; use split")
        return self.train_size


def check_parts(train: Dataset, valid: Dataset | None = None, test: Dataset | None = None) -> None:
    """Check the parts of a training.

    Raises
    ------
    DataError
        If one is no Dataset, if there is nothing to tell apart, or if the validation or test part has not the image
        shape and the classes of the training part.
    """
    for name, part in (("train", train), ("valid", valid), ("test", test)):
        if part is None and part is not train:
            continue
        check_dataset(name, part)
        if (part.shape, part.classes) != (train.shape, train.classes):
            raise DataError(
                f"{name}: found {part.shape} images of {part.classes}, expected {train.shape} of "
                f"{train.classes} as in the training part"
            )
    if len(train.classes) < 2:
        raise DataError(f"train: found the classes {train.classes}, expected at least two")


def check_dataset(name: str, value: object) -> None:
    """Raise a DataError that says how to make one, unless a value is a Dataset."""
    if not isinstance(value, Dataset):
        raise DataError(
            f"{name}: found {type(value).__name__}, expected a Dataset, which "
            "fastmlp.Dataset.from_arrays(X, y) makes of arrays"
        )


def check_labels(labels: npt.NDArray[np.int64], count: int, where: object) -> None:
    """Raise a DataError that names `where` and the row unless every label is in 0..count-1."""
    wrong = (labels < 0) | (labels >= count)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{where}: label {labels[row]} at row {row}, expected 0..{count - 1}")


def _as_array(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return an array of real numbers; raise a DataError that names the first row of another shape."""
    try:
        array = np.asarray(values)
    except ValueError:
        shapes = [list(getattr(row, "shape", [len(row)])) for row in cast(Sequence[Any], values)]
        odd = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), None)
        found = "" if odd is None else f" ({shapes[0]} at row 0, {shapes[odd]} at row {odd})"
        raise DataError(f"{name}: found rows of mixed shapes{found}, expected one shape") from None
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: found values of type {array.dtype}, expected numbers")
    return array


def _has_channels_last(sides: Sequence[int], shape: Sequence[int] | None, name: str) -> bool:
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
