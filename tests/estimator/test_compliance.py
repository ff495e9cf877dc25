"""scikit-learn's checks of estimators: those of its own classes, and none excused that they pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn import neural_network
from sklearn.base import clone
from sklearn.utils._test_common.instance_generator import (
    PER_ESTIMATOR_CHECK_PARAMS,
    PER_ESTIMATOR_XFAIL_CHECKS,
)
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import fastmlp

PAIRS = [
    (neural_network.MLPClassifier, fastmlp.MLPClassifier),
    (neural_network.MLPRegressor, fastmlp.MLPRegressor),
]
# What scikit-learn sets for some checks of its own classes; of others' it knows nothing.
SETTINGS = {ours: PER_ESTIMATOR_CHECK_PARAMS.get(theirs, {}) for theirs, ours in PAIRS}
EXCUSED = {ours: PER_ESTIMATOR_XFAIL_CHECKS.get(theirs, {}) for theirs, ours in PAIRS}


@parametrize_with_checks(
    [ours(max_iter=100) for _, ours in PAIRS],  # as scikit-learn's own are tested
    expected_failed_checks=lambda estimator: EXCUSED[type(estimator)],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_check(estimator: Any, check: Callable[[Any], None]) -> None:
    name = check.func.__name__  # type: ignore[attr-defined]
    settings = SETTINGS[type(estimator)].get(name, {})
    for one in settings if isinstance(settings, list) else [settings]:
        check(clone(estimator).set_params(**one))


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_all_checks_are_collected(theirs: Any, ours: Any) -> None:
    def names(estimator: Any) -> list[str]:
        return [check.func.__name__ for _, check in estimator_checks_generator(estimator)]

    found, expected = names(ours()), names(theirs())
    assert len(expected) >= 50
    if theirs is neural_network.MLPClassifier:  # has no class_weight
        expected += ["check_class_weight_classifiers"]
    assert sorted(found) == sorted(expected)
