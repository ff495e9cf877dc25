"""Intervals and tests: equal to SciPy's, and right about samples whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from fastmlp.reporting.chance import (
    bootstrap,
    difference,
    expected_interval,
    mcnemar,
    student,
    wilson,
)


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (1821, 2000), (1, 2), (9860, 10000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(right: int, count: int, confidence: float) -> None:
    expected = stats.binomtest(right, count).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose(wilson(right / count, count, confidence), expected, atol=1e-12)


def test_wilson_is_that_of_statsmodels() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    expected = proportion.proportion_confint(917.5, 1000, method="wilson")  # a mean over seeds
    np.testing.assert_allclose(wilson(0.9175, 1000), expected, atol=1e-12)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (10, 1), (120, 90), (0, 8)])
def test_mcnemar_is_exact(first: int, second: int) -> None:
    count = first + second
    tail = stats.binom.cdf(min(first, second), count, 0.5) if count else 1
    assert mcnemar(first, second) == pytest.approx(min(1, 2 * tail))


def test_mcnemar_is_that_of_statsmodels() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    expected = tables.mcnemar([[500, 31], [12, 457]], exact=True).pvalue
    assert mcnemar(31, 12) == pytest.approx(expected)


@pytest.mark.parametrize("continuous", [False, True])
def test_the_bootstrap_is_scipys(continuous: bool) -> None:
    random = np.random.default_rng(1)
    each = random.choice([-1.0, 0.0, 1.0], 1500, p=[0.05, 0.85, 0.1])
    if continuous:
        each += random.normal(0, 0.1, len(each))
    found = bootstrap(each)
    expected = stats.bootstrap(
        (each,), np.mean, n_resamples=3000, method="percentile", random_state=random
    ).confidence_interval
    np.testing.assert_allclose(found, expected, atol=0.002)
    assert found == bootstrap(each)  # no chance in it


def test_the_spread_over_seeds_is_welchs() -> None:
    # Scores that are the same in every row leave the spread over seeds alone.
    first, second = [0.90, 0.92, 0.91], [0.93, 0.96, 0.95, 0.94]
    sides = [np.repeat(np.array(one)[:, None], 50, axis=1) for one in (first, second)]
    found = difference(*sides)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "least", "most"), [(0.0, 0.0, 0.06), (0.03, 0.9, 1.0)])
def test_it_is_wrong_no_more_often_than_it_says(gain: float, least: float, most: float) -> None:
    random = np.random.default_rng(0)
    told = []
    for _ in range(300):
        ease = random.beta(6, 1, 3000)  # how likely each row is answered right

        def side(better: float, ease: np.ndarray = ease) -> np.ndarray:
            shares = np.clip(ease + better + random.normal(0, 0.004, (3, 1)), 0, 1)
            return (random.random(shares.shape) < shares).astype(float)

        told.append(difference(side(gain), side(0)).p < 0.05)
    assert least <= np.mean(told) <= most


def test_where_one_more_training_lies() -> None:
    values = [0.90, 0.92, 0.91]
    alone = expected_interval(values, None)
    reach = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) * np.sqrt(4 / 3)
    assert alone == pytest.approx((0.91 - reach, 0.91 + reach))
    low, high = expected_interval(values, 1000)  # type: ignore[misc]
    assert low < alone[0] < alone[1] < high  # type: ignore[index]
    assert expected_interval([0.9], 1000) == pytest.approx(wilson(0.9, 1000))
    assert expected_interval([0.9], None) is None
    assert student(1e9) == pytest.approx(1.959964, abs=1e-5)
