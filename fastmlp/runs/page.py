"""The page of runs: their table and their curves over each other, in one file."""

from __future__ import annotations

from pathlib import Path

from fastmlp.reporting.document import (
    Block,
    Bullets,
    Details,
    Heading,
    Paragraph,
    Written,
    literal,
    to_html,
)
from fastmlp.reporting.pages import cell, curves_of, render
from fastmlp.reporting.tables import shown
from fastmlp.runs.table import LAST, RunTable, shown_cell


def runs_page(table: RunTable, title: str) -> str:
    """Return the page of a table of runs.

    Parameters
    ----------
    table : RunTable
    title : str
    """
    curves = [curves_of(run.name, run.history) for run in table.runs]
    names = ["run", *table.settings, *table.metrics, *LAST]
    rows = [
        [cell(shown_cell(values.get(name), name), values.get(name)) for name in names]
        for values in (run.values() for run in table.runs)
    ]
    first = next((run.settings for run in table.runs if run.settings), {})
    same = [
        f"{name.replace('_', ' ')} {shown(value)}"
        for name, value in first.items()
        if name not in table.settings
    ]
    header = [name.replace("_", " ") for name in names]
    blocks: list[Block] = [Heading(literal(title), 1)]
    if same:
        blocks.append(Details("Settings that all share", Paragraph(literal(", ".join(same)))))
    blocks.append(Written("", render("curves.html", header=header, rows=rows, curves=curves)))
    if problems := [literal(problem) for run in table.runs for problem in run.problems]:
        blocks += [Heading("Not read"), Bullets(problems)]
    return to_html(blocks, Path())
