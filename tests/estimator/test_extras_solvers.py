"""Beyond scikit-learn's estimators: solvers, schedules, dropout and initialisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from estimator_helpers import BATCH, X, classifier, y
from sklearn import neural_network
from sklearn.metrics import log_loss
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
from sklearn.preprocessing import LabelBinarizer

from fastmlp import MLPClassifier
from fastmlp.errors import ConfigError
from fastmlp.estimator import adapter

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
