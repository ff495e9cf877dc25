"""Signals at random instants of a search and of a training: nothing lost, nothing twice, nothing left behind."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GRID = """
[data]
name = "digits"
[config]
hidden = [32, 16]
epochs = 25
batch_size = 32
[grid]
learning_rate = [0.3, 0.1, 0.03, 0.01]
momentum = [0.0, 0.5, 0.9]
[search]
seeds = 2
"""
TRIALS = 24
WAYS = {
    "threads": (),
    "serial": ("--jobs", "1"),
    "processes": ("--backend", "loky"),
    "dask": ("--dask",),
}
EPOCHS = (
    300  # some seconds, in which signals can come; and more than the header of a checkpoint holds
)
TRAINING = ("--epochs", str(EPOCHS), "--hidden", "32", "--seed", "3")
GONE_WITHIN = 2.0  # seconds
STARTING = 2.0  # seconds in which a command starts and reads what is there
MARK = "FASTMLP_ROBUSTNESS"  # in the environment of all processes of a command


@dataclass
class Tally:
    """What happened over some kills.

    Attributes
    ----------
    kills, midway : int
        How many, and after how many of them some of the work was done and some was not.
    lost, twice, unequal, processes, shared : int
        Trials (epochs of a training) that were lost, or made again; ends that differ from an undisturbed one;
        processes that were left, and pieces of shared memory.
    said : list of str
        What was wrong, in words.
    """

    kills: int = 0
    midway: int = 0
    lost: int = 0
    twice: int = 0
    unequal: int = 0
    processes: int = 0
    shared: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """Everything that should not be."""
        return self.lost + self.twice + self.unequal + self.processes + self.shared


class Running:
    """A command in a process of its own, with the processes that it starts.

    Parameters
    ----------
    arguments : sequence of str
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.mark = uuid.uuid4().hex
        script = "import sys; from fastmlp.cli import main; sys.exit(main())"
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": path, MARK: self.mark},
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
        )

    def through(self) -> None:
        """Wait for the end, which must be a good one."""
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read()
        self.errors.close()
        assert code == 0, said

    def kill(self, number: int) -> tuple[list[int], list[str]]:
        """Send a signal, wait for the end, and return the processes and the shared memory that are left."""
        self.process.send_signal(number)
        self.process.wait(60)
        end = time.monotonic() + GONE_WITHIN
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.05)
        shared = list(self.shared())
        for process in left:
            os.kill(process, signal.SIGKILL)
        for path in shared:
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        return left, shared

    def left(self) -> list[int]:
        """Return the processes of this command that live."""
        mark = f"{MARK}={self.mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    if mark in (folder / "environ").read_bytes():
                        found.append(int(folder.name))
                except OSError:  # it ended meanwhile, or is not ours
                    continue
        return found

    def shared(self) -> Iterator[str]:
        """Yield what joblib keeps in shared memory for this command, whose names hold its process's number."""
        for folder in {Path("/dev/shm"), Path(tempfile.gettempdir())}:
            if folder.is_dir():
                for path in folder.iterdir():
                    numbers = path.name.replace("_", "-").split("-")
                    if str(self.process.pid) in numbers and (
                        "joblib" in path.name or "loky" in path.name
                    ):
                        yield str(path)


def finished(folder: Path) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Return what must never change of the finished trials in the folder of a search, whose database is whole."""
    path = folder / "trials.sqlite"
    if not path.exists() or not path.stat().st_size:
        return {}
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return {}
        query = "SELECT parameters, seed, status, seconds, history, finished FROM trials"
        return {row[:2]: row[2:] for row in database.execute(query)}


def table(path: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file, without times."""
    with path.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if "second" not in name}
            for row in csv.DictReader(file)
        ]


