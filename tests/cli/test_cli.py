"""The command line, as a person uses it; in a process of its own where signals matter."""

import csv
import dataclasses
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from PIL import Image

import fastmlp
from fastmlp.cli import main, progress
from fastmlp.cli.options import DIGITS, from_file, to_toml
from fastmlp.cli.run_folder import new_folder
from fastmlp.cli.train import _settings
from fastmlp.cli.train import train as train_command
from fastmlp.datasets import Dataset, Normalization, cifar10
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.search.experiment import DataTable
from fastmlp.training.config import TrainConfig
from fastmlp.training.network import Network

Capture = pytest.CaptureFixture[str]
RESULTS = {
    *("config.toml", "history.csv", "metrics.json"),
    *("model.safetensors", "curves.png", "confusion.png"),
}
TIMINGS = ("seconds", "samples_per_second")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test begin in an empty folder."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> int:
    return main([str(one) for one in arguments])


def start(*arguments: object) -> "subprocess.Popen[str]":
    """Run the command in a process of its own."""
    script = "import sys; from fastmlp.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(fastmlp.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


# -- train -----------------------------------------------------------------------------------------


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
    return _settings(context, context.params["config"])


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(TrainConfig)])
def test_every_setting_is_an_option(name: str) -> None:
    kind, default = get_type_hints(TrainConfig)[name], getattr(TrainConfig(), name)
    flag = f"--{name.replace('_', '-')}"
    if kind is bool:
        arguments, value = [flag if not default else flag.replace("--", "--no-")], not default
    elif get_origin(kind) is Literal:
        value = next(one for one in get_args(kind) if one != default)
        arguments = [flag, value]
    elif kind == tuple[int, ...]:
        arguments, value = [flag, "5,5,3"], (5, 5, 3)
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
    assert "Widths of the hidden layers; () gives softmax regression. [default: 256]" in words
    assert words.count("multiplied by the factor after every so many epochs") == 2


def test_a_folder_with_a_run_is_left_alone(capsys: Capture) -> None:
    assert run("train", "--epochs", 1, "--out", "a") == 0
    before = {path.name: path.read_bytes() for path in Path("a").iterdir()}
    capsys.readouterr()
    assert run("train", "--epochs", 2, "--out", "a") == 2
    assert "a: found config.toml of another run" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path("a").iterdir()} == before


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
    assert written == RESULTS - {"model.safetensors", "confusion.png"}


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_an_interrupt_saves_what_was_reached() -> None:
    log = Path("a/history.csv")
    with start("train", "--epochs", 1_000_000, "--out", "a") as process:
        deadline = time.monotonic() + 100
        while not (log.exists() and log.read_text().count("\n") > 3):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
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


@pytest.mark.parametrize(("while_training", "status"), [(0, "done"), (1, "interrupted")])
def test_an_interrupt_while_scoring_lets_results_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, while_training: int, status: str
) -> None:
    interrupt(monkeypatch, "fastmlp.cli.progress.ProgressDisplay.show", while_training)
    interrupt(monkeypatch, "fastmlp.training.trainer.evaluate", 1)
    assert run("train", "--epochs", 2, "--out", "a") == 130
    assert {path.name for path in Path("a").iterdir()} == RESULTS
    assert metrics(Path("a"))["status"] == status
    shown = capsys.readouterr()
    assert "interrupted while results were written" in shown.err
    assert all(name in shown.out.splitlines()[-1] for name in RESULTS)


def test_the_model_is_kept_from_the_impatient(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    interrupt(monkeypatch, "fastmlp.training.trainer.evaluate", 2)
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


def test_one_class_is_drawn_without_a_warning(capsys: Capture) -> None:
    assert run("train", "--classes", 3, "--epochs", 1, "--out", "a") == 0
    assert Path("a/confusion.png").exists()
    assert "warning" not in capsys.readouterr().err


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


@pytest.mark.parametrize(("seconds", "lines"), [(0.5, 1), (0.0, 0)], ids=["compiled", "cached"])
def test_compiling_is_announced_only_when_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, seconds: float, lines: int
) -> None:
    monkeypatch.setattr(progress, "NOTICE_AFTER", 0.05 if seconds else 60.0)
    monkeypatch.setattr("fastmlp.training.trainer.train", fake_training(seconds, "done"))
    taken = progress.compile_kernels(TrainConfig(), fastmlp.load_digits())
    assert taken >= seconds
    assert capsys.readouterr().err.count("compiling kernels") == lines


