"""``fastmlp search``, as people run it."""

import os
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from search_helpers import rows

from fastmlp import load
from fastmlp.cli import main

FILE = """
[data]
name = "digits"

[config]
hidden = [16]
epochs = {epochs}

[grid]
learning_rate = [0.3, 0.1, 1e30]
momentum = [0.0, 0.5, 0.9]

[search]
seeds = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "birds.toml"
    path.write_text(FILE.format(epochs=3))
    return path


PROGRAM = "import sys; from fastmlp.cli import main; sys.exit(main())"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command in an empty folder and returns what it said."""

    def run(*arguments: object, code: int = 0) -> tuple[str, str]:
        monkeypatch.chdir(tmp_path)
        assert main(["search", *map(str, arguments)]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return run


def test_a_file_becomes_a_folder_of_results_and_goes_on(run, file, tmp_path):
    shown, said = run(file)
    out = tmp_path / "runs" / "search-birds"
    lines = [line for line in said.splitlines() if "/18 " in line]
    assert len(lines) == 18
    assert re.fullmatch(
        r" 1/18  learning_rate \S+, momentum \S+, seed \d: done, valid accuracy 0\.\d{4}, "
        r"[\d.]+ s  \(0 failed, .*[\d:]+ left\)", lines[0]
    )  # fmt: skip
    assert "6 diverged" in lines[-1]
    assert "3 of 9 points diverged or failed" in shown
    assert "the best on the test part: accuracy 0.9" in shown
    assert "report.md, report.html, trials.csv, curves.png" in shown
    assert load(out / "best" / "model.safetensors").sizes == (64, 16, 10)
    kept = {key: row["id"] for key, row in rows(out).items()}
    _, said = run(file, "--seeds", 3)
    assert "18 of 27 trials found in runs/search-birds" in said
    after = {key: row["id"] for key, row in rows(out).items()}
    assert len(after) == 27
    assert kept.items() < after.items()


def test_without_a_file_digits_are_searched(run, tmp_path):
    _, said = run("--out", "here", "--jobs", 1)
    assert "12/12" in said
    assert "digits" in (tmp_path / "here" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.toml"], "missing.toml: cannot be read: No such file or directory"),
        (["--jobs", "0"], "jobs: found 0, expected a whole number from 1"),
        (["--dask", "tcp://nowhere"], "dask: found no scheduler at 'tcp://nowhere'"),
        (["--dask", "tcp://x:1", "--jobs", "2"], "dask: found with jobs or backend"),
        (["--backend", "ray"], "'ray' is not one of 'threading', 'loky'"),
        (["--out", "note.txt"], "note.txt"),
        (["slip.toml"], "slip.toml: momentun: no such parameter; did you mean momentum?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, tmp_path, arguments, message):
    if "dask: found no scheduler" in message:
        pytest.importorskip("distributed")
    (tmp_path / "note.txt").write_text("a note")
    (tmp_path / "slip.toml").write_text('[data]\nname = "digits"\n[grid]\nmomentun = [0.5]')
    _, said = run(*arguments, code=2)
    assert message in said
    assert said.count("\n") == 1
    assert (tmp_path / "note.txt").read_text() == "a note"


def test_a_damaged_store_is_said_in_one_line(run, file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trials.sqlite").write_text("a note to myself " * 100)
    _, said = run(file, "--out", "out", code=2)
    assert "found a damaged file or no database" in said
    assert said.count("\n") == 1


def test_nothing_but_divergence_is_code_1(run, tmp_path):
    path = tmp_path / "high.toml"
    path.write_text('[data]\nname = "digits"\n[config]\nlearning_rate = 1e30\n')
    _, said = run(path, code=1)
    assert "there is no best model" in said
    assert (tmp_path / "runs" / "search-high" / "report.md").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_ctrl_c_keeps_finished_trials(run, file, tmp_path, backend, name):
    file.write_text(FILE.format(epochs=150))
    arguments = ["search", str(file), "--out", "out", "--backend", backend, "--jobs", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if " 3/18 " in line:
                os.killpg(process.pid, signal.Signals[name])  # as a terminal does: to all of them
                break
        begun = time.perf_counter()
        said = process.stderr.read()
        assert process.wait() == 130
        assert time.perf_counter() - begun < 10
    kept = len(rows(tmp_path / "out"))
    assert 3 <= kept < 18
    assert f"interrupted: {kept} of 18 trials are kept in out" in said
    assert "Traceback" not in said
    _, said = run(file, "--out", "out")
    assert f"{kept} of 18 trials found in out" in said


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals to make")
def test_on_a_terminal_there_is_a_bar(file, tmp_path):
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "search", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=tmp_path,
    ) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            said += piece
    os.close(ours)
    assert process.returncode == 0
    shown = said.decode()
    assert re.search(
        r"100%\S*\| 18/18 trials, 0 failed, 6 diverged, best valid accuracy 0\.9", shown
    )
    assert "seed 0:" not in shown


def test_the_queries_that_people_use_work(run, file, tmp_path):
    run(file, "--out", "out")
    with closing(sqlite3.connect(tmp_path / "out" / "trials.sqlite")) as database:
        ranking = database.execute(
            "SELECT json_extract(parameters, '$.learning_rate') AS rate, avg(valid_accuracy) "
            "FROM trials WHERE status IN ('done', 'stopped') GROUP BY rate ORDER BY 2 DESC"
        ).fetchall()
        curve = database.execute(
            "SELECT json_extract(epoch.value, '$.valid_loss') FROM trials, "
            "json_each(history) AS epoch WHERE trials.id = 1"
        ).fetchall()
        failures = database.execute("SELECT status, count(*), min(reason) FROM trials GROUP BY 1")
        assert dict((status, count) for status, count, _ in failures) == {"done": 12, "diverged": 6}
    assert [rate for rate, _ in ranking] in ([0.3, 0.1], [0.1, 0.3])
    assert len(curve) == 3


def test_help_needs_no_compiler():
    program = "import sys, fastmlp.cli.search; print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_help_says_what_a_file_holds():
    from fastmlp.cli.search import search

    said = CliRunner().invoke(search, ["--help"]).output
    for word in ("[data]", "[config]", "[grid]", "--dask", "--backend", "--out", "--jobs"):
        assert word in said
