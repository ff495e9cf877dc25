"""Every call of a command on a file is made to fail in turn: what is left, what is said, and whether it works again.

Commands run in forks of a process that has loaded everything and compiled the kernels, so an attempt takes the time of
the command alone.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import MLPClassifier, TrainConfig, load_digits, train
from fastmlp.cli import main
from fastmlp.errors import FastMLPError
from fastmlp.estimator import export  # noqa: F401  (loads what a command would load)
from fastmlp.reporting import displays, mosaics  # noqa: F401
from fastmlp.training.engine import Engine

from .kinds import SMALL, TRAIN
from .syscalls import ERRORS, Call, number_of, supervised

FULL, KILL = "full", "kill"
"""From this call on the disk is full, until the command ends; SIGKILL instead of the call."""

EVERY = ("ENOSPC", FULL, "EIO", "EINTR", "EACCES", KILL)
WARM_UP = 8  # images; an epoch of no more compiles kernels and trains nothing
ANSWERS = "answers.csv"
TERMINAL = "terminal"  # the folder of stdout and stderr


class Command:
    """A command, and what it leaves in the folder that it runs in.

    A subclass says what it needs and what it makes.
    """

    name: str
    survives: Sequence[str] = ()
    """Files that hold something from before, which may be replaced as a whole only."""

    errors: Sequence[str] = EVERY
    reports = False
    """Whether it also draws and tells, of which a part may be missing."""

    def prepare(self, folder: Path) -> None:
        """Write the files that the command needs."""

    def run(self) -> int:
        """Run in the current folder, and return the exit code."""
        raise NotImplementedError

    def product(self, folder: Path) -> Any:
        """Return all that the command made, but for times; None for what is missing."""
        raise NotImplementedError

    def model(self, folder: Path) -> bytes | None:
        """Return the bytes of the trained model; None if there is none."""
        return None

    def kept(self, folder: Path) -> dict[Any, Any]:
        """Return what was finished and must never be made again."""
        return {}


def content(path: Path) -> bytes | None:
    """Return the bytes of a file; None if there is none."""
    return path.read_bytes() if path.is_file() else None


def rows(path: Path) -> Any:
    """Return the lines of a CSV file without the columns of times; None if there is no such file."""
    if not path.is_file():
        return None
    with path.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if "second" not in (name or "")}
            for row in csv.DictReader(file)
        ]


class Train(Command):
    """`train`."""

    name = "train"
    arguments = ("--epochs", "2", "--hidden", "8", "--out", "run")
    errors = tuple(error for error in EVERY if error != KILL)  # its results may be lost
    reports = True

    def run(self) -> int:
        """Train."""
        return main(["train", *self.arguments])

    def product(self, folder: Path) -> Any:
        """Return model, settings, history and scores, and whether the figures are there."""
        run = folder / "run"
        found = content(run / "metrics.json")
        metrics = found and {
            name: value for name, value in json.loads(found).items() if "second" not in name
        }
        drawn = [(run / name).is_file() for name in ("curves.png", "confusion.png")]
        return (
            self.model(folder),
            content(run / "config.toml"),
            rows(run / "history.csv"),
            metrics,
            drawn,
        )

    def model(self, folder: Path) -> bytes | None:
        """Return the model."""
        return content(folder / "run" / "model.safetensors")


class TrainOn(Train):
    """`train --checkpoint`."""

    name = "train --checkpoint"
    arguments = (*Train.arguments, "--checkpoint")
    errors = EVERY


class Search(Command):
    """`search`."""

    name = "search"
    reports = True

    def prepare(self, folder: Path) -> None:
        """Write the grid."""
        (folder / "grid.toml").write_text(
            '[data]\nname = "digits"\n[config]\nhidden = [8]\nepochs = 1\n'
            "[grid]\nlearning_rate = [0.1, 0.01]\n[search]\nseeds = 1\n"
        )

    def run(self) -> int:
        """Search."""
        return main(["search", "grid.toml", "--out", "run"])

    def product(self, folder: Path) -> Any:
        """Return the table and the best model, and whether the report is there."""
        run = folder / "run"
        written = [(run / name).is_file() for name in ("report.md", "curves.png", "confusion.png")]
        return content(run / "best" / "model.safetensors"), rows(run / "trials.csv"), written

    def kept(self, folder: Path) -> dict[Any, Any]:
        """Return the finished trials, with the seconds that each took."""
        if not (folder / "run").is_dir():
            return {}
        with tempfile.TemporaryDirectory() as name:  # to read a database may change it
            shutil.copytree(folder / "run", Path(name, "copy"), dirs_exist_ok=True)
            path = Path(name, "copy", "trials.sqlite")
            if not path.exists() or not path.stat().st_size:
                return {}
            with (
                contextlib.closing(sqlite3.connect(path)) as database,
                contextlib.suppress(sqlite3.Error),
            ):
                query = "SELECT parameters, seed, seconds, history FROM trials"
                return {row[:2]: row[2:] for row in database.execute(query)}
        return {}


class Writing(Command):
    """A call of Python that replaces a file, with its error told as a command tells it."""

    survives = ("file",)

    def prepare(self, folder: Path) -> None:
        """Write what was there before."""
        (folder / "file").write_bytes(b"old")

    def write(self, path: str) -> None:
        """Write the file."""
        raise NotImplementedError

    def run(self) -> int:
        """Write the file."""
        try:
            self.write("file")
        except (OSError, FastMLPError) as error:
            print(f"fastmlp: error: {error}", file=sys.stderr)
            return 2
        return 0

    def product(self, folder: Path) -> Any:
        """Return the file."""
        return content(folder / "file")


class Save(Writing):
    """`Network.save`."""

    name = "save"

    def __init__(self) -> None:
        self.network = train(SMALL, TRAIN).network

    def write(self, path: str) -> None:
        """Write the network."""
        self.network.save(path)


class SaveEstimator(Writing):
    """`save` of an estimator."""

    name = "save of an estimator"

    def __init__(self) -> None:
        self.model_ = MLPClassifier((4,), solver="sgd", early_stopping=False, max_iter=1, tol=0)
        self.model_.partial_fit(TRAIN.images / 255, TRAIN.labels, classes=[0, 1, 2])

    def write(self, path: str) -> None:
        """Write the estimator."""
        self.model_.save(path)


class Export(Command):
    """`export`."""

    name = "export"
    survives = ("file.onnx",)

    def __init__(self) -> None:
        self.network = train(SMALL, TRAIN).network

    def prepare(self, folder: Path) -> None:
        """Write a model, and what was there before."""
        self.network.save(folder / "model.safetensors")
        (folder / "file.onnx").write_bytes(b"old")

    def run(self) -> int:
        """Export."""
        return main(["export", "model.safetensors", "--onnx", "file.onnx"])

    def product(self, folder: Path) -> Any:
        """Return the file."""
        return content(folder / "file.onnx")


class Predict(Export):
    """`predict`, with its output in a file."""

    name = "predict"
    survives = (ANSWERS,)

    def __init__(self) -> None:
        super().__init__()
        self.options = ["--out", ANSWERS]

    def prepare(self, folder: Path) -> None:
        """Write a model and a picture."""
        from PIL import Image

        super().prepare(folder)
        Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5) * 10).save(folder / "photo.png")
        (folder / ANSWERS).write_bytes(b"old")

    def run(self) -> int:
        """Predict."""
        return main(["predict", "model.safetensors", "photo.png", *self.options])

    def product(self, folder: Path) -> Any:
        """Return the file."""
        return content(folder / ANSWERS)


COMMANDS: dict[str, Callable[[], Command]] = {
    one.name: one for one in (Save, SaveEstimator, Export, Predict, Train, TrainOn, Search)
}


@dataclass(frozen=True)
class Attempt:
    """What came of a command one of whose calls failed.

    Attributes
    ----------
    command, error : str
    number : int
        Of the call, among those that can fail so.
    call, path : str
    code : int
        The exit code.
    problems : tuple of str
        What should not be.
    """

    command: str
    error: str
    number: int
    call: str
    path: str
    code: int
    problems: tuple[str, ...]


class Attempts:
    """All attempts at a command.

    Parameters
    ----------
    command : Command
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        with self._folder() as folder:
            self.epochs = 0
            code, calls = self._run(folder, lambda call: 0)
            assert code == 0, self._said(folder)
            self.reference = command.product(folder)
            self.model = command.model(folder)
            self.files = self._files(folder)
            self.epochs = self._epochs(folder)
            self.calls = calls

    def count(self, error: str) -> int:
        """Return how many calls of an undisturbed run can fail so."""
        return sum(self._can_fail(call, error) for call in self.calls)

    def attempt(self, error: str, number: int) -> Attempt:
        """Let the call with this number fail."""
        command = self.command
        with self._folder() as folder:
            failed: list[Call] = []
            left = number

            def decide(call: Call) -> int:
                nonlocal left
                if not self._can_fail(call, error):
                    return 0
                left -= 1
                if left == -1 or (left < 0 and error == FULL):
                    failed.append(call)
                    return number_of("ENOSPC" if error == FULL else error)
                return 0

            code, _ = self._run(folder, decide)
            if not failed:  # this run had fewer calls
                return Attempt(command.name, error, number, "none", "", code, ())
            call = failed[0]
            problems = self._after(folder, code, error, call)
            if code:
                kept, said = command.kept(folder), self._said(folder)
                trained = self.epochs and self._epochs(folder) >= self.epochs
                waits = trained and command.model(folder) != self.model
                code_again, _ = self._run(folder, lambda call: 0)
                if waits and error not in (FULL, KILL) and (code_again or self._epochs(folder)):
                    problems.append(f"the trained model was lost: {said}")
                if code_again:
                    problems.append(
                        f"the same command then ends with {code_again}: {self._said(folder)}"
                    )
                else:
                    if command.product(folder) != self.reference:
                        problems.append("the same command then makes something else")
                    now = command.kept(folder)
                    if any(now.get(key) != value for key, value in kept.items()):
                        problems.append("what was finished is lost or was made again")
                    problems += self._leftovers(folder, call, error)
            return Attempt(command.name, error, number, call.name, call.path, code, tuple(problems))

    def _can_fail(self, call: Call, error: str) -> bool:
        if error == FULL and call.path.startswith(TERMINAL):
            return False
        return error == KILL or call.name in ERRORS["ENOSPC" if error == FULL else error]

    def _after(self, folder: Path, code: int, error: str, call: Call) -> list[str]:
        command, said = self.command, self._said(folder)
        problems = []
        if error == KILL:
            if code != -signal.SIGKILL:
                problems.append(f"ended with {code}")
        elif code not in (0, 2):
            problems.append(f"ended with {code}: {said}")
        if "Traceback" in self._errors(folder):
            problems.append(f"a traceback: {said}")
        elif code == 2 and not call.path.startswith(TERMINAL) and not self._names(said, call.path):
            problems.append(f"said: {said}")
        if error == "EINTR" and code != 0 and "sqlite" not in call.path:  # SQLite says so instead
            problems.append("a call that was interrupted was not tried again")
        for name in command.survives:
            found = content(folder / name)
            if found != b"old" and found != self._new(name):
                problems.append(f"{name} is damaged")
        if code == 0:
            made = command.model(folder) if command.reports else command.product(folder)
            if made != (self.model if command.reports else self.reference):
                problems.append("ended well without its result")
        return problems

    def _new(self, name: str) -> bytes | None:
        return self.reference if isinstance(self.reference, bytes) else None

    def _leftovers(self, folder: Path, call: Call, error: str) -> list[str]:
        more = self._files(folder) - self.files
        if error in (KILL, FULL) or call.name.startswith("unlink"):
            more = {name for name in more if not name.endswith(".tmp")}
        return [f"left {sorted(more)}"] if more else []

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="scope-") as name:
            folder = Path(name).resolve() / "folder"
            (folder / TERMINAL).mkdir(parents=True)
            self.command.prepare(folder)
            yield folder

    def _run(self, folder: Path, decide: Callable[[Call], int]) -> tuple[int, list[Call]]:
        """Run the command in a fork, and return its exit code and its calls."""
        calls: list[Call] = []
        marks = os.open(
            folder.with_name(f"{folder.name}-epochs"), os.O_CREAT | os.O_TRUNC | os.O_WRONLY
        )
        streams = [
            os.open(folder / TERMINAL / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666)
            for name in ("stdout", "stderr")
        ]

        def run() -> int:
            os.chdir(folder)
            for number, stream in enumerate(streams, 1):
                os.dup2(stream, number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", 1) for number in (1, 2))
            usual = Engine.epoch

            def epoch(
                engine: Engine, samples: Any, order: np.ndarray, *rest: Any, **options: Any
            ) -> Any:
                record = usual(engine, samples, order, *rest, **options)
                if len(order) > WARM_UP:
                    os.write(marks, b".")
                return record

            Engine.epoch = epoch  # type: ignore[method-assign]
            return self.command.run()

        def watch(call: Call) -> int:
            inside, _, path = call.path.partition(f"{folder}/")
            if inside or not path:  # the folder itself is not the command's
                return 0
            calls.append(Call(call.name, path))
            return decide(calls[-1])

        try:
            code = supervised(run, watch)
        finally:
            for descriptor in (marks, *streams):
                os.close(descriptor)
        return code, calls

    def _epochs(self, folder: Path) -> int:
        return folder.with_name(f"{folder.name}-epochs").stat().st_size

    def _errors(self, folder: Path) -> str:
        return (folder / TERMINAL / "stderr").read_text(errors="replace")

    def _said(self, folder: Path) -> str:
        return (self._errors(folder).splitlines() or [""])[-1]

    def _names(self, said: str, path: str) -> bool:
        """Return whether a message is an error's and names the file, or what a passing file stands for."""
        name, folder = Path(path).name, Path(path).parent
        for end in ("-wal", "-journal", "-shm"):
            name = name.removesuffix(end)
        meant = {name, folder.name}
        if name.startswith(".") or name.endswith((".tmp", ".lock")):
            meant |= {Path(one).name for one in self.files if Path(one).parent == folder}
        return said.startswith("fastmlp: error: ") and any(one and one in said for one in meant)

    @staticmethod
    def _files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def attempts(
    commands: Sequence[str], errors: Sequence[str], most: int | None = None, seed: int = 0
) -> Iterator[Attempt]:
    """Make the calls of some commands fail in turn; at most so many of each command, drawn at random.

    The kernels are compiled and all is loaded first, in this process, which then has no other thread.
    """
    digits = load_digits()
    train(TrainConfig(hidden=(8,), epochs=1, threads=1), digits.train.take(range(32)), digits.test)
    for name in commands:
        all_of = Attempts(COMMANDS[name]())
        todo = [
            (error, number)
            for error in errors
            if error in all_of.command.errors
            for number in range(all_of.count(error))
        ]
        if most is not None and most < len(todo):
            todo = random.Random(f"{name} {seed}").sample(todo, most)
        for error, number in todo:
            yield all_of.attempt(error, number)
