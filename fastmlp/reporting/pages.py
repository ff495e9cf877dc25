"""What a page holds that Markdown cannot: pictures inside, curves over each other, tables that sort.

Templates of Jinja escape what they are given.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmlp.machine.files import write_atomic

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
CURVES = ("train_", "valid_", "learning_rate")  # how the names of columns begin that are drawn
MOST_POINTS = 400  # of a curve in a page; a screen shows no more


def write_picture(path: str | Path | io.BytesIO, data: bytes) -> None:
    """Write a picture whole or not at all, or to a file in memory."""
    if isinstance(path, io.BytesIO):
        path.write(data)
    else:
        write_atomic(path, data)


@cache
def environment() -> Environment:
    """Return the environment of the templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader("fastmlp.reporting"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:
    """Return a piece of a page.

    Parameters
    ----------
    template : str
        The name of a file in ``templates``.
    **values
        What it is given.
    """
    return environment().get_template(template).render(**values)


def embedded(picture: bytes) -> str:
    """Return the address of a PNG picture that is in the page itself."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def cell(text: str, value: Any = None) -> dict[str, Any]:
    """Return a cell of a table that sorts.

    Parameters
    ----------
    text : str
        What it shows.
    value : optional
        What it is sorted by: a number, or else the text.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"text": text, "value": value if is_number else text, "number": is_number}


def curves_of(name: str, columns: Mapping[str, Sequence[float | None]]) -> dict[str, Any]:
    """Return what ``curves.html`` draws of a training.

    Parameters
    ----------
    name : str
        What the line is called.
    columns : mapping of str to sequence
        Of the history, each with a number or None an epoch; those of `CURVES` are drawn.
    """
    drawn = {
        column: _rounded(values)
        for column, values in columns.items()
        if column.startswith(CURVES) and any(value is not None for value in values)
    }
    epochs = [int(epoch or 0) for epoch in columns.get("epoch", [])]
    return {"name": name, "epochs": _thinned(epochs), "curves": drawn}


def _thinned(values: Sequence[Any]) -> list[Any]:
    """Return at most `MOST_POINTS` values of a curve, the last among them."""
    step = -(-len(values) // MOST_POINTS) or 1
    kept = list(values[::step])
    return kept if not kept or (len(values) - 1) % step == 0 else [*kept, values[-1]]


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    """Return `_thinned` numbers of five digits, as far as they are numbers."""
    return [None if value is None else float(f"{value:.5g}") for value in _thinned(values)]
