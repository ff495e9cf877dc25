"""``fastmlp train``, as a person uses it."""

import dataclasses
import os
import pkgutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from cli_helpers import history, metrics, run, start

import fastmlp
from fastmlp.cli.options import DIGITS, from_file, to_toml
from fastmlp.cli.run_folder import new_folder
from fastmlp.cli.train import INTERRUPTED, settings_of
from fastmlp.cli.train import train as train_command
from fastmlp.machine.cores import usable_cores
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.search.experiment import DataTable
from fastmlp.training.config import TrainConfig, choices_of
from fastmlp.training.trainer import Training

pytestmark = pytest.mark.usefixtures("elsewhere")
Capture = pytest.CaptureFixture[str]
REPORT = {"report.html", "report.md", "samples.png", "mistakes.png"}
RESULTS = {
    *("config.toml", "history.csv", "metrics.json"),
    *("model.safetensors", "curves.png", "confusion.png"),
    *REPORT,
}
TIMINGS = ("seconds", "samples_per_second")


def test_train_without_arguments_reads_digits_and_writes_everything(capsys: Capture) -> None:
    assert run("train") == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("digits-")
    assert {path.name for path in folder.iterdir()} == RESULTS

    found = metrics(folder)
    assert found["test"]["accuracy"] > 0.96
    assert found["machine"]["versions"]["numpy"] == np.__version__
    network = fastmlp.load(folder / "model.safetensors")
    digits = fastmlp.load_digits()
    parts = dict(zip(("train", "valid"), digits.train.split((0.9, 0.1), 0), strict=True))
    for name, part in {**parts, "test": digits.test}.items():
        shares = network.predict_proba(part.images)
        losses = -np.log(shares[np.arange(len(part)), part.labels])
        assert found[name]["accuracy"] == (shares.argmax(axis=1) == part.labels).mean()
        assert found[name]["loss"] == pytest.approx(losses.mean(), rel=1e-9)

    rows = history(folder)
    assert [int(row["epoch"]) for row in rows] == list(range(1, found["epochs"] + 1))
    assert float(rows[found["best_epoch"] - 1]["valid_loss"]) == found["valid"]["loss"]
    assert found["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows))
    rates = [float(row["samples_per_second"]) for row in rows]
    assert found["samples_per_second"] == pytest.approx(float(np.median(rates)))
    assert from_file(folder / "config.toml") == (TrainConfig(), DIGITS)

    shown = capsys.readouterr()
    assert f"accuracy {found['test']['accuracy']:.4f}" in shown.out
    assert shown.err.count("\nepoch ") == TrainConfig().epochs


@pytest.mark.parametrize(
    ("least", "arguments"),
    [
        (
            0.90,
            "--data cifar10 --classes automobile,cat --size 16 --hidden 512,128,32 --epochs 30 "
            "--batch-size 64 --learning-rate 0.01 --momentum 0.85 --weight-decay 0.01 --seed 0",
        ),
        (
            0.83,
            "--data cifar10 --classes bird,airplane --hidden 512,128,32 --epochs 20 "
            "--learning-rate 0.01 --momentum 0 --weight-decay 0.01",
        ),
        (0.98, "--data mnist --hidden 512 --epochs 10 --learning-rate 0.01"),
    ],
    ids=["car-cat", "bird-plane", "mnist"],
)
@pytest.mark.filterwarnings("ignore::fastmlp.datasets.DataWarning")
def test_real_images_reach_the_published_accuracy(
    real_data: Path, least: float, arguments: str
) -> None:
    out = Path("out")
    assert run("train", *arguments.split(), "--data-home", real_data, "--out", out) == 0
    assert metrics(out)["test"]["accuracy"] >= least


def test_a_run_is_repeated_to_the_bit_from_its_own_config_in_another_process() -> None:
    brief = ("--epochs", 3, "--hidden", "40,20", "--classes", "3,1,4", "--size", 6, "--flip")
    assert run("train", *brief, "--out", "a") == 0
    with start("train", "--config", "a/config.toml", "--out", "b") as process:
        process.communicate()
    assert process.returncode == 0
    for name in ("model.safetensors", "config.toml"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()
    network = fastmlp.load("a/model.safetensors")
    assert (network.sizes, network.classes) == ((36, 40, 20, 3), ("3", "1", "4"))


def settings(*arguments: object) -> tuple[TrainConfig, DataTable]:
    context = train_command.make_context("train", [str(one) for one in arguments])
    return settings_of(context, context.params["config"])


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(TrainConfig)])
def test_every_setting_is_an_option(name: str) -> None:
    kind, default = get_type_hints(TrainConfig)[name], getattr(TrainConfig(), name)
    flag = f"--{name.replace('_', '-')}"
    if kind is bool:
        arguments, value = [flag if not default else flag.replace("--", "--no-")], not default
    elif choices_of(name):
        value = next(one for one in choices_of(name) if one != default)
        arguments = [flag, value]
    elif kind == tuple[float, ...]:
        arguments, value = [flag, "0.5,0.75"], (0.5, 0.75)
    elif kind == tuple[int | str, ...]:
        arguments, value = [flag, "5,5, tanh, 3, dropout 0.50"], (5, 5, "tanh", 3, "dropout 0.5")
    else:
        value = 0.25 if kind is float else 7
        arguments = [flag, str(value)]
    needed = {"residual": ("--hidden", "5,5")}.get(name, ())
    assert getattr(settings(*needed, *arguments)[0], name) == value


