"""The type of every field of a study file: one table, checked when the file is read.

What the fields mean together, and which an entry cannot do without, is in `fastmlp.studies.check`.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from fastmlp.errors import ConfigError

# A file of a figure lies in the report's folder, under the same name on every system.
PLAIN_NAME = re.compile(r"\w(?:[\w.+ -]{0,98}[\w+-])?")
RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)


class Type(Protocol):
    """A type of values: whether one has it, and how the type is called."""

    @property
    def expected(self) -> str:
        """The type in words."""

    def check(self, name: str, value: object) -> None:
        """Raise a ConfigError that names the field unless the value has the type."""


class Plain(NamedTuple):
    """Values that one test tells."""

    expected: str
    holds: Any

    def check(self, name: str, value: object) -> None:
        """Raise a ConfigError unless the test holds."""
        if not self.holds(value):
            raise ConfigError(f"{name}: found {reprlib.repr(value)}, expected {self.expected}")


class Listed(NamedTuple):
    """Lists of values of one type, of a least and a greatest length."""

    kind: Type
    least: int = 1
    most: int = 10_000

    @property
    def expected(self) -> str:
        """The type in words."""
        some = f"{self.least}" if self.least == self.most else f"{self.least} or more"
        return f"a list of {some}, each {self.kind.expected}"

    def check(self, name: str, value: object) -> None:
        """Raise a ConfigError for the list or for one of its values."""
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            raise ConfigError(f"{name}: found {reprlib.repr(value)}, expected {self.expected}")
        for number, one in enumerate(value, 1):
            self.kind.check(f"{name}, number {number}", one)


class Table(NamedTuple):
    """Tables whose known fields have these types, and whose other fields have the type of the rest."""

    fields: Mapping[str, Type]
    rest: Type | None = None
    expected: str = "a table"

    def check(self, name: str, value: object) -> None:
        """Raise a ConfigError for the table or for one of its fields."""
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}: found {reprlib.repr(value)}, expected {self.expected}")
        for key, one in value.items():
            kind = self.fields.get(key, self.rest)
            if kind is not None:
                kind.check(f"{name}.{key}", one)


class Either(NamedTuple):
    """Values of one of two types; the first is told by a test of its own."""

    first: Plain
    second: Type

    @property
    def expected(self) -> str:
        """The type in words."""
        return f"{self.first.expected}, or {self.second.expected}"

    def check(self, name: str, value: object) -> None:
        """Raise a ConfigError unless one of the two fits."""
        if not self.first.holds(value):
            if not isinstance(value, list | Mapping):
                raise ConfigError(f"{name}: found {reprlib.repr(value)}, expected {self.expected}")
            self.second.check(name, value)


def is_file_name(value: object) -> bool:
    """Return whether a value names a file in any folder of any system, and nothing elsewhere."""
    return (
        isinstance(value, str)
        and PLAIN_NAME.fullmatch(value) is not None
        and RESERVED.fullmatch(value) is None
    )


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_finite(value: object) -> bool:
    # NaN is below nothing, and an integer may be too large for a float.
    return _is_number(value) and abs(value) < 1e300  # type: ignore[arg-type]


def _whole(least: int) -> Plain:
    return Plain(
        f"a whole number from {least}",
        lambda value: type(value) is int and least <= value < 2**31,
    )


TEXT = Plain("text", lambda value: isinstance(value, str))
FLAG = Plain("true or false", lambda value: isinstance(value, bool))
NUMBER = Plain("a finite number", _is_finite)
POSITIVE = Plain("a number above 0", lambda value: _is_finite(value) and value > 0)
VALUE = Plain("a number or nan", lambda value: _is_number(value) and not abs(value) >= 1e300)
FILE = Plain(
    "a plain name without a folder: letters, digits, blanks, '_', '-', '+' and '.', which no system reserves",
    is_file_name,
)
YES = Plain("true", lambda value: value is True)
ANY_TABLE = Table({})
TEXTS = Listed(TEXT)
NUMBERS = Listed(NUMBER)

# The fields of all entries of a section, and of their sides: a name means the same wherever it stands.
ENTRY: dict[str, Type] = {
    **dict.fromkeys(("label", "caption", "says", "note", "because", "legend"), TEXT),
    **dict.fromkeys(("kind", "by", "axis", "metric", "per", "part", "ours", "theirs"), TEXT),
    **dict.fromkeys(("best", "log", "cost", "normalized", "lower"), FLAG),
    **dict.fromkeys(("tolerance", "level", "most", "low", "high", "worse"), NUMBER),
    **dict.fromkeys(("quantities", "words", "tell", "twins"), TEXTS),
    "file": FILE,
    "where": ANY_TABLE,
    "epoch": _whole(1),
    "image": _whole(0),
    "at": Listed(_whole(1)),
    "change": Listed(_whole(1), 2, 2),
    "better": NUMBERS,
    "confusion": Either(YES, Listed(NUMBERS)),
    "published": Table({}, Either(VALUE, Listed(VALUE))),
}
ENTRIES = Listed(Table({**ENTRY, "sides": Listed(Table(ENTRY))}), 0)
RECORD = Table({**ENTRY, **dict.fromkeys(("accuracy", "seconds", "all_seconds"), POSITIVE)})
CLOCKS = Listed(Table({**ENTRY, "published": POSITIVE}), 0)

SECTION: dict[str, Type] = {
    **dict.fromkeys(("title", "text"), TEXT),
    **dict.fromkeys(("row", "epochs", "claim", "figure", "twins", "fits"), ENTRIES),
    **dict.fromkeys(("columns", "measure", "all"), Listed(TEXT, 0)),
    "tolerance": NUMBER,
    "clock": CLOCKS,
    "record": RECORD,
}
PART: dict[str, Type] = {
    **dict.fromkeys(("label", "kind"), TEXT),
    **dict.fromkeys(("data", "config"), ANY_TABLE),
    "grid": Either(Plain("a table", lambda value: isinstance(value, Mapping)), Listed(ANY_TABLE)),
}
STUDY: dict[str, Type] = {
    **dict.fromkeys(("title", "about"), TEXT),
    "percent": FLAG,
    "jobs": _whole(1),
    "parts": Table({}, Table(PART)),
    "section": Listed(Table(SECTION), 0),
}


def check_types(study: Mapping[str, Any]) -> None:
    """Check the ``[study]`` table of a file.

    Raises
    ------
    ConfigError
        If a field is of another type; it names the field, what was found and what was expected.
    """
    Table(STUDY).check("study", study)
