"""For one random_state: scikit-learn's draws, losses, weights and decisions, epoch for epoch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import fastmlp

ROWS, EPOCHS = 260, 20
IMAGES, LABELS = load_digits(return_X_y=True)
X, LABELS = IMAGES[:ROWS] / 16, LABELS[:ROWS]
WEIGHT = np.random.default_rng(0).uniform(0.1, 2, ROWS)
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}

sklearn_version = tuple(map(int, sklearn.__version__.split(".")[:2]))

TARGETS = {
    "many classes": ("MLPClassifier", LABELS),
    "two classes": ("MLPClassifier", np.where(LABELS % 2, "odd", "even")),
    "values": ("MLPRegressor", LABELS / 10),
    "vectors": ("MLPRegressor", np.stack([LABELS / 10, np.sin(LABELS)], axis=1)),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adam, other constants": {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6, "alpha": 0.1},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "sgd without Nesterov": {
        "solver": "sgd",
        "nesterovs_momentum": False,
        "learning_rate_init": 0.05,
    },
    "sgd without momentum": {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "tol": 0.02},
    "no penalty, no shuffle": {"alpha": 0, "shuffle": False},
    "logistic, two layers": {"activation": "logistic", "hidden_layer_sizes": (24, 16)},
    "tanh": {"activation": "tanh"},
    "identity": {"activation": "identity"},
    "no hidden layer": {"hidden_layer_sizes": ()},
}


def pair(kind: str, **settings: Any) -> tuple[Any, Any]:
    """Return scikit-learn's estimator and ours."""
    settings = {
        "hidden_layer_sizes": (20,),
        "batch_size": 48,
        "max_iter": EPOCHS,
        "random_state": 3,
        **settings,
    }
    return getattr(neural_network, kind)(**settings), getattr(fastmlp, kind)(**settings)


def fit(estimator: Any, *data: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*data)


def assert_same(theirs: Any, ours: Any, tolerance: float) -> None:
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=tolerance)
    for name in ("n_iter_", "t_", "_no_improvement_count", "n_layers_", "n_outputs_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_allclose(ours._optimizer.learning_rate, theirs._optimizer.learning_rate)
    for name in ("loss_", "best_loss_", "best_validation_score_", "validation_scores_"):
        expected = getattr(theirs, name)
        if expected is None:
            assert getattr(ours, name) is None, name
        else:
            np.testing.assert_allclose(getattr(ours, name), expected, rtol=tolerance, err_msg=name)
    for name in ("coefs_", "intercepts_"):
        for found, expected in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_every_epoch_is_scikit_learns(settings: str, target: str, dtype: str) -> None:
    kind, y = TARGETS[target]
    if settings == "early stopping" and y.dtype.kind == "U" and sklearn_version < (1, 8):
        pytest.skip("scikit-learn 1.7 cannot stop early with labels that are text")
    theirs, ours = pair(kind, **SETTINGS[settings])
    weight = WEIGHT if settings in ("adam", "sgd", "early stopping") else None
    assert_same(
        fit(theirs, X.astype(dtype), y, weight),
        fit(ours, X.astype(dtype), y, weight),
        TOLERANCE[dtype],
    )
    np.testing.assert_allclose(
        ours.predict_proba(X) if hasattr(ours, "predict_proba") else ours.predict(X),
        theirs.predict_proba(X) if hasattr(ours, "predict_proba") else theirs.predict(X),
        atol=10 * TOLERANCE[dtype],
    )


def test_the_comparison_tells_runs_apart() -> None:
    theirs, ours = pair("MLPClassifier")
    ours.set_params(beta_2=0.9990001)
    with pytest.raises(AssertionError):
        assert_same(fit(theirs, X, LABELS), fit(ours, X, LABELS), TOLERANCE["float64"])


@pytest.mark.parametrize("settings", ["adam", "sgd", "invscaling", "sgd without momentum"])
def test_partial_fit_goes_on_where_it_was(settings: str) -> None:
    theirs, ours = pair("MLPClassifier", **SETTINGS[settings])
    for start in range(0, ROWS, 65):  # of two kinds, each with a smaller last batch
        rows = slice(start, start + 65)
        for model in (theirs, ours):
            model.partial_fit(X[rows], LABELS[rows], WEIGHT[rows], classes=range(10))
    assert_same(theirs, ours, TOLERANCE["float64"])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("settings", ["adam", "invscaling"])
def test_warm_start(settings: str, early_stopping: bool) -> None:
    theirs, ours = pair(
        "MLPRegressor", **SETTINGS[settings], warm_start=True, early_stopping=early_stopping
    )
    for epochs in (4, 9):
        for model in (theirs, ours):
            fit(model.set_params(max_iter=epochs), X, LABELS / 10)
    assert len(ours.loss_curve_) == 13
    assert_same(theirs, ours, TOLERANCE["float64"])


@pytest.mark.parametrize("batch_size", [1, "auto", 1000])
@pytest.mark.filterwarnings("ignore:Got `batch_size`:UserWarning")
def test_batches_from_one_row_to_all(batch_size: int | str) -> None:
    theirs, ours = pair("MLPClassifier", batch_size=batch_size, max_iter=5)
    assert_same(fit(theirs, X, LABELS), fit(ours, X, LABELS), TOLERANCE["float64"])


def test_the_same_random_numbers_are_drawn() -> None:
    states = [np.random.RandomState(5) for _ in range(2)]
    theirs, ours = pair("MLPClassifier", early_stopping=True, max_iter=4)
    for model, state in zip((theirs, ours), states, strict=True):
        fit(model.set_params(random_state=state), X, LABELS)
    assert states[0].randint(1 << 30) == states[1].randint(1 << 30)


def test_the_same_lines_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for model in pair("MLPClassifier", verbose=True, early_stopping=True, tol=0.5, max_iter=30):
        fit(model, X, LABELS)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0].endswith("Stopping.\n")


def test_a_single_class_and_a_single_row() -> None:
    for rows, labels in ((slice(0, 50), np.zeros(50)), (slice(0, 1), ["only"])):
        theirs, ours = pair("MLPClassifier", batch_size="auto", max_iter=3)
        assert_same(fit(theirs, X[rows], labels), fit(ours, X[rows], labels), 1e-9)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_losses_of_certain_answers_are_clipped() -> None:
    y = LABELS % 2
    for target in (y, LABELS % 3):
        theirs, ours = pair("MLPClassifier", solver="sgd", learning_rate_init=1.0, alpha=0)
        big = (X * 100).astype(np.float32)
        for model in (theirs, ours):
            fit(model, big, target)
        assert max(theirs.loss_curve_) > 1
        np.testing.assert_allclose(ours.loss_curve_[0], theirs.loss_curve_[0], rtol=1e-4)


def test_what_the_engine_lacks_is_scikit_learns_own() -> None:
    from scipy.sparse import csr_array

    indicators = np.eye(10, dtype=int)[LABELS]
    for kind, settings, features, y in (
        ("MLPClassifier", {"solver": "lbfgs"}, X, LABELS),
        ("MLPClassifier", {}, csr_array(X), LABELS),
        ("MLPClassifier", {"early_stopping": True}, X, indicators),
        ("MLPRegressor", {"loss": "poisson"}, X, LABELS),
    ):
        theirs, ours = pair(kind, max_iter=3, **settings)
        fit(theirs, features, y)
        fit(ours, features, y)
        for found, expected in zip(ours.coefs_, theirs.coefs_, strict=True):
            np.testing.assert_array_equal(found, expected)
