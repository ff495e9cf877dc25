"""The errors fastmlp raises for wrong input, each a ValueError with a one-line message, and parts of such messages."""

import difflib
from collections.abc import Iterable


class FastMLPError(ValueError):
    """Base of the errors below: the message names what was found, what was expected, what to do."""


class ConfigError(FastMLPError):
    """A hyper-parameter or study file is wrong."""


class DataError(FastMLPError):
    """A data file, array or label is truncated, foreign or out of range."""


class FormatError(FastMLPError):
    """A model or checkpoint file is damaged or not ours."""


class StoreError(FastMLPError):
    """A trial store cannot be read, written, or belongs to other data."""


def check_count(name: str, value: object) -> None:
    """Raise a ConfigError unless a parameter's value is a whole number from 1."""
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name}: found {value!r}, expected a whole number from 1")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return how the message about an unknown name ends: the known name most like it, else all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"


def line_of(error: BaseException) -> str:
    """Return an error's type and message as one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
