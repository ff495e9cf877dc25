"""Optuna's suggestions through the same store."""

import doctest
import signal
import sys

import pytest
from search_helpers import CONFIG, rows, table

from fastmlp import load
from fastmlp.errors import ConfigError
from fastmlp.search import trial as one_trial
from fastmlp.search.grid import grid_search
from fastmlp.search.state import BEST

optuna = pytest.importorskip("optuna")
adaptive = pytest.importorskip("fastmlp.search.adaptive")

SETTINGS = CONFIG.replace(epochs=8)


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggest(trial):
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 10.0, log=True),
        "momentum": trial.suggest_categorical("momentum", [0.0, 0.9]),
    }


def test_bad_trials_are_given_up_and_the_best_is_kept(parts, tmp_path):
    result = adaptive.adaptive_search(SETTINGS, suggest, *parts, store=tmp_path, trials=20)
    found = [point.trials[0] for point in result.points]
    pruned = [trial for trial in found if trial.status == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.reason == f"given up by the study at epoch {trial.epochs}"
        assert 1 <= trial.epochs == len(trial.history) < SETTINGS.epochs
    sound = [trial.valid_accuracy for trial in found if trial.sound]
    assert result.best_trial.valid_accuracy == max(sound) > 0.9
    assert [trial.sound for trial in found] == sorted((t.sound for t in found), reverse=True)
    assert result.best_trial.test_accuracy is not None
    assert load(tmp_path / BEST).sizes == (64, 16, 10)
    assert sum(row["network"] is not None for row in rows(tmp_path).values()) == 1


def test_a_study_goes_on_where_it_was_killed(parts, tmp_path, monkeypatch):
    def search(folder, count):
        return adaptive.adaptive_search(SETTINGS, suggest, *parts[:2], store=folder, trials=count)

    whole = search(tmp_path / "whole", 18)
    search(tmp_path / "killed", 9)
    resumed = search(tmp_path / "killed", 18)
    assert resumed.trained + resumed.skipped == len(whole.points)
    assert 0 < resumed.skipped <= 9
    assert table(resumed) == table(whole)
    assert (tmp_path / "whole" / BEST).read_bytes() == (tmp_path / "killed" / BEST).read_bytes()
    monkeypatch.setattr(adaptive, "run_trial", None)
    assert table(search(tmp_path / "whole", 18)) == table(whole)


def test_a_grid_search_trains_in_full_what_a_study_gave_up_and_shares_the_rest(parts, tmp_path):
    study = adaptive.adaptive_search(SETTINGS, suggest, *parts, store=tmp_path, trials=18)
    given_up = next(p for p in study.points if p.trials[0].status == "pruned")
    finished = study.points[1]
    grid = [
        {name: [value] for name, value in point.parameters.items()}
        for point in (given_up, finished)
    ]
    result = grid_search(SETTINGS, grid, *parts, store=tmp_path)
    assert (result.trained, result.skipped) == (1, 1)
    assert {point.trials[0].status for point in result.points} == {"done"}
    # The study does not wish for less than there is.
    again = adaptive.adaptive_search(SETTINGS, suggest, *parts, store=tmp_path, trials=3)
    assert again.skipped == len(again.points)


def test_a_trial_that_was_given_up_too_early_for_this_study_is_trained_in_full(parts, tmp_path):
    def one(trial):
        return {"learning_rate": trial.suggest_float("learning_rate", 0.1, 0.1)}

    class Never(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return False

    class AtTwo(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.last_step == 2

    results = [
        adaptive.adaptive_search(
            SETTINGS,
            one,
            *parts,
            store=tmp_path,
            trials=2,
            study=optuna.create_study(direction="maximize", pruner=pruner),
        )
        for pruner in (AtTwo(), Never(), AtTwo())
    ]
    assert [result.points[0].trials[0].epochs for result in results] == [2, 8, 8]
    assert [(result.trained, result.skipped) for result in results] == [(1, 0), (1, 0), (0, 1)]
    assert results[0].best is None


def test_divergence_and_errors_are_bad_results_and_ctrl_c_is_none(parts, tmp_path, monkeypatch):
    def bad(trial):
        return {"learning_rate": trial.suggest_categorical("learning_rate", [1e30])}

    result = adaptive.adaptive_search(SETTINGS, bad, *parts, store=tmp_path / "bad", trials=2)
    assert [point.trials[0].status for point in result.points] == ["diverged"]

    def interrupted(row):
        raise KeyboardInterrupt

    usual = one_trial.train
    monkeypatch.setattr(
        one_trial, "train", lambda *rest, on_epoch: usual(*rest, on_epoch=interrupted)
    )
    with pytest.raises(KeyboardInterrupt):
        adaptive.adaptive_search(SETTINGS, suggest, *parts, store=tmp_path / "c", trials=2)
    assert rows(tmp_path / "c") == {}


def test_ctrl_c_in_the_epoch_that_the_study_gives_up_ends_the_search(parts, tmp_path):
    class Interrupted(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            signal.raise_signal(signal.SIGINT)
            return True

    study = optuna.create_study(direction="maximize", pruner=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        adaptive.adaptive_search(SETTINGS, suggest, *parts, store=tmp_path, trials=2, study=study)
    assert rows(tmp_path) == {}


def test_no_trials_are_refused(parts, tmp_path):
    with pytest.raises(ConfigError, match="trials: found 0, expected a whole number from 1"):
        adaptive.adaptive_search(SETTINGS, suggest, *parts, store=tmp_path, trials=0)


@pytest.mark.parametrize(
    ("study", "found"),
    [
        (lambda: optuna.create_study(), "minimize"),
        (lambda: optuna.create_study(directions=["maximize", "maximize"]), "maximize, maximize"),
        (lambda: optuna.create_study(directions=["maximize", "minimize"]), "maximize, minimize"),
        (lambda: "study", "str"),
    ],
)
def test_a_study_that_does_not_maximise_one_number_is_refused(parts, tmp_path, study, found):
    store = tmp_path / "new"
    with pytest.raises(ConfigError, match=f"study: found {found}, expected maximize, for the"):
        adaptive.adaptive_search(SETTINGS, suggest, *parts, store=store, trials=1, study=study())
    assert not store.exists()


def test_a_suggestion_that_is_no_setting_is_named(parts, tmp_path):
    with pytest.raises(ConfigError, match="momentun: no such parameter"):
        adaptive.adaptive_search(
            SETTINGS, lambda trial: {"momentun": 0.5}, *parts, store=tmp_path, trials=1
        )


@pytest.mark.parametrize("found", [None, 3, ["momentum"], "momentum"])
def test_a_suggestion_of_another_type_is_named(parts, tmp_path, found):
    with pytest.raises(ConfigError, match=r"suggest: found .*, expected a dict of settings"):
        adaptive.adaptive_search(SETTINGS, lambda trial: found, *parts, store=tmp_path, trials=1)


def test_optuna_that_is_not_installed_is_named(parts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r'install "fastmlp\[optuna\]"'):
        adaptive.adaptive_search(SETTINGS, suggest, *parts, store=tmp_path, trials=1)


@pytest.mark.parametrize("name", ["fastmlp.search.adaptive", "fastmlp.search.grid"])
def test_the_examples_run(name):
    module = pytest.importorskip(name)
    outcome = doctest.testmod(module)
    assert (outcome.failed, outcome.attempted > 5) == (0, True)
