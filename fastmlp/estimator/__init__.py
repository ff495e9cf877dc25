"""scikit-learn's multilayer perceptrons on fastmlp's engine: the same numbers, many times faster.

``classifier`` and ``regressor`` hold what a person calls, ``training`` the loop that replaces
scikit-learn's, ``run`` and ``solvers`` its way to the engine, ``convert`` and ``files`` what turns
an estimator into other things and back, ``patch`` what gives scripts that import scikit-learn's
names ours. ``python -m fastmlp.estimator script.py`` runs a script so.
"""

from fastmlp.estimator.classifier import MLPClassifier
from fastmlp.estimator.export import to_onnx
from fastmlp.estimator.patch import patch_sklearn, unpatch_sklearn
from fastmlp.estimator.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "patch_sklearn", "to_onnx", "unpatch_sklearn"]
