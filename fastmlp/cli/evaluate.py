"""``fastmlp evaluate``: the metrics of a stored network on data with labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from fastmlp.cli.model import config_file, model_file
from fastmlp.cli.options import data_home_option, from_file
from fastmlp.cli.paths import FilePath
from fastmlp.cli.results import interval_of
from fastmlp.cli.run_folder import check_output, write_metrics
from fastmlp.datasets import Dataset, own
from fastmlp.datasets.rows import joined
from fastmlp.errors import ConfigError, DataError, printable, shown
from fastmlp.machine.streams import say
from fastmlp.reporting.tables import aligned_table
from fastmlp.search.experiment import DataTable, load_parts
from fastmlp.training.metrics import words_of
from fastmlp.training.network import Network, load
from fastmlp.training.report_data import each_of

MOST_LINES = 30  # classes or targets that are listed


@click.command()
@click.argument("model", type=FilePath())
@click.argument("data", required=False)
@click.option(
    "--label",
    metavar="COLUMN[,COLUMN]",
    help="The columns that hold the answers.  [default: those of the training]",
)
@click.option("--weight", metavar="COLUMN", help="The column that says how much a row counts.")
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    metavar="FILE.json",
    help="Also write all metrics to a file; an existing one is replaced.",
)
@data_home_option
def evaluate(
    model: Path,
    data: str | None,
    label: str | None,
    weight: str | None,
    out: Path | None,
    data_home: Path | None,
) -> None:
    """Print the metrics of a network on data with labels.

    MODEL is a model.safetensors that train wrote, or the folder of its run. DATA is the name of a built-in
    data set, of which the test part is taken, or the path of your own, of which all rows are taken. Of the data that
    the run was trained on, only its test part is; it is the default.
    """
    from fastmlp.training.evaluation import measure

    file = model_file(model)
    check_output(out, file, *([] if data is None else [Path(data)]))
    network = load(file)
    part, what = _data(network, model, data, {"label": label, "weight": weight}, data_home)
    say(f"{what}: {len(part):,} rows")
    found = measure(network, part)
    for name, value in found.items():
        if isinstance(value, float):
            click.echo(f"{words_of(name):20}{value:.6g}{interval_of(found, name)}")
    for line in _each(found):
        click.echo(printable(line))
    if out is not None:
        write_metrics(out, found)
        click.echo(f"{printable(out)}: all metrics")


def _each(found: dict[str, Any]) -> list[str]:
    """Return a line for each class or target, under a header."""
    header, rows = each_of(found)
    if len(rows) > MOST_LINES:
        return []
    return ["", *aligned_table([header, *rows], "l" * len(header)).split("\n")]


def _data(
    network: Network,
    model: Path,
    data: str | None,
    columns: dict[str, str | None],
    data_home: Path | None,
) -> tuple[Dataset, str]:
    """Return the rows that a network is judged by, and what they are in words."""
    trained = _trained_on(model)
    given: dict[str, Any] = {name: one for name, one in columns.items() if one is not None}
    if data is None and trained is None:
        raise ConfigError(
            f"DATA: not given, and no config.toml lies beside {model_file(model)}, expected a data set or a path"
        )
    if trained is not None and (data is None or _is_same(data, trained)):
        table = dataclasses.replace(trained, **given)
        return load_parts(table, data_home)[2], f"{table.name}, the test part as in the training"
    assert data is not None
    table = DataTable(name=data)
    if not table.is_own:
        if trained is not None:
            table = dataclasses.replace(table, classes=trained.classes, size=trained.size)
        return load_parts(table, data_home)[2], f"{data}, the test part"
    if own.is_table(data):
        part = Dataset.from_table(
            Path(data), label=columns["label"], weight=columns["weight"], like=network
        )
        return part, f"{data}, all rows"
    size = trained.size if trained is not None else None
    found = own.read(data, dataclasses.replace(table, size=size, **given))
    parts = [part for part in found if part is not None]
    return _as_trained(_joined(parts), network), f"{data}, all rows"


def _trained_on(model: Path) -> DataTable | None:
    """Return the data of the run that a model belongs to; None if that is not known."""
    path = config_file(model)
    return None if path is None else from_file(path)[1]


def _is_same(data: str, trained: DataTable) -> bool:
    """Return whether a name or path leads to the data of a training."""
    if not trained.is_own or not DataTable(name=data).is_own:
        return data == trained.name
    return os.path.realpath(data) == os.path.realpath(trained.name)


def _joined(parts: Sequence[Dataset]) -> Dataset:
    """Return the rows of all parts as one data set."""
    first = parts[0]
    weights = [part.weights for part in parts if part.weights is not None]
    return dataclasses.replace(
        first,
        images=joined([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        weights=np.concatenate(weights) if weights else None,
    )


def _as_trained(part: Dataset, network: Network) -> Dataset:
    """Return a data set whose classes, found by their names, are those of a network."""
    own_names = tuple(network.classes)
    if part.task != "classification" or part.classes == own_names:
        return part
    unknown = [name for name in part.classes if name not in own_names]
    if unknown:
        raise DataError(
            f"{part.name}: found the class {shown(unknown[0])}, expected those of the network: "
            f"{', '.join(own_names[:20])}"
        )
    places = np.array([own_names.index(name) for name in part.classes], np.int64)
    return dataclasses.replace(part, labels=places[part.labels], classes=own_names)
