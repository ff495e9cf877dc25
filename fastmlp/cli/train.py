"""``fastmlp train``: settings and images in, a folder of results out."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fastmlp import datasets
from fastmlp.cli import run_folder
from fastmlp.cli.options import (
    DIGITS,
    PARTS,
    config_options,
    data_home_option,
    from_file,
    given,
    items,
    options,
    to_toml,
)
from fastmlp.cli.progress import compile_kernels
from fastmlp.cli.run_folder import RunFolder, new_folder, remove_empty
from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, printable
from fastmlp.machine import description as machine
from fastmlp.machine.interrupts import held_interrupt
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.search.experiment import DataTable, load_parts
from fastmlp.training.config import TrainConfig
from fastmlp.training.layers import has_images
from fastmlp.training.shapes import multiply_adds, spell_shape
from fastmlp.training.watching import show_epoch

if TYPE_CHECKING:
    from fastmlp.training.history import Row
    from fastmlp.training.loop import TrainResult

DIVERGED, INTERRUPTED = 1, 130  # exit codes; any other end of a training is 0


train_options = options(
    click.option(
        "--data", type=click.Choice(datasets.NAMES), help="What to train on.  [default: digits]"
    ),
    click.option(
        "--classes",
        type=items,
        metavar="bird,cat|none",
        help="Keep these, labelled in the order named.",
    ),
    click.option(
        "--size", type=click.INT, help="Scale images to squares of so many pixels a side."
    ),
    data_home_option,
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings to start from, such as the config.toml of another run; options override them.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Where results go; no other run may be there.  [default: runs/DATA-DATE-TIME]",
    ),
    click.option(
        "--checkpoint",
        is_flag=True,
        help="Keep a checkpoint in --out after each epoch; the same command again goes on from it.",
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
    **_: Any,
) -> int:
    """Train a network on images.

    A tenth of the training part, always the same, is kept for validation. The test part is used
    once, at the end. Results go to a folder: config.toml, history.csv (a line an epoch),
    metrics.json, model.safetensors, curves.png and confusion.png.
    """
    if checkpoint and out is None:
        raise ConfigError("--checkpoint: found without --out, expected the folder it is kept in")
    settings, table = _settings(context, config)
    parts = dict(zip(PARTS, load_parts(table, data_home), strict=True))
    if out is None:
        out = new_folder(Path("runs"), table.name)
        context.call_on_close(partial(remove_empty, out))
    with RunFolder(out, to_toml(settings, table), checkpoint=checkpoint) as folder:
        _announce(settings, parts)
        result = _train(settings, parts, folder)
        code = {"diverged": DIVERGED, "interrupted": INTERRUPTED}.get(result.status, 0)
        if result.history:
            code = _kept(result, parts, folder) or code
        elif result.status == "interrupted":
            click.echo(result.reason, err=True)
    if result.status == "interrupted" and checkpoint:
        click.echo("the same command again goes on from here", err=True)
    return code


def _kept(result: TrainResult, parts: dict[str, Dataset], folder: RunFolder) -> int:
    """Write and print the results, and return the exit code if Ctrl-C ended that."""
    code = 0
    try:
        with held_interrupt():  # a second Ctrl-C must not lose what took long to train
            _save(result, parts, folder)
    except KeyboardInterrupt:
        click.echo("interrupted while results were written", err=True)
        code = INTERRUPTED
    click.echo(f"{printable(folder.path)}: {', '.join(folder.written())}")
    if folder.failures:
        raise folder.failures[0]
    return code


def _settings(context: click.Context, path: Path | None) -> tuple[TrainConfig, DataTable]:
    """Return the settings of the file, overridden by those of the command line."""
    config, table = from_file(path) if path else (TrainConfig(), DIGITS)
    changes = given(context, {"data": "name", "classes": "classes", "size": "size"})
    if changes.get("classes") == ():  # none: all of them
        changes["classes"] = None
    fields = {name: name for name in config.as_dict()}
    return config.replace(**given(context, fields)), replace(table, **changes)


def _announce(config: TrainConfig, parts: dict[str, Dataset]) -> None:
    part = parts["train"]
    layers = config.layers(len(part.classes))
    if has_images(layers):
        work = sum(multiply_adds(layers, part.shape))
        text = ", ".join(map(str, (*config.hidden, len(part.classes))))
        network = f"{text} ({work:,} multiply-adds an image)"
    else:
        network = "-".join(map(str, (part.images.shape[1], *config.hidden, len(part.classes))))
    counts = ", ".join(f"{len(one):,} {name}" for name, one in parts.items())
    click.echo(f"{part.name}: {counts} images of {spell_shape(part.shape)}", err=True)
    click.echo(f"network: {network}", err=True)


def _train(config: TrainConfig, parts: dict[str, Dataset], folder: RunFolder) -> TrainResult:
    from fastmlp.training import trainer

    compile_kernels(config, parts["train"])
    training = trainer.Training(
        config, parts["train"], parts["valid"], checkpoint=folder.checkpoint
    )
    with ProgressDisplay(config.epochs, "epoch") as display:

        def on_epoch(row: Row) -> None:
            folder.record(training.history)
            show_epoch(display, row, config.epochs)

        return training.run(on_epoch)


def _save(result: TrainResult, parts: dict[str, Dataset], folder: RunFolder) -> None:
    """Write the network before anything is printed or scored, then write and print the results."""
    from fastmlp.training.evaluation import evaluate

    network, usable = result.network, _is_usable(result)
    with folder.trying():
        if usable:
            folder.keep(network)
    if result.status != "done":
        click.echo(result.reason, err=True)
    scores = {name: evaluate(network, part) for name, part in parts.items()}
    metrics = {
        **scores,
        "seconds": result.seconds,
        "samples_per_second": result.samples_per_second,
        "status": result.status,
        "reason": result.reason,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "machine": machine.describe(),
    }
    folder.finish(result.history, metrics)
    for name, score in scores.items():
        click.echo(f"{name:5}  loss {score['loss']:.4f}  accuracy {score['accuracy']:.4f}")
    click.echo(
        f"{len(result.history)} epochs in {result.seconds:.2f} s, "
        f"{result.samples_per_second:,.0f} images a second"
    )

    # After the results: Matplotlib and scikit-learn take a second each.
    from fastmlp.reporting import figures

    test = parts["test"]
    restored = result.best_epoch if result.config.restore_best else 0
    with folder.trying():
        figures.draw_curves(result.history, folder.path / run_folder.CURVES, best_epoch=restored)
    with folder.trying():
        if usable and math.isfinite(scores["test"]["loss"]):
            path = folder.path / run_folder.CONFUSION
            figures.draw_confusion(test.labels, network.predict(test), test.classes, path)
    folder.end()


def _is_usable(result: TrainResult) -> bool:
    """Return whether the network is worth keeping: that of a best epoch if the run diverged."""
    restored = result.config.restore_best and result.best_epoch > 0
    return (result.status != "diverged" or restored) and all(
        np.isfinite(array).all() for array in result.network.state_dict().values()
    )
