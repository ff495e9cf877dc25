"""Tables -> features, labels and weights, as a Dataset holds them: from a DataFrame, or a file of `SUFFIXES`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.labels import LEAST_WEIGHT, MOST_WEIGHT, NAMES, Labels, Task, is_name
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.preparation import Category, Preparation, named_columns
from fastmlp.datasets.table_columns import Kind, kind_of, numbers_of, refuse, texts_of
from fastmlp.datasets.table_files import SUFFIXES, read_table
from fastmlp.datasets.table_labels import (
    check_column,
    label_names,
    labels_like,
    labels_of,
    spelled,
)
from fastmlp.errors import DataError, printable, shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OPTIONS", "SUFFIXES", "Columns", "columns_of", "fields_like", "raw_table", "spelled"]

OPTIONS = ("label", "task", "weight", "group", "part", "missing")
PARTS = {  # how a column may name the parts
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("valid", "validation", "val"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}


class Prepared(Protocol):
    """A Dataset or Network that was made of, or trained on, a table."""

    @property
    def preparation(self) -> Preparation | None:
        """What was done with the columns; None if there was no table."""

    @property
    def task(self) -> Task:
        """What its labels are."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of its classes, labels or targets."""


class Columns(NamedTuple):
    """The columns of a table by what they are for.

    Attributes
    ----------
    where : object
        The name of the table in messages.
    features : pandas.DataFrame
    kinds : tuple of str
        What each column of features is taken for.
    labels : Labels
    names : tuple of str
        The label columns.
    weights : float64 array [N] or None
    groups : int64 array [N] or None
    part : int64 array [N] or None
        0 in rows of the training part, 1 of the validation part, 2 of the test part.
    """

    where: object
    features: pd.DataFrame
    kinds: tuple[Kind, ...]
    labels: Labels
    names: tuple[str, ...]
    weights: npt.NDArray[np.float64] | None
    groups: npt.NDArray[np.int64] | None
    part: npt.NDArray[np.int64] | None

    def learn(self, rows: npt.NDArray[np.int64], options: OwnOptions) -> Preparation:
        """Return the preparation that the rows of the training part teach."""
        preparation = Preparation.learn(
            self.where,
            self.features.iloc[rows],
            self.kinds,
            label=self.names,
            missing=options.missing,
        )
        if not preparation.features:
            raise DataError(
                f"{self.where}: found no column whose values repeat, expected one of numbers or categories"
            )
        return preparation

    def fields(
        self, preparation: Preparation, rows: npt.NDArray[np.int64] | None = None
    ) -> dict[str, Any]:
        """Return what a Dataset is made of, of all rows or some."""
        frame = self.features if rows is None else self.features.iloc[rows]
        images, _ = preparation.apply(frame, self.where)
        every = slice(None) if rows is None else rows
        return {
            "images": images,
            "labels": self.labels.values[every],
            "shape": (1, 1, images.shape[1]),
            "classes": self.labels.classes,
            "task": self.labels.task,
            "weights": None if self.weights is None else self.weights[every],
            "preparation": preparation,
        }


def raw_table(
    table: pd.DataFrame | str | Path, preparation: Preparation | None = None
) -> tuple[object, pd.DataFrame]:
    """Return the name of a table in messages, and the table itself, which is read if it is a path.

    Parameters
    ----------
    table : pandas.DataFrame or path
    preparation : Preparation, optional
        That of a network which is to take the table: its categories are kept as they are spelled.
    """
    if not isinstance(table, str | Path):
        named_columns("table", table)
        return "table", table
    path = Path(table)
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(
            f"{path}: found {shown(path.suffix)}, expected one of {', '.join(SUFFIXES)}"
        )
    columns = preparation.columns if preparation is not None else ()
    texts = [one.name for one in columns if isinstance(one, Category)]
    return path, read_table(path, texts)


