"""Put fastmlp's estimators behind scikit-learn's names."""

from __future__ import annotations

from multiprocessing import spawn
from typing import Any

import sklearn.neural_network
from sklearn.neural_network import _multilayer_perceptron

from fastmlp.estimator.classifier import MLPClassifier
from fastmlp.estimator.regressor import MLPRegressor

_prepare = spawn.get_preparation_data


class _Patch:
    """What patches the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return patch_sklearn, ()


def _prepare_patched(name: str) -> dict[str, Any]:
    """Return what a new process is told before it imports the script: also to patch itself."""
    return {**_prepare(name), "fastmlp": _Patch()}


def patch_sklearn() -> None:
    """Make ``sklearn.neural_network`` give fastmlp's MLPClassifier and MLPRegressor.

    It acts on later imports anywhere in the process, in pipelines and searches too, and in the processes that
    `multiprocessing` starts afterwards, by whatever method; ``python -m fastmlp.estimator script.py`` patches before
    the script begins. Older pickles load unchanged.
    """
    spawn.get_preparation_data = _prepare_patched
    for ours in (MLPClassifier, MLPRegressor):
        setattr(sklearn.neural_network, ours.__name__, ours)


def unpatch_sklearn() -> None:
    """Undo `patch_sklearn`. Existing estimators keep their class."""
    spawn.get_preparation_data = _prepare
    for ours in (MLPClassifier, MLPRegressor):
        theirs = getattr(_multilayer_perceptron, ours.__name__)
        setattr(sklearn.neural_network, ours.__name__, theirs)
