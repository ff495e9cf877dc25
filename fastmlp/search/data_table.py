"""DataTable: which data a search, study or training is about; the ``[data]`` table of its file.

``[data]`` names a built-in data set, or the path of your own data::

    [data]
    name = "cifar10"
    classes = ["airplane", "bird"]

    [data]
    path = "houses.parquet"
    label = "price"
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np

from fastmlp import datasets
from fastmlp.datasets import Dataset, own
from fastmlp.datasets.options import OwnOptions, is_tuple
from fastmlp.errors import ConfigError, DataError, shown, suggest
from fastmlp.machine.files import LARGEST_HEADER
from fastmlp.training.config import TrainConfig
from fastmlp.training.defaults import FOR_TABLES

VALID_FRACTION = 0.1  # of the official training part
# Bytes of all names in a model's file; its header has room for them and some hundred layers.
MOST_NAMES = LARGEST_HEADER - 2**16
FOR_ALL = ("size", "split")  # options that built-in data sets have, too


@dataclass(frozen=True, kw_only=True)
class DataTable(OwnOptions):
    """The data of a training, search or study: the ``[data]`` table of its file.

    Rows are split into three parts first; then classes are picked and images resized. Of a built-in data set without
    `split`, `train` and `valid`, the test part is the official one, and a tenth of the official
    training part, drawn with `seed`, is the validation part. The parts of your own data are those of
    `fastmlp.datasets.splits`.

    Parameters
    ----------
    label, task, weight, group, part, missing, skip_bad, size, split, seed : as there
        As for `fastmlp.datasets.options.OwnOptions`; built-in data sets have `size`, `split` and `seed`.
    name : str
        One of `fastmlp.datasets.NAMES`, or the path of a file or folder.
    classes : tuple of str or None
        Keep these, labelled 0, 1, ... in this order; by default all are kept.
    train, valid : (int, int) or None
        The training and validation parts as rows of the whole data set, from the first up to, but
        not including, the second; the test part is the official one. Both or neither, and of built-in data sets alone.

    Raises
    ------
    ConfigError
        If a value is wrong or contradicts another.
    """

    name: str
    classes: tuple[str, ...] | None = None
    train: tuple[int, int] | None = None
    valid: tuple[int, int] | None = None

    WHERE: ClassVar[str] = "data."

    def _conditions(self) -> Iterator[tuple[str, bool, str]]:
        name = self.name
        known = type(name) is str and (name in datasets.NAMES or own.is_path(name))
        yield (
            "name",
            known and "\0" not in name and name.encode("utf-8", "replace").decode() == name,
            f"one of {', '.join(datasets.NAMES)}, or a path: {own.expected()}",
        )
        several = not isinstance(self.classes, tuple) or len(self.classes) > 1
        yield (
            "classes",
            is_tuple(self.classes, str, None) and several,
            "a list of names, two or more",
        )
        yield from super()._conditions()
        yield "train", is_tuple(self.train, int, 2), "rows, such as [0, 55000]"
        yield "valid", is_tuple(self.valid, int, 2), "rows, such as [55000, 60000]"

    def __post_init__(self) -> None:
        """Raise a ConfigError that names the first wrong value."""
        super().__post_init__()
        if (self.train is None) != (self.valid is None):
            alone = "valid" if self.train is None else "train"
            raise ConfigError(f"data.{alone}: found alone, expected both train and valid")
        if self.split is not None and self.train is not None:
            raise ConfigError("data.split: found beside train and valid, expected one or the other")
        if self.is_own and self.train is not None:
            raise ConfigError("data.train: found with data of your own, expected split or part")
        if not self.is_own and (strange := [one for one in self.given() if one not in FOR_ALL]):
            raise ConfigError(
                f"data.{strange[0]}: found with {self.name}, expected it with data of your own alone"
            )

    @classmethod
    def from_table(cls, table: object, changes: Mapping[str, Any] | None = None) -> Self:
        """Return what a ``[data]`` table of a TOML file says, with some fields changed.

        Parameters
        ----------
        table : object
            The table as it was read.
        changes : mapping, optional
            Fields, and their other values.
        """
        fields = (field.name for field in dataclasses.fields(cls))
        known = dict.fromkeys(("name", "classes", "size", *fields, "path"))
        values = checked_table("data", table, list(known))
        if "path" in values:
            if "name" in values:
                raise ConfigError("data.path: found beside name, expected one or the other")
            path = values.pop("path")
            values["name"] = f"./{path}" if path in datasets.NAMES else path
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        plain |= changes or {}
        if "name" not in plain:
            raise ConfigError("data.name: not found, expected a data set: [data] name = ...")
        return cls(**plain)

    @property
    def is_own(self) -> bool:
        """Whether it is data of your own."""
        return self.name not in datasets.NAMES

    @property
    def title(self) -> str:
        """A short name, for folders."""
        return (Path(self.name).stem if self.is_own else self.name) or "data"

    @property
    def base_config(self) -> TrainConfig:
        """The settings where nobody says others: those of tables are `fastmlp.training.defaults.FOR_TABLES`."""
        return TrainConfig(**FOR_TABLES if self.is_own and own.is_table(self.name) else {})


def load_parts(
    data: DataTable, data_home: str | Path | None = None
) -> tuple[Dataset, Dataset, Dataset]:
    """Return the training, validation and test parts that a ``[data]`` table describes.

    Parameters
    ----------
    data : DataTable
    data_home : path, optional
        The data folder, as for `fastmlp.datasets.load`.

    Raises
    ------
    DataError
        If the data cannot be loaded, has other classes, sizes or rows, or longer names than a model's file holds.
    """
    parts = tuple(own.load(data.name, data)) if data.is_own else _built_in(data, data_home)
    if data.classes is not None:
        parts = tuple(part.pick(data.classes) for part in parts)
    if data.size is not None and not data.is_own:  # whose pictures were read in this size
        parts = tuple(part.resize(data.size) for part in parts)
    _check_names(data, parts[0])
    return cast(tuple[Dataset, Dataset, Dataset], parts)


def _check_names(data: DataTable, part: Dataset) -> None:
    """Raise a DataError if a network of a part could be trained and not be saved."""
    preparation = part.preparation.as_dict() if part.preparation is not None else None
    # A text of JSON in a text of JSON, as in the file.
    size = len(json.dumps(json.dumps([part.classes, preparation])))
    if size > MOST_NAMES:
        raise DataError(
            f"{data.name}: found {size:,} bytes of names, of {len(part.classes):,} classes, columns and categories, "
            f"expected at most {MOST_NAMES:,}, since a model's file holds them all; shorten them, or leave columns out"
        )


def _built_in(data: DataTable, data_home: str | Path | None) -> tuple[Dataset, ...]:
    """Return the parts of a built-in data set."""
    whole = datasets.load(data.name, data_home)
    if data.split is not None:
        parts = whole.split(data.split, data.seed)
    elif data.train is not None and data.valid is not None:
        parts = _rows(whole, "train", data.train), _rows(whole, "valid", data.valid), whole.test
    else:
        shares = (1 - VALID_FRACTION, VALID_FRACTION)
        # A view would keep all images in memory, beside the copies in the other parts.
        test = dataclasses.replace(whole.test, images=whole.test.images.copy())
        parts = (*whole.train.split(shares, data.seed), test)
    return parts


def _rows(whole: Dataset, part: str, rows: tuple[int, int]) -> Dataset:
    first, stop = rows
    if not 0 <= first < stop <= len(whole):
        raise DataError(
            f"data.{part}: found rows {list(rows)}, expected first < stop within 0..{len(whole)}"
        )
    return whole.take(np.arange(first, stop))


def checked_table(name: str, table: object, known: Sequence[str] | None = None) -> dict[str, Any]:
    """Return a table as a dict, or raise a ConfigError that names the first unknown name in it."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{name}: found {shown(table)}, expected a table, [{name}]")
    for key in table:
        if known is not None and key not in known:
            raise ConfigError(f"{name}{name and '.'}{key}: no such name; {suggest(key, known)}")
    return dict(table)
