"""Pictures of a process beside this one: the same bytes, whatever becomes of it, and it is never left behind."""

import io
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp.reporting import beside, figures, mosaics
from fastmlp.reporting.beside import Beside, draw_here

RNG = np.random.default_rng(0)
HISTORY = [
    {"epoch": epoch, "train_loss": 1 / epoch, "train_accuracy": 0.5, "valid_loss": None}
    for epoch in range(1, 60)
]
LABELS = RNG.integers(0, 3, 50)
TARGETS = RNG.normal(size=(40, 2))
PICTURES = RNG.integers(0, 256, (2, 3, 3, 9, 5), np.uint8)
DRAWN: list[tuple[Callable[..., None], tuple[Any, ...], dict[str, Any]]] = [
    (figures.draw_curves, (HISTORY,), {"best_epoch": 3}),
    (figures.draw_confusion, (LABELS, LABELS[::-1], ("a", "$", "鸟" * 30)), {}),
    (mosaics.draw_mosaic, (PICTURES,), {"rows": ["one", "zwölf"], "captions": ["a\nb"]}),
    (mosaics.draw_predictions, (TARGETS, TARGETS + 1, ("x", "y")), {}),
]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a command does that has two cores and has not loaded Matplotlib."""
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    monkeypatch.setattr(beside, "usable_cores", lambda: 2)


def test_the_same_bytes(tmp_path: Path) -> None:
    with Beside() as pictures:
        process = pictures.process
        for number, (function, arguments, options) in enumerate(DRAWN):
            pictures.draw(function, *arguments, path=tmp_path / f"{number}.png", **options)
        assert pictures.process is process is not None
    assert process.returncode == 0
    for number, (function, arguments, options) in enumerate(DRAWN):
        draw_here(function, *arguments, path=tmp_path / "here.png", **options)
        assert (tmp_path / f"{number}.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_what_a_disk_refuses_is_told_as_without_it(tmp_path: Path) -> None:
    with Beside() as pictures:
        told = []
        for draw in (pictures.draw, draw_here):
            with pytest.raises(OSError, match="curves") as caught:
                draw(figures.draw_curves, HISTORY, path=tmp_path / "none" / "curves.png")
            told.append((type(caught.value), str(caught.value)))
        assert pictures.process is not None
    assert told[0] == told[1]


def misbehave(kind: str, path: Path | io.BytesIO) -> None:
    """Write b"here" to a file; do something else in a process that draws."""
    if isinstance(path, Path):
        path.write_bytes(b"here")
        return
    if kind == "is killed":
        os.kill(os.getpid(), 9)
    if kind == "raises":
        raise ValueError("no picture")
    if kind == "prints":
        print("a word")
    if kind == "warns":
        warnings.warn("a word", UserWarning, stacklevel=1)
    if kind == "logs":
        logging.getLogger("matplotlib").warning("a word")
    if kind == "babbles":
        os.write(1, b"\xff" * 100)
    if kind == "waits":
        time.sleep(60)


@pytest.mark.parametrize(
    "kind", ["is killed", "raises", "prints", "warns", "logs", "babbles", "waits"]
)
def test_whatever_it_does_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    if kind == "waits":
        monkeypatch.setattr(beside, "ANSWER_SECONDS", 3.0)
    with Beside() as pictures:
        process: Any = pictures.process
        pictures.draw(misbehave, kind, path=tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == b"here"
        assert process.returncode is not None
        pictures.draw(figures.draw_curves, HISTORY, path=tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert capfd.readouterr() == ("", "")


def test_arguments_that_cannot_be_sent(tmp_path: Path) -> None:
    with Beside() as pictures:
        pictures.draw(lambda path: path.write_bytes(b"here"), path=tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"here"


def test_an_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(process: Any, message: Any) -> None:
        raise KeyboardInterrupt

    pictures = Beside()
    process: Any = pictures.process
    monkeypatch.setattr(beside, "_send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pictures.draw(figures.draw_curves, HISTORY, path=tmp_path / "curves.png")
    assert (pictures.process, process.returncode is None) == (None, False)


@pytest.mark.parametrize("error", [BlockingIOError("too many"), MemoryError, FileNotFoundError])
def test_a_system_that_starts_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "Popen", refused)
    with Beside() as pictures:
        assert pictures.process is None
        pictures.draw(figures.draw_curves, HISTORY, path=tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("executable", ["", "/nowhere/python", sys.prefix])
def test_a_program_that_is_no_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with Beside() as pictures:
        assert pictures.process is None
        pictures.draw(figures.draw_curves, HISTORY, path=tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()


def test_a_process_that_cannot_begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [])  # nothing is found there
    with Beside() as pictures:
        monkeypatch.undo()
        pictures.draw(figures.draw_curves, HISTORY, path=tmp_path / "curves.png")
        assert pictures.process is None
    assert (tmp_path / "curves.png").exists()


def test_there_is_none_where_it_would_be_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Beside(wanted=False).process is None
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert Beside().process is None
    monkeypatch.undo()
    monkeypatch.setattr(beside, "usable_cores", lambda: 1)
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    assert Beside().process is None
    monkeypatch.setattr(beside, "usable_cores", lambda: 2)
    monkeypatch.setitem(sys.modules, "matplotlib", sys)
    assert Beside().process is None


def test_nothing_of_the_folder_it_starts_in_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("pickle", "signal", "numpy", "matplotlib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    with Beside() as pictures:
        pictures.draw(figures.draw_curves, HISTORY, path=tmp_path / "curves.png")
        assert pictures.process is not None
