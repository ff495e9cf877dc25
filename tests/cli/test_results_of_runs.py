"""After a training: ``predict``, ``evaluate`` and ``show``, which agree with Python, and the report."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_helpers import metrics, run
from PIL import Image

import fastmlp
from fastmlp import Dataset, TrainConfig, train
from fastmlp.reporting.document import Heading, Paragraph, Table, literal, to_html, to_markdown
from fastmlp.training.evaluation import evaluate, measure, outputs_of
from fastmlp.training.report import Run, write_report

Capture = pytest.CaptureFixture[str]
HOSTILE = "<script>alert(1)</script>![x](http://evil/a.png)`<b>`|**b** [c](http://evil) &lt;"


def passengers(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 12, rows).round(1)
    age[rng.random(rows) < 0.2] = np.nan
    sex = rng.choice(["female", "male"], rows)
    fare = rng.exponential(20, rows).round(2)
    survived = np.where((sex == "female") ^ (rng.random(rows) < 0.1), "yes", "no")
    return pd.DataFrame({"age": age, "sex": sex, "fare": fare, "survived": survived})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three runs, on pictures, a table and a regression, and files to predict."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("train", "--hidden", 8, "--epochs", 3, "--out", "digits") == 0
        passengers(300, 0).to_csv("ship.csv", index=False)
        options = ("--hidden", 8, "--epochs", 20, "--no-report")
        assert run("train", "--data", "ship.csv", "--label", "survived", "--out", "ship") == 0
        table = passengers(300, 1).drop(columns="survived")
        table.to_parquet("fares.parquet")
        run("train", "--data", "fares.parquet", "--label", "fare", "--out", "fares", *options)
    digits = fastmlp.load_digits().test
    (folder / "photos").mkdir()
    for row in range(12):
        Image.fromarray(digits.images[row].reshape(8, 8)).save(folder / "photos" / f"{row:02}.png")
    np.save(folder / "rows.npy", digits.images)
    np.savez(folder / "both.npz", X=digits.images, y=digits.labels)
    return folder


@pytest.fixture(autouse=True)
def _inside(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def read(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_are_predicted_as_in_python_and_in_another_process(capsys: Capture) -> None:
    network = fastmlp.load("digits/model.safetensors")
    digits = fastmlp.load_digits().test
    shares = network.predict_proba(digits.images[:12])
    assert run("predict", "digits", "photos", "--proba", "--out", "a.csv") == 0
    table = read("a.csv")
    assert [row["file"] for row in table] == [f"photos/{row:02}.png" for row in range(12)]
    found = np.array(
        [[float(row[f"probability_{one}"]) for one in network.classes] for row in table]
    )
    assert np.array_equal(found, shares)
    assert [row["class"] for row in table] == [network.classes[one] for one in shares.argmax(1)]
    words = capsys.readouterr()
    assert words.out == "a.csv: 12 rows\n"
    assert re.fullmatch(r"12 predicted in \d+\.\d\d s, [\d,]+ a second\n", words.err)
    script = "import sys; from fastmlp.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "predict", "digits/model.safetensors", "photos/*.png"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    best = [(network.classes[one.argmax()], f"{one.max():.4f}") for one in shares]
    lines = [f"photos/{row:02}.png\t{name}\t{share}" for row, (name, share) in enumerate(best)]
    assert told.stdout.splitlines() == lines


@pytest.mark.parametrize("name", ["rows.npy", "both.npz"])
def test_arrays_are_predicted_as_in_python(name: str) -> None:
    network = fastmlp.load("digits/model.safetensors")
    images = fastmlp.load_digits().test.images
    assert run("predict", "digits", name, "--out", "a.npy") == 0
    assert np.array_equal(np.load("a.npy"), network.predict(images))
    assert run("predict", "digits", name, "--proba", "--out", "a.npy") == 0
    assert np.array_equal(np.load("a.npy"), network.predict_proba(images))
    assert run("predict", "digits", name, "--top", 3, "--out", "a.npy") == 0
    top = np.load("a.npy")
    assert top.shape == (len(images), 3)
    assert np.array_equal(top[:, 0], network.predict(images))


def test_tables_are_predicted_as_in_python(capsys: Capture) -> None:
    network = fastmlp.load("ship/model.safetensors")
    table = passengers(50, 2).drop(columns="survived")[["fare", "age", "sex"]]
    table.to_csv("new.csv", index=False)
    assert run("predict", "ship", "new.csv", "--proba", "--out", "a.parquet") == 0
    found = pd.read_parquet("a.parquet")
    assert list(found) == ["file", "row", "class", "probability_no", "probability_yes"]
    shares = network.predict_proba(pd.read_csv("new.csv"))
    assert np.array_equal(found[["probability_no", "probability_yes"]].to_numpy(), shares)
    assert list(found["row"]) == list(range(50))
    capsys.readouterr()
    assert run("predict", "ship", "new.csv", "--top", 2) == 0
    first = capsys.readouterr().out.splitlines()[0].split("\t")
    assert first[0] == "new.csv:0"
    assert {first[1], first[3]} == {"no", "yes"}
    fares = fastmlp.load("fares/model.safetensors")
    assert run("predict", "fares", "fares.parquet", "--out", "a.csv") == 0
    values = [float(row["predicted_fare"]) for row in read("a.csv")]
    expected = fares.predict(pd.read_parquet("fares.parquet"))
    assert np.array_equal(values, expected[:, 0])


def test_files_that_cannot_be_predicted_are_reported_together(capsys: Capture) -> None:
    Path("bad.png").write_text("no picture")
    assert run("predict", "digits", "bad.png", "photos/00.png", "gone.png", "none/*.png") == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("photos/00.png\t")
    assert shown.out.count("\n") == 1
    (line,) = [one for one in shown.err.splitlines() if "error" in one]
    assert line.startswith("fastmlp: error: 3 could not be predicted: ")
    assert all(name in line for name in ("bad.png: ", "gone.png: ", "none/*.png: "))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digits", "photos", "--out", "a.xlsx"), "--out: found a.xlsx, expected"),
        (("digits", "photos", "--proba", "--top", "2"), "--top: found beside --proba"),
        (("fares", "fares.parquet", "--proba"), "--proba: found with a network of a regression"),
        (("digits", "ship.csv"), "ship.csv: found a table, expected a network that was trained on"),
        (("ship", "photos"), "takes rows of"),
        (("ship", "rows.npy"), "rows.npy: found [360, 64], expected one array with rows of"),
        (("photos", "photos"), "photos: found no model.safetensors, expected the folder of"),
        (("ship", "fares.parquet"), "found no column 'fare'"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(
    capsys: Capture, arguments: tuple[str, ...], words: str
) -> None:
    if words.startswith("found no column"):
        pd.read_parquet("fares.parquet").drop(columns="fare").to_csv("few.csv", index=False)
        arguments = ("ship", "few.csv")
    assert run("predict", *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [("digits", ()), ("digits", ("digits",)), ("ship", ("ship.csv",)), ("fares", ())],
)
def test_evaluate_gives_the_metrics_of_the_run(
    capsys: Capture, name: str, data: tuple[str, ...]
) -> None:
    assert run("evaluate", name, *data, "--out", "a.json") == 0
    assert json.loads(Path("a.json").read_text()) == metrics(Path(name))["test"]
    assert "the test part as in the training" in capsys.readouterr().err


def test_evaluate_takes_all_rows_of_other_data() -> None:
    passengers(80, 3).to_csv("other.csv", index=False)
    assert run("evaluate", "ship/model.safetensors", "other.csv", "--out", "a.json") == 0
    network = fastmlp.load("ship/model.safetensors")
    part = Dataset.from_table("other.csv", like=network)
    assert len(part) == 80
    assert json.loads(Path("a.json").read_text()) == measure(network, part)


def test_show_says_what_a_network_is(capsys: Capture) -> None:
    assert run("show", "digits", "--weights", "first.png") == 0
    words = capsys.readouterr().out
    for text in ("classification of 10 classes", "1 x 8 x 8", "linear 8", "hidden = [8]"):
        assert text in words
    with Image.open("first.png") as picture:
        assert picture.width > 300
    assert run("show", "fares") == 0
    words = capsys.readouterr().out
    assert "regression of 1 targets" in words
    assert "fare" in words


def test_a_test_part_of_one_row_has_no_r2(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = passengers(60, 0).assign(part=["valid", "test", *["train"] * 58])
    table.to_csv("ship.csv", index=False)
    arguments = ("--data", "ship.csv", "--label", "fare", "--part", "part", "--out", "run")
    assert run("train", *arguments, "--hidden", 4, "--epochs", 1) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("test   loss")]
    assert "R2" not in line
    assert (tmp_path / "run" / "report.html").is_file()
    assert run("evaluate", "run") == 0
    assert run("runs", ".") == 0


def test_a_run_is_shown_and_judged_where_its_data_is_not(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        for number in range(8):
            levels = np.random.default_rng(number).integers(0, 256, (4, 4)).astype(np.uint8)
            for top in ("pictures", "elsewhere/others"):
                Path(top, name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(levels).save(Path(top, name, f"{number}.png"))
    options = ("--hidden", 4, "--epochs", 1, "--no-report", "--data-home", "home")
    assert run("train", "--data", "pictures", "--out", "run", *options) == 0
    again = ("train", "--config", "run/config.toml", "--out", "again", *options)
    assert run(*again) == 0
    monkeypatch.chdir("elsewhere")
    assert run("show", "../run") == 0
    assert run("evaluate", "../run", "others", "--data-home", "home") == 0
    for file in [*Path("others").rglob("*.png")][:-1]:
        if file.name != "0.png":
            file.unlink()
    capsys.readouterr()
    assert run("evaluate", "../run", "others", "--data-home", "home") == 0  # too few for parts
    assert "others, all rows: " in capsys.readouterr().err
    assert run("evaluate", "../run") == 2
    assert "pictures: found no such file or folder" in capsys.readouterr().err


class Page(HTMLParser):
    """The texts, tags and addresses of an HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_of_pictures_contains_them_and_nothing_from_elsewhere() -> None:
    page = Page(Path("digits/report.html").read_text(encoding="utf-8"))
    assert page.tags.count("img") == 4  # samples, curves, confusion, mistakes
    assert all(one.startswith("data:image/png;base64,") for one in page.addresses)
    assert "script" not in page.tags
    assert set(map(str, range(10))) <= set(page.texts)
    text = Path("digits/report.md").read_text(encoding="utf-8")
    for name in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
        assert Path("digits", name).is_file()


