"""Your own data: from a path, whatever its format, to the training, validation and test parts.

A format is a row in `FORMATS`. Its `read` makes parts of a path; those that the data does not have are drawn in one
place, `fastmlp.datasets.splits.complete`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fastmlp.datasets import arrays, folders, table_parts, tables
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.splits import Parts, Whole, complete
from fastmlp.errors import ConfigError, DataError, shown
from fastmlp.machine.toml import BACKSLASHES


class Format(NamedTuple):
    """A kind of file or folder.

    Attributes
    ----------
    words : str
        What it is, for messages.
    suffixes : tuple of str
        How names of its files end, such as ".csv"; none for folders.
    options : tuple of str
        The options that it reads, beside `split` and `seed`.
    read : callable
        ``read(path, options) -> Parts``, or the ``Whole`` of a format that draws all parts itself.
    """

    words: str
    suffixes: tuple[str, ...]
    options: tuple[str, ...]
    read: Callable[[Path, OwnOptions], Parts | Whole]


FORMATS: tuple[Format, ...] = (
    Format("a folder of pictures", (), ("size", "skip_bad"), folders.read),
    Format("arrays", (".npz", ".npy"), ("label", "task"), arrays.read),
    Format("a table", tables.SUFFIXES, tables.OPTIONS, table_parts.read),
)


def is_path(name: str) -> bool:
    """Return whether a name stands for a file or folder, rather than for a built-in data set."""
    return _is_written(name) or os.path.exists(name)  # false for a name that is too long


def spelled(name: str) -> str:
    """Return a path such that `is_path` knows it where nothing is there any more."""
    return name if _is_written(name) else f"./{name}"


def _is_written(name: str) -> bool:
    return "/" in name or "\\" in name or Path(name).suffix != ""


def is_table(name: str) -> bool:
    """Return whether a path leads to a table."""
    return Path(name).name.lower().endswith(tables.SUFFIXES)


def load(path: str | Path, options: OwnOptions) -> Whole:
    """Read your own data, and draw the parts that it does not have; the errors are also those of `complete`.

    Parameters
    ----------
    path, options
        As for `read`.
    """
    parts = read(path, options)
    return parts if isinstance(parts, Whole) else complete(parts, options)


def read(path: str | Path, options: OwnOptions) -> Parts | Whole:
    """Read your own data.

    Parameters
    ----------
    path : str or Path
        A file or folder in one of `FORMATS`.
    options : OwnOptions

    Returns
    -------
    Parts or Whole
        The parts that it has.

    Raises
    ------
    DataError
        If there is nothing there, or nothing that can be read; the message names the path.
    ConfigError
        If an option is given that the format does not have.
    """
    path = Path(path)
    try:
        is_there = path.exists()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not is_there:
        advice = "" if str(path).isprintable() else f"; in TOML {BACKSLASHES}"
        raise DataError(f"{path}: found no such file or folder, expected {expected()}{advice}")
    found = _format_of(path)
    if found is None:
        what = "a folder" if path.is_dir() else f"a file of another kind, {shown(path.suffix)}"
        raise DataError(f"{path}: found {what}, expected {expected()}")
    for name in options.given():
        if name not in (*found.options, "split"):
            raise ConfigError(
                f"{options.WHERE}{name}: found {shown(getattr(options, name))} with {path}, expected it to be left "
                f"out: {found.words} has no such option"
            )
    return found.read(path, options)


def expected() -> str:
    """Return what paths may lead to, for messages."""
    return "; ".join(
        f"{one.words} ({', '.join(one.suffixes)})" if one.suffixes else one.words for one in FORMATS
    )


def _format_of(path: Path) -> Format | None:
    """Return the format of a path: that of folders, or the one that its name ends like."""
    if path.is_dir():
        return next((one for one in FORMATS if not one.suffixes), None)
    name = path.name.lower()
    return next((one for one in FORMATS if one.suffixes and name.endswith(one.suffixes)), None)