def columns_of(where: object, frame: pd.DataFrame, options: OwnOptions) -> Columns:
    """Return the columns of a table by what they are for.

    Parameters
    ----------
    where : object
        The name of the table in messages.
    frame : pandas.DataFrame
    options : OwnOptions

    Raises
    ------
    DataError
        If a column is missing or holds what it must not; the message names it.
    """
    places = named_columns(where, frame)
    frame = frame.set_axis(list(places), axis=1)
    if not len(frame):
        raise DataError(f"{where}: found no rows, expected a table with at least one")
    names = label_names(where, places, options.label)
    roles = {name: "label" for name in names}
    split = None if options.part is None or options.part in places else _from_file(options.part)
    for role in ("weight", "group", "part"):
        if (name := getattr(options, role)) is not None and (role != "part" or split is None):
            check_column(where, places, role, name)
            if name in roles:
                raise DataError(
                    f"{where}: found column {name!r} as {roles[name]} and {role}, expected one of both"
                )
            roles[name] = role
    labels = labels_of(where, [frame[name] for name in names], options.task)
    weights = _weights(where, frame[options.weight]) if options.weight is not None else None
    groups = _groups(where, frame[options.group]) if options.group is not None else None
    part = None
    if split is not None:
        if len(split) != len(frame):
            raise DataError(
                f"{options.part}: found {len(split):,} rows, expected {len(frame):,}, one for each row of {where}"
            )
        part = _part(options.part, split)
    elif options.part is not None:
        part = _part(where, frame[options.part])
    features = frame[[name for name in places if name not in roles]]
    if not features.shape[1]:
        raise DataError(
            f"{where}: found no column beside {', '.join(roles)}, expected columns to predict from"
        )
    for name in features:
        if not is_name(str(name)):
            raise DataError(f"{where}: found the column {shown(name)}, expected {NAMES}")
    _check_missing(where, features, options)
    kinds = tuple(kind_of(where, column) for _, column in features.items())
    return Columns(where, features, kinds, labels, names, weights, groups, part)


def fields_like(
    where: object,
    frame: pd.DataFrame,
    like: Prepared,
    *,
    label: str | Sequence[str] | None = None,
    weight: str | None = None,
) -> dict[str, Any]:
    """Return what a Dataset is made of, for a table like that of a training.

    Parameters
    ----------
    where : object
        The name of the table in messages.
    frame : pandas.DataFrame
    like : Network or Dataset
    label : str or sequence of str, optional
        The label columns; by default those of the training.
    weight : str, optional

    Raises
    ------
    DataError
        If a column is missing or holds other values than in the training, or if that was on no table.
    """
    preparation, classes = like.preparation, tuple(like.classes)
    if preparation is None:
        raise DataError(
            f"{where}: found a table for what was trained on none, expected rows of numbers, or pictures"
        )
    places = named_columns(where, frame)
    frame = frame.set_axis(list(places), axis=1)
    names = label_names(where, places, preparation.label if label is None else label)
    images, _ = preparation.apply(frame, where)
    labels = labels_like(where, [frame[name] for name in names], like.task, classes)
    if weight is not None:
        check_column(where, places, "weight", weight)
    return {
        "images": images,
        "labels": labels,
        "shape": (1, 1, images.shape[1]),
        "classes": classes,
        "task": like.task,
        "weights": None if weight is None else _weights(where, frame[weight]),
        "preparation": preparation,
    }


def _check_missing(where: object, features: pd.DataFrame, options: OwnOptions) -> None:
    """Refuse missing values if they are to be."""
    if options.missing != "error":
        return
    for name, column in features.items():
        missing = column.isna().to_numpy()
        if missing.any():
            found = f"{missing.sum():,} missing values, the first at row {missing.argmax()} (counted from 0)"
            refuse(where, str(name), found, "a value in every row; missing = median takes them")


def _weights(where: object, column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    values = numbers_of(where, column)
    wrong = ~((values == 0) | ((values >= LEAST_WEIGHT) & (values <= MOST_WEIGHT)))
    if wrong.any():
        row = int(wrong.argmax())
        found = f"{values[row]:g} at row {row} (counted from 0)"
        refuse(
            where,
            str(column.name),
            found,
            f"weights of 0, or from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}",
        )
    if not values.any():
        refuse(where, str(column.name), "weights that are all 0", "some above 0")
    return values


def _complete(where: object, column: pd.Series[Any], what: str) -> npt.NDArray[np.object_]:
    """Return the texts of a column, none of which is missing."""
    missing = column.isna().to_numpy()
    if missing.any():
        found = f"no value at row {missing.argmax()} (counted from 0)"
        refuse(where, str(column.name), found, f"a {what} in every row")
    return texts_of(where, column)


def _groups(where: object, column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    texts = _complete(where, column, "group")
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)


def _from_file(part: str) -> pd.Series[Any] | None:
    """Return the one column of a file that says the part of each row; None if its name is that of no table."""
    if not part.lower().endswith(SUFFIXES):
        return None
    frame = read_table(Path(part))
    if frame.shape[1] != 1:
        raise DataError(
            f"{part}: found {frame.shape[1]} columns, expected one, which says train, valid or test"
        )
    return frame.iloc[:, 0]


def _part(where: object, column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    texts = _complete(where, column, "part")
    for row, text in enumerate(texts):
        if text.strip().lower() not in PARTS:
            found = f"{shown(printable(text))} at row {row} (counted from 0)"
            refuse(where, str(column.name), found, "train, valid or test")
    parts = np.array([PARTS[text.strip().lower()] for text in texts], np.int64)
    if not (parts == 0).any():
        refuse(where, str(column.name), "no row of the part train", "rows of train, valid and test")
    return parts
