"""The folder of a training run: which files it gets, when, and that it overwrites no other run."""

from __future__ import annotations

import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastmlp.errors import StoreError
from fastmlp.machine.files import append, naming, write_text
from fastmlp.machine.folders import (
    CHECKPOINT,
    CONFIG,
    HISTORY,
    MARKS,
    METRICS,
    MODEL,
    SHARED,
    UNFINISHED,
    claim,
    first_of,
)
from fastmlp.machine.streams import warn
from fastmlp.reporting.tables import csv_table
from fastmlp.training.history import Row

if TYPE_CHECKING:
    from fastmlp.training.network import Network

CURVES = "curves.png"
CONFUSION = "confusion.png"
# See `fastmlp.training.report`, which takes long to import.
REPORT = ("samples.png", "mistakes.png", "predictions.png", "report.md", "report.html")
EARLIER = f"{CHECKPOINT}.history"  # see `fastmlp.training.checkpoint`
FILES = (
    *(CONFIG, HISTORY, METRICS, MODEL, CURVES, CONFUSION, *REPORT),
    *(CHECKPOINT, EARLIER),
)


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder ``parent/name-date-time`` that no other run has, and return it."""
    stem = parent / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = stem
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(2):
        try:
            folder.mkdir()
            break
        except FileExistsError:  # another run began in the same second
            folder = stem.with_name(f"{stem.name}-{number}")
    return folder


def remove_empty(folder: Path) -> None:
    """Remove a folder of `new_folder` if nothing was written to it."""
    with suppress(OSError):  # not empty
        folder.rmdir()
        folder.parent.rmdir()


def check_output(file: Path | None, *read: Path) -> None:
    """Raise a StoreError if a file to write is one that the command reads, or a run's own.

    Parameters
    ----------
    file : Path or None
        What a command is to write, of which an existing one is replaced.
    *read : Path
        What it reads.
    """
    if file is None or not file.exists():
        return
    if any(one.exists() and os.path.samefile(one, file) for one in read):
        raise StoreError(f"{file}: found the file that is read, expected another one to write")
    place = Path(os.path.realpath(file))
    for command, marks in MARKS.items():
        owned = (*FILES, *SHARED, *marks)
        if place.name in owned and (found := first_of(place.parent, marks)):
            raise StoreError(
                f"{file}: found a file of fastmlp {command} (beside {found}), expected another name or folder; "
                "choose another"
            )


class RunFolder:
    """The folder of one run's files; nothing is written before its first epoch is done.

    Files that cannot be written end neither the training nor the writing of the others. From the first epoch until
    `end`, `UNFINISHED` holds the settings, so that the same command may begin again.

    Parameters
    ----------
    path : Path
        Made if missing. It is locked until the ``with`` block ends.
    config : str
        The text of config.toml.
    checkpoint : bool
        Whether the run may resume from a checkpoint in the folder.

    Attributes
    ----------
    failures : list of OSError
        Of the files that could not be written.

    Raises
    ------
    StoreError
        If it is not a folder, is in use, or holds files of a run and no checkpoint to resume from.
    """

    def __init__(self, path: Path, config: str, *, checkpoint: bool) -> None:
        self.path, self.config = path, config
        self.checkpoint = path / CHECKPOINT if checkpoint else None
        self._begun, self._flushed = False, 0.0
        self.failures: list[OSError] = []
        self._new = [one for one in (path, *path.parents) if not os.path.exists(one)]
        self._lock = claim(path, "train")
        try:
            self._check()
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Unlock the folder, and remove it again if nothing was written to it."""
        self._lock.close()
        with suppress(OSError):  # not empty
            for folder in self._new:
                folder.rmdir()

    def _check(self) -> None:
        if self.checkpoint is not None and self.checkpoint.exists():
            return  # it knows its settings
        unfinished = (self.path / UNFINISHED).exists()
        files = (CHECKPOINT, EARLIER) if unfinished else FILES
        if found := first_of(self.path, files):
            raise StoreError(
                f"{self.path}: found {found} of another run, expected an empty folder; choose "
                "another --out, or delete what is there"
            )
        with naming(self.path / UNFINISHED):
            same = not unfinished or (self.path / UNFINISHED).read_bytes() == self.config.encode()
        if not same:
            raise StoreError(
                f"{self.path}: found a run that did not end, with the settings in {UNFINISHED}, "
                "expected the same settings; choose another --out, or delete what is there"
            )

    def record(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Write the latest epoch to history.csv; the first call writes all epochs.

        The file is flushed to the disk once a second, since that may take longer than an epoch. If the disk does not
        take a row, the training goes on, and the next call writes all epochs again.
        """
        try:
            if self._begun:
                due = time.monotonic() - self._flushed > 1
                append(self.path / HISTORY, _lines(history[-1:]).encode(), flushed=due)
                if due:
                    self._flushed = time.monotonic()
            else:
                self._begin(history)
        except OSError as error:
            self._begun = False
            warn(f"{error.filename}: {error.strerror}; the training goes on")

    def _begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        write_text(self.path / UNFINISHED, self.config)
        write_text(self.path / CONFIG, self.config)
        write_text(self.path / HISTORY, csv_table([_columns(history)]) + _lines(history))
        self._begun, self._flushed = True, time.monotonic()

    def keep(self, network: Network) -> None:
        """Write the network, before anything else is done with it.

        Raises
        ------
        OSError
            If it could not be written twice. It is in the system's temporary folder then, which the error names.
        """
        path = self.path / MODEL
        with suppress(OSError):
            network.save(path)
            return
        try:
            network.save(path)
        except OSError as error:
            spare = Path(tempfile.mkdtemp(prefix="fastmlp-"), MODEL)
            network.save(spare)
            told = f"{error.strerror}; the network is in {spare}"
            raise OSError(error.errno, told, str(path)) from error

    def finish(self, history: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> None:
        """Write config.toml, the whole history and metrics.json.

        `record` may have missed rows: it is not called for an epoch that diverged, nor after a run
        was killed between the checkpoint and the line of an epoch.
        """
        with self.trying():
            self._begin(history)
        with self.trying():
            write_metrics(self.path / METRICS, metrics)

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Put an OSError of the block into `failures`."""
        try:
            yield
        except OSError as error:
            self.failures.append(error)

    def end(self) -> None:
        """Mark the run as finished, if every file was written."""
        if not self.failures:
            with self.trying():
                (self.path / UNFINISHED).unlink(missing_ok=True)

    def written(self) -> list[str]:
        """Return the names of the run's files that exist."""
        # A question that the system cannot answer must not end a run whose files are all there.
        return [name for name in FILES if os.path.exists(self.path / name)]


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON, in which null stands for numbers that are not finite."""
    write_text(path, json.dumps(_plain(metrics), indent=2, allow_nan=False) + "\n")


def _lines(history: Sequence[Mapping[str, Any]]) -> str:
    """Return lines of history.csv, from which numbers read back the same."""
    return csv_table([row[name] for name in _columns([row])] for row in history)


def _columns(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of history.csv, in an order that a checkpoint's rows need not have."""
    return [name for name in Row.__annotations__ if name in history[0]]


def _plain(value: Any) -> Any:
    """Return a value for JSON, in which None stands for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
