"""Fits of scikit-learn's MLPClassifier and ours, taking turns: the same settings and the same losses.

Each gets all cores. Compilation is not timed: a first, short fit comes before. Losses are compared
for two epochs: with Adam, float32 and small batches scikit-learn soon leaves its own curve where its
BLAS has two threads instead of one (by 1 % in the tenth epoch on the digits).
"""

from __future__ import annotations

import time
import warnings
from functools import cache
from statistics import median
from typing import Any

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp.bench.measure import PAUSE
from fastmlp.datasets import load

ROWS, ROUNDS = 4_000, 3
EPOCHS = {"digits": 20, "mnist": 3, "cifar10": 4}
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
DEEP = (512, 128, 32)

# The network that the promise is about: times as fast, at the least.
PROMISED = [
    (data, DEEP, "float32", solver, batch, 3 if batch == "auto" else 4)
    for data in ("digits", "mnist", "cifar10")
    for solver in ("sgd", "adam")
    for batch in (10, 32, 100, "auto")
]
# Everything else: no slower.
OTHERS = [
    (data, (width,), dtype, "adam", batch, 1)
    for data in ("digits", "mnist")
    for width in (16, 128, 1024)
    for dtype in ("float32", "float64")
    for batch in (10, "auto")
]


@cache
def examples(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scaled images and labels."""
    part = load(name).train
    images = part.images[:ROWS]
    return (images / images.max()).astype(dtype), part.labels[:ROWS]


def timed(kind: Any, X: np.ndarray, y: np.ndarray, **settings: Any) -> tuple[float, list[float]]:
    """Return the seconds of a fit, and its losses."""
    model = kind(random_state=0, **settings)
    time.sleep(PAUSE)  # threads of the fit before fall asleep
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - start, model.loss_curve_


@pytest.mark.parametrize(
    ("data", "hidden", "dtype", "solver", "batch", "floor"), [*PROMISED, *OTHERS]
)
def test_times_as_fast_as_scikit_learn(
    data: str,
    hidden: tuple[int, ...],
    dtype: str,
    solver: str,
    batch: int | str,
    floor: float,
    rates: list[str],
) -> None:
    """Compare the medians of a few fits."""
    X, y = examples(data, dtype)
    settings = {"hidden_layer_sizes": hidden, "solver": solver, "batch_size": batch}
    ours, theirs = fastmlp.MLPClassifier, neural_network.MLPClassifier
    timed(ours, X[:200], y[:200], max_iter=1, **settings)
    seconds: dict[Any, list[float]] = {ours: [], theirs: []}
    losses: dict[Any, list[float]] = {}
    for _ in range(ROUNDS):
        for kind, taken in seconds.items():
            duration, losses[kind] = timed(kind, X, y, max_iter=EPOCHS[data], **settings)
            taken.append(duration)
    np.testing.assert_allclose(losses[ours][:2], losses[theirs][:2], rtol=TOLERANCE[dtype])
    ratio = median(seconds[theirs]) / median(seconds[ours])
    case = f"{data:8} {'-'.join(map(str, hidden)):11} {dtype} {solver:4} batch {batch!s:5}"
    rates.append(f"{case} {median(seconds[ours]):8.3f} s  {ratio:5.1f} times scikit-learn")
    assert ratio >= floor
