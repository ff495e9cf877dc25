"""Preparation: how the columns of a raw table become the features of a network, in memory and as JSON.

A column of numbers is one feature, whose missing values are the median. A column of categories is a feature of 0 and 1
for each category; a category that is not among them is 0 in all. Where the training part had missing values, one more
feature says where. scikit-learn's transformers learn and apply this; what is kept are the numbers and names that they
learned. Numbers are standardised by the network's own normalisation, which leaves the features of 0 and 1 as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.options import Missing
from fastmlp.datasets.table_columns import Kind, numbers_of, pandas, refuse, texts_of
from fastmlp.errors import DataError, printable, shown, suggest
from fastmlp.machine.schema import Check, flag, items, number, one_of, require, table, text

if TYPE_CHECKING:
    import pandas as pd

NOWHERE = "\0"  # stands for a missing category, and is none
_COMMON = {"name": text(), "indicator": flag()}
_NUMBER = table({**_COMMON, "median": number()})
_CATEGORY = table({**_COMMON, "categories": items(text())})
_COLUMN = Check(
    "a column with its median, or its categories",
    lambda value: _NUMBER.holds(value) or _CATEGORY.holds(value),
)
CHECK = table(
    {
        "columns": items(_COLUMN, least=1),
        "label": items(text()),
        "missing": one_of("median", "error"),
    }
)
"""What `Preparation.as_dict` may be, as a check of `fastmlp.machine.schema`."""


class Number(NamedTuple):
    """A column of numbers.

    Attributes
    ----------
    name : str
    median : float
        Of the training part.
    indicator : bool
        Whether a feature says where a value is missing.
    """

    name: str
    median: float
    indicator: bool

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        return (self.name, *((f"{self.name} is missing",) if self.indicator else ()))


class Category(NamedTuple):
    """A column of categories.

    Attributes
    ----------
    name : str
    categories : tuple of str
        Of the training part, sorted; none for a column that is left out because nearly all its values differ.
    indicator : bool
        Whether a feature says where a value is missing.
    """

    name: str
    categories: tuple[str, ...]
    indicator: bool

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        names = tuple(f"{self.name} = {one}" for one in self.categories)
        return (*names, *((f"{self.name} is missing",) if self.indicator else ()))


Column = Number | Category


@dataclass(frozen=True)
class Preparation:
    """What is done with the columns of a table.

    Parameters
    ----------
    columns : tuple of Number or Category
        In the order of the features. A table may have them in any order, and others beside them.
    label : tuple of str
        The columns that were predicted.
    missing : {"median", "error"}
        What is done where a value is missing.
    """

    columns: tuple[Column, ...]
    label: tuple[str, ...] = ()
    missing: Missing = "median"

    @classmethod
    def learn(
        cls,
        where: object,
        frame: pd.DataFrame,
        kinds: Sequence[Kind],
        *,
        label: Sequence[str] = (),
        missing: Missing = "median",
    ) -> Self:
        """Learn medians and categories from the training part.

        Parameters
        ----------
        where : object
            The name of the table in messages.
        frame : pandas.DataFrame
            The training part, features alone.
        kinds : sequence of str
            What each of its columns is taken for; see `fastmlp.datasets.table_columns.kind_of`.
        label : sequence of str
            The columns that are predicted.
        missing : {"median", "error"}
        """
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import OneHotEncoder

        columns: list[Column] = []
        for (name, column), kind in zip(frame.items(), kinds, strict=True):
            absent = column.isna().to_numpy()
            if kind == "number":
                values = numbers_of(where, column)[:, None]
                imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(values)
                columns.append(Number(str(name), float(imputer.statistics_[0]), bool(absent.any())))
                continue
            texts = texts_of(where, column)[~absent][:, None]
            categories: tuple[str, ...] = ()
            if kind == "category" and len(texts):
                categories = tuple(map(str, OneHotEncoder().fit(texts).categories_[0]))
            columns.append(Category(str(name), categories, bool(absent.any())))
        return cls(tuple(columns), tuple(label), missing)

    @classmethod
    def from_dict(cls, plain: Any) -> Self:
        """Return what `as_dict` says, which may be any JSON.

        Raises
        ------
        DataError
            If it describes no preparation.
        """
        CHECK("preparation", plain)
        names = [one["name"] for one in plain["columns"]]
        require(len(set(names)) == len(names), "preparation.columns", names, "different names")
        columns: list[Column] = []
        for one in plain["columns"]:
            name, indicator = one["name"], one["indicator"]
            if "median" in one:
                columns.append(Number(name, float(one["median"]), indicator))
                continue
            categories = tuple(one["categories"])
            different = len(set(categories)) == len(categories) and NOWHERE not in categories
            require(different, f"preparation: {name}", list(categories), "different categories")
            columns.append(Category(name, categories, indicator))
        return cls(tuple(columns), tuple(plain["label"]), plain["missing"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        columns = [
            {name: list(value) if isinstance(value, tuple) else value for name, value in entries}
            for entries in (one._asdict().items() for one in self.columns)
        ]
        return {"columns": columns, "label": list(self.label), "missing": self.missing}

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The names of the D features, such as "age", "age is missing" and "sex = female"."""
        return tuple(name for column in self.columns for name in column.features)

    @cached_property
    def spans(self) -> dict[str, slice]:
        """The features of each column."""
        ends = np.cumsum([0, *(len(column.features) for column in self.columns)]).tolist()
        return {
            column.name: slice(first, stop)
            for column, first, stop in zip(self.columns, ends[:-1], ends[1:], strict=True)
        }

    @cached_property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Whether each of the D features is a number that a normalisation scales, and not 0 or 1."""
        flags = np.zeros(len(self.features), bool)
        flags[[self.spans[one.name].start for one in self.columns if isinstance(one, Number)]] = (
            True
        )
        return flags

    def lines(self) -> list[str]:
        """Return in words what is done with the columns, a line for each kind of it."""
        numbers = [one.name for one in self.columns if isinstance(one, Number)]
        groups = [one for one in self.columns if isinstance(one, Category) and one.categories]
        kinds = (
            ("numbers, standardised", numbers),
            ("categories", [f"{one.name} ({len(one.categories)})" for one in groups]),
            (
                "left out, because nearly all values differ",
                [one.name for one in self.columns if one not in groups and one.name not in numbers],
            ),
            (
                "with missing values, which a feature marks",
                [one.name for one in self.columns if one.indicator],
            ),
        )
        return [f"{words}: {printable(', '.join(names))}" for words, names in kinds if names]

    def apply(
        self, frame: pd.DataFrame, where: object = "table"
    ) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
        """Return the features of a raw table, and what is to be told about it.

        Parameters
        ----------
        frame : pandas.DataFrame
            Columns in any order; those that are not known are not looked at.
        where : object
            The name of the table in messages.

        Returns
        -------
        features : float64 array [N, D]
            C-contiguous.
        notes : tuple of str
            A line for each column with categories that the training did not have, and for each with missing values
            where the training had none.

        Raises
        ------
        DataError
            If a column is missing, comes twice, or has values of another kind; the message names it.
        """
        found = named_columns(where, frame)
        for column in self.columns:
            if column.name not in found:
                raise DataError(
                    f"{where}: found no column {column.name!r}, expected the columns of the training; "
                    f"{suggest(column.name, found)}"
                )
        features = np.empty((len(frame), len(self.features)))
        notes: list[str] = []
        for column in self.columns:
            block = features[:, self.spans[column.name]]
            notes += self._fill(block, column, where, frame.iloc[:, found[column.name]])
        return features, tuple(notes)

    def _fill(
        self, block: npt.NDArray[np.float64], column: Column, where: object, given: pd.Series[Any]
    ) -> Iterator[str]:
        """Write the features of one column, and yield what is to be told about it."""
        missing = given.isna().to_numpy()
        if missing.any() and self.missing == "error":
            found = f"{missing.sum():,} missing values, the first at row {missing.argmax()} (counted from 0)"
            refuse(where, column.name, found, "a value in every row, because missing is 'error'")
        if missing.any() and not column.indicator:
            yield (
                f"column {column.name!r}: {missing.sum():,} values are missing, and none was in the training; they are "
                + (
                    "its median"
                    if isinstance(column, Number)
                    else "taken for none of its categories"
                )
            )
        if column.indicator:
            block[:, -1] = missing
        if isinstance(column, Number):
            block[:, :1] = _imputed(numbers_of(where, given), column.median)
        elif column.categories:
            texts = texts_of(where, given)
            known = np.isin(texts[~missing].astype(str), column.categories)
            if not known.all():
                first = texts[~missing][int(known.argmin())]
                yield (
                    f"column {column.name!r}: {(~known).sum():,} values, such as {shown(first)}, are no categories of "
                    "the training; they are taken for none of them"
                )
            block[:, : len(column.categories)] = _encoded(texts, missing, column.categories)


def named_columns(where: object, frame: object) -> dict[str, int]:
    """Return the place of each column of a table by its name, as text.

    Raises
    ------
    DataError
        If it is no table, or two columns have one name.
    """
    if not isinstance(frame, pandas().DataFrame):
        found = type(frame).__name__
        raise DataError(f"{where}: found {found}, expected a table, as a pandas DataFrame")
    places: dict[str, int] = {}
    for place, name in enumerate(frame.columns):
        if str(name) in places:
            raise DataError(
                f"{where}: found the column {str(name)!r} twice, expected different names; rename one"
            )
        places[str(name)] = place
    return places


def _imputed(values: npt.NDArray[np.float64], median: float) -> npt.NDArray[np.float64]:
    """Return numbers [N] as [N, 1], with the median where one is missing."""
    from sklearn.impute import SimpleImputer

    imputer = SimpleImputer(strategy="median").fit([[median]])
    return np.asarray(imputer.transform(values[:, None]), np.float64)


def _encoded(
    texts: npt.NDArray[np.object_], missing: npt.NDArray[np.bool_], categories: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Return categories [N] as zeros and ones [N, C]."""
    from sklearn.preprocessing import OneHotEncoder

    known = np.array([categories], object).T
    encoder = OneHotEncoder(
        categories=[known[:, 0]], handle_unknown="ignore", sparse_output=False
    ).fit(known)
    given = np.where(missing, NOWHERE, texts)[:, None]
    return np.asarray(encoder.transform(given), np.float64)
