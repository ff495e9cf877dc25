"""Searches of regressions and of several labels a row: scores, ranks, stored networks and the report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastmlp import Dataset, TrainConfig, evaluate, grid_search
from fastmlp.search.report import write_report

RNG = np.random.default_rng(5)
X = RNG.normal(size=(90, 4))
SIGNAL = np.tanh(X @ RNG.normal(size=(4, 2)))
TASKS = {
    "regression": Dataset.from_arrays(X, SIGNAL * 20 + 300),
    "multilabel": Dataset.from_arrays(X, SIGNAL > 0),
}
CONFIG = TrainConfig(hidden=(8,), epochs=4, batch_size=10)
GRID = {"learning_rate": (1e-6, 0.1)}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_points_are_ranked_stored_and_reported(task: str, metric: str, tmp_path: Path) -> None:
    data = replace(TASKS[task], weights=RNG.random(90) + 0.5)
    train, valid, test = data.split((0.6, 0.2, 0.2), 0)
    arguments = (CONFIG, GRID, train, valid, test)
    seen = []
    for _ in range(2):
        result = grid_search(
            *arguments, store=tmp_path, metric=metric, jobs=1, on_trial=seen.append
        )
        assert result.best is not None
        assert result.best.parameters == {"learning_rate": 0.1}
        assert result.network is not None
        scores = evaluate(result.network, test)
        score = scores["r2" if task == "regression" else "accuracy"]
        assert result.best.mean("test_accuracy") == score
        assert result.network.task == task
    assert result.skipped == 2
    assert seen[-1].best == result.best.mean(metric)
    write_report(tmp_path, "a search", result, {"train": train, "valid": valid, "test": test})
    told = (tmp_path / "report.md").read_text()
    assert ("valid R2" in told) == (task == "regression")
    assert ("valid accuracy" in told) == (task != "regression")
    assert (tmp_path / "curves.png").exists()
    assert not (tmp_path / "confusion.png").exists()


def test_a_poor_r2_is_told_with_its_sign(tmp_path: Path) -> None:
    train, valid = TASKS["regression"].split((0.6, 0.2), 0)
    seen = []
    grid_search(
        CONFIG, {"learning_rate": (1e-9,)}, train, valid, store=tmp_path, on_trial=seen.append
    )
    assert seen[-1].best < 0
