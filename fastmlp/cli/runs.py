"""``fastmlp runs``: the trainings below a folder, side by side."""

from __future__ import annotations

from pathlib import Path

import click

from fastmlp.cli.paths import FilePath
from fastmlp.errors import StoreError, printable
from fastmlp.machine.files import write_text
from fastmlp.machine.folders import MARKS, first_of
from fastmlp.machine.streams import say


@click.command()
@click.argument("folder", nargs=-1, type=FilePath())
@click.option(
    "--sort",
    metavar="COLUMN",
    help="Order by a column, such as test_accuracy or seconds: the best metric first, other values rising.",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Keep runs that fulfil it, such as learning_rate>=0.01 or status=done; may be given several times.",
)
@click.option(
    "--csv",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Write all that is known of each run as CSV; an existing file is replaced.",
)
@click.option(
    "--html",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Write one page with the table and the curves over each other; an existing file is replaced.",
)
def runs(
    folder: tuple[Path, ...],
    sort: str | None,
    reverse: bool,
    where: tuple[str, ...],
    csv: Path | None,
    html: Path | None,
) -> None:
    """List every run in or below a FOLDER: the settings that differ, metrics and times.

    Without a FOLDER, those below "runs".
    """
    from fastmlp.runs.reading import find_runs
    from fastmlp.runs.table import RunTable

    for file in (csv, html):
        _check_place(file)
    found = find_runs(folder or (Path("runs"),))
    table = RunTable.of(found, where, sort, reverse)
    click.echo(printable_lines(table.to_text()))
    if len(table.runs) < len(found):
        click.echo(f"{len(table.runs)} of {len(found)} runs", err=True)
    if csv is not None:
        write_text(csv, table.to_csv())
        click.echo(f"{printable(csv)}: {len(table.runs)} runs", err=True)
    if html is not None:
        from fastmlp.runs.page import runs_page

        write_text(html, runs_page(table, f"{len(table.runs)} runs"))
        click.echo(f"{printable(html)}: {len(table.runs)} runs", err=True)
    for run in table.runs:
        for problem in run.problems:
            say(f"fastmlp: warning: {problem}")


def printable_lines(text: str) -> str:
    """Return a text of several lines in which nothing controls a terminal."""
    return "\n".join(map(printable, text.split("\n")))


def _check_place(file: Path | None) -> None:
    """Raise a StoreError if a file would lie in the folder of a run, which belongs to that run."""
    if file is None:
        return
    for command, marks in MARKS.items():
        if found := first_of(file.parent, marks):
            raise StoreError(
                f"{file}: found {found} of fastmlp {command} beside it, expected a place outside the "
                "folders of runs; choose another"
            )
