"""Reports: verdicts and claims on numbers made up for them, and both ways to write them."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError
from fastmlp.reporting import document
from fastmlp.search.record import Trial
from fastmlp.studies import claims, tables
from fastmlp.studies.agreement import show_twins, take_twins
from fastmlp.studies.gradients import check_kernels
from fastmlp.studies.results import Setting, StudyResults, StudyTrial
from fastmlp.studies.study import Study
from fastmlp.training.config import TrainConfig

FILE = """
[data]
name = "digits"
[config]
epochs = 2
[grid]
momentum = [0.0, 0.5, 0.9]
learning_rate = [0.1, 0.01]
[search]
seeds = 2
[study]
title = "Made up"
"""
# By momentum and learning rate, for two seeds.
ACCURACIES = {
    (0.0, 0.1): (0.50, 0.52),
    (0.5, 0.1): (0.60, 0.62),
    (0.9, 0.1): (0.70, None),
    (0.0, 0.01): (0.40, 0.40),
    (0.5, 0.01): (0.30, 0.34),
    (0.9, 0.01): (0.41, 0.45),
}


def trial(seed: int, accuracy: float | None) -> Trial:
    row = {"epoch": 1, "train_loss": 1 / 3, "train_accuracy": None}
    row |= {"valid_loss": None, "valid_accuracy": accuracy}
    return Trial(
        seed=seed,
        status="diverged" if accuracy is None else "done",
        reason="made up, for a test",
        epochs=1,
        epoch=1,
        train_loss=1 / 3,
        train_accuracy=accuracy,
        valid_loss=None,
        valid_accuracy=accuracy,
        seconds=2.5,
        history=[row],
        test_accuracy=accuracy,
    )


@pytest.fixture
def results(tmp_path: Path) -> StudyResults:
    path = tmp_path / "made-up.toml"
    path.write_text(FILE)
    study = Study.from_toml(path)
    trials = [
        StudyTrial("main", point.config.replace(seed=seed), trial(seed, accuracy))
        for point in study.parts["main"].points
        for seed, accuracy in enumerate(
            ACCURACIES[point.config.momentum, point.config.learning_rate]
        )
    ]
    return StudyResults(
        study,
        trials,
        {"made": [1, 2], "rows": {"main": {"train": 900, "valid": 100, "test": 500}}},
        {"usable_cores": 2},
    )


def rows_of(blocks: list[document.Block]) -> list[list[str]]:
    (table,) = (block for block in blocks if isinstance(block, document.Table))
    return [list(row) for row in table.rows]


def test_files_give_back_what_was_written(results: StudyResults, tmp_path: Path) -> None:
    results.write(tmp_path)
    again = StudyResults.read(results.study, tmp_path)
    assert [one.config for one in again.trials] == [one.config for one in results.trials]
    for one, other in zip(again.trials, results.trials, strict=True):
        for name in ("status", "reason", "train_loss", "valid_accuracy", "test_loss", "seconds"):
            assert getattr(one.trial, name) == getattr(other.trial, name)
        assert one.trial.history[0]["train_loss"] == 0.333333
    assert (again.measured, again.machine) == (results.measured, results.machine)
    written = (tmp_path / "histories.csv.gz").read_bytes()
    results.write(tmp_path)
    assert (tmp_path / "histories.csv.gz").read_bytes() == written


def test_nothing_is_said_of_published_values_where_there_are_none(results: StudyResults) -> None:
    row = {"label": "ours alone", "where": {"momentum": 0.5, "learning_rate": 0.1}}
    section = {"title": "", "columns": ["test_accuracy"], "row": [row]}
    table, told = tables.compare(_with(results, section), section)
    assert isinstance(table, document.Table)
    assert isinstance(told, document.Paragraph)
    assert table.header == ["setting", "quantity", "ours", "95 %"]
    assert table.rows == [["ours alone", "test accuracy", "0.6100 ± 0.0141", "0.5666 to 0.6518"]]
    assert "ublished" not in told.text


def test_a_table_says_what_agrees_and_why_not(results: StudyResults) -> None:
    where = {"momentum": 0.5, "learning_rate": 0.1}
    near = {"label": "near", "where": where, "published": {"test_accuracy": 0.625}}
    far = {**near, "label": "far", "published": {"test_accuracy": 0.95}}
    far["because"] = "the near one has {near|test_accuracy}"
    lost = {"label": "lost", "where": {"momentum": 0.9, "learning_rate": 0.1}}
    lost["published"] = {"test_accuracy": 0.7}
    best = {"label": "best", "best": True, "tell": ["momentum"]}
    section = {"title": "", "columns": ["test_accuracy"], "tolerance": 0.02}
    section["row"] = [near, far, lost, best]
    blocks = tables.compare(_with(results, section), section)
    no, within = "cannot be compared", "0.5666 to 0.6518"
    assert rows_of(blocks) == [
        ["near", "test accuracy", "0.6250", "0.6100 ± 0.0141", within, "agrees"],
        [
            "far",
            "test accuracy",
            "0.9500",
            "0.6100 ± 0.0141",
            within,
            f"differs by {tables.MINUS}0.3400",
        ],
        [
            "lost",
            "test accuracy",
            "0.7000",
            "diverged (1 of 2)",
            "",
            f"{no}: not all of ours ended",
        ],
        [
            "best (momentum 0.5)",
            "test accuracy",
            "—",
            "0.6100 ± 0.0141",
            within,
            f"{no}: not published",
        ],
    ]
    texts = [block.text for block in blocks if isinstance(block, document.Paragraph)]
    assert "**Why far differs:** the near one has 0.6100 ± 0.0141" in texts
    quick = _with(results, section)
    quick = replace(quick, study=quick.study.quick())
    assert "Why far differs" not in document.to_markdown(tables.compare(quick, section))


@pytest.mark.parametrize(
    ("published", "values", "rows", "verdict"),
    [
        # One seed: the size of the part alone, 0.9 of 1000 from 0.8798 to 0.9171.
        (0.9181, [0.9], 1000, "differs"), (0.9171, [0.9], 1000, "agrees"), (0.9171, [0.9], 100_000, "differs"),
        # As far as its digits tell: 0.92 may be 0.9151.
        (0.92, [0.9], 1000, "agrees"), (0.93, [0.9], 1000, "differs"),
        # Three seeds, 0.90 to 0.92: 4.3 * 0.01 * sqrt(4/3) = 0.0497 by seeds alone.
        (0.9596, [0.90, 0.91, 0.92], 10**9, "agrees"), (0.9600123, [0.90, 0.91, 0.92], 10**9, "differs"),
        (0.9601234, [0.90, 0.91, 0.92], 1000, "agrees"),
        # Nothing is known: the tolerance.
        (0.9199, [0.9], None, "agrees"), (0.9201, [0.9], None, "differs"),
    ],
)  # fmt: skip
def test_agreement_is_what_seeds_and_the_size_of_the_part_explain(
    results: StudyResults, published: float, values: list[float], rows: int | None, verdict: str
) -> None:
    (one, *_) = results.trials
    trials = tuple(replace(one, trial=trial(seed, value)) for seed, value in enumerate(values))
    known = {} if rows is None else {"rows": {"main": {"test": rows}}}
    setting = Setting("main", trials, 100)
    found = tables.judge(
        replace(results, measured=known), setting, ("test_accuracy", None), published, 0.02
    )
    assert found.split()[0].rstrip(",") == verdict


def _with(results: StudyResults, section: dict[str, Any]) -> StudyResults:
    return replace(results, study=replace(results.study, sections=(section,)))


def side(label: str, momentum: float, rate: float = 0.1) -> dict[str, Any]:
    return {"label": label, "where": {"momentum": momentum, "learning_rate": rate}}


@pytest.mark.parametrize(
    ("sides", "verdict"),
    [
        ([side("a", 0.5), side("b", 0.0)], "holds"),
        ([side("a", 0.9, 0.01), side("b", 0.0, 0.01)], "holds"),
        ([side("a", 0.0), side("b", 0.5)], "does not hold"),
        ([side("a", 0.0), side("b", 0.9)], "holds"),  # what diverged is worst
    ],
)
def test_an_order_is_checked(results: StudyResults, sides: list[Any], verdict: str) -> None:
    claim = {"kind": "order", "says": "so.", "metric": "valid_accuracy", "sides": sides}
    (text, _) = claims.check(results, claim)
    assert isinstance(text, document.Paragraph)
    assert text.text == f"**Claim:** so. **Here: {verdict}.**"


def test_an_order_within_the_spread_says_so(results: StudyResults) -> None:
    trials = [
        StudyTrial(one.part, one.config, trial(one.config.seed, value))
        for one, value in zip(results.trials[:4], (0.5, 0.7, 0.55, 0.6), strict=True)
    ]
    few = StudyResults(results.study, trials)
    first, second = few.settings()
    sides = [
        {
            "label": name,
            "where": {"momentum": p.config.momentum, "learning_rate": p.config.learning_rate},
        }
        for name, p in (("a", first), ("b", second))
    ]
    claim = {"kind": "order", "says": "so.", "metric": "valid_accuracy", "sides": sides}
    assert "holds, within the spread" in claims.check(few, claim)[0].text  # type: ignore[union-attr]
    told = claims.check(few, {**claim, "kind": "same"})[0].text  # type: ignore[union-attr]
    assert "holds: the difference is 0.0250" in told


def test_pairs_are_counted(results: StudyResults) -> None:
    claim = {"kind": "pairs", "says": "so.", "axis": "momentum", "worse": 0.0, "most": 0.5}
    claim |= {"better": [0.5, 0.9], "metric": "valid_accuracy"}
    blocks = claims.check(results, claim)
    assert "Here: holds." in blocks[0].text  # type: ignore[union-attr]
    assert rows_of(blocks) == [
        ["0.5 against 0", "1 of 2", "+0.0100", "0"],
        ["0.9 against 0", "1 of 2", "+0.0300", "1"],
    ]


def test_the_best_along_an_axis(results: StudyResults) -> None:
    claim = {"kind": "within", "says": "so.", "axis": "momentum", "low": 0.6, "high": 0.95}
    claim |= {"metric": "valid_accuracy", "where": {"learning_rate": 0.01}}
    assert "holds: the best is 0.9" in claims.check(results, claim)[0].text  # type: ignore[union-attr]


def test_an_entry_that_means_several_points_is_refused(results: StudyResults) -> None:
    with pytest.raises(ConfigError, match="means 2 points of main, expected one"):
        results.select({"where": {"momentum": 0.5}})


def test_both_ways_of_writing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"PNG")
    blocks: list[document.Block] = [
        document.Heading("A <b> & c", 1),
        document.Paragraph("**bold** and `code`"),
        document.Table(["x|y"], [["1 < 2"]]),
        document.Picture("a.png", "what it shows"),
        document.Details("more", document.Table(["n"], [["1"]])),
    ]
    text = document.to_markdown(blocks)
    assert "| x\\|y |\n| --- |\n| 1 < 2 |" in text
    assert "![what it shows](a.png)" in text
    page = document.to_html(blocks, tmp_path)
    for part in (
        "<h1>A &lt;b&gt; &amp; c</h1>",
        "<strong>bold</strong> and <code>code</code>",
        "<td>1 &lt; 2</td>",
        'src="data:image/png;base64,UE5H"',
        'name="viewport"',
    ):
        assert part in page
    assert "http" not in page  # nothing is loaded from elsewhere


@pytest.mark.parametrize("hidden", [(), (6, 5), ("conv 4 2 padding 1", "maxpool 2", 5)])
def test_the_gradient_check_sees_a_right_and_a_wrong_gradient(
    hidden: tuple[int | str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    data = Dataset(
        rng.integers(0, 256, (30, 12), dtype=np.uint8),
        rng.integers(0, 3, 30),
        (3, 2, 2),
        ("a", "b", "c"),
        "made up",
    )
    config = TrainConfig(hidden=hidden, weight_decay=0.3, decay_biases=False)
    good = check_kernels(config, data)
    assert good["absolute"] < 1e-7
    assert good["relative"] < 1e-4
    import fastmlp.studies.gradients as module

    step = module.sgd
    monkeypatch.setattr(module, "sgd", lambda *a, **k: step(*a, **{**k, "weight_decay": 0.0}))
    assert check_kernels(config, data)["absolute"] > 1e-3
    assert math.isfinite(good["relative"])


TWINS = (
    FILE.replace("seeds = 2", "seeds = 1")
    + """
