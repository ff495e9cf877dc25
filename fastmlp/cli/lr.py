"""``fastmlp lr``: the learning rate that a short training finds for a longer one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fastmlp.cli.options import config_options
from fastmlp.cli.paths import FilePath
from fastmlp.cli.run_folder import check_output
from fastmlp.cli.train import settings_of, source_options
from fastmlp.errors import printable
from fastmlp.search.experiment import load_parts


@click.command("lr")
@source_options
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    metavar="FILE.png",
    default="learning-rate.png",
    show_default=True,
    help="Where the figure goes; an existing file is replaced.",
)
@config_options
@click.pass_context
def learning_rate(
    context: click.Context, /, data_home: Path | None, config: Path | None, out: Path, **_: Any
) -> None:
    """Find a learning rate by short trainings at rates that rise step by step.

    It is printed, and is for the settings and data given: the same options as for train, which finds
    and uses it by itself with --learning-rate auto. The figure shows the loss at each rate.
    """
    from fastmlp.training.rate_finder import find_learning_rate

    check_output(out, *([] if config is None else [config]))
    settings, table = settings_of(context, config)
    part, *_rest = load_parts(table, data_home)
    found = find_learning_rate(settings, part)
    click.echo(f"learning rate {found.learning_rate:g}")

    # After the answer: Matplotlib takes a second.
    from fastmlp.reporting.displays import RatesDisplay

    RatesDisplay(found.rates, found.losses, found.learning_rate).save(out)
    click.echo(printable(out))