class Searches:
    """Searches that are killed again and again until they are through.

    Parameters
    ----------
    folder : Path
        To work in.
    way : str
        One of `WAYS`.
    address : str
        Of the Dask scheduler.
    """

    def __init__(self, folder: Path, way: str, address: str = "") -> None:
        self.folder, self.options = folder, (*WAYS[way], *filter(None, [address]))
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "grid.toml"
        self.file.write_text(GRID)
        self.number = 0
        self.reference = self._through(folder / "undisturbed")

    def _command(self, folder: Path) -> Running:
        return Running(["search", self.file, "--out", folder, *self.options])

    def _through(self, folder: Path) -> tuple[Any, bytes]:
        self._command(folder).through()
        return table(folder / "trials.csv"), (folder / "best" / "model.safetensors").read_bytes()

    def kill(self, kills: int, number: int, seed: int) -> Tally:
        """Kill so often, and compare whenever a search is through, and at the end."""
        tally, instants = Tally(), random.Random(seed)
        while tally.kills < kills:
            folder = self.folder / str(self.number)
            before = finished(folder)
            self._kill_once(folder, number, instants, tally)
            after = finished(folder)
            self._compare(before, after, tally)
            tally.midway += 0 < len(after) < TRIALS
            if len(after) == TRIALS or tally.kills == kills:
                found = self._through(folder)
                if found != self.reference:
                    tally.unequal += 1
                    tally.said.append(f"{folder.name}: another table or model")
                self._compare(after, finished(folder), tally)
                self.number += 1
        return tally

    def _kill_once(self, folder: Path, number: int, instants: random.Random, tally: Tally) -> None:
        """Kill at an instant drawn so that most come while trials are trained, some before and some after."""
        running = self._command(folder)
        more = instants.randrange(-2, 10)
        goal = min(len(finished_quickly(folder)) + more, TRIALS)
        end = time.monotonic() + 60
        while running.process.poll() is None and time.monotonic() < end:
            if len(finished_quickly(folder)) >= goal:
                break
            time.sleep(0.01)
        time.sleep(instants.uniform(0, 0.15 if more > 0 else STARTING))
        if running.process.poll() is None:
            left, shared = running.kill(number)
            tally.kills += 1
            tally.processes += len(left)
            tally.shared += len(shared)
            if left or shared:
                tally.said.append(f"{folder.name}: left the processes {left}, in memory {shared}")
        running.errors.close()

    def _compare(self, before: dict[Any, Any], after: dict[Any, Any], tally: Tally) -> None:
        lost = [key for key in before if key not in after]
        twice = [key for key in before if key in after and after[key] != before[key]]
        tally.lost += len(lost)
        tally.twice += len(twice)
        if lost or twice:
            tally.said.append(f"lost {len(lost)}, twice {len(twice)}")


def finished_quickly(folder: Path) -> list[Any]:
    """Return the keys of the finished trials while a search writes; nothing is locked or changed."""
    path = folder / "trials.sqlite"
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)) as database:
            return database.execute("SELECT id FROM trials").fetchall()
    except sqlite3.Error:
        return []


class Trainings:
    """`train --checkpoint`, killed again and again until it is through."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.number = 0
        self.reference = self._through(folder / "undisturbed")

    def _command(self, folder: Path) -> Running:
        return Running(["train", *TRAINING, "--out", folder, "--checkpoint"])

    def _through(self, folder: Path) -> tuple[Any, ...]:
        self._command(folder).through()
        metrics = json.loads((folder / "metrics.json").read_text())
        scores = {name: value for name, value in metrics.items() if "second" not in name}
        return (folder / "model.safetensors").read_bytes(), table(folder / "history.csv"), scores

    def kill(self, kills: int, number: int, seed: int) -> Tally:
        """Kill so often, and compare whenever a training is through, and at the end."""
        tally, instants = Tally(), random.Random(seed)
        while tally.kills < kills:
            folder = self.folder / str(self.number)
            before = epochs(folder)
            running = self._command(folder)
            more = instants.randrange(-EPOCHS // 8, EPOCHS * 5 // 8)
            goal = min(len(before) + more, EPOCHS)
            end = time.monotonic() + 60
            while running.process.poll() is None and time.monotonic() < end:
                if len(epochs(folder)) >= goal:
                    break
                time.sleep(0.003)
            is_training = more > 0 and goal < EPOCHS  # it is not starting, nor writing its results
            time.sleep(instants.uniform(0, 0.03 if is_training else STARTING))
            if running.process.poll() is None:
                left, shared = running.kill(number)
                tally.kills += 1
                tally.processes += len(left)
                tally.shared += len(shared)
            running.errors.close()
            after = epochs(folder)
            tally.midway += 0 < len(after) < EPOCHS
            self._compare(before, after, tally)
            if len(after) == EPOCHS or tally.kills == kills:
                if self._through(folder) != self.reference:
                    tally.unequal += 1
                    tally.said.append(f"{folder.name}: another end")
                self._compare(after, epochs(folder), tally)
                self.number += 1
        return tally

    def _compare(self, before: dict[str, str], after: dict[str, str], tally: Tally) -> None:
        lost = sorted(set(before) - set(after))
        twice = [epoch for epoch in before if epoch in after and before[epoch] != after[epoch]]
        tally.lost += len(lost)
        tally.twice += len(twice)
        if lost or twice:
            tally.said.append(f"the epochs {lost} lost, {twice} trained twice")


def epochs(folder: Path) -> dict[str, str]:
    """Return the whole lines of a history, by epoch, with their times, which differ if it is trained again."""
    path = folder / "history.csv"
    if not path.exists():
        return {}
    lines = path.read_text().splitlines(keepends=True)[1:]
    return {line.partition(",")[0]: line for line in lines if line.endswith("\n")}