def test_options_override_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    config = TrainConfig(hidden=(64, 64), patience=3, residual=True, seed=5, momentum=0.5)
    choice = DataTable(name="cifar10", classes=("bird", "cat"), size=16)
    path.write_text(to_toml(config, choice))
    assert settings("--config", path) == (config, choice)
    found, data = settings(
        *("--config", path, "--hidden", "none", "--patience", "none", "--no-residual"),
        *("--momentum", 0.9, "--classes", "dog, ship", "--size", 8),
    )
    assert found == TrainConfig(hidden=(), seed=5)
    assert data == DataTable(name="cifar10", classes=("dog", "ship"), size=8)


@pytest.mark.parametrize("none", ["none", "()"])
def test_no_hidden_layers(none: str) -> None:
    assert settings("--hidden", none)[0].hidden == ()


def test_help_describes_every_setting(capsys: Capture) -> None:
    assert run("train", "--help") == 0
    words = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(TrainConfig):
        assert f"--{field.name.replace('_', '-')}" in words
    assert "Widths of the hidden layers; () gives softmax regression." in words
    assert "[default: 256]" in words
    assert words.count("multiplied by the factor after every so many epochs") == 2


def test_a_folder_with_a_run_is_left_alone(capsys: Capture) -> None:
    assert run("train", "--epochs", 1, "--out", "a") == 0
    before = {path.name: path.read_bytes() for path in Path("a").iterdir()}
    capsys.readouterr()
    assert run("train", "--epochs", 2, "--out", "a") == 2
    assert "a: found config.toml of another run" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path("a").iterdir()} == before


def test_a_refused_training_leaves_no_folder(capsys: Capture) -> None:
    Path("there").mkdir()
    for out in ("new/er/run", "there", "there/run"):
        assert run("train", "--hidden", "conv 4 99", "--out", out) == 2
        assert "the kernel does not fit" in capsys.readouterr().err
    assert list(Path().rglob("*")) == [Path("there")]


def test_a_link_to_nothing_in_place_of_the_runs(capsys: Capture) -> None:
    Path("runs").symlink_to("nowhere")
    assert run("train", "--epochs", "1") == 2
    assert capsys.readouterr().err.startswith("fastmlp: error: runs: ")


