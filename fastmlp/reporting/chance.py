"""What chance explains: intervals of accuracies, and tests of whether one network is better than another.

A test part is a sample, so an accuracy on it has an interval; the same training with another seed gives another
network, so a mean over seeds has one, too. SciPy is imported when a test is made, not with this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000


def wilson(accuracy: float, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    Parameters
    ----------
    accuracy : float
        The share that was found, from 0 to 1.
    count : int
        Of how many.
    confidence : float
        How often such intervals hold the true share.

    Returns
    -------
    (float, float)
        From 0 to 1.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    width = 1 + z * z / count
    middle = (accuracy + z * z / (2 * count)) / width
    spread = accuracy * (1 - accuracy) / count + z * z / (4 * count * count)
    half = z / width * math.sqrt(spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def student(degrees: float) -> float:
    """Return how many standard errors an interval reaches to each side, for a spread of so many degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, degrees))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact p-value of McNemar's test.

    Parameters
    ----------
    only_first, only_second : int
        How many rows the first network alone, and the second alone, has right.
    """
    from scipy.stats import binomtest

    count = only_first + only_second
    return float(binomtest(only_first, count).pvalue) if count else 1.0


def bootstrap(differences: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the interval of the mean of paired differences [N], by resampling rows.

    Rows with the same difference are drawn together, so that the time hardly depends on N.
    """
    values, counts = np.unique(differences, return_counts=True)
    random = np.random.default_rng(seed)
    total = len(differences)
    if len(values) <= 1000:
        drawn = random.multinomial(total, counts / total, RESAMPLES)
        means = drawn @ values / total
    else:
        means = np.array(
            [differences[random.integers(0, total, total)].mean() for _ in range(RESAMPLES // 5)]
        )
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """How far two sides are apart, and what of it chance explains.

    Attributes
    ----------
    mean : float
        The first side's mean less the second's.
    rows : float
        The standard error by the size of the test part.
    seeds : float or None
        The standard error by seeds; None if neither side has two.
    low, high : float
        The interval of the mean, by rows and seeds together.
    p : float
        How likely a difference as great would be if there was none.
    """

    mean: float
    rows: float
    seeds: float | None
    low: float
    high: float
    p: float


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> Difference:
    """Compare two sides on the same rows.

    The variance of the mean is that over rows of the test part plus that over seeds, each as far as it is known. A
    side of one seed is taken to have the other's spread.

    Parameters
    ----------
    first, second : float64 [seeds, N]
        Each network's score of each row, such as 1 where it is right.
    """
    from scipy.stats import t

    each = first.mean(axis=0) - second.mean(axis=0)
    mean, count = float(each.mean()), len(each)
    terms = [(float(each.var(ddof=1)) / count if count > 1 else 0.0, max(count - 1, 1))]
    sides = [side.mean(axis=1) for side in (first, second)]
    known = [side for side in sides if len(side) > 1]
    if len(known) == 2:
        terms += [(float(side.var(ddof=1)) / len(side), len(side) - 1) for side in sides]
    elif known:
        shared = float(known[0].var(ddof=1)) * sum(1 / len(side) for side in sides)
        terms.append((shared, len(known[0]) - 1))
    variance = math.fsum(term for term, _ in terms)
    rows = math.sqrt(terms[0][0])
    seeds = math.sqrt(math.fsum(term for term, _ in terms[1:])) if known else None
    if not variance:
        return Difference(mean, rows, seeds, mean, mean, 0.0 if mean else 1.0)
    # Welch's and Satterthwaite's degrees of freedom of a sum of variances.
    degrees = variance**2 / math.fsum(term**2 / free for term, free in terms)
    error = math.sqrt(variance)
    reach = student(degrees) * error
    p = float(2 * t.sf(abs(mean) / error, degrees))
    return Difference(mean, rows, seeds, mean - reach, mean + reach, p)


def interval(
    mean: float, count: int | None, error: float = 0.0, degrees: float = 1
) -> tuple[float, float]:
    """Return the interval of a mean by the size of the part and by seeds together.

    Parameters
    ----------
    mean : float
        A share, as an accuracy is, where `count` is given.
    count : int, optional
        The rows of the part.
    error : float
        The standard error by seeds.
    degrees : float
        Of freedom of that error.
    """
    spread = student(degrees) * error if error else 0.0
    low, high = (mean, mean) if count is None else wilson(mean, count)
    low, high = mean - math.hypot(mean - low, spread), mean + math.hypot(high - mean, spread)
    return (low, high) if count is None else (max(0.0, low), min(1.0, high))


def expected_interval(values: Sequence[float], count: int | None) -> tuple[float, float] | None:
    """Return where one more training's number lies, by the spread over seeds and the size of the part.

    Parameters
    ----------
    values : sequence of float
        One a seed; accuracies where `count` is given.
    count : int, optional
        The rows of the part that they were measured on.

    Returns
    -------
    (float, float) or None
        None for one seed and no count: nothing is known of the spread.
    """
    seeds = len(values)
    mean = math.fsum(values) / seeds
    if seeds == 1:
        return None if count is None else interval(mean, count)
    variance = math.fsum((value - mean) ** 2 for value in values) / (seeds - 1)
    return interval(mean, count, math.sqrt(variance * (1 + 1 / seeds)), seeds - 1)
