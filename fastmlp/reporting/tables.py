"""The Markdown tables of every report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
