"""``fastmlp data``, ``fastmlp doctor``, and no command at all."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import run

import fastmlp
from fastmlp.datasets import cifar10

pytestmark = pytest.mark.usefixtures("elsewhere")
Capture = pytest.CaptureFixture[str]


def write_batches(home: Path) -> Path:
    folder = home / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for batch in cifar10.BATCHES:
        (folder / f"{batch}.bin").touch()
    return folder


def test_data_lists_what_is_there(capsys: Capture, tmp_path: Path) -> None:
    batches = write_batches(tmp_path / "data")
    assert run("data", "--data-home", tmp_path / "data") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines == {
        "digits": lines["digits"],
        "mnist": f"not in {tmp_path / 'data'}",
        "fashion_mnist": f"not in {tmp_path / 'data'}",
        "cifar10": f"{batches} (folder of binary records)",
    }
    assert "embedded" in lines["digits"]


@pytest.mark.parametrize("before", [True, False])
def test_data_fetch_tells_where_it_lies(capsys: Capture, tmp_path: Path, before: bool) -> None:
    batches = write_batches(tmp_path)
    home = ["--data-home", tmp_path]
    arguments = (
        ["data", *home, "fetch", "cifar10"] if before else ["data", "fetch", "cifar10", *home]
    )
    assert run(*arguments) == 0
    assert capsys.readouterr().out.strip() == str(batches)


def test_doctor_tells_what_a_report_of_trouble_needs(capsys: Capture) -> None:
    assert run("doctor", "--warm") == 0
    out = capsys.readouterr().out
    found = {line[:10].strip(): line[10:] for line in out.splitlines() if line[0] != " "}
    assert set(found) == {
        *("CPU", "features", "tile", "cores", "caches", "compiled", "system", "versions"),
        *("data", "warm"),
    }
    assert f"numpy {np.__version__}" in found["versions"]
    assert "writable" in found["compiled"]
    assert "float32" in found["tile"]
    assert "ready after" in found["warm"]


def test_without_a_command_help_is_shown(capsys: Capture) -> None:
    assert run() == 0
    assert "train" in capsys.readouterr().out
    assert run("--version") == 0
    assert capsys.readouterr().out == f"fastmlp {fastmlp.__version__}\n"


@pytest.mark.skipif(os.name != "posix", reason="raises a POSIX signal")
@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("bench --quick", "fastmlp.bench.suite.run"),
        ("reproduce cifar10-softmax", "fastmlp.studies.reproduce.reproduce"),
        ("search", "fastmlp.search.grid.grid_search"),
        ("doctor", "fastmlp.machine.description.describe"),
    ],
)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_every_command_as_ctrl_c_does(
    command: str, function: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(function, lambda *_, **__: signal.raise_signal(signal.Signals[name]))
    assert run(*command.split()) == 130


@pytest.mark.parametrize(
    "error", [EOFError("Ran out of input"), BrokenPipeError(32, "of another process")]
)
def test_no_error_ends_a_command_without_a_word(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Click takes the end of any file for Ctrl-C, and any closed pipe for standard output."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("fastmlp.machine.description.describe", fail)
    assert run("doctor") == 2
    assert capsys.readouterr().err.strip() == f"fastmlp: error: {type(error).__name__}: {error}"
