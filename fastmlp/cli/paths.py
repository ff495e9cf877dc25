"""The type of paths on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class FilePath(click.Path):
    """A path; an empty one, as of a variable that is not set, would stand for the current folder, and is refused.

    Parameters
    ----------
    **options : object
        As for `click.Path`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path."""
        if value == "":
            self.fail("found '', expected a path; the current folder is '.'", param, ctx)
        return super().convert(value, param, ctx)