def test_the_report_of_a_table_says_what_its_columns_tell() -> None:
    page = Page(Path("ship/report.html").read_text(encoding="utf-8"))
    words = " ".join(page.texts)
    assert "What the columns tell" in words
    assert "Categories: sex (2)" in words
    text = Path("ship/report.md").read_text(encoding="utf-8")
    columns = text.split("## What the columns tell")[1]
    assert re.findall(r"^\| (age|sex|fare) \|", columns, re.MULTILINE)[0] == "sex"
    assert not Path("fares/report.html").exists()


def test_names_out_of_data_are_text_in_a_report(tmp_path: Path) -> None:
    digits = fastmlp.load_digits()
    names = (HOSTILE, *map(str, range(1, 10)))
    hostile = Dataset(digits.images, digits.labels, digits.shape, names, HOSTILE)
    parts = dict(zip(("train", "valid", "test"), hostile.split((0.5, 0.2, 0.3), 0), strict=True))
    result = train(TrainConfig(hidden=(4,), epochs=1), parts["train"], parts["valid"])
    found: dict[str, Any] = {name: evaluate(result.network, one) for name, one in parts.items()}
    found["test"] = measure(result.network, parts["test"])
    found["machine"] = {"cpu": HOSTILE, "usable_cores": 1, "versions": {"fastmlp": "0"}}
    run_of = Run(result, parts, found, outputs_of(result.network, parts["test"]))
    write_report(tmp_path, run_of, {})
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not {"script", "b", "code", "a"} & set(page.tags)
    assert all(one.startswith("data:") for one in page.addresses)
    assert page.texts.count(HOSTILE) >= 3
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "](http" not in text


