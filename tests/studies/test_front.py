"""The front of accuracy and seconds: its definition, what is tested of it, and how it is told and drawn."""

import random
from pathlib import Path
from typing import Any

import pytest
from figure_texts import misplaced
from matplotlib.figure import Figure

from fastmlp.errors import ConfigError
from fastmlp.reporting.chance import interval
from fastmlp.reporting.document import to_markdown
from fastmlp.search.record import Trial
from fastmlp.studies.front import draw_front, front, places, show_front
from fastmlp.studies.reproduce import reproduce
from fastmlp.studies.results import ROWS, StudyResults, StudyTrial
from fastmlp.studies.study import Study

MINE = """
[data]
name = "digits"
[config]
hidden = [8]
epochs = 1
restore_best = false
[search]
seeds = 2
[study]
title = "Mine"
jobs = 1
[study.parts.long]
config = { epochs = 30 }
[study.parts.stuck]
config = { learning_rate = 1e-9, epochs = 40 }
[[study.section]]
title = "A"
measure = ["front"]
[[study.section.figure]]
kind = "front"
file = "front"
caption = "Accuracy against seconds"
sides = [
    { label = "one epoch" },
    { label = "thirty epochs", part = "long" },
    { label = "steps that are too small", part = "stuck" },
]
"""


def ahead(points: list[tuple[int, int]]) -> set[int]:
    """Return the places that no other beats, by the definition."""
    return {
        place
        for place, one in enumerate(points)
        if not any(o != one and o[0] <= one[0] and o[1] >= one[1] for o in points)
    }


def test_the_front_is_what_no_other_beats() -> None:
    rng = random.Random(0)
    for _ in range(500):
        points = [(rng.randint(1, 6), rng.randint(1, 6)) for _ in range(rng.randint(0, 12))]
        found = front(points)
        assert set(found) == ahead(points)
        assert len(found) == len(set(found))
        assert [points[place] for place in found] == sorted(points[place] for place in found)


def study(folder: Path) -> Study:
    path = folder / "mine.toml"
    path.write_text(MINE)
    return Study.from_toml(path)


def test_a_front_is_searched_tested_and_told(tmp_path: Path) -> None:
    lines: list[str] = []
    text = reproduce(study(tmp_path), tmp_path / "out", say=lines.append).read_text()
    results = StudyResults.read(study(tmp_path), tmp_path / "out")
    tested = {one.part for one in results.trials if one.trial.test_accuracy is not None}
    assert tested == {"main", "long"}
    assert results.measured["front"] == ["one epoch", "thirty epochs"]
    assert "behind the front: not tested" in text
    assert "(thirty epochs).**" in text
    seconds = results.settings("long")[0].training_seconds()
    assert len(seconds) == 2
    assert all(0 < one < 60 for one in seconds)


def made_up(
    folder: Path, accuracies: dict[str, list[float]], seconds: dict[str, float]
) -> StudyResults:
    """Return results with these test accuracies, a little more in validation, and these seconds of 10 epochs."""
    mine = study(folder)
    trials = []
    for part, values in accuracies.items():
        for seed, value in enumerate(values):
            rows: list[Any] = [{"epoch": n, "seconds": seconds[part] / 10} for n in range(1, 11)]
            one = Trial(
                seed, "done", "", 10, 10, None, None, None, value + 0.01, 0, rows, None, None, value
            )
            trials.append(StudyTrial(part, mine.parts[part].config.replace(seed=seed), one))
    rows_of = {part: {"train": 1000, "valid": 500, "test": 10_000} for part in accuracies}
    return StudyResults(mine, trials, {ROWS: rows_of})


ACCURACIES = {"main": [0.48, 0.5, 0.52], "long": [0.62, 0.63, 0.64], "stuck": [0.1, 0.11, 0.12]}
SECONDS = {"main": 3.0, "long": 90.0, "stuck": 200.0}


def test_what_is_told_are_the_numbers(tmp_path: Path) -> None:
    results = made_up(tmp_path, ACCURACIES, SECONDS)
    section = results.study.sections[0]
    assert [one.is_ahead for one in places(results, section)] == [True, True, False]
    text = to_markdown(show_front(results, section, []))
    low, high = interval(0.63, 10_000, 0.01 / 3**0.5, 2)
    assert f"| 0.6300 ± 0.0100 | {low:.4f} to {high:.4f} |" in text
    assert "mean test accuracy of 0.6300, after 90 s of training (thirty epochs).**" in text
    assert "0.5500 takes 90 s (thirty epochs); 0.6000 takes 90 s (thirty epochs)." in text
    assert "0.5000 takes" not in text  # which the quickest reaches, too


@pytest.mark.parametrize("count", [1, 3])
def test_the_figure_can_be_read(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    names = list(ACCURACIES)[:count]
    results = made_up(tmp_path, {name: ACCURACIES[name] for name in names}, SECONDS)
    draw_front(results, results.study.sections[0]["figure"][0], tmp_path / "front.png")
    assert misplaced(drawn[0]) == []
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ["one epoch", "thirty epochs", "behind the front"][:count]


def test_nothing_that_was_run_is_said(tmp_path: Path) -> None:
    results = made_up(tmp_path, {}, {})
    assert "Not run on this machine" in to_markdown(
        show_front(results, results.study.sections[0], [])
    )
    draw_front(results, results.study.sections[0]["figure"][0], tmp_path / "front.png")


def test_a_front_without_its_figure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE.partition("[[study.section.figure]]")[0])
    with pytest.raises(
        ConfigError, match="measure: found 'front', expected a figure of the kind front"
    ):
        reproduce(Study.from_toml(path), tmp_path / "out")


@pytest.mark.parametrize("value", ["0", "1.5", "true"])
def test_trainings_at_once_are_a_number(value: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE.replace("jobs = 1", f"jobs = {value}"))
    with pytest.raises(ConfigError, match=r"study\.jobs: found .*, expected a whole number from 1"):
        Study.from_toml(path)


def test_one_training_at_a_time_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastmlp.studies import laboratory

    asked = []
    workers = laboratory.Workers
    monkeypatch.setattr(laboratory, "Workers", lambda jobs: asked.append(jobs) or workers(jobs))
    reproduce(study(tmp_path).quick(), tmp_path / "out", say=lambda _: None)
    assert asked == [1, 1, 1]
