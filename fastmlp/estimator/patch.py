"""Put fastmlp's estimators behind scikit-learn's names."""

from __future__ import annotations

import sklearn.neural_network
from sklearn.neural_network import _multilayer_perceptron

from fastmlp.estimator.classifier import MLPClassifier
from fastmlp.estimator.regressor import MLPRegressor


def patch_sklearn() -> None:
    """Make ``sklearn.neural_network`` give fastmlp's MLPClassifier and MLPRegressor.

    It acts on later imports anywhere in the process, in pipelines and searches too; ``python -m
    fastmlp.estimator script.py`` patches before the script begins. Older pickles load unchanged.
    """
    for ours in (MLPClassifier, MLPRegressor):
        setattr(sklearn.neural_network, ours.__name__, ours)


def unpatch_sklearn() -> None:
    """Undo `patch_sklearn`. Existing estimators keep their class."""
    for ours in (MLPClassifier, MLPRegressor):
        theirs = getattr(_multilayer_perceptron, ours.__name__)
        setattr(sklearn.neural_network, ours.__name__, theirs)
