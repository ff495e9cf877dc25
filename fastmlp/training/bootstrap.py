"""Bootstrap intervals: how much a metric of a part depends on which rows it happened to get.

Rows are drawn again, with replacement, as many as there are; the interval of a metric is that of the middle 95 % of
what such draws give. All draws of a block are computed at once, from weighted sums over rows.
"""

from __future__ import annotations

import numpy as np

from fastmlp.training.answers import Floats
from fastmlp.training.statistics import Statistics

LEVEL = 0.95
DRAWS = 1000
LEAST_DRAWS = 200  # of many rows, whose intervals are narrow
MOST_ROWS = 10_000_000  # drawn in all, which takes about a second
BLOCK = 200_000  # weights at a time, which fit a cache


def intervals_of(
    statistics: Statistics, rows: int, weights: Floats | None = None, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap interval of each metric.

    Parameters
    ----------
    statistics : callable
        Takes float64 weights [N, B], a column for each draw, and returns B values for each name.
    rows : int
        N.
    weights : float64 array [N], optional
        Of the rows; a row that is drawn twice has twice its weight.
    seed : int
        Equal seeds give equal intervals, with every NumPy.

    Returns
    -------
    dict of str to (float, float)
        The percentiles 2.5 and 97.5 over `draws_of` draws. Draws for which a metric is not defined (NaN) are left out.
    """
    stream = np.random.PCG64(seed)
    count = draws_of(rows)
    at_once = max(1, min(count, BLOCK // rows))
    found: dict[str, list[Floats]] = {}
    for first in range(0, count, at_once):
        columns = min(at_once, count - first)
        raw = stream.random_raw((rows, columns))
        drawn = ((raw >> np.uint64(32)) * np.uint64(rows)) >> np.uint64(32)
        places = drawn.astype(np.int64) * columns + np.arange(columns)
        counts = np.bincount(places.ravel(), minlength=rows * columns).reshape(rows, columns)
        drawn_weights = counts.astype(np.float64)
        if weights is not None:
            drawn_weights *= weights[:, None]
        for name, values in statistics(drawn_weights).items():
            found.setdefault(name, []).append(values)
    ends = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    middle: dict[str, tuple[float, float]] = {}
    for name, blocks in found.items():
        values = np.concatenate(blocks)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = np.percentile(values, ends)
            middle[name] = float(low), float(high)
    return middle


def draws_of(rows: int) -> int:
    """Return how often a part of so many rows is drawn again."""
    return max(LEAST_DRAWS, min(DRAWS, MOST_ROWS // rows))
