"""Give scripts that import scikit-learn's names fastmlp's estimators."""

from __future__ import annotations

import sklearn.neural_network
from sklearn.neural_network import _multilayer_perceptron

from fastmlp.estimator.classifier import MLPClassifier
from fastmlp.estimator.regressor import MLPRegressor


def patch_sklearn() -> None:
    """Make ``sklearn.neural_network`` give fastmlp's MLPClassifier and MLPRegressor.

    For imports that come after it, anywhere in the process, inside pipelines and searches too;
    ``python -m fastmlp.estimator script.py`` patches before the script begins. Pickles made before
    load as what they were.
    """
    for ours in (MLPClassifier, MLPRegressor):
        setattr(sklearn.neural_network, ours.__name__, ours)


def unpatch_sklearn() -> None:
    """Undo `patch_sklearn`; estimators that exist stay what they are."""
    for ours in (MLPClassifier, MLPRegressor):
        theirs = getattr(_multilayer_perceptron, ours.__name__)
        setattr(sklearn.neural_network, ours.__name__, theirs)
