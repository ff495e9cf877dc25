"""The label columns of a table: which they are, the task they make, and their values as a Dataset holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.labels import MOST_TARGET, NAMES, Labels, Task, is_name
from fastmlp.datasets.table_columns import is_number, is_period, numbers_of, refuse, texts_of
from fastmlp.errors import DataError, shown, suggest

if TYPE_CHECKING:
    import pandas as pd

MOST_NUMBERED_CLASSES = 100  # whole numbers of more values are taken for a regression


def spelled(label: object) -> str | tuple[str, ...] | None:
    """Return label columns by their names as text: those of a DataFrame may be numbers."""
    if label is None or isinstance(label, str):
        return label
    return tuple(map(str, label)) if isinstance(label, Iterable) else str(label)


def label_names(
    where: object, known: Iterable[str], label: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Return the label columns of a table; a text that is no column is split at its commas.

    Raises
    ------
    DataError
        If none is named, or one is not there; the message suggests the nearest.
    """
    known = list(known)
    if label is None:
        raise DataError(
            f"{where}: found no label, expected the column to predict; --label, one of {', '.join(known)}"
        )
    if not isinstance(label, str):
        names = tuple(label)
    elif label in known:
        names = (label,)
    else:
        names = tuple(name.strip() for name in label.split(","))
    for name in names:
        check_column(where, known, "label", name)
    if len(set(names)) < len(names):
        raise DataError(f"{where}: found the labels {', '.join(names)}, expected different columns")
    return names


def check_column(where: object, known: Iterable[str], option: str, name: str) -> None:
    """Raise a DataError unless a column is there."""
    if name not in known:
        raise DataError(f"{where}: {option}: found no column {name!r}; {suggest(name, known)}")


def labels_of(where: object, columns: Sequence[pd.Series[Any]], task: Task | None) -> Labels:
    """Return the labels of a table.

    Parameters
    ----------
    where : object
        The name of the table in messages.
    columns : sequence of pandas.Series
    task : str or None
        None chooses: one column of texts, truth values or up to 100 different integers is a classification; several
        columns of 0 and 1 are multilabel; other numbers are a regression. Floating-point numbers that are whole, of
        which few differ, could be either, and are refused.

    Raises
    ------
    DataError
        If a value is missing, infinite or of another kind than the task has, or if all are equal.
    """
    for column in columns:
        _check_complete(where, column)
    if task is None:
        task = _task_of(where, columns)
    if task == "classification":
        return _classes(where, columns)
    names = tuple(str(column.name) for column in columns)
    return Labels(task, _of_numbers(where, columns, task), names)


def labels_like(
    where: object, columns: Sequence[pd.Series[Any]], task: Task, classes: Sequence[str]
) -> npt.NDArray[Any]:
    """Return the labels of a table for a network that knows its task and classes.

    Raises
    ------
    DataError
        As `labels_of`, but that labels may all be equal; and for a class that is not among `classes`.
    """
    for column in columns:
        _check_complete(where, column, varied=False)
    if task != "classification":
        return _of_numbers(where, columns, task)
    column = _the_only(where, columns)
    places = {name: place for place, name in enumerate(classes)}
    texts = texts_of(where, column)
    values = np.array([places.get(text, -1) for text in texts], np.int64)
    if (values < 0).any():
        row = int(values.argmin())
        found = f"{shown(texts[row])} at row {row} (counted from 0)"
        refuse(where, str(column.name), found, f"one of {', '.join(classes)}")
    return values


def _of_numbers(where: object, columns: Sequence[pd.Series[Any]], task: Task) -> npt.NDArray[Any]:
    """Return labels that are numbers: float64 [N, T] of a regression, uint8 [N, T] of several labels a row."""
    values = np.stack([_numbers(where, column, task) for column in columns], axis=1)
    if task == "regression":
        far = np.abs(values) > MOST_TARGET
        if far.any():
            row, place = (int(one) for one in np.argwhere(far)[0])
            found = f"{values[row, place]:g} at row {row} (counted from 0)"
            refuse(where, str(columns[place].name), found, f"numbers up to {MOST_TARGET:g}")
        return values
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        row, place = (int(one) for one in np.argwhere(wrong)[0])
        found = f"{values[row, place]:g} at row {row} (counted from 0)"
        refuse(where, str(columns[place].name), found, "0 and 1, as labels of a row (multilabel)")
    return values.astype(np.uint8)


def _check_complete(where: object, column: pd.Series[Any], *, varied: bool = True) -> None:
    """Refuse a label that is missing, a date, or the same in every row."""
    missing = column.isna().to_numpy()
    name = str(column.name)
    if missing.any():
        found = f"{missing.sum():,} missing labels, the first at row {missing.argmax()} (counted from 0)"
        what = "a label in every row; remove the rows without, or rename a class that is called None, NA or nan"
        refuse(where, name, found, what)
    if column.dtype.kind in "mM" or is_period(column):
        refuse(where, name, "dates or times", "numbers or classes as labels")
    if varied and len(set(texts_of(where, column))) < 2:
        found = f"the one label {shown(texts_of(where, column)[0])} in every row"
        refuse(where, name, found, "at least two that differ")


def _task_of(where: object, columns: Sequence[pd.Series[Any]]) -> Task:
    """Return the task that the labels' type stands for."""
    if len(columns) > 1:
        numbers = [_numbers(where, column, "multilabel") for column in columns]
        return "multilabel" if np.isin(np.stack(numbers), (0, 1)).all() else "regression"
    (column,) = columns
    if not is_number(column):
        return "classification"
    values = numbers_of(where, column)
    different = np.unique(values)
    if len(different) > MOST_NUMBERED_CLASSES or (different % 1 != 0).any():
        return "regression"
    if column.dtype.kind == "f":
        found = f"floating-point numbers that are whole, such as {different[0]}"
        what = "integers or texts for classes, or others to predict; say --task classification or regression"
        refuse(where, str(column.name), found, what)
    return "classification"


def _numbers(where: object, column: pd.Series[Any], task: Task) -> npt.NDArray[np.float64]:
    if not is_number(column):
        found = f"{shown(column.iloc[0])} as a label"
        refuse(where, str(column.name), found, f"numbers ({task})")
    return numbers_of(where, column)


def _the_only(where: object, columns: Sequence[pd.Series[Any]]) -> pd.Series[Any]:
    """Return the label column of a classification."""
    if len(columns) > 1:
        raise DataError(
            f"{where}: label: found {len(columns)} columns, expected one for a classification; several are "
            "--task multilabel or regression"
        )
    return columns[0]


def _classes(where: object, columns: Sequence[pd.Series[Any]]) -> Labels:
    """Return one column as classes: numbers in their order, texts in that of the alphabet."""
    column = _the_only(where, columns)
    name = str(column.name)
    texts = texts_of(where, column)
    names = sorted(set(texts))
    if is_number(column):
        numbers = numbers_of(where, column)
        if (numbers % 1 != 0).any():
            row = int((numbers % 1 != 0).argmax())
            found = f"{numbers[row]:g} at row {row} (counted from 0)"
            what = "texts or whole numbers for a classification; --task regression predicts numbers"
            refuse(where, name, found, what)
        names.sort(key=dict(zip(texts, numbers, strict=True)).__getitem__)
    for one in names:
        if not is_name(one):
            refuse(where, name, f"the class {shown(one)}", NAMES)
    places = {one: place for place, one in enumerate(names)}
    values = np.array([places[text] for text in texts], np.int64)
    return Labels("classification", values, tuple(names))
