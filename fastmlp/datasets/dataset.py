"""Dataset: images, labels and their meaning, in one value to slice, pick, resize and split.

Images stay as the files hold them (uint8, one row an image, channel after channel). They are normalised with the
statistics of the training part (`transforms.Normalization`), by the kernels that gather a batch.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmlp.datasets import tables, transforms
from fastmlp.datasets.axes import DTYPES, as_array, converted, pixels_of
from fastmlp.datasets.labels import Labels, Task, check_values, check_weights, labels_of
from fastmlp.datasets.options import Missing, OwnOptions
from fastmlp.datasets.picture_folders import pictures_in
from fastmlp.datasets.preparation import Preparation
from fastmlp.datasets.rows import blocks, chosen, greatest, least
from fastmlp.datasets.showing import DatasetShowing
from fastmlp.errors import DataError, shown

if TYPE_CHECKING:
    import pandas as pd


def permutation(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the numbers 0..count-1 in an order that depends on the seed alone.

    NumPy promises that the raw stream of a bit generator never changes, but promises nothing about
    `Generator.permutation`. The raw stream is sorted, so a split is the same with every NumPy.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed: found {seed!r}, expected a whole number from 0")
    return np.argsort(np.random.PCG64(int(seed)).random_raw(count), kind="stable")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(DatasetShowing):
    """Labelled images, or rows of a table.

    Parameters
    ----------
    images : ndarray [N, D], C-contiguous
        One row an image, flattened channel by channel, row by row: uint8 grey levels, float32 or float64.
    labels : ndarray
        For a classification int64 [N], an index into `classes`; for rows of several labels uint8 [N, T] of 0 and 1;
        for a regression float64 [N, T], the values to predict.
    shape : (channels, height, width)
        Their product is D.
    classes : tuple of str
        The name of each class, of the T labels or of the T targets.
    name : str
        The name of this data in error messages and reports.
    train_size : int or None
        The first `train_size` rows are the official training part, the others the official test
        part; None for a derived part, which has neither.
    task : {"classification", "multilabel", "regression"}
        What the labels are: a class each, several labels a row, or numbers.
    weights : float64 ndarray [N], optional
        How much each row counts: 0, or from 1e-100 to 1e100; not all 0.
    preparation : Preparation, optional
        What was done with the columns of the table that these rows come from.

    Raises
    ------
    DataError
        If the arrays do not fit each other, or a label is outside 0..len(classes)-1.
    """

    images: npt.NDArray[Any] = field(repr=False)
    labels: npt.NDArray[Any] = field(repr=False)
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    name: str
    train_size: int | None = None
    task: Task = "classification"
    weights: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    preparation: Preparation | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit: compiled kernels check no bounds."""
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))  # a list equals no tuple
        images, labels = self.images, self.labels
        if images.ndim != 2 or images.dtype not in DTYPES or not images.flags.c_contiguous:
            raise DataError(
                f"{self.name}: images are {images.dtype} {list(images.shape)}, expected [N, D] of uint8, float32 or "
                "float64, C-contiguous; Dataset.from_arrays converts"
            )
        if not len(images):
            raise DataError(f"{self.name}: found no images, expected at least one")
        if len(self.shape) != 3 or math.prod(self.shape) != images.shape[1] or min(self.shape) < 1:
            raise DataError(
                f"{self.name}: shape is {self.shape}, expected (channels, height, width) "
                f"of {images.shape[1]} values"
            )
        check_values(Labels(self.task, labels, self.classes), len(images), self.name)
        if self.weights is not None:
            check_weights(self.weights, len(images), self.name)

    @classmethod
    def from_arrays(
        cls,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        shape: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
        *,
        task: str | None = None,
        weights: npt.ArrayLike | None = None,
    ) -> Dataset:
        """Check and convert arrays of any origin.

        Parameters
        ----------
        images : array-like [N, D], [N, height, width], [N, channels, height, width] or [N, height, width, channels]
            Kept if they are uint8, float32 or float64 (and not copied if contiguous); others become float64. A last
            axis of 1 or 3 is taken for channels; they are brought to the front.
        labels : array-like [N] or [N, T]
            Whole numbers, texts or true and false, for classes; columns of 0 and 1; or numbers to predict.
        shape : (channels, height, width), optional
            By default that of `images`; rows [N, D] are (1, 1, D), which stands for no pictures. It decides where the
            channels are if `images` could be either.
        classes : sequence of str, optional
            By default "0", "1", ... up to the largest label, or the texts in order.
        name : str
            What messages call the data.
        task : {"classification", "multilabel", "regression"}, optional
            By default numbers with fractions are a regression's, columns of 0 and 1 are labels of which a row may have
            several, and others are classes; `task` of the result says which. Floating-point numbers that are all
            whole could be either, and are refused.
        weights : array-like [N], optional
            How much each row counts.

        Raises
        ------
        DataError
            For mixed shapes, NaN, infinity or a label that is no class; the message names the row. Also for a shape
            that has channels first or last.
        """
        pixels, sides = pixels_of(images, shape, name)
        known = labels_of(labels, task, classes, name)
        if weights is not None:
            weights = as_array(weights, name).astype(np.float64)
        sides = (*(1,) * (3 - len(sides)), *sides) if shape is None else tuple(map(int, shape))
        return cls(
            pixels, known.values, sides, known.classes, name, task=known.task, weights=weights
        )

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        size: int | tuple[int, int] | None = None,
        *,
        skip_bad: bool = False,
        data_home: str | os.PathLike[str] | None = None,
    ) -> Dataset:
        """Read a folder of pictures with a subfolder for each class, or with such folders train, valid and test.

        A part named test becomes the official test part. Decoded pictures are kept in the data folder.

        Parameters
        ----------
        path, size, skip_bad, data_home : as there
            As for `fastmlp.datasets.picture_folders.pictures_in`, also the errors.
        """
        pictures = pictures_in(Path(path), size, skip_bad=skip_bad, data_home=data_home)
        ends = [end for part, end in pictures.ends.items() if part != "test"]
        train_size = max(ends) if "test" in pictures.ends else None
        return cls(**pictures.fields, name=Path(path).resolve().name, train_size=train_size)

    @classmethod
    def from_table(
        cls,
        table: pd.DataFrame | str | Path,
        label: str | Sequence[str] | None = None,
        *,
        task: Task | None = None,
        weight: str | None = None,
        missing: Missing = "median",
        like: tables.Prepared | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Make features of the columns of a table, all of whose rows are taken for the training part.

        Needs the extra "tables": ``pip install "fastmlp[tables]"``.

        Parameters
        ----------
        table : pandas.DataFrame or path
            Of a CSV, TSV, Parquet, Feather or Arrow file.
        label : str or sequence of str
            The column to predict, or several. All others are predicted from.
        task : {"classification", "multilabel", "regression"}, optional
            By default by the labels' type: texts, truth values and up to 100 different integers are classes; several
            columns of 0 and 1 are labels of which a row may have several; other numbers are a regression.
        weight : str, optional
            The column that says how much each row counts.
        missing : {"median", "error"}
            Missing numbers become the median, with a feature that says so, or are refused.
        like : Dataset or Network, optional
            What was made of, or trained on, another table: its medians, categories and classes are taken, instead of
            this table's. So are its label, its task and what it does with missing values.
        name : str, optional
            By default the name of the file.

        Raises
        ------
        FastMLPError
            If a column, which the message names, is not there, or holds what it must not (dates, free text, one value
            ...); if pandas is not installed.
        """
        where, frame = tables.raw_table(table, None if like is None else like.preparation)
        names = tables.spelled(label)
        if like is not None:
            fields = tables.fields_like(where, frame, like, label=names, weight=weight)
        else:
            options = OwnOptions(label=names, task=task, weight=weight, missing=missing)
            columns = tables.columns_of(where, frame, options)
            fields = columns.fields(columns.learn(np.arange(len(frame)), options))
        return cls(**fields, name=name or str(getattr(where, "name", "table")))

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
        """Hex sha256 of images, labels, shape and classes, of what else there is, but not of the name."""
        digest = hashlib.sha256(
            repr((self.images.dtype.str, len(self), self.shape, self.classes)).encode()
        )
        for block in blocks(self.images):
            digest.update(block.data)
        digest.update(np.ascontiguousarray(self.labels).data)
        if self.task != "classification":
            digest.update(self.task.encode())
        if self.weights is not None:
            digest.update(b"weights")
            digest.update(np.ascontiguousarray(self.weights).data)
        if self.preparation is not None:
            digest.update(json.dumps(self.preparation.as_dict(), sort_keys=True).encode())
        return digest.hexdigest()

    @cached_property
    def levels(self) -> tuple[float, float] | None:
        """The least and the greatest value of these images; None if they are not finite."""
        with np.errstate(invalid="ignore"):
            low, high = float(least(self.images)), float(greatest(self.images))
        return (low, high) if math.isfinite(low) and math.isfinite(high) else None

    def normalization(self, per: str = "channel") -> transforms.Normalization:
        """Return `Normalization.of` these images, which is measured once however many models train on them.

        Parameters
        ----------
        per : {"channel", "feature", "range", "none"}
            As for `Normalization.of`. Of a table, features that are 0 or 1 (categories, what is missing) are kept.
        """
        if per not in self._normalizations:
            measured = transforms.Normalization.of(self, per)
            if self.preparation is not None:
                # A category that few rows have would become a number far from all others.
                is_flag = ~self.preparation.measured
                measured.mean[is_flag], measured.std[is_flag] = 0, 1
            self._normalizations[per] = measured
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
            If a name is no class of this data or comes twice, if no image is left, or if this is no classification.
        """
        if self.task != "classification":
            raise DataError(f"classes: found a {self.task} to pick from, expected a classification")
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
        try:
            ends = np.cumsum([0.0, *map(float, fractions)])
        except (TypeError, ValueError):
            ends = np.zeros(0)
        if len(ends) < 2 or not (np.diff(ends) > 0).all() or not ends[-1] <= 1 + 1e-9:
            expected = "numbers above 0 with a sum of at most 1, such as [0.9, 0.1]"
            raise DataError(f"split: found fractions {shown(fractions)}, expected {expected}")
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
        rows = converted(indices, "indices")
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or not rows.size:
            found = f"{rows.dtype} {list(rows.shape)}"
            raise DataError(f"indices: found {found}, expected a list of whole numbers")
        if rows.min() < 0 or rows.max() >= len(self):
            found = f"{rows.min()}..{rows.max()}"
            raise DataError(f"indices: found {found}, expected 0..{len(self) - 1}")
        return self._rows(rows)

    def _rows(self, rows: slice | npt.NDArray[Any]) -> Dataset:
        weights = None if self.weights is None else self.weights[rows]
        images, labels = chosen(self.images, rows), self.labels[rows]
        return replace(self, images=images, labels=labels, weights=weights, train_size=None)

    def _official(self) -> int:
        if self.train_size is None:
            raise DataError(f"{self.name}: a derived part has no official parts; use split")
        return self.train_size