def test_runs_of_one_second_get_different_folders() -> None:
    assert len({new_folder(Path("runs"), "digits") for _ in range(3)}) == 3


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(capsys: Capture) -> None:
    short = ("train", "--hidden", 16, "--checkpoint", "--out")
    assert run(*short, "whole", "--epochs", 6) == 0
    assert run(*short, "cut", "--epochs", 3) == 0
    # As after a kill between the checkpoint of epoch 3 and the end of its line.
    log = Path("cut/history.csv")
    log.write_text(log.read_text()[:-20])
    lines = log.read_text().splitlines()

    capsys.readouterr()
    assert run(*short, "cut", "--epochs", 6, "--seed", 1) == 2
    assert "seed 0 (now 1)" in capsys.readouterr().err
    assert from_file(Path("cut/config.toml"))[0].epochs == 3
    assert log.read_text().splitlines() == lines

    assert run(*short, "cut", "--epochs", 6) == 0
    assert "epoch 3/6" not in capsys.readouterr().err
    for name in ("model.safetensors", "config.toml", "confusion.png"):
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes()
    rows = [history(Path(folder)) for folder in ("cut", "whole")]
    for row in (row for table in rows for row in table):
        for name in TIMINGS:
            del row[name]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 6


def test_each_epoch_is_on_disk_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    show = ProgressDisplay.show

    def look(self: ProgressDisplay, done: int, line: str, beside: str) -> None:
        seen.append(len(history(Path("a"))))
        show(self, done, line, beside)

    monkeypatch.setattr(ProgressDisplay, "show", look)
    assert run("train", "--epochs", 3, "--out", "a") == 0
    assert seen == [1, 2, 3]


def test_divergence_is_told_and_keeps_the_history(capsys: Capture) -> None:
    assert run("train", "--learning-rate", 1e30, "--momentum", 0, "--out", "a") == 1
    shown = capsys.readouterr()
    assert "epoch 1, learning rate 1e+30" in shown.err
    assert "Traceback" not in shown.err
    found = metrics(Path("a"))
    assert found["status"] == "diverged"
    assert found["test"]["loss"] is None
    assert len(history(Path("a"))) == found["epochs"] == 1
    written = {path.name for path in Path("a").iterdir()}
    assert written == RESULTS - REPORT - {"model.safetensors", "confusion.png"}


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_saves_what_was_reached(name: str) -> None:
    log = Path("a/history.csv")
    with start("train", "--epochs", 1_000_000, "--out", "a") as process:
        deadline = time.monotonic() + 100
        while not (log.exists() and log.read_text().count("\n") > 3):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.Signals[name])
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert {path.name for path in Path("a").iterdir()} == RESULTS
    found = metrics(Path("a"))
    assert found["status"] == "interrupted"
    assert len(history(Path("a"))) == found["epochs"]
    digits = fastmlp.load_digits()
    network = fastmlp.load("a/model.safetensors")
    assert fastmlp.evaluate(network, digits.test)["accuracy"] == found["test"]["accuracy"]


