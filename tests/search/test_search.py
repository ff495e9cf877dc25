"""grid_search: what is trained and what is not, which point wins, and what is kept of it."""

import hashlib
import json
import sqlite3
import warnings
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from search_helpers import CONFIG, GRID, rows, table
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier

import fastmlp
from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, DataError, StoreError
from fastmlp.search import calls
from fastmlp.search import trial as one_trial
from fastmlp.search.experiment import Point
from fastmlp.search.grid import grid_search
from fastmlp.search.ranking import rank
from fastmlp.search.record import Trial, checksum_of
from fastmlp.search.state import BEST
from fastmlp.search.store import FILE
from fastmlp.search.trial import Outcome
from fastmlp.training.evaluation import evaluate
from fastmlp.training.trainer import train


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept_networks(folder):
    return {key for key, row in rows(folder).items() if row["network"] is not None}


def test_every_trial_is_what_train_gives(parts, tmp_path):
    training, valid, test = parts
    result = grid_search(CONFIG, GRID, training, valid, test, store=tmp_path, seeds=2)
    assert (result.trained, result.skipped, len(result.points)) == (12, 0, 6)
    for point in result.points:
        for seed, trial in enumerate(point.trials):
            config = CONFIG.replace(**point.parameters, seed=seed)
            alone = train(config, training, valid)
            assert trial.reason == alone.reason
            assert [row["valid_loss"] for row in trial.history] == [
                row["valid_loss"] for row in alone.history
            ]
            assert trial.valid_loss == alone.history[trial.epoch - 1]["valid_loss"]
            assert trial.epoch == alone.best_epoch
    assert [p.rank for p in result.points] == list(range(1, 7))
    means = [np.mean([trial.valid_accuracy for trial in p.trials]) for p in result.points]
    assert means == sorted(means, reverse=True)


def test_a_grid_over_layers_of_any_kind(parts, tmp_path):
    grid = {"hidden": [[8, "tanh"], ["conv 3 3", "batchnorm", "maxpool 2", 8]]}
    training, valid, test = parts
    result = grid_search(CONFIG, grid, training, valid, test, store=tmp_path)
    for point in result.points:
        alone = train(CONFIG.replace(**point.parameters), training, valid)
        (trial,) = point.trials
        assert trial.reason == alone.reason
        assert trial.valid_loss == alone.history[trial.epoch - 1]["valid_loss"]
    network = fastmlp.load(tmp_path / BEST)
    assert evaluate(network, test)["accuracy"] == result.best.trials[0].test_accuracy


def test_the_best_network_is_tested_and_saved(parts, tmp_path):
    training, valid, test = parts
    result = grid_search(CONFIG, GRID, training, valid, test, store=tmp_path, seeds=2)
    best = result.best_trial
    assert best.valid_accuracy == max(trial.valid_accuracy for trial in result.best.trials)
    saved = fastmlp.load(tmp_path / BEST)
    for network in (saved, result.network):
        scores = evaluate(network, valid)
        assert scores == {"loss": best.valid_loss, "accuracy": best.valid_accuracy}
        scores = evaluate(network, test)
        assert scores == {"loss": best.test_loss, "accuracy": best.test_accuracy}
    assert saved.classes == training.classes
    # Only the networks of the best point were tested, and only they are kept.
    tested = {key for key, row in rows(tmp_path).items() if row["test_data"] is not None}
    assert tested == kept_networks(tmp_path)
    assert len(tested) == 2


def test_what_is_there_is_not_trained_again(parts, tmp_path, monkeypatch):
    training, valid, test = parts
    first = grid_search(CONFIG, {"momentum": [0.0, 0.9]}, training, valid, store=tmp_path)
    before, model = rows(tmp_path), sha(tmp_path / BEST)
    assert first.best.mean("test_accuracy") is None
    second = grid_search(CONFIG, {"momentum": [0.999, 0.9, 0.0]}, training, valid, store=tmp_path)
    assert (second.trained, second.skipped) == (1, 2)
    monkeypatch.setattr(calls, "run_trial", None)
    monkeypatch.setattr("fastmlp.search.state.evaluate", lambda *_: {"loss": 0.5, "accuracy": 0.25})
    third = grid_search(CONFIG, {"momentum": [0.0, 0.9]}, training, valid, test, store=tmp_path)
    assert (third.trained, third.skipped) == (0, 2)
    assert third.best.mean("test_accuracy") == 0.25
    monkeypatch.setattr(
        "fastmlp.search.state.evaluate", None
    )  # test was seen, and is not seen again
    fourth = grid_search(CONFIG, {"momentum": [0.0, 0.9]}, training, valid, test, store=tmp_path)
    assert table(fourth) == table(third)
    assert sha(tmp_path / BEST) == model
    after = rows(tmp_path)
    for key, row in before.items():
        assert {**after[key], "test_data": None, "test_loss": None, "test_accuracy": None,
                "checksum": None, "network": None} == {**row, "checksum": None, "network": None}  # fmt: skip


