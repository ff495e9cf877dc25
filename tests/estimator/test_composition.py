"""Inside scikit-learn's own tools, in place of its estimators, and without a warning."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor

IMAGES, y = load_digits(return_X_y=True)
X, y = IMAGES[:240] / 16, y[:240]
# Stops by itself: a training that reaches max_iter warns.
SMALL = {"hidden_layer_sizes": (16,), "random_state": 0, "tol": 0.02, "n_iter_no_change": 2}


def test_a_grid_search_of_a_pipeline_in_two_processes() -> None:
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    grid = {"mlpclassifier__learning_rate_init": [0.001, 0.02]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=2, error_score="raise").fit(X, y)
    alone = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_ == alone.best_params_
    found, expected = (s.cv_results_["mean_test_score"] for s in (search, alone))
    np.testing.assert_array_equal(found, expected)


def test_a_halving_search() -> None:
    grid = {"learning_rate_init": [0.001, 0.02]}
    ours, theirs = (
        HalvingGridSearchCV(model, grid, cv=2, random_state=0, error_score="raise").fit(X, y)
        for model in (MLPClassifier(**SMALL), sklearn.neural_network.MLPClassifier(**SMALL))
    )
    found, expected = (s.cv_results_["mean_test_score"] for s in (ours, theirs))
    np.testing.assert_array_equal(found, expected)


def test_cross_validation_of_a_regressor() -> None:
    model = MLPRegressor(**SMALL)
    scores = cross_validate(model, X, y / 10, cv=3, error_score="raise", return_train_score=True)
    assert np.isfinite(scores["train_score"]).all()


def test_calibration_and_importance() -> None:
    model = CalibratedClassifierCV(MLPClassifier(**SMALL), cv=2).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    fitted = MLPClassifier(**SMALL).fit(X, y)
    result = permutation_importance(fitted, X, y, n_repeats=1, random_state=0)
    assert result.importances_mean[0] == 0  # a pixel that is never set


def test_validation_data_through_a_pipeline() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(**SMALL).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), model)
        pipeline.set_params(transform_input=["X_val"])
        pipeline.fit(X, y, X_val=X[:50], y_val=y[:50])
    scaled = pipeline[0].transform(X[:50])
    assert pipeline[-1].validation_scores_[-1] == pipeline[-1].score(scaled, y[:50])


# -- in place of scikit-learn's names -------------------------------------------------------------


@pytest.fixture
def _patched() -> Iterator[None]:
    fastmlp.patch_sklearn()
    yield
    fastmlp.unpatch_sklearn()


@pytest.mark.usefixtures("_patched")
def test_patched_names_are_ours() -> None:
    from sklearn.neural_network import MLPClassifier as imported

    assert imported is MLPClassifier
    assert sklearn.neural_network.MLPRegressor is MLPRegressor
    fastmlp.patch_sklearn()
    fastmlp.unpatch_sklearn()
    theirs: Any = sklearn.neural_network.MLPClassifier
    assert theirs.__module__ == "sklearn.neural_network._multilayer_perceptron"
    assert not isinstance(theirs(), MLPClassifier)
    assert isinstance(imported(), theirs)


def test_a_script_runs_patched(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from sklearn.neural_network import MLPClassifier\n"
        "if __name__ == '__main__':\n"
        "    print(MLPClassifier.__module__, sys.argv[1:])\n"
    )
    command = [sys.executable, "-m", "fastmlp.estimator", str(script), "--fast"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "fastmlp.estimator.classifier ['--fast']\n"
    result = subprocess.run(command[:3], capture_output=True, text=True)
    assert (result.returncode, result.stderr[:22]) == (2, "fastmlp: error: usage:")
