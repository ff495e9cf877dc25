"""scikit-learn's multilayer perceptrons on fastmlp's engine: the same numbers, many times faster.

``classifier`` and ``regressor`` hold what a person calls, ``training`` the loop that replaces
scikit-learn's, ``run`` and ``solvers`` its way to the engine, ``convert`` what turns an estimator
into other things and back, ``patch`` what gives scripts that import scikit-learn's names ours.
"""

from fastmlp.estimator.classifier import MLPClassifier
from fastmlp.estimator.convert import load
from fastmlp.estimator.patch import patch_sklearn, unpatch_sklearn
from fastmlp.estimator.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "load", "patch_sklearn", "unpatch_sklearn"]
