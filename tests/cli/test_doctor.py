"""What `doctor` says of cores: which variable counts, and that others keep the machine busy."""

import os

import pytest
from cli_helpers import run

from fastmlp.machine.limits import VARIABLES


def cores(capsys: pytest.CaptureFixture[str]) -> str:
    assert run("doctor") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cores")]
    return line


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.1, 0.1), raising=False)


def test_an_idle_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cores(capsys).split()[2:4] == ["usable", "of"]
    assert len(cores(capsys).split()) == 5


def test_a_variable_that_counts_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert "1 usable" in (line := cores(capsys))
    assert line.endswith("; SLURM_CPUS_PER_TASK=1 counts")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4096")
    assert "counts" not in cores(capsys)


def test_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1e4, 0.1, 0.1), raising=False)
    assert "10000.0 programs want to run on" in cores(capsys)
    monkeypatch.delattr(os, "getloadavg")
    assert "programs" not in cores(capsys)
