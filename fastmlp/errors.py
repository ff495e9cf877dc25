"""The errors fastmlp raises for wrong input, each a ValueError with a one-line message, and parts of such messages."""

import difflib
import reprlib
from collections.abc import Iterable

_SHOWN = 2000  # characters at each end of a long message


class FastMLPError(ValueError):
    """Base of the errors below: the message names what was found, what was expected, what to do.

    Names out of files stand in messages, and messages on terminals: `printable` lets none control them.

    Parameters
    ----------
    message : str
        One line.
    """

    def __init__(self, message: str = "") -> None:
        text = printable(message)
        is_long = len(text) > 2 * _SHOWN  # a name in a file may take megabytes
        super().__init__(f"{text[:_SHOWN]} ... {text[-_SHOWN:]}" if is_long else text)


class ConfigError(FastMLPError):
    """A hyper-parameter or study file is wrong.

    Parameters
    ----------
    message : str
        One line.
    """


class DataError(FastMLPError):
    """A data file, array or label is truncated, foreign or out of range.

    Parameters
    ----------
    message : str
        One line.
    """


class FormatError(FastMLPError):
    """A model or checkpoint file is damaged or not ours.

    Parameters
    ----------
    message : str
        One line.
    """


class StoreError(FastMLPError):
    """A trial store cannot be read, written, or belongs to other data.

    Parameters
    ----------
    message : str
        One line.
    """


def check_count(name: str, value: object) -> None:
    """Raise a ConfigError unless a parameter's value is a whole number from 1."""
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name}: found {shown(value)}, expected a whole number from 1")


def shown(value: object) -> str:
    """Return the repr of a value as one short line, however large the value is."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:  # Python prints no integer of thousands of digits
        return f"a huge {type(value).__name__}"


def suggest(name: str, known: Iterable[str]) -> str:
    """Return how the message about an unknown name ends: the known name most like it, else all of them."""
    known = list(known)
    alike = {" ".join(one.split()).lower(): one for one in reversed(known)}
    near = difflib.get_close_matches(" ".join(name.split()).lower(), alike, n=1)
    if not near:
        return f"expected one of {', '.join(known)}"
    found = alike[near[0]]
    return f"did you mean {found if found == found.strip() else repr(found)}?"


def printable(text: object) -> str:
    """Return a text for a terminal: escape codes, line breaks and halves of letters as Python spells them."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def line_of(error: BaseException) -> str:
    """Return an error's type and message as one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
