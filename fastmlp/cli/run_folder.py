"""The folder of a training run: which files it gets, when, and that it overwrites no other run."""

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

HISTORY_COLUMNS = (
    *("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy"),
    *("learning_rate", "seconds", "samples_per_second"),
)


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder ``parent/name-date-time`` that no other run has, and return it."""
    stem = parent / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = stem
    for number in itertools.count(2):
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # another run began in the same second
            folder = stem.with_name(f"{stem.name}-{number}")
    return folder


def remove_empty(folder: Path) -> None:
    """Remove a folder of `new_folder` if nothing was written to it."""
    with suppress(OSError):  # not empty
        folder.rmdir()
        folder.parent.rmdir()


class RunFolder:
    """The folder of one run's files; nothing is written before its first epoch is done.

    Parameters
    ----------
    path : Path
        Made if missing.
    config : str
        The text of config.toml.
    checkpoint : bool
        Whether the run may resume from a checkpoint in the folder.

    Raises
    ------
    StoreError
        If it is not a folder, or holds files of a run and no checkpoint to resume from.
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
        """Append an epoch to history.csv and flush it to disk; the first call writes config.toml."""
        path = self.path / HISTORY
        if not self.started:
            write_atomic(self.path / CONFIG, self.config.encode())
            text = _line(HISTORY_COLUMNS) + _earlier_lines(path, row["epoch"])
            write_atomic(path, text.encode())
            self.started = True
        with path.open("a", newline="") as file:
            file.write(_line(row[name] for name in HISTORY_COLUMNS))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, history: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> None:
        """Write config.toml, the whole history and metrics.json.

        `record` may have missed rows: it is not called for an epoch that diverged, nor after a run
        was killed between the checkpoint and the line of an epoch.
        """
        rows = [HISTORY_COLUMNS, *([row[name] for name in HISTORY_COLUMNS] for row in history)]
        texts = {
            CONFIG: self.config,
            HISTORY: "".join(map(_line, rows)),
            METRICS: json.dumps(_plain(metrics), indent=2, allow_nan=False) + "\n",
        }
        for name, text in texts.items():
            write_atomic(self.path / name, text.encode())

    def written(self) -> list[str]:
        """Return the names of the run's files that exist."""
        return [name for name in FILES if (self.path / name).exists()]


def _earlier_lines(path: Path, epoch: int) -> str:
    """Return the lines of the epochs before this one, from the history of a resumed run."""
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
    """Return a line of CSV. None becomes an empty cell, and numbers read back the same."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """Return a value for JSON, in which None stands for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
