"""``fastmlp data``: list the data sets, and download them."""

from pathlib import Path

import click

from fastmlp import datasets
from fastmlp.cli.options import data_home_option
from fastmlp.errors import printable


@click.group(invoke_without_command=True)
@data_home_option
@click.pass_context
def data(context: click.Context, data_home: Path | None) -> None:
    """List the data sets and where they lie."""
    if context.invoked_subcommand is None:
        for line in listing(data_home):
            click.echo(printable(line))


@data.command()
@click.argument("name", metavar="NAME", type=click.Choice(datasets.NAMES))
@data_home_option
@click.pass_context
def fetch(context: click.Context, name: str, data_home: Path | None) -> None:
    """Download a data set unless it is there, and print where it lies."""
    assert context.parent is not None
    click.echo(printable(datasets.fetch(name, data_home or context.parent.params["data_home"])))


def listing(data_home: Path | None = None) -> list[str]:
    """Return a line for each data set: its name, where it lies and in which layout."""
    found = datasets.found(data_home)
    width = max(len(one.name) for one in found)
    return [
        f"{one.name:{width}}  " + (f"{one.path} ({one.layout})" if one.path else one.layout)
        for one in found
    ]
