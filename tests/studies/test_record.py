"""The measure ``record``: its table against numbers computed elsewhere, and its peer against the kernels."""

import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import TrainConfig, evaluate, load_digits, train
from fastmlp.errors import ConfigError, FastMLPError
from fastmlp.reporting.document import to_markdown
from fastmlp.search.record import Trial
from fastmlp.studies import record
from fastmlp.studies.check import check
from fastmlp.studies.peer import Peer, can_train
from fastmlp.studies.record import show_record
from fastmlp.studies.reproduce import reproduce
from fastmlp.studies.results import ROWS, StudyResults, StudyTrial
from fastmlp.studies.study import Study

STUDY = """
[data]
name = "digits"
[config]
hidden = ["conv 3 3", "maxpool 2", 12]
optimizer = "adam"
learning_rate = 0.01
schedule = "one_cycle"
label_smoothing = 0.1
batch_size = 50
epochs = 2
restore_best = false
[search]
seeds = 4
[study]
title = "Made up"
[[study.section]]
title = "Record"
measure = ["record"]
record = { accuracy = 0.9, seconds = 0.5, all_seconds = 1.9 }
figure = [{ kind = "record", file = "seeds", level = 0.9, caption = "Seeds" }]
"""
ACCURACIES, SECONDS = [0.91, 0.88, 0.92, 0.93], [0.4, 0.6, 0.45, 0.55]


def study_of(folder: Path, text: str = STUDY) -> Study:
    path = folder / "mine.toml"
    path.write_text(text)
    study = Study.from_toml(path)
    check(study)
    return study


def told(study: Study, taken: dict[str, Any]) -> str:
    config = study.parts["main"].config
    trials = [
        StudyTrial(
            "main",
            config.replace(seed=seed),
            Trial(seed, "done", "", 2, 2, 0.1, 0.9, 0.1, 0.95, 1.0, [], test_accuracy=accuracy),
        )
        for seed, accuracy in enumerate(ACCURACIES)
    ]
    measured = {"images": {"main": 1000}, ROWS: {"main": {"valid": 100, "test": 360}}}
    results = StudyResults(study, trials, measured)
    return to_markdown(show_record(results, study.sections[0], taken))


@pytest.fixture
def taken() -> dict[str, Any]:
    rounds: list[dict[str, Any]] = [
        {"seed": seed, "seconds": one, "ceiling": 100e9, "same": True}
        for seed, one in enumerate(SECONDS)
    ]
    rounds[0] |= {"peer_seconds": 5.0, "peer_test_accuracy": 0.9, "process_seconds": 2.0}
    rounds[3] |= {"peer_seconds": 7.0, "peer_test_accuracy": 0.92}
    return {"cores": 2, "flops": 12_500_000_000, "rounds": rounds}


