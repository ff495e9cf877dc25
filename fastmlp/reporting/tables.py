"""The tables of every report: Markdown, and CSV whose cells no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

# Excel and others compute what begins so, unless it is a number.
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_FORMULA = re.compile("'*[=+\\-@\t\r\n]")

_RULES = {"l": "---", "r": "--:"}


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], align: str | None = None
) -> str:
    """Return a table as GitHub's Markdown, without a line break at its end.

    Parameters
    ----------
    header : sequence of str
        A cell for each column.
    rows : iterable of sequence of str
        As many cells each. ``|`` is escaped, other Markdown is kept.
    align : str, optional
        A letter for each column, as in LaTeX: ``"lrr"`` for one column on the left of its cells and
        two on the right. By default all are on the left.

    Raises
    ------
    ValueError
        If a row or `align` has another number of columns than the header.
    """
    rules = [_RULES[letter] for letter in align or "l" * len(header)]
    lines = [header, rules, *rows]
    counts = sorted({len(cells) for cells in lines})
    if len(counts) > 1:
        raise ValueError(f"table: found rows of {counts} cells, expected as many in each")
    return "\n".join(_line(cells) for cells in lines)


def aligned_table(rows: Sequence[Sequence[str]], align: str) -> str:
    """Return rows, a header among them, as lines of columns for a terminal; `align` as for `markdown_table`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = [
        f"{{:{'<' if side == 'l' else '>'}{width}}}"
        for side, width in zip(align, widths, strict=True)
    ]
    return "\n".join("  ".join(columns).format(*row).rstrip() for row in rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def csv_table(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as CSV.

    Parameters
    ----------
    rows : iterable of rows of cells
        None becomes an empty cell, and a number reads back the same. A text that a spreadsheet would take for a
        formula gets a ``'`` before it, which `plain_cell` takes away.
    """
    lines: list[str] = []
    # Cells with a character of the line's end are quoted, so both have to be in it.
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def plain_cell(cell: str) -> str:
    """Return the text of which `csv_table` made a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def safe_cell(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: a text that is one gets a ``'`` before it."""
    if not isinstance(cell, str) or not _FORMULA.match(cell) or _NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


def shown(value: Any) -> str:
    """Return a setting in the way that people write it."""
    match value:
        case None | ():
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            # Layers of images come first, and have spaces in their names.
            return (", " if isinstance(value[0], str) else "-").join(map(str, value))
        case float():
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)
