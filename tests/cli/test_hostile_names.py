"""Names out of files and of files reach no terminal as they are, and end no command."""

import os
import struct
import sys
import time
from pathlib import Path

import pytest
from cli_helpers import run, start

from fastmlp.datasets import load_digits

pytestmark = pytest.mark.usefixtures("elsewhere")
Capture = pytest.CaptureFixture[str]
ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b1m\u202e"
SEARCH = (
    '[data]\nname = "digits"\n[config]\nepochs = 1\nhidden = [4]\n[grid]\nmomentum = [0.0, 0.5]\n'
)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("train --config c.toml", '"KEY" = 1'),
        ("train --config c.toml", '[config]\n"KEY" = 1'),
        ("train --config c.toml", '[data]\nname = "KEY"'),
        ("train --config c.toml", '[data]\nname = "digits"\nclasses = ["KEY"]'),
        ("train --config c.toml", '[data]\n"KEY" = 1'),
        ("train --config c.toml", '["KEY"]\na = 1'),
        ("search c.toml", '[data]\nname = "digits"\n[grid]\n"KEY" = [1]'),
        ("search c.toml", '[data]\nname = "digits"\n[search]\nmetric = "KEY"'),
        ("reproduce c.toml", '[data]\nname = "digits"\n[study]\n"KEY" = 1'),
        ("reproduce c.toml", '[data]\nname = "digits"\n[study.parts."KEY"]\nkind = 3'),
    ],
)
def test_keys_and_values(capsys: Capture, command: str, text: str) -> None:
    key = "".join(f"\\u{ord(letter):04x}" for letter in ESCAPES)
    Path("c.toml").write_text(text.replace("KEY", key))
    assert run(*command.split()) == 2
    shown = capsys.readouterr()
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--config", f"{ESCAPES}.toml"),
        ("search", f"{ESCAPES}.toml"),
        ("reproduce", f"{ESCAPES}.toml"),
        ("predict", f"{ESCAPES}.safetensors", "x.png"),
        ("export", f"{ESCAPES}.safetensors", "--onnx", "x"),
        ("data", "--data-home", "file"),
    ],
)
def test_names_of_files(capsys: Capture, command: tuple[str, ...]) -> None:
    Path("file").touch()
    assert run(*command) == 2
    shown = capsys.readouterr()
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())
    assert len(shown.err.splitlines()) == 1


def test_what_is_printed_of_a_good_run(capsys: Capture) -> None:
    folder = Path(f"out{ESCAPES}\n")
    assert run("train", "--epochs", 1, "--hidden", 4, "--out", folder) == 0
    from PIL import Image

    picture = Path("=a\tb\x1b[2J.png")
    Image.fromarray(load_digits().test.images[0].reshape(8, 8)).save(picture)
    assert run("predict", folder / "model.safetensors", picture) == 0
    Path("grid.toml").write_text(SEARCH)
    assert run("search", "grid.toml", "--out", f"s{ESCAPES}") == 0
    assert run("search", "grid.toml", "--out", f"s{ESCAPES}") == 0
    shown = capsys.readouterr()
    (predicted,) = [line for line in shown.out.splitlines() if "\t" in line]
    assert predicted.count("\t") == 2
    assert predicted.startswith("'=a\\tb")
    assert all(
        line.replace("\t", " ").isprintable() for line in (shown.out + shown.err).splitlines()
    )


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
def test_a_search_file_whose_name_is_no_utf8(capsys: Capture) -> None:
    name = os.fsdecode(b"grid\xff\xe9.toml")
    Path(name).write_text(SEARCH)
    with start("search", name) as process:
        out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert r"runs/search-grid\udcff\udce9: report.md, report.html, trials.csv" in out
    report = Path(os.fsdecode(b"runs/search-grid\xff\xe9"), "report.md").read_text()
    assert report.startswith("# grid\\udcff\\udce9\n")
    with start("train", "--epochs", 1, "--out", os.fsdecode(b"out\xff")) as process:
        out, errors = process.communicate()
    assert process.returncode == 0, errors


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
def test_a_study_whose_name_is_no_utf8() -> None:
    name = os.fsdecode(b"made\xff.toml")
    Path(name).write_text(SEARCH + '[study]\ntitle = "Made up"\n')
    assert run("reproduce", name, "--html", "--out", "out") == 0
    (report,) = Path("out").glob("*/report.md")
    assert r"made\udcff" in report.read_text()
    assert (report.parent / "report.html").is_file()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
@pytest.mark.parametrize("out", ["answers.csv", "answers.parquet"])
def test_a_picture_whose_name_is_no_utf8_is_in_the_table(capsys: Capture, out: str) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    from PIL import Image

    assert run("train", "--epochs", 1, "--hidden", 4, "--no-report", "--out", "a") == 0
    picture = os.fsdecode(b"caf\xe9.png")
    with open(picture, "wb") as file:
        Image.fromarray(load_digits().test.images[0].reshape(8, 8)).save(file, "PNG")
    assert run("predict", "a", picture, "--out", out) == 0, capsys.readouterr().err
    table = pandas.read_csv(out) if out.endswith("csv") else pandas.read_parquet(out)
    assert list(table["file"]) == [r"caf\udce9.png"]


@pytest.mark.parametrize("command", ["export MODEL --onnx x.onnx", "predict MODEL x.png"])
@pytest.mark.parametrize("length", [2**20 + 8, 49_000_000, 2**40, 2**64 - 1])
def test_a_header_of_megabytes_is_refused_at_once(
    capsys: Capture, command: str, length: int
) -> None:
    model = Path("MODEL")
    with model.open("wb") as file:
        file.write(struct.pack("<Q", length))
        file.truncate(min(length, 50_000_000) + 8)
    begun = time.process_time()
    assert run(*command.split()) == 2
    assert time.process_time() - begun < 5  # imports included
    (line,) = capsys.readouterr().err.splitlines()
    assert "MODEL: found a file that is not safetensors or cut short" in line
