"""Read the folders of runs: what each was told, what came of it, and how it went."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fastmlp.errors import ConfigError, FastMLPError, FormatError, StoreError
from fastmlp.machine.files import read_text
from fastmlp.machine.folders import CONFIG, HISTORY, METRICS, UNFINISHED
from fastmlp.machine.toml import read_toml
from fastmlp.training.config import TrainConfig

MARKS = {HISTORY, METRICS, UNFINISHED}  # a folder with one of them is that of a run
PARTS = ("train", "valid", "test")
LARGEST_METRICS, LARGEST_HISTORY = 2**20, 2**27  # bytes; a million epochs fit
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it.

    Attributes
    ----------
    folder : Path
    name : str
        The folder as seen from where runs were looked for.
    settings : dict
        Fields of TrainConfig by name, and those of the data: ``data`` is its name, the others are ``data.size``
        and so on. Empty where config.toml cannot be read.
    metrics : dict
        Such as ``test_accuracy``: what metrics.json says of each part, or else the last epoch of history.csv.
    status, reason : str
        As of `fastmlp.TrainResult`; "unfinished" where there is no metrics.json.
    problems : list of str
        A line for each file that cannot be read.
    """

    folder: Path
    name: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    status: str
    reason: str
    told: Mapping[str, Any] = field(default_factory=dict, repr=False)
    problems: list[str] = field(default_factory=list)

    @cached_property
    def history(self) -> Mapping[str, list[float | None]]:
        """The columns of history.csv; None for what is no finite number. It is read when it is first asked for."""
        try:
            return _history(self.folder)
        except FormatError as error:
            self.problems.append(str(error))
            return {}

    @property
    def epochs(self) -> int | None:
        """How many epochs were trained."""
        count = self.told.get("epochs")
        return count if isinstance(count, int) else len(self.history.get("epoch", [])) or None

    @property
    def seconds(self) -> float | None:
        """Seconds of training."""
        seconds = _number(self.told.get("seconds"))
        if seconds is not None:
            return seconds
        return math.fsum(value or 0.0 for value in self.history.get("seconds", [])) or None

    def values(self) -> dict[str, Any]:
        """Return everything that a table can show, by name."""
        return {
            "run": self.name,
            **self.settings,
            **self.metrics,
            "status": self.status,
            "epochs_trained": self.epochs,
            "best_epoch": self.told.get("best_epoch"),
            "seconds": self.seconds,
            "samples_per_second": _number(self.told.get("samples_per_second")),
        }


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """Return every run in or below some folders, each once, in the order of their paths.

    Links to folders are not followed.

    Raises
    ------
    StoreError
        If a folder is missing, or there is no run in any.
    """
    runs = []
    seen = set()
    for top in folders:
        if not top.is_dir():
            found = "a file" if top.exists() else "nothing"
            raise StoreError(f"{top}: found {found}, expected a folder of runs")
        for folder in _folders(top):
            if (place := os.path.realpath(folder)) not in seen:
                seen.add(place)
                runs.append(read_run(folder, _name(folder, top, len(folders) > 1)))
    if not runs:
        places = ", ".join(map(str, folders))
        raise StoreError(
            f"{places}: found no run, expected folders that fastmlp train wrote; name the folder they are in"
        )
    return runs


def _name(folder: Path, top: Path, several: bool) -> str:
    if several or folder == top:
        return folder.as_posix()
    return folder.relative_to(top).as_posix()


def _folders(top: Path) -> Iterator[Path]:
    for place, below, files in os.walk(top):
        below.sort()
        if MARKS & set(files):
            yield Path(place)


def read_run(folder: Path, name: str | None = None) -> Run:
    """Read a run. Files that cannot be read are among its `problems`."""
    problems: list[str] = []
    settings: dict[str, Any] = {}
    told: Mapping[str, Any] = {}
    source = CONFIG if (folder / CONFIG).is_file() else UNFINISHED
    try:
        if (folder / source).is_file():
            settings = _settings(folder / source)
        if (folder / METRICS).is_file():
            told = _metrics(folder / METRICS)
    except FastMLPError as error:
        problems.append(str(error))
    status, reason = (
        str(told[key]) if isinstance(told.get(key), str) else UNKNOWN
        for key in ("status", "reason")
    )
    metrics = {
        f"{part}_{key}": _number(value)
        for part in PARTS
        if isinstance(told.get(part), dict)
        for key, value in told[part].items()
        if value is None or _number(value) is not None
    }
    if not (folder / METRICS).exists():
        status, reason = "unfinished", "no metrics.json"
    run = Run(folder, name or str(folder), settings, metrics, status, reason, told, problems)
    if metrics or status != "unfinished":
        return run
    last = {
        key: column[-1]
        for key, column in run.history.items()
        if key.startswith(("train_", "valid_")) and column
    }
    metrics.update(last)
    return run


def differing(runs: Iterable[Run]) -> list[str]:
    """Return the settings that are not the same in all runs."""
    seen: dict[str, set[Any]] = {}
    known = [run.settings for run in runs if run.settings]
    names = list(dict.fromkeys(name for settings in known for name in settings))
    for settings in known:
        for name in names:
            seen.setdefault(name, set()).add(repr(settings.get(name)))
    return [name for name in names if len(seen[name]) > 1]


def _settings(path: Path) -> dict[str, Any]:
    """Return the settings in a config.toml, those of the data first, with defaults of what it does not name."""
    document = read_toml(path)
    data, fields = document.get("data", {}), document.get("config", document)
    if not isinstance(data, dict) or not isinstance(fields, dict):
        raise FormatError(f"{path}: found no tables, expected [data] and [config]")
    plain = TrainConfig()
    try:
        settings = plain.replace(**fields).as_dict()
    except ConfigError:  # of another version
        settings = {**plain.as_dict(), **{name: _hashable(value) for name, value in fields.items()}}
    named = {
        "data" if name == "name" else f"data.{name}": _hashable(value)
        for name, value in data.items()
    }
    return {**named, **settings}


def _metrics(path: Path) -> Mapping[str, Any]:
    text = read_text(path, LARGEST_METRICS, "the results of a run")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{path}: found no JSON ({str(error)[:80]}), expected a run's results"
        ) from None
    if not isinstance(told, dict):
        raise FormatError(f"{path}: found {type(told).__name__}, expected a run's results")
    return told


def _history(folder: Path) -> dict[str, list[float | None]]:
    path = folder / HISTORY
    if not path.is_file():
        return {}
    rows = csv.reader(read_text(path, LARGEST_HISTORY, "a line an epoch").splitlines())
    try:
        header, *lines = rows
    except (ValueError, csv.Error) as error:
        raise FormatError(f"{path}: found {error}, expected a line an epoch") from None
    # A run that was killed may have left half a line.
    whole = [line for line in lines if len(line) == len(header)]
    columns = zip(*whole, strict=True) if whole else ([] for _ in header)
    return {
        name: [_number(cell) for cell in column]
        for name, column in zip(header, columns, strict=True)
    }


def _number(value: Any) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
