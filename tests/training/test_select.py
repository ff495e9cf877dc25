"""A training that goes by a metric resumes with the same bits, and checkpoints from before go on."""

from pathlib import Path

import numpy as np
import pytest

from fastmlp import TrainConfig, grid_search, load_digits, train
from fastmlp.errors import ConfigError, FormatError
from fastmlp.search.experiment import Experiment, metric_for


def parts() -> tuple:  # type: ignore[type-arg]
    train_part, valid, _ = load_digits().train.split((0.2, 0.1, 0.7), 0)
    return train_part, valid


def test_a_resumed_training_selects_as_one_that_was_not_stopped(tmp_path: Path) -> None:
    config = TrainConfig(hidden=(6,), epochs=6, select="f1_macro", patience=3)
    whole = train(config, *parts())
    path = tmp_path / "checkpoint"
    train(config, *parts(), checkpoint=path, on_epoch=lambda row: row["epoch"] == 2)
    resumed = train(config, *parts(), checkpoint=path)
    assert resumed.best_epoch == whole.best_epoch
    for a, b in zip(whole.network.weights, resumed.network.weights, strict=True):
        assert np.array_equal(a, b)
    scores = [row["valid_f1_macro"] for row in resumed.history]
    assert scores == [row["valid_f1_macro"] for row in whole.history]
    with pytest.raises(FormatError, match="select 'f1_macro'"):
        train(config.replace(select="accuracy"), *parts(), checkpoint=path)


def test_a_search_compares_points_by_a_metric_that_trainings_select_by(tmp_path: Path) -> None:
    grid = {"learning_rate": [0.1, 0.0001]}
    config = TrainConfig(hidden=(6,), epochs=3)
    result = grid_search(config, grid, *parts(), store=tmp_path, metric="valid_f1_macro")
    assert all(point.config.select == "f1_macro" for point in result.points)
    means = [point.mean("valid_f1_macro") for point in result.points]
    assert means[0] == max(one for one in means if one is not None)
    trial = result.points[0].trials[0]
    assert trial.value("valid_f1_macro") == trial.history[trial.epoch - 1]["valid_f1_macro"]
    assert result.cv_results()["rank_test_score"].tolist() == [1, 2]
    again = grid_search(config, grid, *parts(), store=tmp_path, metric="valid_f1_macro")
    assert (again.trained, again.skipped) == (0, 2)


def test_a_search_takes_the_metric_of_its_settings() -> None:
    chosen = TrainConfig(select="roc_auc")
    assert metric_for(TrainConfig(), None) == (TrainConfig(), "valid_accuracy")
    assert metric_for(chosen, None) == (chosen, "valid_roc_auc")
    assert metric_for(chosen, "valid_loss") == (chosen, "valid_loss")
    with pytest.raises(ConfigError, match="expected the same metric for both"):
        metric_for(chosen, "valid_f1_macro")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[search]\nmetric = "valid_f2"', "metric: found 'valid_f2', expected one of valid_loss"),
        ('[grid]\nselect = ["loss"]', r"grid\.select: cannot be searched over"),
    ],
)
def test_a_file_with_another_metric_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'[data]\nname = "digits"\n{text}\n')
    with pytest.raises(ConfigError, match=words):
        Experiment.from_toml(path)