def test_ctrl_c_while_compiling_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastmlp.training.trainer.train", fake_training(0.0, "interrupted"))
    with pytest.raises(KeyboardInterrupt):
        progress.compile_kernels(TrainConfig(), fastmlp.load_digits())


def fake_training(seconds: float, status: str) -> Callable[..., object]:
    def train(*_: object) -> object:
        time.sleep(seconds)
        return SimpleNamespace(status=status)

    return train


# -- wrong input -----------------------------------------------------------------------------------


def write(path: str, text: str) -> Callable[[], object]:
    return lambda: Path(path).write_text(text)


@pytest.mark.parametrize(
    ("prepare", "arguments", "words"),
    [
        (None, "nonsense", "nonsense"),
        (None, "train --nonsense 1", "--nonsense"),
        (None, "train extra", "extra"),
        (None, "train --data nonsense", "nonsense"),
        (None, "train --classes 1,horse", "horse"),
        (None, "train --classes 1,1", "different names"),
        (None, "train --size 0", "size: found 0"),
        (None, "train --hidden wide", "'wide', expected such as 512,128"),
        (None, "train --hidden 0", "hidden: found"),
        # More than an address space holds, so that no system promises it.
        (None, "train --hidden 2000000000 --size 128", "out of memory"),
        (None, "train --learning-rate nan", "learning_rate: found nan"),
        (None, "train --learning-rate fast", "fast"),
        (None, "train --patience soon", "'soon', expected an integer or none"),
        (None, "train --nesterov --momentum 0", "nesterov"),
        (None, "train --checkpoint", "without --out"),
        (None, "train --config missing.toml", "missing.toml: cannot be read"),
        (write("c.toml", "seed ="), "train --config c.toml", "c.toml: found no valid TOML"),
        (write("c.toml", "sede = 1"), "train --config c.toml", "did you mean seed"),
        (write("c.toml", "[data]\nsise = 4"), "train --config c.toml", "c.toml: data.sise"),
        (
            write("c.toml", "[data]\nname = 'digits'\nsplit = [0.5, 0.5, 0.5]"),
            "train --config c.toml",
            "c.toml: data.split: found (0.5, 0.5, 0.5), expected three shares above 0",
        ),
        (
            write("c.toml", "[data]\nname = 'digits'\nsplit = [1e-9, 0.5, 0.1]"),
            "train --config c.toml",
            "split: found fraction 1e-09 of 1,797 images",
        ),
        (write("c.toml", "[data]\nname = 4"), "train --config c.toml", "data.name: found 4"),
        (write("c.toml", "[config]\n[[data]]"), "train --config c.toml", "expected a table"),
        (write("file", ""), "train --out file", "file: found a file, expected a folder"),
        (write("file", ""), "train --out file/below", "file/below: Not a directory"),
        (write("file", ""), "train --data mnist --data-home file", "file"),
        (None, "predict", "MODEL"),
        (None, "predict missing.safetensors a.png", "missing.safetensors: found no such file"),
        (write("m", "x" * 99), "predict m a.png", "m: found a file that is not safetensors"),
        (None, "data nonsense", "nonsense"),
        (None, "data fetch nonsense", "nonsense"),
        (write("file", ""), "data --data-home file", "file"),
        (None, "doctor extra", "extra"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(
    capsys: Capture, prepare: Callable[[], object] | None, arguments: str, words: str
) -> None:
    if prepare is not None:
        prepare()
    before = set(Path.cwd().rglob("*"))
    assert run(*arguments.split()) == 2
    shown = capsys.readouterr()
    *announced, line = shown.err.splitlines()
    assert line.startswith("fastmlp: error: ")
    assert words in line
    assert shown.out == ""
    assert set(Path.cwd().rglob("*")) == before
    if "out of memory" not in words:
        assert announced == []


def test_a_warning_is_one_line_without_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "file")
    with start("doctor") as process:
        out, errors = process.communicate()
    assert process.returncode == 0
    assert len(errors.splitlines()) == 1
    assert errors.startswith("fastmlp: warning: fastmlp cannot write its cache folder file")
    assert "not kept" in out


# -- predict ---------------------------------------------------------------------------------------


def network_of(channels: int, pixels: int = 4) -> Network:
    """Return a network whose outputs are the mean grey levels of its channels, darkest first."""
    size = channels * pixels**2
    weights = np.repeat(np.eye(channels), pixels**2, axis=1) / pixels**2
    if channels == 1:
        weights = np.concatenate([-weights, weights])
    return Network(
        [weights],
        [np.zeros(len(weights))],
        activation="relu",
        residual=False,
        normalization=Normalization(np.full(size, 127.5), np.full(size, 50.0)),
        classes=("red", "green", "blue") if channels == 3 else ("dark", "light"),
        shape=(channels, pixels, pixels),
    )


def test_predict_takes_pictures_of_any_size_and_kind(capsys: Capture) -> None:
    network_of(3).save("model.safetensors")
    colours = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}
    pictures = {}
    for count, (name, colour) in enumerate(colours.items()):
        for mode, end in (("RGB", "jpg"), ("RGBA", "png"), ("P", "gif")):
            path = f"{name}-{mode}.{end}"
            Image.new("RGB", (5 + count, 9 - count), colour).convert(mode).save(path)
            pictures[path] = name
    assert run("predict", "model.safetensors", *pictures) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(path, name) for path, name, _ in lines] == list(pictures.items())
    assert all(float(share) > 0.9 for _, _, share in lines)


