"""OwnOptions: how your own data is read, whatever format it has, checked once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from fastmlp.datasets.labels import TASKS, Task
from fastmlp.errors import ConfigError, shown

Missing = Literal["median", "error"]


@dataclass(frozen=True, kw_only=True)
class OwnOptions:
    """What is said about data of your own, beside its path.

    A format takes some of these and refuses the others (`given` names those that were set).

    Parameters
    ----------
    label : str, tuple of str or None
        The column of a table to predict, or several; all others are predicted from. A text that is no column is
        split at its commas.
    task : {"classification", "multilabel", "regression"} or None
        What the labels of your own data are. By default their type tells.
    weight : str or None
        The column that says how much a row counts.
    group : str or None
        The column whose equal values stay in one part.
    part : str or None
        The column that says train, valid or test of each row, or the path of another table, whose one column does.
    missing : {"median", "error"}
        Missing numbers become the training part's median, with a feature that says so (the default), or are refused.
    skip_bad : bool
        Leave out pictures that cannot be read, instead of refusing them all.
    size : int, (int, int) or None
        The size that pictures are scaled to, in pixels: the side of a square, or height and width.
    split : (float, float, float) or None
        The training, validation and test parts as shares of all rows.
    seed : int
        Seed of the draws of parts.

    Raises
    ------
    ConfigError
        If a value is wrong or contradicts another.
    """

    label: str | tuple[str, ...] | None = None
    task: Task | None = None
    weight: str | None = None
    group: str | None = None
    part: str | None = None
    missing: Missing = "median"
    skip_bad: bool = False
    size: int | tuple[int, int] | None = None
    split: tuple[float, float, float] | None = None
    seed: int = 0

    WHERE: ClassVar[str] = ""  # before the name of an option in messages

    def __post_init__(self) -> None:
        """Raise a ConfigError that names the first wrong value."""
        for name, holds, expected in self._conditions():
            if not holds:
                found = shown(getattr(self, name))
                raise ConfigError(f"{self.WHERE}{name}: found {found}, expected {expected}")
        if self.part is not None and self.split is not None:
            raise ConfigError(
                f"{self.WHERE}part: found beside split, expected one or the other: the column says which rows are "
                "which part"
            )

    def _conditions(self) -> Iterator[tuple[str, bool, str]]:
        """Yield the name of each option, whether its value is allowed, and what is."""
        label = self.label
        named = type(label) is str or (is_tuple(label, str, None) and len(set(label or ())) > 0)
        yield "label", label is None or (named and bool(label)), "the name of a column, or several"
        yield "task", self.task is None or self.task in TASKS, f"one of {', '.join(TASKS)}"
        for name in ("weight", "group", "part"):
            value = getattr(self, name)
            yield name, value is None or (type(value) is str and value != ""), "a column's name"
        yield "missing", self.missing in get_args(Missing), " or ".join(get_args(Missing))
        yield "skip_bad", type(self.skip_bad) is bool, "true or false"
        yield "size", type(self.size) is int or is_tuple(self.size, int, 2), "pixels, such as 16"
        shares = is_tuple(self.split, float, 3) and _are_shares(self.split)
        words = "three shares above 0 of at most 1 together, such as [0.8, 0.1, 0.1]"
        yield "split", shares, words
        yield "seed", type(self.seed) is int and self.seed >= 0, "a whole number from 0"

    def given(self) -> list[str]:
        """Return the names of the options that have not their default, but for the seed."""
        return [
            one.name
            for one in fields(OwnOptions)
            if one.name != "seed" and getattr(self, one.name) != one.default
        ]


def is_tuple(value: object, kind: type, count: int | None) -> bool:
    """Return whether a value is None or a tuple of one type; whole numbers count as floats.

    Parameters
    ----------
    value : object
    kind : type
    count : int or None
        Of its items; None allows any number above 0.
    """
    kinds: tuple[Any, ...] = (int, float) if kind is float else (kind,)
    return value is None or (
        isinstance(value, tuple)
        and (len(value) == count if count else len(value) > 0)
        and all(type(one) in kinds for one in value)
    )


def _are_shares(values: tuple[float, ...] | None) -> bool:
    return values is None or (min(values) > 0 and sum(values) <= 1 + 1e-9)
