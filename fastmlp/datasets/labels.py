"""What is known of each row: its class, its labels of several, or the values that a regression predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.axes import as_array, converted
from fastmlp.errors import DataError, shown
from fastmlp.machine.schema import MOST_TEXT, label

Task = Literal["classification", "multilabel", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)

MOST_CLASSES = 100_000  # a stray label of 10**12 must not create as many names
MOST_TARGET = 1e300  # of which sums are finite
is_name = (
    label().holds
)  # whether a name of a class or column is printable, and short enough for a file
NAMES = f"names that are printable, of at most {MOST_TEXT:,} letters"
LEAST_WEIGHT, MOST_WEIGHT = 1e-100, 1e100  # of which sums, and one over them, are finite


class Labels(NamedTuple):
    """The labels of some rows, as a Dataset takes them."""

    task: Task
    values: npt.NDArray[Any]
    classes: tuple[str, ...]


def check_labels(labels: npt.NDArray[np.int64], count: int, where: object) -> None:
    """Raise a DataError that names `where` and the row unless every label is in 0..count-1."""
    wrong = (labels < 0) | (labels >= count)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{where}: label {labels[row]} at row {row}, expected 0..{count - 1}")


def check_values(labels: Labels, rows: int, name: str) -> None:
    """Raise a DataError unless the labels are those of so many rows: kernels check no bounds.

    Parameters
    ----------
    labels : Labels
        int64 [N] for a classification, uint8 [N, T] of 0 and 1 for several labels a row, float64 [N, T] for a
        regression.
    rows : int
        N.
    name : str
        Of the data.
    """
    task, values, classes = labels
    if task not in TASKS:
        raise DataError(f"{name}: task is {task!r}, expected {', '.join(TASKS)}")
    dtype = {"classification": np.int64, "multilabel": np.uint8, "regression": np.float64}[task]
    shape = (rows,) if task == "classification" else (rows, len(classes))
    if values.shape != shape or values.dtype != dtype:
        raise DataError(
            f"{name}: labels are {values.dtype} {list(values.shape)}, "
            f"expected {np.dtype(dtype)} {list(shape)}, one an image"
        )
    known = [one for one in classes if is_name(one)]
    if len(set(known)) != len(classes) or not classes:
        raise DataError(f"{name}: classes are {shown(classes)}, expected different {NAMES}")
    if task == "classification":
        check_labels(values, len(classes), name)
    else:
        allowed = values <= 1 if task == "multilabel" else np.abs(values) <= MOST_TARGET
        if not allowed.all():
            row, column = np.argwhere(~allowed)[0]
            raise DataError(
                f"{name}: label {values[row, column]} at row {row} of {classes[column]!r}, expected "
                + ("0 or 1" if task == "multilabel" else f"finite numbers up to {MOST_TARGET:g}")
            )


def check_weights(weights: npt.NDArray[np.float64], rows: int, name: str) -> None:
    """Raise a DataError unless there is a finite weight of at least 0 for each of so many rows, and one above 0."""
    if weights.shape != (rows,) or weights.dtype != np.float64:
        raise DataError(
            f"{name}: weights are {weights.dtype} {list(weights.shape)}, expected float64 [{rows}], one a row"
        )
    # Weights are added up, and divided by their sum.
    wrong = ~((weights == 0) | ((weights >= LEAST_WEIGHT) & (weights <= MOST_WEIGHT)))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{name}: weight {weights[row]} at row {row}, expected 0, or a number from {LEAST_WEIGHT:g} to "
            f"{MOST_WEIGHT:g}"
        )
    if not weights.any():
        raise DataError(f"{name}: found only weights of 0, expected at least one above 0")


def labels_of(
    given: npt.ArrayLike, task: str | None, classes: Sequence[str] | None, name: str
) -> Labels:
    """Return labels of any origin as a Dataset takes them.

    Parameters
    ----------
    given : array-like [N] or [N, T]
        Whole numbers, texts or true and false, for classes; columns of 0 and 1; or numbers to predict.
    task : {"classification", "multilabel", "regression"}, optional
        By default numbers with fractions, or above 100,000, are a regression's, two or more columns of 0 and 1 are
        labels of which a row may have several, and others are classes. Floating-point numbers that are all whole
        could be either, and are refused.
    classes : sequence of str, optional
        Names of the classes, of the columns of labels or of the targets.
    name : str
        Of the data.
    """
    if task is not None and task not in TASKS:
        raise DataError(f"task: found {task!r}, expected {', '.join(TASKS)}")
    values = converted(given, name)
    if values.dtype.kind in "OU" and any(isinstance(one, str) for one in values.flat):
        other = next((row for row, one in enumerate(values.flat) if not isinstance(one, str)), None)
        if other is not None:
            raise DataError(
                f"{name}: label {shown(values.flat[other])} at row {other}, expected a text, as others are"
            )
        names = sorted(set(map(str, values.flat))) if classes is None else list(classes)
        values, classes = _numbered(values.ravel(), names, name), names
    else:
        values = as_array(given, name)
    if values.ndim == 2 and values.shape[1] == 1 and task != "multilabel":
        values = values[:, 0]
    if task is None:
        task = _guessed(values)
    if task == "classification":
        return _of_classes(values, classes, name)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise DataError(f"{name}: labels have shape {list(values.shape)}, expected [N] or [N, T]")
    columns = values.shape[1]
    if classes is None and task == "multilabel":
        classes = [str(column) for column in range(columns)]
    elif classes is None:
        classes = ["target"] if columns == 1 else [f"target {one}" for one in range(columns)]
    if task == "multilabel":
        wrong = (values != 0) & (values != 1)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{name}: label {values[row, column]} at row {row}, column {column}, expected 0 or 1"
            )
        return Labels("multilabel", values.astype(np.uint8), tuple(map(str, classes)))
    return Labels("regression", values.astype(np.float64), tuple(map(str, classes)))


def _guessed(values: npt.NDArray[Any]) -> Task:
    """Return the task that the type of the labels stands for."""
    if values.dtype.kind == "f" and ((values % 1 != 0) | (values > MOST_CLASSES)).any():
        return "regression"  # also of NaN: a number that is missing
    several = values.ndim == 2 and bool(((values == 0) | (values == 1)).all())
    return "multilabel" if several else "classification"


def _of_classes(values: npt.NDArray[Any], classes: Sequence[str] | None, name: str) -> Labels:
    """Return labels of one class each."""
    if values.dtype.kind == "b" and classes is None:
        classes = ("False", "True")
    if values.ndim != 1 or values.dtype.kind not in "iub":
        raise DataError(
            f"{name}: labels are {values.dtype} {list(values.shape)}, expected whole numbers [N] of an integer "
            "type, one for the class of each row; for numbers to predict say task='regression'"
        )
    numbers = values.astype(np.int64)
    check_labels(numbers, MOST_CLASSES, name)
    if classes is None:
        classes = [str(label) for label in range(int(numbers.max(initial=0)) + 1)]
    return Labels("classification", numbers, tuple(map(str, classes)))


def _numbered(texts: npt.NDArray[Any], classes: Sequence[str], name: str) -> npt.NDArray[np.int64]:
    """Return the number of the class that each text names."""
    numbers = {one: number for number, one in enumerate(classes)}
    for row, text in enumerate(texts):
        if text not in numbers:
            raise DataError(
                f"{name}: label {str(text)!r} at row {row}, expected one of {list(classes)}"
            )
    return np.array([numbers[text] for text in texts], np.int64)
