"""TOML files in and values out."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from fastmlp.errors import ConfigError, FormatError
from fastmlp.machine.files import read_text

# The longest study has 20,000 bytes, and its longest key has five parts. Python's parser takes time that grows with
# the square of a key's parts; within these limits it takes less than a second.
LARGEST_FILE = 2**18  # bytes
MOST_PARTS = 8
MOST_LEVELS = 32  # of tables and lists in each other
# A backslash in double quotes makes one letter of itself and the next: "C:\temp" has a tabulator in it.
BACKSLASHES = "write a path with backslashes in single quotes"
_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
# Possessive, and from the beginning of a part only: each character is looked at a few times at most.
_LONG_KEY = re.compile(rf"(?<![\w\\-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MOST_PARTS}}}")


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's document, or say in one line of ConfigError what is wrong with it."""
    try:
        text = read_text(path, LARGEST_FILE, "a configuration")
        if found := _LONG_KEY.search(text):
            line = text.count("\n", 0, found.start()) + 1
            raise ConfigError(
                f"{path}: found a key of more than {MOST_PARTS} parts in line {line}, expected fewer"
            )
        document = tomllib.loads(text)
    except FormatError as error:
        raise ConfigError(str(error)) from error
    except ConfigError:
        raise
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError: also integers of thousands of digits
        reason = str(error).splitlines()[0]
        if "Unescaped" in reason or "Invalid hex value" in reason:
            reason += f"; {BACKSLASHES}"
        raise ConfigError(f"{path}: found no valid TOML: {reason}") from error
    level: list[Any] = [document]
    for _ in range(MOST_LEVELS):
        level = [part for one in level for part in _parts(one)]
    if level:
        raise ConfigError(f"{path}: found more than {MOST_LEVELS} levels, expected fewer")
    return document


def _parts(value: Any) -> list[Any]:
    """Return the tables and lists in a table or list."""
    values = value.values() if isinstance(value, dict) else value
    return [one for one in values if isinstance(one, dict | list)]


def is_table(value: object) -> bool:
    """Return whether a TOML value was written as ``[name]`` or ``[[name]]``."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def to_toml(value: Any) -> str:
    """Return a flag, number, text or tuple as TOML."""
    # JSON writes them as TOML does, but for one letter; floats read back the same.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