def cells(text: str, start: str) -> list[str]:
    line = next(one for one in text.splitlines() if one.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_table_is_that_of_the_rounds(tmp_path: Path, taken: dict[str, Any]) -> None:
    text = told(study_of(tmp_path), taken)
    assert cells(text, "mean test accuracy") == ["0.9100 ± 0.0216", "0.9100 ± 0.0141"]
    assert cells(text, "seconds of a training") == ["0.5 (0.4 to 0.6)", "6 (5 to 7)"]
    assert cells(text, "seconds from the start of a process") == ["2", ""]
    assert cells(text, "images a second") == ["4,000", "333"]  # 2 epochs of 1000 images
    shares = [12.5 / one / 100 for one in SECONDS]
    assert cells(text, "share of the machine's multiply-adds") == [
        f"{100 * float(np.median(shares)):.0f} %",
        "2 %",
    ]
    assert cells(text, "seconds of all trainings") == ["2.0", "12.0"]
    assert cells(text, "1") == ["0.8800", "0.600", "", "", ""]
    assert cells(text, "3") == ["0.9300", "0.550", "0.9200", "7.000", ""]


def test_goals_are_reached_or_what_is_missing_is_said(
    tmp_path: Path, taken: dict[str, Any]
) -> None:
    stats = pytest.importorskip("scipy.stats")
    text = told(study_of(tmp_path), taken)
    assert "at least 0.9000: reached" in text
    assert "A training within 0.5 s: reached" in text
    assert "All 4 trainings within 1.9 s: not reached, 0.10 s are missing" in text
    assert "1 seeds are below" in text
    mean, error = 0.91, statistics.stdev(ACCURACIES) / 2
    reach = stats.t.ppf(0.975, 3) * error
    assert f"{mean - reach:.4f} to {mean + reach:.4f} by the spread over seeds" in text
    wilson = stats.binomtest(round(0.91 * 3600), 3600).proportion_ci(method="wilson")
    assert wilson.low < mean < wilson.high  # of ten times the part
    low, high = map(float, re.findall(r"seeds, ([\d.]+) to ([\d.]+) by it and the size", text)[0])
    # Of 360 images, whose interval is not that of 3600: its ends are computed by the formula in SciPy's manual.
    z = stats.norm.ppf(0.975)
    half = z / (1 + z**2 / 360) * np.sqrt(mean * (1 - mean) / 360 + z**2 / (4 * 360**2))
    middle = (mean + z**2 / 720) / (1 + z**2 / 360)
    assert low == pytest.approx(mean - np.hypot(mean - middle + half, reach), abs=6e-5)
    assert high == pytest.approx(mean + np.hypot(middle + half - mean, reach), abs=6e-5)
    slow = {**taken, "rounds": [{**one, "seconds": 2.0} for one in taken["rounds"]]}
    assert "A training within 0.5 s: not reached, 1.50 s are missing" in told(
        study_of(tmp_path), slow
    )
    high_goal = study_of(tmp_path, STUDY.replace("accuracy = 0.9,", "accuracy = 0.95,"))
    assert "at least 0.9500: not reached, 0.0400 are missing" in told(high_goal, taken)


def test_without_a_peer_its_column_is_empty(tmp_path: Path, taken: dict[str, Any]) -> None:
    for one in taken["rounds"]:
        one.pop("peer_seconds", None), one.pop("peer_test_accuracy", None)
    text = told(study_of(tmp_path), taken)
    assert "PyTorch: not run" in text
    assert cells(text, "seconds of a training") == ["0.5 (0.4 to 0.6)", ""]


def test_a_record_is_measured(tmp_path: Path) -> None:
    """With a new process and, where it is installed, PyTorch."""
    study = study_of(tmp_path)
    report = reproduce(study, tmp_path / "out", say=lambda line: None)
    results = StudyResults.read(study, report.parent)
    taken = results.measured["record"]
    rounds = taken["rounds"]
    assert [one["seed"] for one in rounds] == [0, 1, 2, 3]
    assert all(one["same"] and 0 < one["seconds"] < 60 for one in rounds)
    assert [("process_seconds" in one) for one in rounds] == [True, False, False, False]
    assert rounds[0]["process_seconds"] > rounds[0]["seconds"]
    # conv: 3 x 6 x 6 outputs of 9 products; 27-12-10 behind the pool. The first layer has no gradient of its inputs.
    products = [3 * 36 * 9, 27 * 12, 12 * 10]
    images = results.measured["images"]["main"]
    assert taken["flops"] == 2 * (3 * sum(products) - products[0]) * images * 2
    assert all(1e9 < one["ceiling"] < 1e13 for one in rounds)
    assert (report.parent / "seeds.png").stat().st_size > 5000
    tested = {one.trial.test_accuracy for one in results.trials}
    assert None not in tested
    text = report.read_text()
    assert "4 of these 4 trainings ended with the weights, to the last bit" in text


def test_a_process_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = study_of(tmp_path).parts["main"]
    monkeypatch.setattr(record, "ALONE", "raise OSError('no disk')")
    with pytest.raises(FastMLPError, match=r"record: found a process that failed \(OSError: no d"):
        record._new_process(part, part.config, None)


def test_a_measure_and_its_figure_need_each_other(tmp_path: Path) -> None:
    without = STUDY.replace("record = {", "# {")
    with pytest.raises(
        ConfigError, match="measure: found 'record', expected `record` in the section"
    ):
        study_of(tmp_path, without)
    alone = without.replace('measure = ["record"]', "")
    with pytest.raises(ConfigError, match="kind: found 'record', expected the measure record"):
        study_of(tmp_path, alone)
    wrong = STUDY.replace("accuracy = 0.9,", "accuracy = 0,")
    with pytest.raises(ConfigError, match=r"record.accuracy: found 0, expected a number above 0"):
        study_of(tmp_path, wrong)


@pytest.mark.peers
@pytest.mark.parametrize(
    "hidden",
    [("conv 3 3", "maxpool 2", 12), (16,), ("conv 3 3", "batchnorm", 8), (16, "batchnorm", 8)],
)
def test_the_peer_trains_the_same_network(tmp_path: Path, hidden: tuple[Any, ...]) -> None:
    pytest.importorskip("torch")
    images = load_digits().take(range(400))
    config = study_of(tmp_path).parts["main"].config.replace(hidden=hidden, betas=(0.9, 0.95))
    ours, theirs = train(config, images), Peer(config, images).run()
    # Not the weights: Adam makes steps of the rounding of a bias before a batchnorm, whose gradient is zero.
    one, other = (evaluate(result.network, images)["loss"] for result in (ours, theirs))
    assert one == pytest.approx(other, rel=2e-3)
    untrained = train(config.replace(learning_rate=1e-12), images).network
    assert one < evaluate(untrained, images)["loss"] - 0.05


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"hidden": (16,)}, True),
        ({"optimizer": "sgd"}, False),
        ({"shift": 1}, False),
        ({"weight_decay": 0.1}, False),
        ({"dtype": "bfloat16"}, False),
        ({"hidden": (16, "batchnorm")}, True),
        ({"hidden": ("conv 3 3", "avgpool 2", 8)}, False),
        ({"hidden": (16, "tanh")}, False),
        ({"activation": "tanh"}, False),
    ],
)
def test_what_the_peer_can_train(tmp_path: Path, changes: dict[str, Any], expected: bool) -> None:
    config = study_of(tmp_path).parts["main"].config.replace(**changes)
    assert can_train(config, config.layers(10)) is expected


def test_the_defaults_are_no_peers() -> None:
    assert not can_train(TrainConfig(), TrainConfig().layers(2))
