"""scikit-learn's own tests of its two classes, run unchanged with ours in their place."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

import fastmlp


def _suite_with_our_classes() -> ModuleType:
    found = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert found is not None
    assert found.origin is not None
    spec = importlib.util.spec_from_file_location("mlp_suite", found.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    fastmlp.patch_sklearn()
    try:
        spec.loader.exec_module(module)
    finally:
        fastmlp.unpatch_sklearn()
    return module


_suite = _suite_with_our_classes()
_tests = {name: one for name, one in vars(_suite).items() if name.startswith("test_")}
globals().update(_tests)

# As scikit-learn runs them: a training that ends before it has converged is no error there.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def global_random_seed() -> int:
    """Return the seed that scikit-learn's tests ask for."""
    return 42


def test_the_suite_is_whole_and_ours() -> None:
    assert _suite.MLPClassifier is fastmlp.MLPClassifier
    assert _suite.MLPRegressor is fastmlp.MLPRegressor
    assert len(_tests) >= 40
