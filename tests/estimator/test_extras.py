"""What scikit-learn's estimators do not have: validation data, weights of classes, schedules, ..."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy.sparse import csr_array
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
from sklearn.preprocessing import LabelBinarizer

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.errors import ConfigError, DataError
from fastmlp.estimator import adapter

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IMAGES, LABELS = load_digits(return_X_y=True)
X, y = IMAGES[:200] / 16, LABELS[:200]
X_val, y_val = IMAGES[200:300] / 16, LABELS[200:300]
BATCH = 64


def classifier(**settings: Any) -> MLPClassifier:
    small = {"hidden_layer_sizes": (16,), "batch_size": BATCH, "max_iter": 8, "random_state": 0}
    return MLPClassifier(**{**small, **settings})


# -- validation data ------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
def test_given_validation_data_are_recorded(early_stopping: bool) -> None:
    weight = np.linspace(0.5, 2, len(y_val))
    model = classifier(early_stopping=early_stopping)
    model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert len(model.validation_loss_curve_) == len(model.validation_scores_) == model.n_iter_ == 8
    assert model.t_ == 8 * len(X)  # nothing was set aside
    same = classifier().fit(X, y)
    np.testing.assert_array_equal(model.loss_curve_, same.loss_curve_)
    expected = log_loss(y_val, same.predict_proba(X_val), sample_weight=weight)
    assert model.validation_loss_curve_[-1] == pytest.approx(expected)
    expected = accuracy_score(y_val, same.predict(X_val), sample_weight=weight)
    assert model.validation_scores_[-1] == pytest.approx(expected)


def test_validation_of_a_regressor() -> None:
    model = MLPRegressor(hidden_layer_sizes=(16,), max_iter=5, random_state=0)
    model.fit(X, y / 10, X_val=X_val, y_val=y_val / 10)
    found = model.predict(X_val)
    assert model.validation_scores_[-1] == pytest.approx(r2_score(y_val / 10, found))
    expected = np.mean((y_val / 10 - found) ** 2) / 2
    assert model.validation_loss_curve_[-1] == pytest.approx(expected)


@pytest.mark.parametrize(("monitor", "best"), [("score", np.argmax), ("loss", np.argmin)])
def test_the_weights_of_the_best_epoch_are_restored(
    monitor: str, best: Callable[[list[float]], int]
) -> None:
    model = classifier(
        learning_rate_init=0.1,
        max_iter=12,
        early_stopping=True,
        monitor=monitor,
        n_iter_no_change=12,
    )
    model.fit(X, y, X_val=X_val, y_val=y_val)
    curve = {"score": model.validation_scores_, "loss": model.validation_loss_curve_}[monitor]
    epoch = int(best(curve))
    assert epoch < 11  # the last would be no test
    again = classifier(learning_rate_init=0.1, max_iter=epoch + 1).fit(X, y)
    for name in ("coefs_", "intercepts_"):
        for found, expected in zip(getattr(model, name), getattr(again, name), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert model.best_validation_score_ == model.validation_scores_[epoch]
    assert model.score(X_val, y_val) == pytest.approx(model.best_validation_score_)


def test_stopping_on_the_validation_loss() -> None:
    model = classifier(
        learning_rate_init=0.1, max_iter=99, early_stopping=True, monitor="loss", n_iter_no_change=3
    )
    model.fit(X, y, X_val=X_val, y_val=y_val)
    losses = model.validation_loss_curve_
    assert len(losses) < 99
    best = np.minimum.accumulate([np.inf, *losses[:-1]])
    assert (np.array(losses) > best - model.tol)[-4:].all()


def test_a_score_of_one_row_is_refused_where_training_stops_by_it() -> None:
    one = {"X_val": X[:1], "y_val": y[:1]}
    with pytest.raises(DataError, match="y_val: found one row, expected at least two"):
        MLPRegressor(early_stopping=True).fit(X, y, **one)
    by_loss = MLPRegressor(early_stopping=True, monitor="loss", max_iter=3)
    with pytest.warns(UserWarning, match="not well-defined"):
        assert len(by_loss.fit(X, y, **one).validation_loss_curve_) == 3


def test_a_warm_start_keeps_the_best_of_all_fits() -> None:
    model = classifier(early_stopping=True, warm_start=True, max_iter=20, learning_rate_init=0.01)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    best = model.best_validation_score_
    model.set_params(learning_rate_init=5.0, max_iter=2).fit(X, y, X_val=X_val, y_val=y_val)
    assert max(model.validation_scores_[-2:]) < best
    assert model.score(X_val, y_val) == pytest.approx(best)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"X_val": X_val}, "y_val: found None, expected it together with X_val"),
        ({"y_val": y_val}, "X_val: found None"),
        ({"X_val": X_val, "y_val": y_val + 5}, r"y_val: found the labels \[10, "),
        ({"X_val": X_val, "y_val": y_val[1:]}, "inconsistent numbers of samples"),
        ({"X_val": X_val[:, 1:], "y_val": y_val}, "expecting 64 features"),
        ({"X_val": csr_array(X_val), "y_val": y_val}, "[Ss]parse"),
    ],
)
def test_validation_data_that_do_not_fit(validation: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        classifier().fit(X, y, **validation)


def test_validation_targets_of_another_width() -> None:
    with pytest.raises(DataError, match="y_val: found 2 outputs, expected 1"):
        MLPRegressor().fit(X, y, X_val=X_val, y_val=np.stack([y_val, y_val], axis=1))


# -- weights of classes ---------------------------------------------------------------------------


def test_class_weight_is_a_weight_of_samples() -> None:
    weight = np.linspace(1, 2, len(y))
    heavy = {digit: 1 + digit for digit in range(10)}
    for extra in (1, weight):
        own = None if isinstance(extra, int) else weight
        model = classifier(class_weight=heavy).fit(X, y, own)
        expected = classifier().fit(X, y, extra * (1.0 + y))
        np.testing.assert_array_equal(model.loss_curve_, expected.loss_curve_)


def test_balanced_classes() -> None:
    few = np.concatenate([np.flatnonzero(y == 1), np.flatnonzero(y == 2)[:4]])
    counts = {1: np.sum(y[few] == 1), 2: 4}
    weight = [len(few) / (2 * counts[label]) for label in y[few]]
    model = classifier(class_weight="balanced", batch_size=8).fit(X[few], y[few])
    expected = classifier(batch_size=8).fit(X[few], y[few], weight)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-12)
    with pytest.raises(ConfigError, match="'balanced' in partial_fit"):
        model.partial_fit(X[few], y[few])


def test_class_weight_where_scikit_learn_trains() -> None:
    heavy = {digit: 1 + digit for digit in range(10)}
    model = classifier(class_weight=heavy, solver="lbfgs").fit(X, y)
    expected = neural_network.MLPClassifier(
        (16,), batch_size=BATCH, max_iter=8, random_state=0, solver="lbfgs"
    ).fit(X, y, 1.0 + y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


def test_a_batch_without_weight_says_what_to_do() -> None:
    weight = np.r_[np.zeros(BATCH), np.ones(len(y) - BATCH)]
    with pytest.raises(ZeroDivisionError, match="a batch whose weights sum to zero"):
        classifier(shuffle=False).fit(X, y, weight)


# -- solvers and schedules, against scikit-learn's own gradients ----------------------------------


def sklearn_trained(model: MLPClassifier, step: Callable[..., None]) -> list[float]:
    """Return the losses of unshuffled epochs whose steps ``step(epoch, params, gradients)`` takes."""
    twin = neural_network.MLPClassifier(
        (16,), batch_size=BATCH, max_iter=1, random_state=0, learning_rate_init=1e-300, alpha=0.1
    )
    twin.set_params(shuffle=False).fit(X, y)  # its weights have not moved
    Y = LabelBinarizer().fit_transform(y)
    params = twin.coefs_ + twin.intercepts_
    layers = len(twin.coefs_)
    losses = []
    for epoch in range(model.max_iter):
        total = 0.0
        for start in range(0, len(X), BATCH):
            rows = slice(start, start + BATCH)
            empty: list[Any] = [None] * layers
            loss, coef_grads, intercept_grads = twin._backprop(
                X[rows],
                Y[rows],
                None,
                [X[rows], None, None],
                empty,
                [None] * layers,
                [None] * layers,
            )
            total += loss * len(X[rows])
            step(epoch, params, coef_grads + intercept_grads)
        losses.append(total / len(X))
    return losses


def test_rmsprop() -> None:
    model = classifier(solver="rmsprop", shuffle=False, alpha=0.1).fit(X, y)
    squares: list[Any] = [0.0] * 4

    def step(_: int, params: list[np.ndarray], gradients: list[np.ndarray]) -> None:
        for i, (param, gradient) in enumerate(zip(params, gradients, strict=True)):
            squares[i] = 0.99 * squares[i] + 0.01 * gradient**2
            param -= 0.001 * gradient / (np.sqrt(squares[i]) + 1e-8)

    np.testing.assert_allclose(model.loss_curve_, sklearn_trained(model, step), rtol=1e-9)


def test_step_decay() -> None:
    settings = {"solver": "sgd", "learning_rate": "step", "step_epochs": 3, "step_factor": 0.5}
    model = classifier(learning_rate_init=0.1, shuffle=False, alpha=0.1, **settings).fit(X, y)
    solver: list[SGDOptimizer] = []

    def step(epoch: int, params: list[np.ndarray], gradients: list[np.ndarray]) -> None:
        solver[:] = solver or [SGDOptimizer(params, momentum=0.9, nesterov=True)]
        solver[0].learning_rate = 0.1 * 0.5 ** (epoch // 3)
        solver[0].update_params(params, gradients)

    np.testing.assert_allclose(model.loss_curve_, sklearn_trained(model, step), rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "rmsprop"])
def test_step_decay_acts_on_every_solver(solver: str) -> None:
    settings = {"solver": solver, "learning_rate": "step", "step_epochs": 4, "step_factor": 1e-9}
    model = classifier(**settings).fit(X, y)
    np.testing.assert_array_equal(
        model.loss_curve_[:4], classifier(solver=solver).fit(X, y).loss_curve_[:4]
    )
    assert model.loss_curve_[7] == pytest.approx(model.loss_curve_[4], rel=1e-6)


def test_dropout() -> None:
    wide = {"hidden_layer_sizes": (64,), "learning_rate_init": 0.01, "max_iter": 40}
    plain, never, half = (
        classifier(**wide, **more).fit(X, y) for more in ({}, {"dropout": 0.0}, {"dropout": 0.5})
    )
    np.testing.assert_array_equal(never.loss_curve_, plain.loss_curve_)
    again = classifier(**wide, dropout=0.5, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(again.loss_curve_, half.loss_curve_)
    # The curve is of thinned networks; all units together predict better than any of them.
    assert plain.loss_curve_[-1] < log_loss(y, half.predict_proba(X)) < half.loss_curve_[-1] / 2
    with pytest.raises(ConfigError, match=r"dropout=0\.5: found with"):
        classifier(solver="lbfgs", dropout=0.5).fit(X, y)


def test_dropout_never_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every call begins with the same random state, and the rows come in the same order.
    keys = []
    epoch = adapter.EngineAdapter.epoch
    monkeypatch.setattr(
        adapter.EngineAdapter,
        "epoch",
        lambda self, *given: keys.append(given[-1]) or epoch(self, *given),
    )
    model = classifier(dropout=0.5, warm_start=True, max_iter=2, random_state=0)
    for _ in range(3):
        model.partial_fit(X, y, classes=range(10))
    for _ in range(3):
        model.fit(X, y)
    assert len(set(keys)) == len(keys) == 9


@pytest.mark.parametrize("solver", ["adam", "rmsprop", "sgd"])
def test_partial_fit_takes_the_steps_of_fit(solver: str) -> None:
    # alpha 0: each call sees all the data, in one random order after another.
    whole = classifier(solver=solver, random_state=np.random.RandomState(1)).fit(X, y)
    parts = classifier(solver=solver, random_state=np.random.RandomState(1))
    for _ in range(8):
        parts.partial_fit(X, y, classes=range(10))
    assert len(parts.loss_curve_) == 8
    assert parts.loss_curve_[0] == whole.loss_curve_[0]


# -- initialisation -------------------------------------------------------------------------------


def test_initialisation() -> None:
    # A rate that moves no weight leaves them as they were drawn.
    def drawn(name: str) -> np.ndarray:
        model = classifier(
            initialization=name, learning_rate_init=1e-300, hidden_layer_sizes=(500,)
        )
        coef: np.ndarray = model.fit(X, y).coefs_[0]
        return coef

    assert drawn("he").std() == pytest.approx(np.sqrt(2 / 64), rel=0.02)
    assert drawn("glorot").std() == pytest.approx(np.sqrt(2 / 564), rel=0.02)
    assert 0.124 < np.abs(drawn("torch")).max() <= 0.125
    assert not drawn("zeros").any()
    np.testing.assert_array_equal(drawn("he"), drawn("he"))


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
