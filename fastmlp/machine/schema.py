"""What the values of a file must be: each has its type, range and size checked before anything uses it.

A `Check` is made by one of the functions below, and checks of parts make a check of the whole:

>>> point = table({"x": number(0, 1), "names": items(text(), most=2)})
>>> point("point", {"x": 0.5, "names": ["a"]})
>>> point("point", {"x": True, "names": []})
Traceback (most recent call last):
...
fastmlp.errors.DataError: point.x: found True, expected a finite number from 0 to 1
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from fastmlp.errors import DataError

Check = Callable[[str, Any], None]
"""Takes the name of a value and the value, which may be any JSON; raises a DataError that names both."""

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
        The value, whose repr is cut short.
    expected : str
    """
    if not holds:
        raise DataError(f"{name}: found {shown(found)}, expected {expected}")


def shown(value: object) -> str:
    """Return the repr of a value as one short line, however large the value is."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:  # Python prints no integer of thousands of digits
        return f"a huge {type(value).__name__}"


def whole(low: int = 0, high: int = MOST_INTEGER) -> Check:
    """Accept an integer within bounds, and no bool."""

    def check(name: str, value: Any) -> None:
        holds = type(value) is int and low <= value <= high
        require(holds, name, value, f"a whole number from {low} to {high}")

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """Accept a finite number within bounds, integer or not, and no bool."""
    bounds = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"

    def check(name: str, value: Any) -> None:
        holds = type(value) in (int, float) and low <= value <= high
        # An integer may be too large for a float.
        holds = holds and abs(value) < MOST_INTEGER if type(value) is int else holds
        require(holds and math.isfinite(value), name, value, f"a finite number{bounds}")

    return check


def flag() -> Check:
    """Accept true or false."""

    def check(name: str, value: Any) -> None:
        require(type(value) is bool, name, value, "true or false")

    return check


def text(*, printable: bool = False, most: int = MOST_TEXT) -> Check:
    """Accept a text of some length; a printable one has a character at least, and none that controls a terminal."""
    kind = "a printable text" if printable else "a text"

    def check(name: str, value: Any) -> None:
        holds = type(value) is str and len(value) <= most
        holds = holds and (not printable or (value != "" and value.isprintable()))
        require(holds, name, value, f"{kind} of at most {most} characters")

    return check


def one_of(*names: str) -> Check:
    """Accept one of some texts."""

    def check(name: str, value: Any) -> None:
        require(type(value) is str and value in names, name, value, " or ".join(names))

    return check


def none_or(check: Check) -> Check:
    """Accept null, and what another check accepts."""

    def check_both(name: str, value: Any) -> None:
        if value is not None:
            check(name, value)

    return check_both


def items(check: Check, *, least: int = 0, most: int = MOST_INTEGER) -> Check:
    """Accept a list of so many values, each of which a check accepts."""
    expected = f"a list of {least}" if least == most else f"a list of at least {least}"
    expected += f" and at most {most}" if least < most < MOST_INTEGER else ""

    def check_each(name: str, value: Any) -> None:
        require(type(value) is list and least <= len(value) <= most, name, value, expected)
        for position, item in enumerate(value):
            check(f"{name}[{position}]", item)

    return check_each


def table(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Accept an object with these entries and no other, each of which its check accepts."""
    known = {**required, **(optional or {})}
    expected = f"the entries {', '.join(required)}"

    def check_entries(name: str, value: Any) -> None:
        holds = type(value) is dict and set(required) <= set(value) <= set(known)
        require(holds, name, value, expected)
        for entry, item in value.items():
            known[entry](f"{name}.{entry}" if name else entry, item)

    return check_entries
