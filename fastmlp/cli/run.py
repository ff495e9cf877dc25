"""The folder of one training run: what is written to it, when, and what is never overwritten."""

import csv
import io
import itertools
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from fastmlp.errors import StoreError
from fastmlp.machine.files import write_atomic

CONFIG = "config.toml"
HISTORY = "history.csv"
METRICS = "metrics.json"
MODEL = "model.safetensors"
CURVES = "curves.png"
CONFUSION = "confusion.png"
CHECKPOINT = "checkpoint.safetensors"
FILES = (CONFIG, HISTORY, METRICS, MODEL, CURVES, CONFUSION, CHECKPOINT)

COLUMNS = (
    *("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy"),
    *("learning_rate", "seconds", "samples_per_second"),
)


def new_folder(parent: Path, name: str) -> Path:
    """Make and return a folder that no other run has: ``parent/name-date-time``."""
    stem = parent / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = stem
    for number in itertools.count(2):
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # of a run that began in the same second
            folder = stem.with_name(f"{stem.name}-{number}")
    return folder


def remove_empty(folder: Path) -> None:
    """Remove what `new_folder` made, if nothing was written there."""
    with suppress(OSError):  # not empty
        folder.rmdir()
        folder.parent.rmdir()


class RunFolder:
    """A folder that takes one run's files; nothing is written before its first epoch is done.

    Parameters
    ----------
    path : Path
        Made if missing.
    config : str
        The text of config.toml.
    checkpoint : bool
        Whether the run may go on from a checkpoint that lies there.

    Raises
    ------
    StoreError
        If it is no folder, or files of a run lie there and there is no checkpoint to go on from.
    """

    def __init__(self, path: Path, config: str, *, checkpoint: bool) -> None:
        self.path, self.config = path, config
        self.checkpoint = path / CHECKPOINT if checkpoint else None
        self.started = False
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path}: found a file, expected a folder; choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        if self.checkpoint is None or not self.checkpoint.exists():
            for name in FILES:
                if (path / name).exists():
                    raise StoreError(
                        f"{path}: found {name} of another run, expected an empty folder; choose "
                        "another --out, or delete what is there"
                    )

    def record(self, row: Mapping[str, Any]) -> None:
        """Write an epoch's line of history.csv to the disk itself, first of all config.toml."""
        path = self.path / HISTORY
        if not self.started:
            write_atomic(self.path / CONFIG, self.config.encode())
            write_atomic(path, (_line(COLUMNS) + _earlier_lines(path, row["epoch"])).encode())
            self.started = True
        with path.open("a", newline="") as file:
            file.write(_line(row[name] for name in COLUMNS))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, history: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> None:
        """Write config.toml, the whole history and metrics.json.

        An epoch that diverged was not recorded, and a run that was killed after an epoch's
        checkpoint lacks that epoch's line until here.
        """
        rows = [COLUMNS, *([row[name] for name in COLUMNS] for row in history)]
        texts = {
            CONFIG: self.config,
            HISTORY: "".join(map(_line, rows)),
            METRICS: json.dumps(_plain(metrics), indent=2, allow_nan=False) + "\n",
        }
        for name, text in texts.items():
            write_atomic(self.path / name, text.encode())

    def written(self) -> list[str]:
        """Return the names of the run's files that are there."""
        return [name for name in FILES if (self.path / name).exists()]


def _earlier_lines(path: Path, epoch: int) -> str:
    """Return the lines of epochs before this one, from the history of a run that goes on."""
    if not path.exists():
        return ""
    return "".join(
        line
        for line in path.read_text().splitlines(keepends=True)
        # A killed run may have left its last line cut short.
        if line.endswith("\n")
        and (number := line.partition(",")[0]).isdecimal()
        and int(number) < epoch
    )


def _line(values: Iterable[Any]) -> str:
    """Return a line of CSV: None is left empty, a number reads back the same."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """Return what JSON can hold: a number that is not finite becomes None."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