def test_a_winner_whose_network_went_is_trained_again_with_the_same_bits(parts, tmp_path):
    training, valid, test = parts
    wide = grid_search(
        CONFIG, {"momentum": [0.0, 0.9]}, training, valid, test, store=tmp_path / "b"
    )
    other = {"momentum": [0.9 - wide.best.parameters["momentum"]]}  # the one that did not win
    alone = grid_search(CONFIG, other, training, valid, test, store=tmp_path / "a")
    assert len(kept_networks(tmp_path / "b")) == 1
    narrow = grid_search(CONFIG, other, training, valid, test, store=tmp_path / "b")
    assert (narrow.trained, narrow.skipped) == (0, 1)
    assert table(narrow) == table(alone)
    assert sha(tmp_path / "a" / BEST) == sha(tmp_path / "b" / BEST)


def test_diverged_and_failing_trials_are_rows_and_rank_last(parts, tmp_path, monkeypatch):
    usual = one_trial.train

    def train_or_fail(config, *parts, **options):
        if config.learning_rate == 0.02:
            raise RuntimeError("out\nof luck")
        return usual(config, *parts, **options)

    monkeypatch.setattr(one_trial, "train", train_or_fail)
    grid = {"learning_rate": [0.02, 1e30, 0.3, 0.1]}
    result = grid_search(CONFIG, grid, *parts[:2], store=tmp_path)
    assert [point.parameters["learning_rate"] for point in result.points[2:]] == [1e30, 0.02]
    diverged, failed = (point.trials[0] for point in result.points[2:])
    assert diverged.status == "diverged"
    assert diverged.reason.startswith("train loss not finite at epoch 1, learning rate 1e+30")
    assert (failed.status, failed.reason) == ("failed", "RuntimeError: out of luck")
    assert result.best.sound
    monkeypatch.setattr(one_trial, "train", usual)
    again = grid_search(CONFIG, grid, *parts[:2], store=tmp_path)
    assert table(again) == table(result)
    # What failed by bad luck can be tried again by deleting its row.
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("DELETE FROM trials WHERE status = 'failed'")
    healed = grid_search(CONFIG, grid, *parts[:2], store=tmp_path)
    assert (healed.trained, healed.skipped) == (1, 3)
    assert [point.sound for point in healed.points] == [True, True, True, False]


def test_a_search_without_any_sound_trial_has_no_best(parts, tmp_path):
    result = grid_search(CONFIG, {"learning_rate": [1e30, 1e35]}, *parts, store=tmp_path)
    assert (result.best, result.best_trial, result.network) == (None, None, None)
    assert not (tmp_path / BEST).exists()


def made_up(accuracy, status="done", loss=1.0):
    return Trial(0, status, status, 1, 1, 1.0, 0.5, loss, accuracy, 1.0, [])


