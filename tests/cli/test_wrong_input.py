"""What is wrong on the command line is said in one line, with exit code 2."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import run, start

from fastmlp.errors import suggest

pytestmark = pytest.mark.usefixtures("elsewhere")
Capture = pytest.CaptureFixture[str]


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
        (None, "train --classes 1", "a list of names, two or more"),
        (None, "train --size 0", "size: found 0"),
        (None, "train --hidden wide", "'wide', expected such as 512,128"),
        (None, "train --hidden 0", "hidden: found"),
        (
            write("c.toml", 'hidden = ["maxpool 4", "conv 6 5"]'),
            "train --config c.toml",
            "'conv 6 5' is given 1 x 2 x 2",
        ),
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


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--out", ""),
        ("train", "--config", ""),
        ("train", "--data-home", ""),
        ("predict", "", "a.png"),
        ("predict", "m", ""),
        ("evaluate", "m", "--out", ""),
        ("show", "m", "--weights", ""),
        ("export", "m", "--onnx", ""),
        ("runs", ""),
        ("runs", "--csv", ""),
        ("lr", "--out", ""),
        ("search", ""),
        ("search", "--out", ""),
        ("compare", "", ""),
        ("bench", "--out", ""),
        ("data", "--data-home", ""),
    ],
)
def test_a_variable_that_is_not_set_is_no_path(capsys: Capture, arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(": found '', expected a path; the current folder is '.'")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SURVIVED", "did you mean Survived?"),
        ("survived", "did you mean Survived?"),
        ("Fare", "did you mean 'Fare '?"),
        ("nothing like it", "expected one of Survived, Fare , age"),
    ],
)
def test_a_name_in_another_case_is_suggested(name: str, words: str) -> None:
    assert suggest(name, ["Survived", "Fare ", "age"]) == words


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize(
    "text", ["epochs = 1\nhidden = [4]", "data = {name = 'digits'}\nconfig.epochs = 1"]
)
def test_settings_may_come_out_of_a_pipe(text: str) -> None:
    os.mkfifo("settings")
    reader = os.open("settings", os.O_RDONLY | os.O_NONBLOCK)  # so that the text is there at once
    Path("settings").write_text(text)
    assert run("train", "--config", "settings", "--no-report", "--out", "run") == 0
    os.close(reader)


def test_a_warning_is_one_line_without_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "file")
    with start("doctor") as process:
        out, errors = process.communicate()
    assert process.returncode == 0
    assert len(errors.splitlines()) == 1
    assert errors.startswith("fastmlp: warning: fastmlp cannot write its cache folder file")
    assert "not kept" in out
