"""What `fastmlp.train` is given, data sets or arrays, as data sets."""

from __future__ import annotations

from typing import Any

from fastmlp.datasets import Dataset
from fastmlp.datasets.parts import check_dataset
from fastmlp.errors import DataError


def parts_of(train: Any, valid: Any, X_valid: Any, y_valid: Any) -> tuple[Dataset, Dataset | None]:
    """Return the training and the validation part.

    Parameters
    ----------
    train, valid, X_valid, y_valid
        As for `fastmlp.train`.

    Raises
    ------
    DataError
        If they are neither data sets nor arrays, or half of one is missing.
    """
    if isinstance(train, Dataset) or isinstance(valid, Dataset) or valid is None:
        check_dataset("train", train)
        if valid is not None:
            check_dataset("valid", valid)
        if X_valid is not None or y_valid is not None:
            raise DataError(
                "X_valid: found beside a Dataset, expected the validation part as a Dataset, valid="
            )
        return train, valid
    part = Dataset.from_arrays(train, valid, name="X, y")
    if X_valid is None and y_valid is None:
        return part, None
    if X_valid is None or y_valid is None:
        missing, other = ("X_valid", "y_valid") if X_valid is None else ("y_valid", "X_valid")
        raise DataError(f"{missing}: found None, expected it together with {other}")
    return part, Dataset.from_arrays(
        X_valid, y_valid, part.shape, part.classes, "X_valid, y_valid", task=part.task
    )