def test_ranks_go_by_the_mean_over_seeds_and_ties_by_the_grid():
    points = [Point({"momentum": n / 10}, CONFIG.replace(momentum=n / 10)) for n in range(7)]
    runs = [
        [made_up(0.7), made_up(0.7)],
        [made_up(0.9), made_up(0.6)],
        [made_up(0.7), made_up(0.7, loss=0.5)],
        [made_up(0.99), made_up(None, "diverged")],
        [made_up(0.99), made_up(None, "failed")],
        [made_up(0.1), made_up(0.1)],
        [made_up(0.99), made_up(None, "pruned")],
    ]
    ranked = rank(points, runs, "valid_accuracy")
    assert [point.index for point in ranked] == [1, 0, 2, 5, 3, 6, 4]
    assert [point.rank for point in ranked] == [1, 2, 3, 4, 5, 6, 7]
    by_loss = rank(points, runs, "valid_loss")
    assert [point.index for point in by_loss] == [2, 0, 1, 5, 3, 6, 4]
    assert ranked[0].mean("valid_accuracy") == 0.75
    assert ranked[0].deviation("valid_accuracy") == pytest.approx(0.3 / np.sqrt(2))
    assert ranked[-1].mean("valid_accuracy") is None


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_the_network_kept_is_the_best_in_whatever_order_trials_end(
    parts, tmp_path, monkeypatch, seeds, metric
):
    """Trials end in random order with few distinct scores, each network marked by its trial."""
    training, valid, _ = parts
    rng = np.random.default_rng(seeds)
    grid = {"learning_rate": [0.1 + n / 100 for n in range(12)]}
    networks = train(CONFIG.replace(epochs=1), training, valid).network
    scores = rng.integers(0, 4, (12, seeds)) / 4
    scores[3] = 2.0  # the outstanding one diverges with one seed

    def outcome(number):
        point, seed = divmod(number, seeds)
        score = scores[point, seed]
        row = dict.fromkeys(("train_loss", "train_accuracy"), 0.5)
        row |= {"epoch": 1, "valid_loss": -score, "valid_accuracy": score}
        if point == 3 and seed == seeds - 1:
            return Outcome("diverged", "lost", [row], 0, None, 0.0)
        marked = replace(networks, biases=[b + np.float32(number) for b in networks.biases])
        return Outcome("done", "ok", [row], 1, marked, 0.0)

    def shuffled(self, tasks, parts):
        order = rng.permutation(list(tasks))
        for number in order[:stop]:
            yield number, outcome(number)
        if stop:
            raise KeyboardInterrupt

    monkeypatch.setattr("fastmlp.search.grid.Workers.run", shuffled)
    means = [s.mean() if n != 3 else -np.inf for n, s in enumerate(scores)]
    winner = int(np.argmax(means))
    best_seed = int(np.argmax(scores[winner]))
    expected = networks.biases[-1] + np.float32(winner * seeds + best_seed)
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        for limit in (4, 7, None):  # interrupted twice, then to the end
            stop = limit
            try:
                result = grid_search(
                    CONFIG, grid, training, valid, store=folder, seeds=seeds, metric=metric
                )
            except KeyboardInterrupt:
                kept = kept_networks(folder)
                assert len(kept) <= 7 * seeds
        assert result.best.index == winner
        assert np.array_equal(result.network.biases[-1], expected)
        assert len(kept_networks(folder)) == seeds


def test_the_longest_trials_begin_first(parts, tmp_path, monkeypatch):
    begun = []
    usual = calls.run_trial
    monkeypatch.setattr(
        calls, "run_trial", lambda config, *rest: begun.append(config) or usual(config, *rest)
    )
    grid = {"hidden": [[8], [32, 32], [16]], "epochs": [1, 2]}
    grid_search(CONFIG, grid, *parts[:2], store=tmp_path, jobs=1, seeds=2)
    costs = [
        config.epochs
        * sum(a * b for a, b in zip((64, *config.hidden), (*config.hidden, 10), strict=True))
        for config in begun
    ]
    assert costs == sorted(costs, reverse=True)
    assert [config.seed for config in begun] == [0, 1] * 6


def test_progress_tells_how_far_and_how_long(parts, tmp_path):
    told = []
    grid_search(CONFIG, {"momentum": [0.0]}, *parts[:2], store=tmp_path)
    grid = {"momentum": [0.0, 0.9], "learning_rate": [0.1, 1e30]}
    result = grid_search(CONFIG, grid, *parts[:2], store=tmp_path, on_trial=told.append)
    assert [p.done for p in told] == [1, 2, 3, 4]
    assert {(p.total, p.skipped) for p in told} == {(4, 1)}
    assert (told[0].trial, told[0].remaining, told[-1].remaining) == (None, None, 0.0)
    assert told[1].remaining > 0
    assert (told[-1].diverged, told[-1].failed) == (2, 0)
    assert told[-1].best == result.best.mean("valid_accuracy")
    assert {json.dumps(p.parameters) for p in told[1:]} < {
        json.dumps(point.parameters) for point in result.points
    }


