"""What the values of a file must be: each has its type, range and size checked before anything uses it.

The functions below make checks, and checks of parts make a check of the whole:

>>> point = table({"x": number(0, 1), "names": items(text(), most=2)})
>>> point("point", {"x": 0.5, "names": ["a"]})
>>> point("point", {"x": True, "names": []})
Traceback (most recent call last):
...
fastmlp.errors.DataError: point.x: found True, expected a finite number from 0 to 1
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fastmlp.errors import DataError, shown

MOST_INTEGER = 2**63 - 1  # what SQLite and TOML hold
MOST_TEXT = 100_000  # characters


def require(holds: bool, name: str, found: object, expected: str) -> None:
    """Raise a DataError unless a condition holds.

    Parameters
    ----------
    holds : bool
    name : str
        Of the value.
    found : object
        The value, which is shown cut short.
    expected : str
    """
    if not holds:
        raise DataError(f"{name}: found {shown(found)}, expected {expected}")


class Check:
    """A condition of a value, which may be any JSON. A call takes the value's name and the value.

    Parameters
    ----------
    expected : str
        The condition in words.
    holds : callable
        Returns whether a value fulfils it.

    Raises
    ------
    DataError
        When called with a value that does not; it names the value.
    """

    def __init__(self, expected: str, holds: Callable[[Any], bool]) -> None:
        self.expected, self.holds = expected, holds

    def __call__(self, name: str, value: Any) -> None:
        """Check a value of this name."""
        require(self.holds(value), name, value, self.expected)


def whole(low: int = 0, high: int = MOST_INTEGER) -> Check:
    """Accept an integer within bounds, and no bool."""
    return Check(
        f"a whole number from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """Accept a finite number within bounds, integer or not, and no bool."""
    bounds = f" from {low:g}" * math.isfinite(low) + f" to {high:g}" * math.isfinite(high)

    def holds(value: Any) -> bool:
        # An integer may be too large for a float, and NaN is within no bounds.
        is_number = type(value) is float or (type(value) is int and abs(value) <= MOST_INTEGER)
        return is_number and low <= value <= high and math.isfinite(value)

    return Check(f"a finite number{bounds}", holds)


def flag() -> Check:
    """Accept true or false."""
    return Check("true or false", lambda value: type(value) is bool)


def text(most: int = MOST_TEXT) -> Check:
    """Accept a text of at most so many characters."""
    return Check(
        f"a text of at most {most} characters",
        lambda value: type(value) is str and len(value) <= most,
    )


def label() -> Check:
    """Accept a text that can be shown: it is not empty, and controls no terminal."""
    return Check(
        "a printable name",
        lambda value: type(value) is str and 0 < len(value) <= MOST_TEXT and value.isprintable(),
    )


def one_of(*names: str) -> Check:
    """Accept one of some texts."""
    return Check(" or ".join(names), lambda value: type(value) is str and value in names)


def none_or(check: Check) -> Check:
    """Accept null, and what another check accepts."""
    return Check(f"{check.expected}, or none", lambda value: value is None or check.holds(value))


def items(
    check: Check, *, least: int = 0, most: int = MOST_INTEGER, words: str | None = None
) -> Check:
    """Accept a list of so many values, each of which a check accepts; `words` say which, if the usual ones do not."""
    return Check(
        words or f"a list, each {check.expected}",
        lambda value: (
            type(value) is list
            and least <= len(value) <= most
            and all(check.holds(one) for one in value)
        ),
    )


def table(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Accept an object with these entries and no other, each of which its check accepts."""
    return _Table(dict(required), {**required, **(optional or {})})


class _Table(Check):
    def __init__(self, required: Mapping[str, Check], known: Mapping[str, Check]) -> None:
        self._required, self._known = set(required), known
        super().__init__(f"the entries {', '.join(required)}", self._is_whole)

    def __call__(self, name: str, value: Any) -> None:
        """Name the entry that is wrong."""
        require(self._has_entries(value), name, value, self.expected)
        for entry, item in value.items():
            self._known[entry](f"{name}.{entry}" if name else entry, item)

    def _has_entries(self, value: Any) -> bool:
        return type(value) is dict and self._required <= set(value) <= set(self._known)

    def _is_whole(self, value: Any) -> bool:
        return self._has_entries(value) and all(
            self._known[entry].holds(item) for entry, item in value.items()
        )
