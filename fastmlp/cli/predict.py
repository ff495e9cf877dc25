"""``fastmlp predict``: what a stored network answers for pictures, tables and arrays in files."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from fastmlp.cli.inputs import Batch, Inputs
from fastmlp.cli.model import model_file
from fastmlp.cli.paths import FilePath
from fastmlp.cli.run_folder import check_output
from fastmlp.errors import ConfigError, DataError, printable
from fastmlp.machine.files import write_atomic
from fastmlp.machine.streams import say
from fastmlp.reporting.tables import csv_table, safe_cell
from fastmlp.training.network import Network, load

OUTPUTS = (".csv", ".parquet", ".npy")
SHOWN_PROBLEMS = 20


@click.command()
@click.argument("model", type=FilePath())
@click.argument("what", nargs=-1, required=True, type=FilePath())
@click.option("--proba", is_flag=True, help="Give the probability of each class or label.")
@click.option("--top", type=click.IntRange(1), help="Give so many of the likeliest classes.")
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Write a .csv or .parquet table, or a .npy array, instead of lines; an existing file is replaced.",
)
def predict(
    model: Path, what: tuple[Path, ...], proba: bool, top: int | None, out: Path | None
) -> None:
    """Print the likeliest class of pictures, or of rows of tables and arrays.

    MODEL is a model.safetensors that train wrote, or the folder of its run. WHAT are files, folders of
    pictures, and patterns such as "photos/*.png". Each picture is converted to grey or colour and scaled
    to the network's size, as in training. A network that was trained on values of 0..1 or -1..1
    gets its grey levels on that scale. A table is prepared as the one that the network was trained on.

    Each picture or row gets a line: its path (and row, from 0), its likeliest class and the probability of
    that class, separated by tabs; a regression's line has the predicted values. A ' stands before what a
    spreadsheet would compute. Files that cannot be read are reported at the end, and the exit code is 2.
    """
    if out is not None and out.suffix.lower() not in OUTPUTS:
        raise ConfigError(
            f"--out: found {out}, expected a name that ends with {', '.join(OUTPUTS)}"
        )
    if proba and top is not None:
        raise ConfigError(
            "--top: found beside --proba, which gives all classes, expected one of them"
        )
    file = model_file(model)
    check_output(out, file, *what)
    network = load(file)
    columns = _Columns(network, proba=proba, top=top)
    start = time.perf_counter()
    inputs = Inputs(network, file, what)
    count, kept = 0, []
    for batch in inputs.answers():
        if out is None:
            if count == 0 and proba:
                click.echo("\t".join(map(_cell, ("file", *columns.names))))
            for line in columns.lines(batch):
                click.echo(line)
        else:
            kept.append(batch)
        count += len(batch.predicted)
    if out is not None and count:
        _write(out, columns, kept)
        click.echo(f"{printable(out)}: {count:,} rows")
    if count:
        seconds = time.perf_counter() - start - inputs.preparing
        say(f"{count:,} predicted in {seconds:.2f} s, {count / seconds:,.0f} a second")
    if inputs.problems:
        raise DataError(_all_problems(inputs))


class _Columns:
    """What is said of each row.

    Parameters
    ----------
    network : Network
    proba : bool
        Whether to give all probabilities.
    top : int or None
        How many of the likeliest classes to give.
    """

    def __init__(self, network: Network, *, proba: bool, top: int | None) -> None:
        if network.task == "regression" and (proba or top is not None):
            option = "--proba" if proba else "--top"
            raise ConfigError(
                f"{option}: found with a network of a regression, which has no probabilities, expected neither "
                "--proba nor --top"
            )
        self.network, self.proba = network, proba
        self.top = top if top is None else min(top, len(network.classes))
        self.names = self._names()

    def _names(self) -> list[str]:
        classes = self.network.classes
        if self.network.task == "regression":
            return [f"predicted_{name}" for name in classes]
        if self.top is not None:
            places = range(1, self.top + 1)
            return [name for one in places for name in (f"class_{one}", f"probability_{one}")]
        single = self.network.task == "classification"
        names = ["class", "probability"] if single else [f"label_{name}" for name in classes]
        if self.proba:
            names = [*names[: 1 if single else None], *(f"probability_{name}" for name in classes)]
        return names

    def cells(self, batch: Batch) -> Iterator[list[Any]]:
        """Yield a cell for each of `names`, row by row."""
        classes = self.network.classes
        if batch.shares is None:
            yield from batch.predicted.tolist()
            return
        if self.top is not None:
            for share in batch.shares:
                first = np.argsort(-share, kind="stable")[: self.top].tolist()
                yield [cell for one in first for cell in (classes[one], float(share[one]))]
            return
        for answer, share in zip(batch.predicted.tolist(), batch.shares, strict=True):
            said = [classes[answer]] if isinstance(answer, int) else answer
            if self.proba:
                said = [*said, *share.tolist()]
            elif isinstance(answer, int):
                said = [*said, float(share[answer])]
            yield said

    def lines(self, batch: Batch) -> Iterator[str]:
        """Yield a line to print for each row; of several labels, those that it has."""
        for number, cells in enumerate(self.cells(batch)):
            file = batch.files[number]
            place = file if batch.rows is None else f"{file}:{batch.rows[number]}"
            if self.network.task == "multilabel" and not self.proba and self.top is None:
                assert batch.shares is not None
                share = batch.shares[number]
                has = np.flatnonzero(batch.predicted[number]).tolist()
                cells = [
                    cell for one in has for cell in (self.network.classes[one], float(share[one]))
                ]
            yield "\t".join(map(_cell, (place, *cells)))

    def array(self, batch: Batch) -> np.ndarray:
        """Return what a .npy file holds: answers, probabilities, or the indices of the likeliest classes."""
        if self.proba and batch.shares is not None:
            return batch.shares
        if self.top is not None and batch.shares is not None:
            return np.argsort(-batch.shares, axis=1, kind="stable")[:, : self.top]
        return batch.predicted


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) <= 1 else f"{value:.6g}"
    return printable(safe_cell(str(value)))


def _write(out: Path, columns: _Columns, batches: Sequence[Batch]) -> None:
    """Write a table or an array of all answers."""
    if out.suffix.lower() == ".npy":
        content = io.BytesIO()
        np.save(content, np.concatenate([columns.array(batch) for batch in batches]))
        write_atomic(out, content.getvalue())
        return
    counted = any(batch.rows is not None for batch in batches)
    names = ["file", *(["row"] if counted else []), *columns.names]
    rows = []
    for batch in batches:
        for number, cells in enumerate(columns.cells(batch)):
            row = None if batch.rows is None else batch.rows[number]
            # Bytes of a name that are no UTF-8 are escaped: neither format takes them.
            file = batch.files[number].encode("utf-8", "backslashreplace").decode("utf-8")
            rows.append([file, *([row] if counted else []), *cells])
    if out.suffix.lower() == ".csv":
        write_atomic(out, csv_table([names, *rows]).encode())
        return
    _write_parquet(out, names, rows)


def _write_parquet(out: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError:
        raise ConfigError(
            f'--out: found {out}, which pandas and pyarrow write, expected "fastmlp[tables]" to be installed'
        ) from None
    table = pandas.DataFrame(
        {name: [row[place] for row in rows] for place, name in enumerate(names)}
    )
    if "row" in names:
        table["row"] = table["row"].astype("Int64")
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    write_atomic(out, content.getvalue())


def _all_problems(inputs: Inputs) -> str:
    found = inputs.problems
    if len(found) == 1:
        return found[0]
    more = f"; and {len(found) - SHOWN_PROBLEMS:,} more" if len(found) > SHOWN_PROBLEMS else ""
    return f"{len(found):,} could not be predicted: {'; '.join(found[:SHOWN_PROBLEMS])}{more}"
