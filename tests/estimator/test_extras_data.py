"""Beyond scikit-learn's estimators: validation data and weights of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from estimator_helpers import BATCH, X, X_val, classifier, y, y_val
from scipy.sparse import csr_array
from sklearn import neural_network
from sklearn.metrics import accuracy_score, log_loss, r2_score

from fastmlp import MLPRegressor
from fastmlp.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
