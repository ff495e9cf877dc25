"""Every kind of figure: no text is cut or lies on another, and a telephone shows it large enough to read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_texts import misplaced
from matplotlib.figure import Figure

from fastmlp.datasets import Dataset
from fastmlp.reporting.displays import (
    ConfusionDisplay,
    CurvesDisplay,
    PicturesDisplay,
    RatesDisplay,
)
from fastmlp.reporting.search_displays import HeatMapDisplay, ImportanceDisplay, ParallelDisplay
from fastmlp.reporting.style import new_figure
from fastmlp.search.record import Trial
from fastmlp.studies import figures, pictures
from fastmlp.studies.results import StudyResults, StudyTrial
from fastmlp.studies.study import Study
from fastmlp.training.network import Network

RNG = np.random.default_rng(0)
LONG = ["automobile", "airplane", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MODELS = [
    "1: (0.01, 0, 0)",
    "2: (0.01, 0, 0.01)",
    "3: (0.01, 0.85, 0)",
    "4: (0.01, 0.85, 0.01)",
    "5: (0.05, 0.85, 0.01)",
]
STUDY = """
[data]
name = "digits"
[config]
epochs = 40
[grid]
momentum = [0.0, 0.5, 0.9]
learning_rate = [0.1, 0.01]
[search]
seeds = 3
[study]
title = "Made up"
"""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    found: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, *args: Any, **keywords: Any) -> None:
        found.append(self)
        save(self, *args, **keywords)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


def rows(epochs: int, quantity: str = "accuracy", scale: float = 1.0) -> list[dict[str, Any]]:
    return [
        {"epoch": n, "train_loss": scale / n, f"train_{quantity}": 1 - 0.5 / n,
         "valid_loss": 1.5 * scale / n, f"valid_{quantity}": 1 - 0.6 / n,
         "train_cost": 2 * scale / n, "valid_cost": None, "seconds": 1.0, "learning_rate": 0.1}
        for n in range(1, epochs + 1)
    ]  # fmt: skip


DISPLAYS = {
    "curves": CurvesDisplay(rows(30), 12),
    "curves of 45 epochs": CurvesDisplay(rows(45), 12),
    "curves of one epoch": CurvesDisplay(rows(1)),
    "curves of large losses": CurvesDisplay(rows(1000, "r2", 1e5), 3),
    "no curves": CurvesDisplay([]),
    "rates": RatesDisplay(np.logspace(-7, 1, 240), np.linspace(2.3, 0.5, 240), 0.039),
    "confusion": ConfusionDisplay(RNG.integers(0, 9999, (10, 10)), LONG),
    "small confusion": ConfusionDisplay(RNG.integers(10_000, 99_999, (2, 2)), ["automobile", "airplane"]),
    "pictures": PicturesDisplay(RNG.random((20, 3, 8, 8)), LONG * 2),
    "one picture": PicturesDisplay(RNG.random((1, 1, 1, 64))),
    "heat map": HeatMapDisplay(RNG.random((4, 5)), ("hidden", [(512, 128, 32), (8,), (), (16, "tanh")]),
                               ("learning_rate", [0.1, 0.01, 0.001, 1e-4, 1e-5]), "highest validation accuracy"),
    "parallel": ParallelDisplay(
        {"learning_rate": [0.1, 0.01, 0.001] * 4, "hidden": [(512, 128, 32), (16,)] * 6,
         "momentum": [0.0, 0.5, 0.9] * 4},
        [*RNG.random(11), np.nan], "validation accuracy"),
    "importance": ImportanceDisplay({"learning_rate": 0.62, "weight_decay_factors": 0.3, "momentum": 0.08}),
}  # fmt: skip


@pytest.mark.parametrize("name", DISPLAYS)
def test_displays(name: str, tmp_path: Path, drawn: list[Figure]) -> None:
    DISPLAYS[name].save(tmp_path / "figure.png")
    assert misplaced(drawn[0]) == []


@pytest.mark.parametrize("name", DISPLAYS)
def test_displays_on_axes_of_others(name: str) -> None:
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    assert DISPLAYS[name].plot(axes).figure_ is figure
    assert [one for one in misplaced(figure, small=False) if one.startswith("outside")] == []


@pytest.fixture
def results(tmp_path: Path) -> StudyResults:
    path = tmp_path / "made-up.toml"
    path.write_text(STUDY)
    study = Study.from_toml(path)

    def trial(seed: int, momentum: float) -> Trial:
        history = rows(40, scale=(0.1, 0.1, 9.0)[seed])
        last = {
            name: history[-1][name]
            for name in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
        }
        return Trial(
            seed,
            "done",
            "",
            40,
            40,
            **last,
            seconds=1.0,
            history=history,
            test_accuracy=(0.9, 0.99, 0.99)[seed],
        )

    trials = [
        StudyTrial("main", point.config.replace(seed=seed), trial(seed, point.config.momentum))
        for point in study.parts["main"].points
        # One seed alone of some settings.
        for seed in range(1 if point.config.momentum == 0.5 else 3)
    ]
    return StudyResults(study, trials)


def sides(labels: list[str]) -> list[dict[str, Any]]:
    places = [(m, r) for m in (0.0, 0.5, 0.9) for r in (0.1, 0.01)]
    return [
        {"label": label, "where": {"momentum": m, "learning_rate": r}}
        for label, (m, r) in zip(labels, places, strict=False)
    ]


THREE = ["train_accuracy", "valid_accuracy", "test_accuracy"]
ENTRIES = {
    "winner": {"kind": "bars", "quantities": THREE, "sides": sides(["4"]), "axis": "model"},
    "accuracies": {"kind": "bars", "quantities": THREE, "sides": sides(MODELS),
                   "axis": "model: (rate, momentum, decay)",
                   "words": ["fused kernels, training", "PyTorch (first seed), validation",
                             "PyTorch (first seed), test"]},
    "losses": {"kind": "bars", "quantities": ["train_loss"], "sides": sides(MODELS)},
    "series": {"kind": "series", "sides": sides(MODELS), "legend": "model: (learning rate, momentum, weight decay)",
               "quantities": ["train_loss", "valid_loss", "valid_accuracy"], "log": True},
    "by": {"kind": "series", "by": "momentum", "where": {"learning_rate": 0.1}},
    "parts": {"kind": "parts", "cost": True, "sides": sides(["weight decay 0.01, rate 0.1 after 30 epochs", "second"])},
}  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
def test_figures_of_studies(
    name: str, results: StudyResults, tmp_path: Path, drawn: list[Figure]
) -> None:
    entry = ENTRIES[name]
    figures.FROM_TRIALS[entry["kind"]](results, entry, tmp_path / "figure.png")
    assert misplaced(drawn[0]) == []


@pytest.mark.parametrize("peer", [True, False])
def test_figure_of_a_record(
    peer: bool, results: StudyResults, tmp_path: Path, drawn: list[Figure]
) -> None:
    rounds = [{"seed": seed, "seconds": 0.8 + 0.1 * seed} for seed in range(3)]
    if peer:
        rounds[0] |= {"peer_seconds": 8.1, "peer_test_accuracy": 0.9876}
    measured = replace(results, measured={"record": {"rounds": rounds}})
    where = {"momentum": 0.9, "learning_rate": 0.1}
    entry = {"kind": "record", "where": where, "level": 0.985}
    figures.FROM_TRIALS["record"](measured, entry, tmp_path / "figure.png")
    assert misplaced(drawn[0]) == []
    names = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert names == ["fastmlp", "PyTorch"][: 1 + peer]
    dots = [line.get_xdata() for line in drawn[0].axes[1].lines if line.get_marker() == "o"]
    assert np.asarray(dots[0]).tolist() == [0.8, 0.9, 1.0]
    figures.FROM_TRIALS["record"](results, entry, tmp_path / "figure.png")  # nothing was measured
    assert not (tmp_path / "figure.png").exists()


def whiskers(figure: Figure) -> Iterator[np.ndarray]:
    """Yield the two ends of each whisker."""
    for collection in figure.axes[0].collections:
        yield from (segment[:, 0] for segment in collection.get_segments())  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "most"), [("losses", np.inf), ("accuracies", 1.0)])
def test_whiskers_stay_inside_and_one_seed_has_none(
    name: str, most: float, results: StudyResults, tmp_path: Path, drawn: list[Figure]
) -> None:
    entry = ENTRIES[name]
    figures.FROM_TRIALS["bars"](results, entry, tmp_path / "figure.png")
    ends = list(whiskers(drawn[0]))
    assert (
        len(ends) == 3
    )  # of five sides two have one seed, and two accuracies of three are the same for all seeds
    assert all(0 <= low < high <= most for low, high in ends)


def test_the_old_way_of_drawing_is_seen(tmp_path: Path, drawn: list[Figure]) -> None:
    with new_figure(tmp_path / "winner.png", 1.6 + 1.1, 3.6) as figure:
        axes = figure.subplots()
        for number, words in enumerate(
            ("training accuracy", "validation accuracy", "test accuracy")
        ):
            axes.bar([number], [0.9], label=words)
        figure.legend(loc="outside lower center", ncols=2)
    assert sum(one.startswith("outside") for one in misplaced(drawn[0])) >= 1


def test_what_is_wrong_is_seen() -> None:
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.2, 0.5, "first text")
    assert misplaced(figure) == []
    axes.text(0.25, 0.52, "second text", rotation=20)
    axes.text(0.9, 0.1, "this one leaves the figure")
    axes.text(0.1, 0.9, "tiny", fontsize=4)
    assert [one.split(":")[0] for one in misplaced(figure)] == ["outside", "on each other", "small"]


def test_a_single_epoch_has_one_tick(tmp_path: Path, drawn: list[Figure]) -> None:
    CurvesDisplay(rows(1)).save(tmp_path / "figure.png")
    for axes in drawn[0].axes:
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_pictures_of_networks(tmp_path: Path, drawn: list[Figure]) -> None:
    from tests.studies.test_pictures import network_of

    random = np.random.default_rng(1)
    network = network_of((), (3, 8, 8), "abc")
    named = Network([random.normal(size=(10, 192))], [np.zeros(10)], normalization=network.normalization,
                    classes=LONG, shape=(3, 8, 8))  # fmt: skip
    images = random.integers(0, 256, (60, 192), dtype=np.uint8)
    test = Dataset(images, random.integers(0, 10, 60), (3, 8, 8), tuple(LONG), "made up")
    pictures.draw_weights([("lambda 0.1", named), ("lambda 1", named)], tmp_path / "a.png")
    pictures.draw_hardest(named, test, tmp_path / "b.png")
    pictures.draw_features(network_of((40,), (3, 8, 8)), images[0], tmp_path / "c.png")
    assert [misplaced(figure) for figure in drawn] == [[], [], []]
