"""scikit-learn's multilayer perceptrons on fastmlp's engine: the same numbers, many times faster.

``classifier`` and ``regressor`` hold the two estimators, ``training`` the loop that replaces
scikit-learn's, ``adapter`` and ``solvers`` its link to the engine, ``callbacks`` what callbacks are
told. ``convert``, ``export`` and ``files`` turn an estimator into other forms and back. ``patch``
puts these estimators behind scikit-learn's names; ``python -m fastmlp.estimator script.py`` does so
for a script.
"""

from fastmlp.estimator.classifier import MLPClassifier
from fastmlp.estimator.export import to_onnx
from fastmlp.estimator.patch import patch_sklearn, unpatch_sklearn
from fastmlp.estimator.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "patch_sklearn", "to_onnx", "unpatch_sklearn"]
