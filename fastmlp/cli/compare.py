"""``fastmlp compare``: whether one network is better than another."""

from __future__ import annotations

from pathlib import Path

import click

from fastmlp.cli.options import data_home_option
from fastmlp.cli.paths import FilePath
from fastmlp.cli.runs import printable_lines


@click.command()
@click.argument("a", type=FilePath())
@click.argument("b", type=FilePath())
@data_home_option
def compare(a: Path, b: Path, data_home: Path | None) -> None:
    """Say whether A and B differ by more than seeds and the test part's size explain.

    A and B are folders of runs that fastmlp train wrote, or folders with several runs each that differ in their seeds
    alone. Each network predicts the test part again, which must be the same: McNemar's test for one network a side, and
    the paired bootstrap; the spread over seeds counts where a side has several.
    """
    from fastmlp.runs.comparison import compare as compared

    click.echo(printable_lines(compared(a, b, data_home).to_text()))
