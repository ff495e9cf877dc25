"""The columns of a table: which hold numbers, which categories, and which are refused.

pandas reads tables and knows many types of columns. Here each becomes float64 numbers, in which NaN is missing, or
texts, in which None is missing. What is neither (dates, free text, lists) is refused by name.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from fastmlp.errors import DataError, FastMLPError, shown
from fastmlp.machine.schema import MOST_TEXT

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "category", "name"]
"""What a column is taken for; "name" is one whose values nearly all differ, such as names and ticket numbers."""

MOST_CATEGORIES = 2000  # each takes a feature, and a table of as many columns helps nobody
LONG_WORDS, LONG_LETTERS = 5, 40  # on average: a text of more is free text
FEW_TOKENS = 3  # different texts among numbers: they stand for what is missing
MANY_NUMBERS = 20  # different ones: these are measurements and no codes
_SPELLED_NUMBER = re.compile(r"[-+]?[$€£]?\s?\d[\d.,'\s]*[%$€£]?")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    rf"""(?:[a-z]{{3,9}},?\ )?                                 # a day of the week
    (?:\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}                      # 2020-01-31
    |\d{{1,2}}([-/.])\d{{1,2}}\2(?:\d{{4}}|\d{{2}})             # 31.1.2020, 1/31/20
    |\d{{1,2}}[-\ ]{_MONTH},?[-\ ]\d{{2,4}}                    # 31 January 2020
    |{_MONTH}\ \d{{1,2}},?\ \d{{2,4}})                         # Jan 31, 2020
    (?:,?[T\ ]\d{{1,2}}:\d{{2}}.*)?                            # and a time
    |\d{{1,2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?(?:\ ?[ap]m)?     # a time alone
    """,
    re.VERBOSE | re.IGNORECASE,
)


def pandas() -> Any:
    """Return the package pandas.

    Raises
    ------
    FastMLPError
        If it is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise FastMLPError(
            f"tables: found no pandas ({error}), expected it; pip install 'fastmlp[tables]'"
        ) from error
    return pandas


def refuse(where: object, name: str, found: str, expected: str) -> NoReturn:
    """Raise a DataError that names a table and a column."""
    raise DataError(f"{where}: column {name!r}: found {found}, expected {expected}")


def numbers_of(where: object, column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Return a column as float64 numbers [N]; NaN is missing.

    Raises
    ------
    DataError
        For a value that is no number, and for infinity; the message names the column and the row.
    """
    name = str(column.name)
    if isinstance(column.dtype, pandas().CategoricalDtype):
        given_type = column.cat.categories.dtype
        # Of integers and truth values none is missing.
        column = column.astype(np.float64 if given_type.kind in "biuf" else given_type)
    kind = column.dtype.kind
    if kind in "mM" or is_period(column):
        _refuse_date(where, name, column)
    if kind in "biuf":
        values: npt.NDArray[np.float64] = column.to_numpy(np.float64, na_value=np.nan)
    else:
        given = column.to_numpy(object)
        try:
            numbers = pandas().to_numeric(column.astype(object), errors="coerce")
            values = numbers.to_numpy(np.float64)
        except OverflowError:  # whole numbers of hundreds of digits are infinite
            values = np.array([_nearest(one) for one in given])
        wrong = np.isnan(values) & ~column.isna().to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            found = f"{shown(given[row])} at row {row} (counted from 0)"
            refuse(where, name, found, "numbers")
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        refuse(where, name, f"{values[row]} at row {row} (counted from 0)", "finite numbers")
    return values


def texts_of(where: object, column: pd.Series[Any]) -> npt.NDArray[np.object_]:
    """Return a column as texts [N]; None is missing. Whole numbers are spelled without a fraction.

    Raises
    ------
    DataError
        For a value that is neither a text nor a number; the message names the column and the row.
    """
    try:
        numbers, different = pandas().factorize(column)  # each value is spelled once
    except (TypeError, NotImplementedError):  # lists
        numbers, different = np.arange(len(column)), column
    spelled = np.empty(len(different) + 1, object)  # the last is None: its number is -1
    for place, value in enumerate(different):
        spelled[place] = _spelled(value)
        if spelled[place] is None:
            found = f"{type(value).__name__} at row {np.argmax(numbers == place)} (counted from 0)"
            what = "numbers or texts; remove the column, or make one of it"
            refuse(where, str(column.name), found, what)
    texts: npt.NDArray[np.object_] = spelled[numbers]
    return texts


def kind_of(where: object, column: pd.Series[Any]) -> Kind:
    """Return what a column of features is taken for.

    Raises
    ------
    DataError
        For a column that holds dates, free text, one value, nothing, too many categories, or other things than
        numbers and texts. The message names it and says what to do.
    """
    name = str(column.name)
    present = column[~column.isna().to_numpy()]
    if not len(present):
        refuse(where, name, "no value in any row", "values; remove the column")
    if present.dtype.kind in "mM" or is_period(present):
        _refuse_date(where, name, present)
    if is_number(present):
        values = numbers_of(where, present)
        if len(present) == len(column) and (values == values[0]).all():
            _refuse_constant(where, name, f"{values[0]:g}")
        return "number"
    texts = texts_of(where, present)
    different = pandas().unique(texts).tolist()
    if len(different) == 1 and len(present) == len(column):
        _refuse_constant(where, name, shown(different[0]))
    if all(_DATE.fullmatch(text.strip()) for text in different):
        _refuse_date(where, name, present)
    _check_tokens(where, name, texts, different)
    return _kind_of_texts(where, name, len(texts), different)


def is_number(column: pd.Series[Any]) -> bool:
    """Return whether all values of a column, which has no missing ones, are numbers or truth values."""
    if isinstance(column.dtype, pandas().CategoricalDtype):
        return False
    if column.dtype.kind in "biuf":
        return True
    return column.dtype.kind == "O" and all(
        isinstance(value, Real | Decimal) for value in column.to_numpy(object)
    )


def is_period(column: pd.Series[Any]) -> bool:
    """Return whether a column holds dates, times or spans that are no dtype of NumPy."""
    if isinstance(column.dtype, pandas().PeriodDtype | pandas().DatetimeTZDtype):
        return True
    # datetime.date, datetime.time and datetime.timedelta, which pyarrow makes of its own types
    return column.dtype.kind == "O" and any(
        type(value).__module__ == "datetime" for value in column.to_numpy(object)[:100]
    )


def _nearest(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return math.nan


def _spelled(value: object) -> str | None:
    """Return a value as text; None if it is neither a text nor a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, Real | Decimal):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return None


def _kind_of_texts(where: object, name: str, count: int, different: list[str]) -> Kind:
    repeats = len(different) <= count / 2
    words = sum(len(text.split()) for text in different) / len(different)
    letters = sum(map(len, different)) / len(different)
    if not repeats and (words >= LONG_WORDS or letters >= LONG_LETTERS):
        refuse(
            where,
            name,
            f"free text, such as {shown(different[0])}",
            "numbers or categories; remove the column, or make numbers of it",
        )
    longest = max(different, key=len)
    if len(longest) > MOST_TEXT:
        refuse(
            where,
            name,
            f"a text of {len(longest):,} letters, {shown(longest)}",
            f"categories of at most {MOST_TEXT:,}; remove the column",
        )
    if len(different) >= MOST_CATEGORIES:
        refuse(
            where,
            name,
            f"{len(different):,} categories, such as {shown(different[0])}",
            f"fewer than {MOST_CATEGORIES:,}; remove the column, or join rare categories",
        )
    return "category" if repeats or len(different) <= MANY_NUMBERS else "name"


def _check_tokens(
    where: object, name: str, texts: npt.NDArray[np.object_], different: list[str]
) -> None:
    """Refuse numbers that are written as texts, or among which a few texts, such as "?", stand for what is missing."""
    numeric = ~np.isnan(pandas().to_numeric(np.array(different, object), errors="coerce"))
    tokens = [text for text, is_one in zip(different, numeric, strict=True) if not is_one]
    if len(different) <= MANY_NUMBERS:
        return
    written = [text for text in different if not _SPELLED_NUMBER.fullmatch(text.strip())]
    if not written:
        found = f"numbers written as texts, such as {shown((tokens or different)[0])}"
        refuse(where, name, found, "numbers such as 1234.5; convert the column")
    if len(tokens) <= FEW_TOKENS and numeric.sum() > MANY_NUMBERS:
        row = int(np.isin(texts, tokens).argmax())
        refuse(
            where,
            name,
            f"numbers, and {shown(tokens[0])} for instance in the {row + 1}. row with a value",
            "numbers alone; leave cells empty where they are missing",
        )


def _refuse_constant(where: object, name: str, value: str) -> NoReturn:
    found = f"the value {value} in every row"
    refuse(where, name, found, "values that differ; remove the column")


def _refuse_date(where: object, name: str, column: pd.Series[Any]) -> NoReturn:
    found = f"dates or times, such as {shown(str(column.iloc[0]))}"
    what = "numbers or categories; remove the column, or make numbers of it, such as year, month and weekday"
    refuse(where, name, found, what)
