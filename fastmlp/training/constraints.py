"""What a setting accepts: in words, and as a function that converts a value to its plain type or raises."""

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from fastmlp.training.layers import EXPECTED as LAYER_EXPECTED
from fastmlp.training.layers import spell_item


class Constraint(NamedTuple):
    """What one field accepts: in words, as a function that returns the stored value or raises, and as choices."""

    expected: str
    convert: Callable[[Any], Any]
    choices: tuple[str, ...] = ()


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def flag() -> Constraint:
    """Accept true or false."""

    def convert(value: Any) -> bool:
        _require(isinstance(value, bool | np.bool_))
        return bool(value)

    return Constraint("true or false", convert)


def choice(names: Iterable[str]) -> Constraint:
    """Accept one of some names."""
    names = tuple(names)

    def convert(value: Any) -> str:
        _require(isinstance(value, str) and value in names)
        return str(value)

    return Constraint("one of " + ", ".join(map(repr, names)), convert, names)


def integer(low: int, high: int) -> Constraint:
    """Accept an integer within bounds."""

    def convert(value: Any) -> int:
        _require(_is_number(value, Integral) and low <= value <= high)
        return int(value)

    return Constraint(f"an integer from {low} to {high}", convert)


def real(holds: Callable[[float], bool], words: str) -> Constraint:
    """Accept a finite number for which a condition holds; `words` describes it."""

    def convert(value: Any) -> float:
        _require(_is_number(value, Real))
        number = float(value) + 0.0  # turns -0.0 into 0.0: equal configurations, equal text
        _require(math.isfinite(number) and holds(number))
        return number

    return Constraint(f"a finite number {words}", convert)


def optional(constraint: Constraint) -> Constraint:
    """Accept None as well; in a file, the text "none" stands for it."""

    def convert(value: Any) -> Any:
        # TOML has no null, and a grid must be able to leave a setting out.
        is_none = value is None or (isinstance(value, str) and value == "none")
        return None if is_none else constraint.convert(value)

    return Constraint(f'{constraint.expected}, or None (in a file: "none", or no line)', convert)


def tuple_of(constraint: Constraint, expected: str) -> Constraint:
    """Accept a list of values, each of which a constraint accepts."""

    def convert(value: Any) -> tuple[Any, ...]:
        _require(isinstance(value, list | tuple | np.ndarray))
        return tuple(constraint.convert(item) for item in value)

    return Constraint(expected, convert)


# Counts are indices of compiled loops, and a seed must fit TOML's and SQLite's signed 64 bits.
COUNT = integer(1, 2**31 - 1)


def hidden_layers() -> Constraint:
    """Accept the hidden layers of a network."""

    def convert(value: Any) -> tuple[int | str, ...]:
        _require(isinstance(value, list | tuple | np.ndarray))
        items = tuple(
            int(item) if _is_number(item, Integral) else spell_item(item) for item in value
        )
        return tuple(COUNT.convert(item) if isinstance(item, int) else item for item in items)

    expected = f"a list, () for none, of {LAYER_EXPECTED}"
    return Constraint(expected, convert)
