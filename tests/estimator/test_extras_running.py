"""Beyond scikit-learn's estimators: progress, interrupts, threads, callbacks, and refusals."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest
from estimator_helpers import X, X_val, classifier, y, y_val
from joblib import Parallel, delayed
from scipy.sparse import csr_array

from fastmlp import MLPRegressor
from fastmlp.errors import ConfigError, DataError
from fastmlp.estimator import adapter

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# -- what a person sees ---------------------------------------------------------------------------


def test_progress_is_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    classifier(verbose="progress", early_stopping=True).fit(X, y)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "8/8" in printed.err
    assert "validation score" in printed.err


def test_an_interrupted_fit_keeps_what_it_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = adapter.EngineAdapter.epoch

    def interrupted(self: adapter.EngineAdapter, *arguments: Any) -> float:
        if self._estimator.n_iter_ == 3:
            signal.raise_signal(signal.SIGINT)
        return epoch(self, *arguments)

    monkeypatch.setattr(adapter.EngineAdapter, "epoch", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = classifier().fit(X, y)
    monkeypatch.undo()
    assert model.n_iter_ == len(model.loss_curve_) == 4  # the epoch that it came in, too
    expected = classifier(max_iter=4).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


# -- threads --------------------------------------------------------------------------------------


def test_threads_change_no_bit() -> None:
    one, two = (classifier(n_jobs=n, hidden_layer_sizes=(64, 32)).fit(X, y) for n in (1, 2))
    for found, expected in zip(one.coefs_, two.coefs_, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_task_of_joblib_trains_with_one_thread(backend: str) -> None:
    assert adapter._threads(None) is None
    assert Parallel(2, backend=backend)(delayed(adapter._threads)(n) for n in (None, 2)) == [1, 2]
    assert Parallel(1)(delayed(adapter._threads)(n) for n in (None, 2)) == [None, 2]


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")
def test_products_in_bfloat16() -> None:
    full, half = (classifier(dtype=dtype).fit(X, y) for dtype in (None, "bfloat16"))
    assert {array.dtype for array in half.coefs_ + half.intercepts_} == {np.dtype(np.float32)}
    gap = abs(half.coefs_[0] - full.coefs_[0]).max()
    assert 0 < gap < 0.05 * abs(full.coefs_[0]).max()
    assert half.loss_ == pytest.approx(full.loss_, rel=0.05)
    with pytest.raises(ConfigError, match="dtype='bfloat16'"):
        classifier(dtype="bfloat16", solver="lbfgs").fit(X, y)


def test_counts_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "usable_cores", lambda: 8)
    assert [adapter._threads(n) for n in (3, -1, -2, -20)] == [3, 8, 7, 1]


# -- scikit-learn's callbacks ---------------------------------------------------------------------


class Watcher:
    """Records what scikit-learn's protocol tells, and stops after an epoch."""

    def __init__(self, stop_after: int = 99) -> None:
        self.told: list[str] = []
        self.scores: list[float] = []
        self.stop_after = stop_after

    def setup(self, estimator: Any, context: Any) -> None:
        self.told.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.told.append(f"begin {context.task_name}")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, fitted_estimator: Any
    ) -> bool:
        self.told.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_name == "epoch" and len(self.scores) == self.stop_after


def test_callbacks_follow_every_epoch_and_may_stop() -> None:
    pytest.importorskip("sklearn.callback")
    watcher = Watcher(stop_after=3)
    model = classifier().set_callbacks(watcher).fit(X, y)
    epoch = ["begin epoch", "end epoch"]
    assert watcher.told == ["setup", "begin fit", *epoch * 3, "end fit", "teardown"]
    assert model.n_iter_ == 3
    expected = [classifier(max_iter=epochs).fit(X, y).score(X, y) for epochs in (1, 2, 3, 3)]
    assert watcher.scores == expected


def test_callbacks_where_scikit_learn_trains() -> None:
    pytest.importorskip("sklearn.callback")
    watcher = Watcher()
    classifier(solver="lbfgs").set_callbacks(watcher).fit(X, y)
    assert watcher.told == ["setup", "begin fit", "end fit", "teardown"]


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        ({"solver": "rmsprop"}, (csr_array(X), y), "solver='rmsprop': found with sparse X"),
        ({"learning_rate": "step"}, (X, np.eye(10)[y]), "learning_rate='step': found with multil"),
        ({"solver": "lbfgs", "verbose": "progress"}, (X, y), "verbose='progress': .*'lbfgs'"),
        ({"monitor": "loss", "early_stopping": True}, (csr_array(X), y), "monitor='loss': "),
    ],
)
def test_what_scikit_learn_lacks_is_refused_where_it_trains(
    settings: dict[str, Any], data: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        classifier(**settings).fit(*data)
    with pytest.raises(ConfigError, match="X_val: found with"):
        classifier(solver="lbfgs").fit(X, y, X_val=X_val, y_val=y_val)


def test_weights_of_other_shapes_never_reach_compiled_code() -> None:
    model = classifier().fit(X, y)
    model.coefs_[0] = model.coefs_[0][:32]
    with pytest.raises(DataError, match="coefs_: found shapes"):
        model.partial_fit(X, y)
    model = MLPRegressor(max_iter=1, warm_start=True).fit(X, y)
    with pytest.raises(DataError, match="with 64 features and 2 outputs"):
        model.fit(X, np.stack([y, y], axis=1))


@pytest.mark.parametrize(
    "wrong",
    [{"solver": "adamw"}, {"n_jobs": 0}, {"step_factor": 0}, {"monitor": "r2"}, {"dropout": 1.0}],
)
def test_wrong_parameters_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter"):
        classifier(**wrong).fit(X, y)


def test_no_warning_escapes_a_run_that_diverges() -> None:
    model = MLPRegressor(solver="sgd", learning_rate_init=1e9, max_iter=9, random_state=0)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        model.fit(X, y)
    model.set_params(early_stopping=True).fit(X, y)
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(X)).all()  # of the best epoch
