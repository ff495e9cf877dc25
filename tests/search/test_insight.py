"""What a search shows: what matters, what to try next, as a view in SQL and as a study of Optuna."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import run
from search_helpers import CONFIG

from fastmlp.datasets import Dataset
from fastmlp.errors import StoreError
from fastmlp.search import insight
from fastmlp.search.experiment import Point
from fastmlp.search.grid import grid_search
from fastmlp.search.optuna_study import close, export, suggester
from fastmlp.search.ranking import RankedPoint, SearchResult, rank
from fastmlp.search.record import Trial
from fastmlp.search.report import store_points

METRIC = "valid_accuracy"


def trial(score: float | None, seed: int = 0) -> Trial:
    status: Any = "diverged" if score is None else "done"
    history = [{"epoch": 1, "valid_accuracy": score, "train_loss": 1.0}]
    return Trial(seed, status, "", 1, 1, 1.0, 0.5, score, score, 1.0, history)


def ranked(scores: dict[tuple[Any, ...], Any], *names: str) -> tuple[RankedPoint, ...]:
    points, trials = [], []
    for values, found in scores.items():
        settings = dict(zip(names, values, strict=True))
        points.append(Point(settings, CONFIG.replace(**settings)))
        each = found if isinstance(found, list) else [found]
        trials.append([trial(score, seed) for seed, score in enumerate(each)])
    return rank(points, trials, "valid_accuracy")


def full_grid() -> dict[tuple[float, float], float]:
    rates, momenta = [0.1, 0.01, 0.001], [0.0, 0.5, 0.9]
    # The rate matters thrice as much as momentum, and one corner is better than both say.
    return {
        (rate, momentum): 0.5 + 0.09 * a + 0.03 * b + (0.04 if (a, b) == (2, 2) else 0)
        for a, rate in enumerate(rates)
        for b, momentum in enumerate(momenta)
    }


def test_shares_are_those_of_an_analysis_of_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insight, "_fanova", lambda *_: None)
    points = ranked(full_grid(), "learning_rate", "momentum")
    found = insight.importances(points, METRIC)
    assert found is not None
    table = np.array(list(full_grid().values())).reshape(3, 3)
    total = table.var()
    rates, momenta = table.mean(axis=1).var() / total, table.mean(axis=0).var() / total
    assert found.shares == pytest.approx({"learning_rate": rates, "momentum": momenta})
    assert list(found.pairs.values()) == pytest.approx([1 - rates - momenta])


def test_optunas_evaluator_is_asked_where_it_is_installed() -> None:
    pytest.importorskip("optuna")
    found = insight.importances(ranked(full_grid(), "learning_rate", "momentum"), METRIC)
    assert found is not None
    assert "Optuna" in found.by
    assert found.shares["learning_rate"] > 2 * found.shares["momentum"] > 0


def test_too_little_tells_nothing() -> None:
    assert insight.importances(ranked({(0.1,): 0.5, (0.2,): 0.6}, "learning_rate"), METRIC) is None
    assert insight.importances((), METRIC) is None
    same = {(rate,): 0.5 for rate in (0.1, 0.2, 0.3, 0.4, 0.5)}
    assert insight.importances(ranked(same, "learning_rate"), METRIC) is None


@pytest.mark.parametrize(
    ("name", "scores", "told"),
    [
        ("learning_rate", {0.1: 0.9, 0.01: 0.8, 0.001: 0.7}, "0.1, is the greatest of the grid; try 1."),
        ("learning_rate", {0.1: 0.7, 0.01: 0.8, 0.001: 0.9}, "0.001, is the least of the grid; try 0.0001."),
        ("learning_rate", {0.1: 0.7, 0.01: 0.9, 0.001: 0.8},
         "lies inside the grid; nearer to it are 0.0032 and 0.032."),
        ("momentum", {0.0: 0.7, 0.5: 0.8, 0.9: 0.9}, "0.9, is the greatest of the grid; try 0.95."),
        ("batch_size", {32: 0.9, 64: 0.8, 128: 0.7}, "32, is the least of the grid; try 16."),
        ("weight_decay", {0.0: 0.9, 0.1: 0.8}, None),
    ],
)  # fmt: skip
def test_what_to_try_next(name: str, scores: dict[Any, float], told: str | None) -> None:
    points = ranked({(value,): score for value, score in scores.items()}, name)
    found = [
        line
        for line in insight.suggestions(points, METRIC)
        if line.startswith(name.replace("_", " "))
    ]
    assert found == [] if told is None else found[0].endswith(told), found


def test_seeds_that_do_not_tell_points_apart_are_told() -> None:
    scores = {(0.1,): [0.90, 0.94], (0.2,): [0.91, 0.92], (0.3,): [0.5, 0.51]}
    assert "Rank 2 is within" in insight.suggestions(ranked(scores, "learning_rate"), METRIC)[-1]
    lost = ranked({(0.1,): None}, "learning_rate")
    assert insight.suggestions(lost, METRIC) == [
        "Every point diverged or failed: try lower learning rates."
    ]


def test_points_that_hardly_learn_say_nothing_of_the_spread_of_others() -> None:
    # The course's five models on digits: the seeds of the last two are far apart, those of the first three are not.
    scores = {
        (0.1,): [0.9667, 0.9694, 0.9694],
        (0.2,): [0.9556, 0.9556, 0.9417],
        (0.3,): [0.9500, 0.9444, 0.9389],
        (0.4,): [0.3944, 0.5472, 0.5222],
        (0.5,): [0.3361, 0.5028, 0.4917],
    }
    points = ranked(scores, "learning_rate")
    deviations = [np.std(one, ddof=1) for one in scores.values()]
    for ranks in ((1, 2, 3), (4, 5)):
        pooled = np.sqrt(np.mean([deviations[rank - 1] ** 2 for rank in ranks]))
        for one in ranks:
            assert insight.spread_near(points, METRIC, one) == pytest.approx(
                (pooled, 2 * len(ranks))
            )
    assert not any("Rank" in line for line in insight.suggestions(points, METRIC))


def test_seeds_that_agree_by_chance_do_not_make_an_interval_of_none() -> None:
    scores = {(0.1,): [0.95, 0.95], (0.2,): [0.94, 0.95], (0.3,): [0.93, 0.94]}
    points = ranked(scores, "learning_rate")
    spread, degrees = insight.spread_near(points, METRIC, 1)
    assert degrees == 3
    assert spread == pytest.approx(np.sqrt(2 * 0.01**2 / 2 / 3))
    equal = ranked({(0.1,): [0.95, 0.95], (0.2,): [0.94, 0.94]}, "learning_rate")
    assert insight.spread_near(equal, METRIC, 1) == (0.0, 2)
    one_seed = ranked({(0.1,): 0.95, (0.2,): [0.94, 0.92]}, "learning_rate")
    assert insight.spread_near(one_seed, METRIC, 1) == pytest.approx((np.sqrt(0.0002), 1))


def test_numbers_drawn_at_random_are_axes_of_their_own() -> None:
    random = np.random.default_rng(0)
    scores = {tuple(map(float, row)): 0.5 for row in random.random((9, 2))}
    points = ranked(scores, "learning_rate", "momentum")
    assert list(insight.axes_of(points)) == ["learning_rate", "momentum"]
    assert insight.pairs_of(points) == []
    together = ranked(
        {(0.1, 10): 0.5, (0.01, 20): 0.6, (0.001, 30): 0.6}, "learning_rate", "epochs"
    )
    assert list(insight.axes_of(together)) == ["learning_rate"]


def test_the_store_has_a_column_for_each_setting_that_differs(
    parts: tuple[Dataset, ...], tmp_path: Path
) -> None:
    grid_search(CONFIG, {"learning_rate": [0.3, 0.1]}, *parts, store=tmp_path)
    wide = {"learning_rate": [0.3], "dropout": [0.0, 0.25], "hidden": [[8], [8, "tanh"]]}
    result = grid_search(CONFIG, wide, *parts, store=tmp_path)
    with closing(sqlite3.connect(tmp_path / "trials.sqlite")) as database:
        found = database.execute(
            "SELECT learning_rate, dropout, hidden, valid_accuracy FROM settings ORDER BY id"
        ).fetchall()
        names = [row[1] for row in database.execute("PRAGMA table_info(settings)")]
    assert names[:4] == ["id", "hidden", "learning_rate", "dropout"]
    # The two trials of the first search end in either order.
    assert {row[:3] for row in found[:2]} == {(0.3, 0.0, "[16]"), (0.1, 0.0, "[16]")}
    assert {row[1:3] for row in found[2:]} == {
        (d, h) for d in (0.0, 0.25) for h in ("[8]", '[8,"tanh"]')
    }
    points = store_points(result)
    assert len(points) == 6
    assert [point.rank for point in points] == [1, 2, 3, 4, 5, 6]
    assert set(insight.axes_of(points)) == {"learning_rate", "dropout", "hidden"}


def test_optuna_reads_the_storage(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    points = ranked(
        {(0.1, (8,)): [0.5, 0.6], (0.2, (8, "tanh")): 0.7, (0.3, ()): None},
        "learning_rate",
        "hidden",
    )
    path = tmp_path / "a storage.db"
    assert export(points, insight.axes_of(points), METRIC, path, "mine") == 4
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    study = optuna.load_study(study_name="mine", storage=storage)
    assert (study.direction.name, study.best_value) == ("MAXIMIZE", 0.7)
    assert (
        study.best_params == {"learning_rate": 0.2, "hidden": "8, tanh"}
        or study.best_params["learning_rate"] == 0.2
    )
    assert sorted(one.state.name for one in study.trials) == ["COMPLETE"] * 3 + ["FAIL"]
    assert study.best_trial.intermediate_values == {1: 0.7}
    close(storage)
    with pytest.raises(StoreError, match="found a file"):
        export(points, insight.axes_of(points), METRIC, path, "mine")


def test_suggestions_lie_in_the_grid() -> None:
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    suggest = suggester([{"learning_rate": [1e-4, 1.0], "batch_size": [16, 64], "hidden": [[8], [16]],
                          "nesterov": [True]},
                         {"momentum": [0.0, 0.9]}])  # fmt: skip
    for _ in range(40):
        found = suggest(study.ask())
        if "momentum" in found:
            assert 0 <= found["momentum"] <= 0.9
        else:
            assert 1e-4 <= found["learning_rate"] <= 1
            assert type(found["batch_size"]) is int
            assert found["hidden"] in ((8,), (16,))
            assert found["nesterov"] is True


def test_the_command_lets_optuna_choose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    text = '[data]\nname = "digits"\n[config]\nhidden = [8]\nepochs = 1\n[grid]\nlearning_rate = [0.01, 0.3]\n'
    Path("grid.toml").write_text(text)
    assert (
        run("search", "grid.toml", "--out", "out", "--optuna", 4, "--optuna-storage", "trials.db")
        == 0
    )
    output = capsys.readouterr().out
    assert "trials.db: 4 trials" in output
    assert Path("out/report.html").exists()
    assert run("search", "grid.toml", "--out", "out", "--optuna", 2, "--seeds", 2) == 2
    assert "expected valid_accuracy and one seed" in capsys.readouterr().err


def test_it_shows_itself(parts: tuple[Dataset, ...], tmp_path: Path) -> None:
    result = grid_search(CONFIG, {"learning_rate": [0.3, 0.1, 1e30]}, *parts, store=tmp_path)
    assert repr(result).startswith("<SearchResult 3 points, 3 trials, best valid accuracy 0.")
    html = result._repr_html_()
    assert "data:image/png" in html
    assert "1 points" in html
    with pytest.raises(ValueError, match="heat_map of one setting"):
        result.plot(kind="heat_map")
    with pytest.raises(ValueError, match="too few points"):
        result.plot(kind="importance")
    pandas = pytest.importorskip("pandas")
    frame = result.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["rank"]) == [1, 2, 3]
    assert SearchResult(result.points[2:], METRIC, 0, 0, None).best is None  # type: ignore[arg-type]
