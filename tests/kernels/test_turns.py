"""Several processes that need the same function: one compiles, the others wait, and none waits for ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastmlp
from fastmlp.kernels import turns
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.turns import Turn
from fastmlp.machine.own_folder import OwnFolder

SOURCES = Path(fastmlp.__file__).parents[1]

# A compilation that takes as long as it is told, and says when it begins.
SCRIPT = """
import sys, time
import module
from fastmlp.kernels import turns
from fastmlp.kernels.jit import kernel
seconds, turns.PATIENCE = map(float, sys.argv[1:])
one = kernel(module.doubled, seconds_of=lambda signature: seconds)
really = one._compiler.compile
def slow(*given):
    print("compiles", flush=True)
    time.sleep(seconds)
    return really(*given)
one._compiler.compile = slow
print(one(21), flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that needs `doubled`; it ends with the test."""
    (tmp_path / "module.py").write_text("def doubled(x):\n    return x + x\n")
    started = []

    def begin(seconds: float, patience: float = 60.0) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(seconds), str(patience)],
            env={
                **os.environ,
                "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
                "PYTHONPATH": f"{SOURCES}{os.pathsep}{tmp_path}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_of_eight_processes_at_once_one_compiles(start, tmp_path):
    told = [process.communicate() for process in [start(2.0) for _ in range(8)]]
    assert sorted(out for out, _ in told) == ["42\n"] * 7 + ["compiles\n42\n"]
    for out, err in told:
        assert err.count("compiling kernels") == out.count("compiles")
        assert len(err.splitlines()) <= 1
    left = [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert left == [".nbc"]


def test_a_process_that_was_killed_holds_nobody_up(start):
    first = start(60.0)
    assert first.stdout.readline() == "compiles\n"
    second = start(0.0)
    time.sleep(1)
    first.kill()
    assert second.communicate(timeout=60)[0] == "compiles\n42\n"


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped")
def test_a_process_that_was_stopped_holds_nobody_up_for_long(start):
    first = start(60.0)
    assert first.stdout.readline() == "compiles\n"
    first.send_signal(signal.SIGSTOP)
    assert start(0.0, patience=1.5).communicate(timeout=60)[0] == "compiles\n42\n"


def test_a_process_that_is_slow_is_waited_for(start):
    first = start(5.0)
    assert first.stdout.readline() == "compiles\n"
    assert start(0.0, patience=3.0).communicate(timeout=60)[0] == "42\n"


def test_a_compilation_that_fails_gives_its_turn_back(tmp_path, monkeypatch):
    folder = OwnFolder(tmp_path / "own")
    monkeypatch.setattr("fastmlp.kernels.jit.cache_folder", lambda: folder)
    monkeypatch.setattr("fastmlp.kernels.jit.shipped", lambda: ())

    def interrupted(*_):
        raise KeyboardInterrupt

    dispatcher = kernel(fastmlp_doubled)
    with monkeypatch.context() as patch:
        patch.setattr(dispatcher._compiler, "compile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            dispatcher(1)
    assert list(folder.path.iterdir()) == []
    assert dispatcher(1) == 2


def fastmlp_doubled(x):
    return x + x


@pytest.mark.parametrize("kept", [True, False])
def test_a_guess_is_said_when_a_compilation_begins(tmp_path, capsys, monkeypatch, kept):
    monkeypatch.setattr(turns, "pace", lambda: 2.0)
    turn = Turn(OwnFolder(tmp_path / "own") if kept else None, "name", 6.0)
    assert not turn.wait()
    assert capsys.readouterr().err == ""
    turn.begin()
    turn.end()
    often = "once on this machine" if kept else "in each process"
    assert capsys.readouterr().err == f"fastmlp: compiling kernels, about 12 s, {often} ...\n"


def test_the_pace_is_a_number_of_this_machine():
    assert 0.1 < turns.pace() < 100