def test_predict_scales_as_training_does_and_turns_by_exif(capsys: Capture) -> None:
    network = network_of(1)
    network.save("model.safetensors")
    pixels = np.random.default_rng(0).integers(0, 200, (12, 9), dtype=np.uint8)
    Image.fromarray(pixels).save("plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    Image.fromarray(np.rot90(pixels)).save("turned.png", exif=exif)
    assert run("predict", "model.safetensors", "plain.png", "turned.png") == 0
    dataset = Dataset.from_arrays(pixels[None, None], [0]).resize(4)
    share = network.predict_proba(dataset.images)[0]
    expected = [("dark", "light")[share.argmax()], f"{share.max():.4f}"]
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines == [["plain.png", *expected], ["turned.png", *expected]]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_predict_scales_16_bits_of_grey_to_8(capsys: Capture, name: str) -> None:
    network = network_of(1)
    network.save("model.safetensors")
    pixels = np.arange(100, 116, dtype=np.uint16).reshape(4, 4)
    big_endian = ">u2" if name == "a.tif" else "<u2"
    Image.fromarray((pixels * 257).astype(big_endian)).save(name)
    assert run("predict", "model.safetensors", name) == 0
    share = network.predict_proba(pixels.astype(np.uint8).reshape(1, -1))[0]
    assert share[0] > share[1]
    assert capsys.readouterr().out == f"{name}\tdark\t{share[0]:.4f}\n"


@pytest.mark.parametrize(("channels", "mode"), [(1, "LA"), (3, "RGBA"), (3, "PA"), (3, "P")])
def test_predict_refuses_what_shows_through(capsys: Capture, channels: int, mode: str) -> None:
    network_of(channels).save("model.safetensors")
    name = "a.tif" if mode == "PA" else "a.png"
    for alpha, code in ((255, 0), (254, 2)):
        Image.new("RGBA", (4, 4), (9, 9, 9, alpha)).convert(mode).save(name)
        assert run("predict", "model.safetensors", name) == code
    line = capsys.readouterr().err
    assert line.startswith(f"fastmlp: error: {name}: found transparent pixels")
    assert "flatten" in line


def test_predict_refuses_16_bits_with_a_transparent_grey(capsys: Capture) -> None:
    network_of(1).save("model.safetensors")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save("a.png", transparency=0)
    assert run("predict", "model.safetensors", "a.png") == 2
    assert "a.png: found transparent pixels" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["I", "F"])
def test_predict_refuses_numbers_of_unknown_range(capsys: Capture, mode: str) -> None:
    network_of(1).save("model.safetensors")
    Image.new(mode, (4, 4), 300).save("a.tif")
    assert run("predict", "model.safetensors", "a.tif") == 2
    words = f"a.tif: found pixels of Pillow's mode {mode}, expected 8 bits"
    assert words in capsys.readouterr().err


def damaged_png() -> bytes:
    Image.fromarray(np.arange(10_000, dtype=np.uint8).reshape(100, 100)).save("whole.png")
    return Path("whole.png").read_bytes()[:200]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "a.png: found no such file, expected"),
        (lambda: b"no picture", "cannot identify"),
        (damaged_png, "truncated"),
    ],
)
def test_predict_refuses_what_is_no_picture(
    capsys: Capture, content: Callable[[], bytes] | None, words: str
) -> None:
    network_of(3).save("model.safetensors")
    if content is not None:
        Path("a.png").write_bytes(content())
    assert run("predict", "model.safetensors", "a.png") == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("fastmlp: error: a.png: ")
    assert words in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert run("predict", "model.safetensors", ".") == 2
    assert ".: found a folder, expected an image" in capsys.readouterr().err


# -- data, doctor, no command ----------------------------------------------------------------------


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
