"""The report of a search: every number in it is one of the stored trials."""

import csv
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from search_helpers import CONFIG

from fastmlp.reporting.tables import shown
from fastmlp.search.experiment import Point
from fastmlp.search.grid import grid_search
from fastmlp.search.insight import axes_of, best_by_pair
from fastmlp.search.ranking import SearchResult, rank
from fastmlp.search.record import Trial
from fastmlp.search.report import draw_heat_map, write_report

GRID = [
    {"learning_rate": [0.3, 0.1, 1e30], "hidden": [[8], [8, 4]], "patience": [2], "stopping": ["rises"]},
    {"learning_rate": [0.3, 0.1], "hidden": [[8]]},
]  # fmt: skip


@pytest.fixture(scope="module")
def searched(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    result = grid_search(CONFIG, GRID, *parts, store=folder, seeds=2)
    named = dict(zip(("train", "valid", "test"), parts, strict=True))
    written = write_report(folder, "A title", result, named)
    return folder, result, named, written


def test_all_files_that_are_named_are_there(searched):
    folder, _, _, written = searched
    assert written == [
        "report.md", "report.html", "trials.csv", "curves.png", "confusion.png",
        "hidden-learning_rate.png", "hidden-patience.png", "learning_rate-patience.png", "parallel.png",
        "importance.png",
    ]  # fmt: skip
    for name in written:
        assert (folder / name).stat().st_size > 0
    report = (folder / "report.md").read_text()
    for name in written[3:]:
        assert f"]({name})" in report


def test_the_csv_has_every_trial_to_the_bit(searched):
    folder, result, _, _ = searched
    with (folder / "trials.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    trials = [(point, trial) for point in result.points for trial in point.trials]
    assert len(table) == len(trials) == 16
    for row, (point, trial) in zip(table, trials, strict=True):
        assert int(row["rank"]) == point.rank
        assert float(row["learning_rate"]) == point.config.learning_rate
        assert row["hidden"] == shown(point.config.hidden)
        assert row["patience"] == ("" if point.config.patience is None else "2")
        for name in ("train_loss", "valid_loss", "valid_accuracy", "test_accuracy", "seconds"):
            value = getattr(trial, name)
            assert row[name] == ("" if value is None else repr(value))
        assert (row["status"], row["reason"]) == (trial.status, trial.reason)


def test_the_report_says_what_the_trials_say(searched):
    folder, result, _, _ = searched
    report = (folder / "report.md").read_text()
    assert report.startswith("# A title\n")
    best = result.best
    cells = [f"{best.mean(f'{part}_{kind}'):.4f}"
             for part in ("train", "valid", "test") for kind in ("loss", "accuracy")]  # fmt: skip
    assert f"| mean | {' | '.join(cells)} |" in report
    assert best.config.to_toml() in report
    lines = [line for line in report.splitlines() if line.startswith("| 1 |")]
    assert len(lines) == 1
    spread = best.deviation("valid_accuracy")
    assert f"{best.mean('valid_accuracy'):.4f} ± {spread:.4f}" in lines[0]
    assert sum("diverged |" in line for line in report.splitlines()) == 2
    assert "16 (" in report
    assert "4 diverged" in report


def test_a_report_is_the_same_when_nothing_was_trained(searched, parts, tmp_path):
    folder, _, named, written = searched
    before = {name: (folder / name).read_bytes() for name in written}
    again = grid_search(CONFIG, GRID, *parts, store=folder, seeds=2)
    assert again.trained == 0
    write_report(folder, "A title", again, named)
    assert before == {name: (folder / name).read_bytes() for name in written}


def test_names_out_of_data_are_text(parts, tmp_path):
    hostile = "<script>alert(1)</script>![x](http://evil/a.png)"
    names = (hostile, *parts[0].classes[1:])
    named = {
        name: dataclasses.replace(part, name=hostile, classes=names)
        for name, part in zip(("train", "valid", "test"), parts, strict=True)
    }
    result = grid_search(CONFIG, {"learning_rate": [0.1]}, *named.values(), store=tmp_path)
    write_report(tmp_path, "T", result, named)
    page, text = ((tmp_path / name).read_text() for name in ("report.html", "report.md"))
    assert "<script>alert" not in page + text
    assert "![x]" not in text
    assert "evil/a.png" in page


def test_without_any_sound_trial_there_is_a_report_all_the_same(parts, tmp_path):
    result = grid_search(CONFIG, {"learning_rate": [1e30, 1e31]}, *parts, store=tmp_path)
    named = dict(zip(("train", "valid", "test"), parts, strict=True))
    assert write_report(tmp_path, "Lost", result, named) == [
        "report.md",
        "report.html",
        "trials.csv",
    ]
    assert "No trial came to a regular end" in (tmp_path / "report.md").read_text()


def test_a_narrower_grid_forgets_no_trial_of_the_store(parts, tmp_path):
    named = dict(zip(("train", "valid", "test"), parts, strict=True))
    wide = {"learning_rate": [0.3, 0.1], "momentum": [0.0, 0.9]}
    grid_search(CONFIG, wide, *parts, store=tmp_path, seeds=2)
    narrow = grid_search(CONFIG, {"learning_rate": [0.3]}, *parts, store=tmp_path)
    assert (len(narrow.points), len(narrow.others), narrow.trained) == (1, 7, 0)
    write_report(tmp_path, "Narrow", narrow, named)
    assert (
        "The store holds 7 more trials, of other grids or seeds"
        in (tmp_path / "report.md").read_text()
    )
    with (tmp_path / "trials.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["rank"] for row in table] == ["1"] + [""] * 7
    found = {(row["learning_rate"], row["momentum"], row["seed"]) for row in table}
    assert found == {(rate, m, s) for rate in ("0.3", "0.1") for m in ("0.0", "0.9") for s in "01"}
    whole = grid_search(CONFIG, wide, *parts, store=tmp_path, seeds=2)
    assert whole.others == ()


def made_up(scores, metric="valid_accuracy"):
    points, trials = [], []
    for (rate, momentum, decay), score in scores.items():
        values = {"learning_rate": rate, "momentum": momentum, "weight_decay": decay}
        points.append(Point(values, CONFIG.replace(**values)))
        status = "diverged" if score is None else "done"
        trials.append([Trial(0, status, "", 1, 1, 1.0, 0.5, score, score, 1.0, [])])
    return SearchResult(rank(points, trials, metric), metric, 0, 0, None)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("valid_accuracy", [[0.7, 0.9], [np.nan, 0.4]]), ("valid_loss", [[0.6, 0.8], [np.nan, 0.4]])],
)
def test_a_heat_map_shows_the_best_of_all_others(tmp_path, metric, expected):
    result = made_up(
        {(0.1, 0.0, 0.0): 0.7, (0.1, 0.9, 0.0): 0.8, (0.1, 0.0, 0.5): 0.6, (0.1, 0.9, 0.5): 0.9,
         (0.2, 0.0, 0.0): None, (0.2, 0.9, 0.0): 0.4},
        metric,
    )  # fmt: skip
    best = best_by_pair(result, "learning_rate", "momentum")
    np.testing.assert_array_equal(best, expected)
    draw_heat_map(result, "learning_rate", "momentum", tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes()[1:4] == b"PNG"
    assert axes_of(result.points) == {
        "learning_rate": [0.1, 0.2], "momentum": [0.0, 0.9], "weight_decay": [0.0, 0.5]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), ((), "none"), ((512, 128), "512-128"), (1e-05, "1e-05"), (0.1, "0.1"),
     (0.1234567, "0.1234567"), (True, "true"), ("relu", "relu"), (64, "64")],
)  # fmt: skip
def test_settings_are_written_as_people_write_them(value, text):
    assert shown(value) == text


def test_importing_it_loads_no_figures():
    program = "import sys, fastmlp.search.report; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