def processes_of(marker: str) -> set[int]:
    """Return the processes that have a variable in their environment and have not ended."""
    found = set()
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdecimal() and marker.encode() in (folder / "environ").read_bytes():
                found.add(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at Linux's processes")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_process_is_left(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMLP_MARKER", str(tmp_path))
    log = Path("a/history.csv")
    with start("train", "--epochs", 1_000_000, "--out", "a") as process:
        deadline = time.monotonic() + 100
        while not log.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        others = processes_of(f"FASTMLP_MARKER={tmp_path}") - {process.pid}
        assert len(others) == (usable_cores() > 1)
        process.send_signal(signal.Signals[name])
        process.communicate()
    time.sleep(0.0 if process.returncode == 130 else 1.0)  # after SIGKILL it notices by itself
    assert not processes_of(f"FASTMLP_MARKER={tmp_path}")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at Linux's processes")
def test_a_process_beside_that_is_killed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTMLP_MARKER", str(tmp_path))
    log = Path("a/history.csv")
    with start("train", "--epochs", 1_000_000, "--out", "a") as process:
        deadline = time.monotonic() + 100
        while not log.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for other in processes_of(f"FASTMLP_MARKER={tmp_path}") - {process.pid}:
            os.kill(other, signal.SIGKILL)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "warning" not in errors
    assert {path.name for path in Path("a").iterdir()} == RESULTS


def test_the_same_pictures_beside_and_here() -> None:
    brief = ("train", "--epochs", 3, "--hidden", 8, "--size", 6)
    assert run(*brief, "--out", "here") == 0
    with start(*brief, "--out", "beside") as process:
        told, errors = process.communicate()
    assert process.returncode == 0, errors
    assert told.splitlines()[-1].startswith("beside: ")
    for path in Path("here").glob("*.png"):
        assert path.read_bytes() == Path("beside", path.name).read_bytes(), path


@pytest.mark.parametrize(("while_training", "status"), [(0, "done"), (1, "interrupted")])
def test_an_interrupt_while_scoring_lets_results_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, while_training: int, status: str
) -> None:
    interrupt(monkeypatch, "fastmlp.reporting.progress.ProgressDisplay.show", while_training)
    interrupt(monkeypatch, "fastmlp.training.evaluation.evaluate", 1)
    assert run("train", "--epochs", 2, "--out", "a") == 130
    assert {path.name for path in Path("a").iterdir()} == RESULTS - REPORT
    assert metrics(Path("a"))["status"] == status
    shown = capsys.readouterr()
    assert "interrupted while results were written" in shown.err
    assert all(name in shown.out.splitlines()[-1] for name in RESULTS - REPORT)


def test_the_model_is_kept_from_the_impatient(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    interrupt(monkeypatch, "fastmlp.training.evaluation.evaluate", 2)
    assert run("train", "--epochs", 2, "--out", "a") == 130
    assert fastmlp.load("a/model.safetensors").classes == fastmlp.load_digits().classes
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "a: config.toml, history.csv, model.safetensors"


def interrupt(monkeypatch: pytest.MonkeyPatch, function: str, times: int) -> None:
    """Let a function's first call begin with so many Ctrl-C."""
    module, _, name = function.rpartition(".")
    usual = pkgutil.resolve_name(function)
    left = [signal.SIGINT] * times

    def call(*arguments: Any) -> Any:
        while left:
            signal.raise_signal(left.pop())
        return usual(*arguments)

    monkeypatch.setattr(pkgutil.resolve_name(module), name, call)


def test_one_class_is_refused_before_there_is_a_folder(capsys: Capture) -> None:
    assert run("train", "--classes", 3, "--epochs", 1, "--out", "a") == 2
    assert "data.classes: found ('3',), expected a list of names, two" in capsys.readouterr().err
    assert not Path("a").exists()


def test_a_terminal_gets_a_bar_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run("train", "--epochs", 2, "--out", "a") == 0
    shown = capsys.readouterr().err
    assert "\nepoch 1" not in shown
    assert "0/2 [00:00<?" in shown
    assert "2/2 [" in shown
    assert "valid loss" in shown


def test_kernels_are_ready_before_there_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    warm_up = Training.warm_up

    def watched(training: Training) -> None:
        print("warming up", file=sys.stderr)
        warm_up(training)

    monkeypatch.setattr(Training, "warm_up", watched)
    assert run("train", "--epochs", 2, "--out", "a") == 0
    before, _, rest = capsys.readouterr().err.partition("warming up")
    assert "0/2" not in before
    assert "0/2" in rest
    assert "compiling" not in before + rest, "machine code of earlier tests was there"


def test_ctrl_c_while_compiling_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Training) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "warm_up", interrupted)
    assert run("train", "--epochs", 2, "--out", "a") == INTERRUPTED
    assert not Path("a").exists()