def test_an_interrupt_keeps_finished_trials_and_waits_for_threads(parts, tmp_path):
    import _thread
    import threading

    def interrupt(progress):
        if progress.done == 2:
            _thread.interrupt_main()

    grid = {"momentum": [n / 20 for n in range(20)]}
    with pytest.raises(KeyboardInterrupt):
        grid_search(CONFIG.replace(epochs=30), grid, *parts[:2], store=tmp_path, on_trial=interrupt)
    assert 2 <= len(rows(tmp_path)) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(worker)")]
    result = grid_search(CONFIG.replace(epochs=30), grid, *parts[:2], store=tmp_path)
    alone = grid_search(CONFIG.replace(epochs=30), grid, *parts[:2], store=tmp_path / "alone")
    assert table(result) == table(alone)


def test_an_error_of_the_callback_ends_the_search_and_its_threads(parts, tmp_path):
    def fail(progress):
        if progress.done == 2:
            raise RuntimeError("mine")

    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="mine"):
        grid_search(CONFIG, GRID, *parts[:2], store=tmp_path, on_trial=fail)
    assert len(rows(tmp_path)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds: found 0, expected an integer from 1"),
        (
            {"metric": "accuracy"},
            "metric: found 'accuracy', expected one of valid_loss, valid_accuracy",
        ),
        ({"jobs": 0}, "jobs: found 0, expected a whole number from 1"),
        ({"backend": "ray"}, "backend: found 'ray', expected threading or loky"),
        ({"dask": "tcp://x:1", "jobs": 2}, "dask: found with jobs or backend"),
        ({"grid": {"momentun": [0.1]}}, "momentun: no such parameter; did you mean momentum?"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_made(parts, tmp_path, options, message):
    options = {"grid": GRID, **options}
    with pytest.raises(ConfigError, match="^" + message.replace("?", r"\?")):
        grid_search(CONFIG, options.pop("grid"), *parts, store=tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_parts_that_do_not_fit_are_refused(parts, tmp_path):
    training, valid, test = parts
    with pytest.raises(DataError, match="test: found"):
        grid_search(CONFIG, GRID, training, valid, test.resize(4), store=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="File exists"):
        grid_search(CONFIG, GRID, training, valid, store=tmp_path / "file")


def test_cv_results_have_the_names_types_and_ranks_of_scikit_learn(parts, tmp_path):
    training, valid, _ = parts
    grid = [{"learning_rate": [0.3, 1e30], "momentum": [0.0]}, {"hidden": [(8,), (16,)]}]
    result = grid_search(CONFIG, grid, training, valid, store=tmp_path, seeds=2)
    ours = result.cv_results()
    model = GridSearchCV(
        KNeighborsClassifier(),
        [{"n_neighbors": [1, 300], "p": [1]}, {"weights": ["uniform", "distance"]}],
        cv=2,
        return_train_score=True,
    ).fit(training.images, training.labels)
    theirs = model.cv_results_

    def general(names):
        # Scoring takes no time of its own here.
        return [
            name for name in names if not name.startswith("param_") and "score_time" not in name
        ]

    assert set(general(ours)) == set(general(theirs))
    assert [name for name in ours if name.startswith("param_")] == [
        "param_hidden", "param_learning_rate", "param_momentum"
    ]  # fmt: skip
    for name in general(ours):
        assert type(ours[name]) is type(theirs[name])
        assert np.shape(ours[name]) == np.shape(theirs[name])
    assert ours["rank_test_score"].dtype == theirs["rank_test_score"].dtype
    assert list(ours["param_momentum"].mask) == [False, False, True, True]
    assert ours["params"][2] == {"hidden": (8,)}
    assert np.isnan(ours["mean_test_score"]).tolist() == [False, True, False, False]
    assert ours["rank_test_score"][1] == 4
    first = ours["rank_test_score"].argmin()
    assert ours["params"][first] == result.best.parameters
    assert ours["mean_test_score"][first] == result.best.mean("valid_accuracy")


def test_the_checksum_of_a_search_depends_on_both_parts(parts):
    training, valid, _ = parts
    other = Dataset.from_arrays(valid.images + 1, valid.labels, valid.shape)
    sums = {checksum_of(pair) for pair in ((training, valid), (valid, training), (training, other))}
    assert len(sums) == 3
