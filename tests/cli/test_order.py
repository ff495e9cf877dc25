"""What is trained is kept whatever fails, and a folder belongs to the run that made it."""

import builtins
import errno
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import history, metrics, run, start
from search_helpers import rows

import fastmlp

pytestmark = pytest.mark.usefixtures("elsewhere")
Capture = pytest.CaptureFixture[str]
TRAIN = ("train", "--epochs", 2, "--hidden", 8, "--out", "a")
SEARCH = (
    '[data]\nname = "digits"\n[config]\nepochs = 1\nhidden = [4]\n[grid]\nmomentum = [0.0, 0.5]\n'
)
STUDY = SEARCH + '[study]\ntitle = "x"\n'


class Failing:
    """Let the n-th of all calls that change a file below a folder fail, once."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, nth: int, code: int) -> None:
        self.folder, self.left, self.code = str(folder.resolve()), nth, code
        for owner, name in ((builtins, "open"), (Path, "open"), (os, "open")):
            patch.setattr(owner, name, self.opening(getattr(owner, name)))
        for owner, name in ((Path, "replace"), (Path, "unlink"), (Path, "mkdir")):
            patch.setattr(owner, name, self.below(getattr(owner, name)))
        patch.setattr(os, "fsync", self.anywhere(os.fsync))

    def count(self, *path: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code), *path)

    def below(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            if isinstance(path, str | Path) and os.path.abspath(path).startswith(self.folder):
                self.count(str(path))
            return function(path, *rest, **options)

        return call

    def opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        failing = self.below(function)

        def call(path: Any, *rest: Any, **options: Any) -> Any:
            mode = (rest and rest[0]) or options.get("mode", "r")
            changes = (
                mode & (os.O_WRONLY | os.O_RDWR)
                if isinstance(mode, int)
                else set(mode) & set("wax+")
            )
            return (failing if changes else function)(path, *rest, **options)

        return call

    def anywhere(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int) -> Any:
            self.count()  # such errors have no path
            return function(descriptor)

        return call


def fail_at(
    nth: int, code: int, arguments: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, bool]:
    """Run a command whose n-th change of a file fails; return its exit code, and whether there was one."""
    with monkeypatch.context() as patch:
        failing = Failing(patch, Path(), nth, code)
        return run(*arguments), failing.left <= 0


CODES = (errno.ENOSPC, errno.EIO, errno.EINTR)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize(
    "stride", [7, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
@pytest.mark.filterwarnings("ignore:.*the training goes on:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:the report could not be written:RuntimeWarning")
def test_any_write_may_fail_once(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path, stride: int, checkpoint: bool
) -> None:
    arguments = (*TRAIN, "--checkpoint") if checkpoint else TRAIN
    assert run(*arguments) == 0
    expected = Path("a/model.safetensors").read_bytes()
    nth, kept = 1, 0
    while True:
        (tmp_path / str(nth)).mkdir()
        monkeypatch.chdir(tmp_path / str(nth))
        capsys.readouterr()
        ended, failed = fail_at(nth, CODES[nth % 3], arguments, monkeypatch)
        if not failed:
            break
        said = capsys.readouterr().err
        assert "Traceback" not in said
        trained = "epoch 2/2" in said
        if ended:
            assert ended == 2
            line = said.splitlines()[-1]
            assert line.startswith("fastmlp: error: ")
            assert os.strerror(CODES[nth % 3]) in line
            assert ": a" in line, "the error names no path"
            assert run(*arguments) == 0
        if trained:
            kept += 1
        else:
            assert ended == 2, "an error before training is one"
        assert Path("a/model.safetensors").read_bytes() == expected
        assert metrics(Path("a"))["epochs"] == len(history(Path("a"))) == 2
        assert not list(Path("a").glob(".*"))
        assert not Path("a/unfinished.toml").exists()
        nth += stride
    assert kept >= 20 / stride


@pytest.mark.parametrize("times", [1, 2])
def test_the_network_is_kept_when_its_file_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path, times: int
) -> None:
    save, left = fastmlp.Network.save, [times]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(network: Any, path: Path) -> None:
        if path.parent == Path("a") and left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(network, path)

    monkeypatch.setattr(fastmlp.Network, "save", fail)
    assert run(*TRAIN) == (2 if times == 2 else 0)
    said = capsys.readouterr()
    assert "test   loss" in said.out
    if times == 2:
        (spare,) = tmp_path.glob("fastmlp-*/model.safetensors")
        assert (
            f"a/model.safetensors: No space left on device; the network is in {spare}" in said.err
        )
        assert run(*TRAIN) == 0
        assert spare.read_bytes() == Path("a/model.safetensors").read_bytes()


def test_the_network_is_on_the_disk_before_anything_else_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look(*_: object, **__: object) -> None:
        assert fastmlp.load("a/model.safetensors")
        raise RuntimeError("seen")

    monkeypatch.setattr("fastmlp.training.evaluation.evaluate", look)
    with pytest.raises(RuntimeError, match="seen"):
        run(*TRAIN)


@pytest.mark.parametrize("command", ["train", "search"])
def test_figures_that_cannot_be_drawn_end_nothing(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "nonsense")  # with which Matplotlib cannot be imported
    Path("grid.toml").write_text(SEARCH)
    arguments = {"train": TRAIN, "search": ("search", "grid.toml", "--out", "a")}[command]
    with start(*arguments) as process:
        out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "warning: the figures could not be drawn: ValueError: Key backend: 'nonsense'" in errors
    wanted = {"train": ("metrics.json", "model.safetensors"), "search": ("report.md", "trials.csv")}
    for name in wanted[command]:
        assert name in out.splitlines()[-1]
        assert Path("a", name).is_file()
    assert not list(Path("a").glob("unfinished*"))


def test_a_run_that_did_not_end_begins_again_with_the_same_settings_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fastmlp.training.evaluation.evaluate", interrupted)
        assert run(*TRAIN) == 130
    model = Path("a/model.safetensors").read_bytes()
    assert run(*TRAIN, "--seed", 1) == 2
    assert (
        "a: found a run that did not end, with the settings in unfinished.toml"
        in capsys.readouterr().err
    )
    assert Path("a/model.safetensors").read_bytes() == model
    assert run(*TRAIN) == 0
    assert run(*TRAIN) == 2
    assert "a: found config.toml of another run" in capsys.readouterr().err


def interrupted(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"epoch,train_loss\n1,\xe9\n", b"\x00" * 9, b""]
)
def test_a_history_that_is_not_readable_is_written_again(content: bytes) -> None:
    short = ("train", "--hidden", 8, "--checkpoint", "--out", "a", "--epochs")
    assert run(*short, 2) == 0
    Path("a/history.csv").write_bytes(content)
    assert run(*short, 3) == 0
    assert [row["epoch"] for row in history(Path("a"))] == ["1", "2", "3"]


def test_a_shorter_run_does_not_take_a_longer_ones_checkpoint(capsys: Capture) -> None:
    short = ("train", "--hidden", 8, "--checkpoint", "--out", "a", "--epochs")
    assert run(*short, 4) == 0
    before = {path.name: path.read_bytes() for path in Path("a").iterdir()}
    capsys.readouterr()
    assert run(*short, 3) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "a/checkpoint.safetensors: found a checkpoint of 4 epochs, expected at most 3" in line
    assert {path.name: path.read_bytes() for path in Path("a").iterdir()} == before


def commands() -> dict[str, tuple[object, ...]]:
    Path("study.toml").write_text(STUDY)
    Path("grid.toml").write_text(SEARCH)
    return {
        "train": (*TRAIN[:-1], "out/study"),
        "search": ("search", "grid.toml", "--out", "out/study"),
        "reproduce": ("reproduce", "study.toml", "--out", "out"),
        "bench": ("bench", "--quick", "--out", "out/study"),
    }


@pytest.fixture
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: object, folder: Path) -> None:
        for name in ("results.json", "report.md"):
            (folder / name).write_text("measured")

    monkeypatch.setattr("fastmlp.bench.suite.run", lambda *_: {})
    monkeypatch.setattr("fastmlp.bench.markdown.render", lambda _: "")
    monkeypatch.setattr("fastmlp.bench.folder.write", write)


@pytest.mark.usefixtures("no_measuring")
@pytest.mark.parametrize("first", ["train", "search", "reproduce", "bench"])
def test_a_folder_belongs_to_the_command_that_made_it(first: str, capsys: Capture) -> None:
    every = commands()
    assert run(*every.pop(first)) == 0
    folder = Path("out/study")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in every.values():
        capsys.readouterr()
        assert run(*command) == 2
        assert "out/study: found " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    again = run(*commands()[first])
    assert again == (2 if first == "train" else 0)


@pytest.mark.usefixtures("no_measuring")
def test_files_of_nobody_are_not_overwritten(capsys: Capture) -> None:
    Path("out/study").mkdir(parents=True)
    mine = Path("out/study/report.md")
    mine.write_text("mine")
    Path("out/study/curves.png").write_text("mine")
    for command in commands().values():
        assert run(*command) == 2
        assert "out/study: found " in capsys.readouterr().err
    assert mine.read_text() == "mine"


@pytest.mark.usefixtures("no_measuring")
@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_a_folder_in_use_is_refused_at_once(capsys: Capture) -> None:
    long = ("train", "--epochs", 1_000_000, "--hidden", 8, "--out", "out/study")
    with start(*long) as process:
        wait_for(lambda: Path("out/study").exists())
        for command in (long, *commands().values()):
            assert run(*command) == 2
            line = capsys.readouterr().err.splitlines()[-1]
            assert "out/study: " in line
        wait_for(lambda: Path("out/study/history.csv").exists())
        assert run(*long) == 2
        assert "using it; wait for it" in capsys.readouterr().err
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert metrics(Path("out/study"))["status"] == "interrupted"


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_run_keeps_no_lock() -> None:
    with start("train", "--epochs", 1_000_000, "--hidden", 8, "--out", "a") as process:
        wait_for(lambda: Path("a/history.csv").exists())
        process.kill()
    assert run("train", "--epochs", 1, "--out", "b") == 0
    with start("train", "--epochs", 1_000_000, "--hidden", 8, "--out", "a") as process:
        wait_for(lambda: len(history(Path("a"))) > 1)
        process.kill()


def test_a_second_search_is_refused_and_the_first_goes_on(capsys: Capture) -> None:
    Path("grid.toml").write_text(SEARCH)
    with fastmlp.search.store.TrialStore("a", "c0ffee"):
        assert run("search", "grid.toml", "--out", "a") == 2
        assert "another search is using it" in capsys.readouterr().err
    assert rows(Path("a")) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "a/model.safetensors", "--onnx", "a/model.safetensors"),
        ("export", "model.safetensors", "--onnx", "model.safetensors"),
        ("export", "model.safetensors", "--onnx", "link"),
        ("predict", "a", "rows.npy", "--out", "a/history.csv"),
        ("predict", "a", "rows.npy", "--out", "rows.npy"),
        ("evaluate", "a", "--out", "a/metrics.json"),
        ("show", "a", "--weights", "a/curves.png"),
        ("lr", "--config", "a/config.toml", "--out", "a/config.toml"),
    ],
)
def test_no_command_writes_over_what_it_reads_or_a_run_has(
    capsys: Capture, arguments: tuple[str, ...]
) -> None:
    assert run("train", "--epochs", 1, "--hidden", 4, "--no-report", "--out", "a") == 0
    shutil.copy("a/model.safetensors", "model.safetensors")
    Path("link").symlink_to("a/model.safetensors")
    np.save("rows.npy", np.zeros((3, 64)))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fastmlp: error: {arguments[-1]}: found ")
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
