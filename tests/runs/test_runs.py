"""`fastmlp runs`: every run below a folder, in a table, a CSV file and a page."""

import csv
import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import run

from fastmlp.errors import ConfigError, StoreError
from fastmlp.runs.page import runs_page
from fastmlp.runs.reading import find_runs, read_run
from fastmlp.runs.table import RunTable

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_run(
    folder: Path, *, accuracy: float | None = 0.9, epochs: int = 3, **config: Any
) -> Path:
    """Write the files of a run, those of one that did not end without an accuracy."""
    folder.mkdir(parents=True)
    settings = {"hidden": [16], "learning_rate": 0.1, "seed": 0, **config}
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    text = f'[data]\nname = "digits"\n\n[config]\n{lines}'
    (folder / "config.toml").write_text(text)
    names = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,learning_rate,seconds,samples_per_second"
    rows = [f"{n},{1 / n},{0.5},{2 / n},{0.4},0.1,0.25,4000.0" for n in range(1, epochs + 1)]
    (folder / "history.csv").write_text("\n".join([names, *rows]) + "\n")
    if accuracy is None:
        (folder / "unfinished.toml").write_text(text)
        return folder
    parts = {
        part: {"loss": 1 - accuracy, "accuracy": accuracy} for part in ("train", "valid", "test")
    }
    told = {**parts, "seconds": 1.5, "samples_per_second": 100.0, "status": "done", "reason": "all", "epochs": epochs,
            "best_epoch": 2, "machine": {"cpu": "x"}}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(told))
    return folder


@pytest.fixture
def some() -> Path:
    write_run(Path("all/a"), accuracy=0.7)
    write_run(Path("all/deep/b"), accuracy=0.9, learning_rate=0.01)
    write_run(Path("all/c"), accuracy=None, hidden=[8, "tanh"])
    Path("all/no-run").mkdir()
    Path("all/no-run/config.toml").write_text("epochs = 3")
    return Path("all")


def test_every_run_below_a_folder_is_found_once(some: Path) -> None:
    Path("all/loop").symlink_to(Path("all").resolve())
    found = find_runs([some, some / "a"])
    assert [one.name for one in found] == ["all/a", "all/c", "all/deep/b"]
    assert [one.status for one in found] == ["done", "unfinished", "done"]
    assert found[0].metrics["test_accuracy"] == 0.7
    assert found[1].metrics["valid_accuracy"] == 0.4  # of its last epoch
    assert (found[1].epochs, found[1].seconds) == (3, 0.75)
    assert RunTable.of(found).settings == ["hidden", "learning_rate"]


def test_the_table_shows_what_differs(some: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("runs", "all", "--sort", "test_accuracy") == 0
    lines = capsys.readouterr().out.splitlines()
    header = "run hidden learning rate valid accuracy test accuracy valid loss test loss status epochs trained seconds"
    assert lines[0].split() == header.split()
    assert [line.split()[0] for line in lines[1:]] == ["deep/b", "a", "c"]
    values = "16 0.01 0.9000 0.9000 0.1000 0.1000 done 3 1.50"
    assert lines[1].split()[1:] == values.split()


@pytest.mark.parametrize(
    ("condition", "kept"),
    [("learning_rate>=0.05", ["a", "c"]), ("status=done", ["a", "deep/b"]), ("hidden!=16", ["c"]),
     ("test_accuracy > 0.8", ["deep/b"]), ("data=digits", ["a", "c", "deep/b"]), ("seed=1", [])],
)  # fmt: skip
def test_conditions_keep_runs(some: Path, condition: str, kept: list[str]) -> None:
    assert [one.name for one in RunTable.of(find_runs([some]), [condition]).runs] == kept


@pytest.mark.parametrize(
    ("column", "order"),
    [("valid_loss", ["deep/b", "a", "c"]), ("learning_rate", ["deep/b", "a", "c"]), ("hidden", ["a", "deep/b", "c"]),
     ("run", ["a", "c", "deep/b"]), ("best_epoch", ["a", "deep/b", "c"])],
)  # fmt: skip
def test_the_best_comes_first_and_what_is_missing_last(
    some: Path, column: str, order: list[str]
) -> None:
    assert [one.name for one in RunTable.of(find_runs([some]), sort=column).runs] == order
    backwards = RunTable.of(find_runs([some]), sort=column, reverse=True).runs
    assert backwards[-1].name == order[-1] or column in (
        "hidden",
        "run",
        "valid_loss",
        "learning_rate",
    )


@pytest.mark.parametrize("metric", ["mae", "rmse", "log_loss", "calibration_error", "r2"])
def test_errors_rise_and_scores_fall(some: Path, metric: str) -> None:
    for name, value in (("a", 0.25), ("deep/b", 0.75)):
        file = some / name / "metrics.json"
        told = json.loads(file.read_text())
        told["test"][metric] = value
        file.write_text(json.dumps(told))
    best_first = ["deep/b", "a", "c"] if metric == "r2" else ["a", "deep/b", "c"]
    found = RunTable.of(find_runs([some]), sort=f"test_{metric}").runs
    assert [one.name for one in found] == best_first


def test_csv_holds_all_and_reads_back(some: Path) -> None:
    write_run(Path("all/=1+1"), accuracy=1 / 3)
    assert run("runs", "all", "--csv", "runs.csv") == 0
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(Path("runs.csv").read_text()))}
    assert float(rows["'=1+1"]["test_accuracy"]) == 1 / 3
    assert rows["c"]["hidden"] == "8-tanh"
    assert rows["a"]["momentum"] == "0.9"  # a default that no file names