[study.parts.main]
label = "ours, float32"
[study.parts.wide]
label = "ours, float64"
config = { dtype = "float64" }
[study.parts.theirs]
label = "theirs, float32"
[[study.section]]
title = "Twins"
measure = ["twins"]
twins = [{ ours = "main", theirs = "theirs" }, { ours = "wide", theirs = "main" }]
"""
)


def twins(tmp_path: Path, parts: dict[str, float]) -> tuple[list[Any], list[document.Block]]:
    """Return what is measured of twins whose losses are those of their parts, and what is shown of it."""
    path = tmp_path / "twins.toml"
    path.write_text(TWINS)
    study = Study.from_toml(path)
    trials = [
        StudyTrial(name, point.config, trial(0, 0.5))
        for name in parts
        for point in study.parts[name].points
    ]
    for one in trials:
        one.trial.history[0]["train_loss"] = parts[one.part]  # type: ignore[index]
    results = StudyResults(study, trials)
    (section,) = study.sections
    taken = take_twins(SimpleNamespace(results=results), section)  # type: ignore[arg-type]
    return taken, show_twins(results, section, taken)


def texts(blocks: list[document.Block]) -> list[str]:
    return [block.text for block in blocks if isinstance(block, document.Paragraph)]


def test_twins_are_compared_and_called_by_the_labels_of_their_parts(tmp_path: Path) -> None:
    taken, blocks = twins(tmp_path, {"main": 1.0, "wide": 1.0, "theirs": 1.00001})
    assert [row["within"] for row in taken] == [True] * 6 + [None] * 6
    assert rows_of(blocks)[0] == [
        *("(0.1, 0, 0)", "ours, float32", "theirs, float32"),
        *("1.0e-05", "1.0e-05", "yes"),
    ]
    assert texts(blocks) == ["The limits are 0.0001 in float32 and 1e-09 in float64."]


@pytest.mark.parametrize(("wide", "explained"), [(1.005, True), (1.001, False)])
def test_rounding_explains_what_parts_no_further(
    tmp_path: Path, wide: float, explained: bool
) -> None:
    taken, blocks = twins(tmp_path, {"main": 1.0, "wide": wide, "theirs": 1.01})
    assert [row["within"] for row in taken[:6]] == [False] * 6
    assert any("grow" in text for text in texts(blocks)) == explained


def test_twins_that_were_not_trained_are_named(tmp_path: Path) -> None:
    taken, blocks = twins(tmp_path, {"main": 1.0})
    assert taken == []
    assert texts(blocks)[-1] == "Not run on this machine: theirs, float32; ours, float64."
