"""``fastmlp train``: settings and images in, a folder of results out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastmlp.cli.options import (
    AUTO,
    DIGITS,
    PARTS,
    config_options,
    data_changes,
    data_options,
    describe_own,
    from_file,
    given,
    options,
    to_toml,
)
from fastmlp.cli.paths import FilePath
from fastmlp.cli.results import INTERRUPTED, keep
from fastmlp.cli.run_folder import RunFolder, new_folder, remove_empty
from fastmlp.datasets import Dataset
from fastmlp.datasets.transforms import is_rows
from fastmlp.errors import ConfigError, printable
from fastmlp.reporting.beside import Beside
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.search.experiment import DataTable, load_parts
from fastmlp.training.config import TrainConfig
from fastmlp.training.layers import has_images
from fastmlp.training.metrics import check_selected
from fastmlp.training.shapes import multiply_adds, spell_shape
from fastmlp.training.watching import show_epoch

if TYPE_CHECKING:
    from fastmlp.training.history import Row
    from fastmlp.training.loop import TrainResult

DIVERGED = 1  # an exit code; that of any other end of a training is 0, or `INTERRUPTED`


source_options = options(
    data_options,
    click.option(
        "--config",
        type=FilePath(),
        metavar="FILE",
        help="Settings to start from, such as the config.toml of another run; options override them.",
    ),
)
train_options = options(
    source_options,
    click.option(
        "--out",
        type=FilePath(),
        metavar="FOLDER",
        help="Where results go; no other run may be there.  [default: runs/DATA-DATE-TIME]",
    ),
    click.option(
        "--checkpoint",
        is_flag=True,
        help="Keep a checkpoint in --out after each epoch; the same command again goes on from it.",
    ),
    click.option(
        "--report/--no-report",
        default=True,
        help="Write report.html and report.md about the run, after all else.  [default: report]",
    ),
)


@click.command()
@train_options
@config_options
@click.pass_context
def train(
    context: click.Context,
    /,
    data_home: Path | None,
    config: Path | None,
    out: Path | None,
    checkpoint: bool,
    report: bool,
    **_: Any,
) -> int:
    """Train a network on images, or on a table of your own.

    A table of your own begins with settings that suit tables: Adam, whose learning rate rises to 0.005 and falls, for
    100 epochs. Its parts are drawn stratified, four fifths for training and a tenth for each of the others.

    A tenth of the training part, always the same, is kept for validation. The test part is used
    once, at the end. Results go to a folder: config.toml, history.csv (a line an epoch),
    metrics.json, model.safetensors, curves.png, confusion.png, and report.html with all of it.
    """
    if checkpoint and out is None:
        raise ConfigError("--checkpoint: found without --out, expected the folder it is kept in")
    settings, table = settings_of(context, config)
    parts = dict(zip(PARTS, load_parts(table, data_home), strict=True))
    check_selected(settings.select, parts["valid"], parts["train"].task)
    if context.params["learning_rate"] == AUTO:
        settings = _with_found_rate(settings, parts["train"])
    if out is None:
        out = new_folder(Path("runs"), table.title)
        context.call_on_close(partial(remove_empty, out))
    with (
        RunFolder(out, to_toml(settings, table), checkpoint=checkpoint) as folder,
        Beside(report) as pictures,
    ):
        _announce(settings, parts, table)
        result = _train(settings, parts, folder)
        code = {"diverged": DIVERGED, "interrupted": INTERRUPTED}.get(result.status, 0)
        if result.history:
            code = keep(result, parts, folder, pictures.draw, report=report) or code
        elif result.status == "interrupted":
            click.echo(result.reason, err=True)
    if result.status == "interrupted" and checkpoint:
        click.echo("the same command again goes on from here", err=True)
    return code


def settings_of(context: click.Context, path: Path | None) -> tuple[TrainConfig, DataTable]:
    """Return the settings of the file, overridden by those of the command line but for a rate to be found."""
    changes = data_changes(context)
    if path is not None:
        config, table = from_file(path, changes)
    else:
        table = replace(DIGITS, **changes)
        config = table.base_config
    fields = given(context, {name: name for name in config.as_dict()})
    if fields.get("learning_rate") == AUTO:
        del fields["learning_rate"]
    return config.replace(**fields), table


def _with_found_rate(config: TrainConfig, part: Dataset) -> TrainConfig:
    """Return the settings with the learning rate that `fastmlp.find_learning_rate` finds, and say which."""
    from fastmlp.training.rate_finder import find_learning_rate

    rate = find_learning_rate(config, part).learning_rate
    click.echo(f"learning rate: {rate:g}, found by short trainings at rising rates", err=True)
    return config.replace(learning_rate=rate)


def _announce(config: TrainConfig, parts: dict[str, Dataset], table: DataTable) -> None:
    part = parts["train"]
    layers = config.layers(len(part.classes))
    if has_images(layers):
        work = sum(multiply_adds(layers, part.shape))
        text = ", ".join(map(str, (*config.hidden, len(part.classes))))
        network = f"{text} ({work:,} multiply-adds an image)"
    else:
        network = "-".join(map(str, (part.images.shape[1], *config.hidden, len(part.classes))))
    counts = ", ".join(f"{len(one):,} {name}" for name, one in parts.items())
    images = f"images of {spell_shape(part.shape)}"
    what = f"rows of {part.shape[2]} features" if is_rows(part.shape) else images
    click.echo(printable(f"{part.name}: {counts} {what}"), err=True)
    if table.is_own:
        for line in describe_own(part, table):
            click.echo(printable(line), err=True)
    click.echo(f"network: {network}", err=True)


def _train(config: TrainConfig, parts: dict[str, Dataset], folder: RunFolder) -> TrainResult:
    from fastmlp.training import trainer

    training = trainer.Training(
        config, parts["train"], parts["valid"], checkpoint=folder.checkpoint
    )
    training.warm_up()  # before there is a bar
    with ProgressDisplay(config.epochs, "epoch") as display:

        def on_epoch(row: Row) -> None:
            folder.record(training.history)
            show_epoch(display, row, config.epochs)

        return training.run(on_epoch)