def test_the_page_is_whole_and_lets_no_name_in(some: Path) -> None:
    write_run(Path("all/<script>alert(1)<"))
    assert run("runs", "all", "--html", "runs.html") == 0
    page = Path("runs.html").read_text()
    assert "<script>alert" not in page
    assert "http" not in re.sub(r"http://www.w3.org/\S+", "", page)
    data = json.loads(re.search(r'getElementById\("curves"\), (\[.*\])\);', page)[1])  # type: ignore[index]
    (b,) = [one for one in data if one["name"] == "deep/b"]
    assert b["curves"]["valid_loss"] == [2.0, 1.0, 0.66667]
    assert b["epochs"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [("metrics.json", "{", "no JSON"), ("metrics.json", "[1]", "found list"), ("config.toml", "a = ", "no valid TOML"),
     ("metrics.json", "\0", "UTF-16"), ("metrics.json", "9" * 5000, "metrics.json")],
)  # fmt: skip
def test_a_damaged_file_costs_its_run_alone(
    some: Path, file: str, content: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (some / "a" / file).write_text(content)
    assert run("runs", "all") == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 4
    assert told in output.err
    assert len(output.err.splitlines()) == 1


def test_a_history_without_epochs_has_no_last_one(some: Path) -> None:
    (some / "c" / "history.csv").write_text("epoch,train_loss,valid_loss\n1,0.5\n")
    run = read_run(some / "c")
    assert (run.metrics, run.epochs, run.problems) == ({}, None, [])


def test_strange_values_are_no_traceback(some: Path) -> None:
    told = {"train": 3, "valid": {"accuracy": "x", "loss": None, "intervals": {}}, "status": 7, "seconds": [],
            "epochs": "many"}  # fmt: skip
    (some / "a/metrics.json").write_text(json.dumps(told))
    (some / "a/history.csv").write_text("epoch,train_loss\n1,inf\nx,2\n3")
    table = RunTable.of(find_runs([some]), sort="epochs_trained")
    assert "unknown" in table.to_text()
    assert runs_page(table, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["nowhere"], "nowhere: found nothing, expected a folder of runs"),
     (["all/no-run"], "found no run, expected folders that fastmlp train wrote"),
     (["all", "--sort", "accuracy"], "did you mean test_accuracy"),
     (["all", "--where", "rate"], "--where: found 'rate', expected a name"),
     (["all", "--where", "learning_rat=1"], "did you mean learning_rate?"),
     (["all", "--csv", "all/a/history.csv"], "expected a place outside the folders of runs"),
     ([], "runs: found nothing")],
)  # fmt: skip
def test_wrong_input_is_one_line(
    some: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("runs", *arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    assert (some / "a/history.csv").read_text().startswith("epoch")


def test_two_hundred_runs_take_under_two_seconds() -> None:
    for number in range(200):
        write_run(Path(f"many/{number:03}"), accuracy=number / 200, epochs=100, seed=number)
    start = time.process_time()
    assert run("runs", "many", "--html", "page.html", "--csv", "all.csv", "--sort", "seed") == 0
    assert time.process_time() - start < 2
    assert os.path.getsize("page.html") < 10_000_000


def test_a_file_in_place_of_a_folder_is_told(some: Path) -> None:
    with pytest.raises(StoreError, match="found a file"):
        find_runs([some / "a/config.toml"])
    with pytest.raises(ConfigError):
        RunTable.of([read_run(some / "a")], sort="x")