@pytest.mark.parametrize(
    "name", [HOSTILE, "_a_ __b__", "www.evil.com", "1. one", "- x", "a_b", "\\[x\\](y)", "@someone"]
)
def test_a_literal_name_is_itself_in_html_and_no_markup_in_markdown(name: str) -> None:
    blocks = [Heading(literal(name), 1), Paragraph(literal(name)), Table(["x"], [[literal(name)]])]
    page = Page(to_html(blocks, Path()))
    assert page.texts.count(name) == 4  # the title, too
    markdown = to_markdown(blocks).splitlines()[2]
    assert not re.search(r"[<*`\[\]\\@]|(?<![^\W_])_|^[-+] |^#|^1\. |www\.", markdown)


@pytest.mark.filterwarnings("default")
def test_a_report_that_fails_is_a_warning(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("no report")

    monkeypatch.setattr("fastmlp.training.report.write_report", fails)
    assert run("train", "--hidden", 4, "--epochs", 1, "--out", "without") == 0
    words = capsys.readouterr().err
    assert (
        "fastmlp: warning: the report could not be written: ZeroDivisionError: no report" in words
    )
    assert metrics(Path("without"))["test"]["f1_macro"] > 0
    assert not Path("without/unfinished.toml").exists()


def test_a_metric_that_cannot_select_is_refused_before_anything_is_written(capsys: Capture) -> None:
    assert run("train", "--select", "r2", "--out", "nowhere") == 2
    assert "fastmlp: error: select: found 'r2' for a classification" in capsys.readouterr().err
    assert not Path("nowhere").exists()
