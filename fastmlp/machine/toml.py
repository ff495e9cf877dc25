"""TOML files in and values out."""

import tomllib
from pathlib import Path
from typing import Any

from fastmlp.errors import ConfigError

_LARGEST_FILE = 2**20  # bytes; a configuration has some thirty lines, so more is a wrong file


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's document, or say in one line of ConfigError what is wrong with it."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > _LARGEST_FILE:
        raise ConfigError(f"{path}: found over {_LARGEST_FILE} bytes, expected a configuration")
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        # ValueError: also what is not UTF-8, and integers of thousands of digits.
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path}: found no valid TOML: {reason}") from error


def is_table(value: object) -> bool:
    """Return whether a TOML value was written as ``[name]`` or ``[[name]]``."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def to_toml(value: Any) -> str:
    """Return a flag, number, text or tuple as TOML; a text must have no quotes in it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(to_toml, value))}]"
    # repr of a float reads back the same.
    return f'"{value}"' if isinstance(value, str) else repr(value)
