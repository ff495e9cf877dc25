"""What a study says of the epochs of a training: how soon it comes somewhere, how far between two, tables by epoch."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastmlp.reporting.document import Block, Paragraph, Table
from fastmlp.search.record import Trial
from fastmlp.studies import claims, tables
from fastmlp.studies.results import StudyResults, StudyTrial
from fastmlp.studies.study import Study

FILE = """
[data]
name = "digits"
[config]
epochs = 3
[grid]
batch_size = [10, 40]
[search]
seeds = 2
"""
IMAGES = 95  # ten batches of 10, three of 40
# By batch size and seed: training losses, validation accuracies and seconds of three epochs.
HISTORIES = {
    (10, 0): ((0.5, 0.25, 0.125), (0.6, 0.8, 0.7), (2.0, 2.0, 2.0)),
    (10, 1): ((0.7, 0.25, 0.125), (0.7, 0.7, 0.9), (2.0, 2.0, 2.0)),
    (40, 0): ((1.0, 0.75, 0.5), (0.1, 0.5, 0.8), (1.0, 1.0, 1.0)),
    (40, 1): ((1.0, 0.75, 0.5), (0.1, 0.5, 0.8), (1.0, 1.0, 1.0)),
}


def trial(seed: int, losses: Any, accuracies: Any, seconds: Any) -> Trial:
    rows = zip(losses, accuracies, seconds, strict=True)
    history = [
        {"epoch": n, "train_loss": loss, "valid_accuracy": accuracy, "seconds": time}
        for n, (loss, accuracy, time) in enumerate(rows, 1)
    ]
    return Trial(
        seed=seed,
        status="done",
        reason="made up, for a test",
        epochs=3,
        epoch=3,
        train_loss=losses[-1],
        train_accuracy=None,
        valid_loss=None,
        valid_accuracy=accuracies[-1],
        seconds=sum(seconds),
        history=history,
    )


@pytest.fixture
def results(tmp_path: Path) -> StudyResults:
    path = tmp_path / "made-up.toml"
    path.write_text(FILE)
    study = Study.from_toml(path)
    trials = [
        StudyTrial(
            "main",
            point.config.replace(seed=seed),
            trial(seed, *HISTORIES[point.config.batch_size, seed]),
        )
        for point in study.parts["main"].points
        for seed in range(2)
    ]
    return StudyResults(study, trials, {"images": {"main": IMAGES}})


def told(blocks: list[Block]) -> tuple[str, list[list[str]]]:
    """Return the verdict and the rows of a claim."""
    text, table = blocks
    assert isinstance(text, Paragraph)
    assert isinstance(table, Table)
    return text.text.split("**Here: ")[1].split(".**")[0], [list(row) for row in table.rows]


def claim(kind: str, metric: str, *batches: int, **more: Any) -> dict[str, Any]:
    sides = [{"label": str(n), "where": {"batch_size": n}, **more} for n in batches]
    return {"kind": kind, "says": "so.", "metric": metric, "sides": sides}


def test_sooner_depends_on_what_is_counted(results: StudyResults) -> None:
    asked = {**claim("sooner", "valid_accuracy", 40, 10), "level": 0.8}
    verdict, rows = told(claims.check(results, asked))
    assert verdict == (
        "counted in epochs: does not hold; counted in steps: holds; counted in seconds: holds"
    )
    assert rows == [
        ["40", "3.0 ± 0.0", "9.0 ± 0.0", "3.0 ± 0.0", "2"],
        ["10", "2.5 ± 0.7", "25.0 ± 7.1", "5.0 ± 1.4", "2"],
    ]


def test_what_is_never_reached_is_last(results: StudyResults) -> None:
    asked = {**claim("sooner", "train_loss", 10, 40), "level": 0.3}
    verdict, rows = told(claims.check(results, asked))
    assert verdict.count(": holds") == 3
    assert rows[1][1] == "not reached (2 of 2)"
    asked = {**claim("sooner", "valid_accuracy", 40, 10), "level": 0.85}
    verdict, rows = told(claims.check(results, asked))
    assert (
        verdict.count("does not hold") == 3
    )  # neither: one of the seeds of 10 does not come there
    assert rows[1][1] == "not reached (1 of 2)"


def test_a_loss_summed_over_batches_turns_the_order(results: StudyResults) -> None:
    asked = {**claim("order", "train_loss", 40, 10), "lower": True, "epoch": 2}
    assert told(claims.check(results, asked))[0] == "does not hold"
    asked = {**asked, "metric": "train_loss_sum"}
    assert told(claims.check(results, asked)) == (
        "holds",
        [["40", "2.2500 ± 0.0000", "2"], ["10", "2.5000 ± 0.0000", "2"]],
    )


def test_sides_have_epochs_and_changes_of_their_own(results: StudyResults) -> None:
    asked = claim("order", "valid_accuracy", 40, 40)
    for one, (key, value) in zip(asked["sides"], (("epoch", 3), ("epoch", 1)), strict=True):
        one[key] = value
    assert told(claims.check(results, asked))[0] == "holds"
    for one, change in zip(asked["sides"], ([1, 2], [2, 3]), strict=True):
        del one["epoch"]
        one["change"] = change
    verdict, rows = told(claims.check(results, asked))
    assert verdict == "holds"
    assert [row[1] for row in rows] == ["0.4000 ± 0.0000", "0.3000 ± 0.0000"]
    asked["sides"][0]["change"] = [1, 7]  # an epoch that there is not
    assert told(claims.check(results, asked))[0] == "does not hold"


def test_a_table_by_epoch(results: StudyResults) -> None:
    entry = {
        "where": {"batch_size": 40},
        "at": [1, 3, 7],
        "quantities": ["train_loss_sum", "valid_accuracy"],
        "published": {"train_loss_sum": [3.5, math.nan, 1.0]},
    }
    (table,) = tables.follow(results, entry)
    assert isinstance(table, Table)
    assert table.header[1].endswith("sum over batches: published")
    assert [list(row) for row in table.rows] == [
        ["1", "3.5000", "3.0000 ± 0.0000", "0.1000 ± 0.0000"],
        ["3", "—", "1.5000 ± 0.0000", "0.8000 ± 0.0000"],
        ["7", "1.0000", "", ""],
    ]


def test_a_row_may_be_about_an_epoch(results: StudyResults) -> None:
    row = {"label": "a", "where": {"batch_size": 10}, "published": {"valid_accuracy": 0.65}}
    section = {"title": "", "columns": ["valid_accuracy"], "row": [{**row, "epoch": 1}]}
    table, _ = tables.compare(replace(results), section)
    assert isinstance(table, Table)
    assert list(table.rows[0]) == [
        "a",
        "validation accuracy",
        "0.6500",
        "0.6500 ± 0.0707",
        "",
        "agrees",
    ]
