"""Whether the parts of a training are data sets that belong together."""

from __future__ import annotations

from itertools import zip_longest

from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.preparation import Preparation
from fastmlp.errors import DataError, shown


def check_parts(train: Dataset, valid: Dataset | None = None, test: Dataset | None = None) -> None:
    """Check the parts of a training.

    Raises
    ------
    DataError
        If one is no Dataset, if there is nothing to tell apart, or if the validation or test part has not the image
        shape, the classes and the features of the training part.
    """
    for name, part in (("train", train), ("valid", valid), ("test", test)):
        if part is None and part is not train:
            continue
        check_dataset(name, part)
        check_features(name, part, train.preparation)
        if (part.shape, part.classes) != (train.shape, train.classes):
            raise DataError(
                f"{name}: found {part.shape} images of {part.classes}, expected {train.shape} of "
                f"{train.classes} as in the training part"
            )
        if part.task != train.task:
            raise DataError(
                f"{name}: found a {part.task}, expected a {train.task} as in the training part"
            )
    if train.task == "classification" and len(train.classes) < 2:
        raise DataError(f"train: found the classes {train.classes}, expected at least two")
    if train.task == "regression":
        for target, values in zip(train.classes, train.labels.T, strict=True):
            counted = values if train.weights is None else values[train.weights > 0]
            if counted.min() == counted.max():
                raise DataError(
                    f"train: found only the value {counted[0]:g} of {target!r}, expected at least two to predict"
                )


def check_dataset(name: str, value: object) -> None:
    """Raise a DataError that says how to make one, unless a value is a Dataset."""
    if not isinstance(value, Dataset):
        raise DataError(
            f"{name}: found {type(value).__name__}, expected a Dataset, which "
            "fastmlp.Dataset.from_arrays(X, y) makes of arrays"
        )


def check_features(name: str, part: Dataset, expected: Preparation | None) -> None:
    """Raise a DataError if the features of a table are others than those of a training, or in another order."""
    if part.preparation is None or expected is None:
        return
    pairs = zip_longest(part.preparation.features, expected.features, fillvalue="nothing")
    odd = next((pair for pair in pairs if pair[0] != pair[1]), None)
    if odd is not None:
        raise DataError(
            f"{name}: found the feature {shown(odd[0])}, expected {shown(odd[1])} as in the training; "
            "Dataset.from_table(..., like=...) makes those of another data set or a network"
        )
