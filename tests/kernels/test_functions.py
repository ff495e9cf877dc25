"""The kernels' own exponential and what is made of it, in units in the last place of the result.

Arguments are bit patterns out of all that there are (every exponent, subnormal numbers, infinities
and NaN with both signs) and numbers where the functions bend.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_helpers import dtypes, entry

from fastmlp.kernels.activations import value_code
from fastmlp.kernels.arguments import Part
from fastmlp.kernels.codes import EXP, SIGMOID
from fastmlp.kernels.loops import elementwise as module
from fastmlp.kernels.loops.pack import lanes_of

elementwise = entry(module.elementwise)

TANH = value_code("tanh")


def applied(code: int, values: Any, dtype: Any) -> np.ndarray:
    """Return f(values) by the kernel."""
    values = np.asarray(values, dtype)
    lanes = lanes_of(dtype)
    rows = -(-len(values) // lanes)
    padded = np.zeros((1, rows, lanes), dtype)
    padded.reshape(-1)[: len(values)] = values
    elementwise(np.int64(code), padded, padded, padded, Part(0, 1, 0, rows))
    return padded.reshape(-1)[: len(values)]


def arguments(dtype: Any) -> np.ndarray:
    """Return some 400,000 numbers: all orders of magnitude, and more of those that matter."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**64, 200_000, dtype=np.uint64) >> (64 - 8 * np.dtype(dtype).itemsize)
    anything = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    edge = float(np.log(np.finfo(dtype).max))
    near = [1.1 * edge * rng.uniform(-1, 1, 100_000), 3 * rng.normal(size=100_000)]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan])
    return np.concatenate([anything, *(part.astype(dtype) for part in (*near, special))])


def errors(result: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return errors in units in the last place, 0 where the exact result is no normal number."""
    limits = np.finfo(result.dtype)
    with np.errstate(all="ignore"):
        size = abs(exact)
        normal = (size >= limits.tiny) & (size <= limits.max)
        unit = np.spacing(size.astype(result.dtype)).astype(exact.dtype)
        return np.where(normal, abs(result.astype(exact.dtype) - exact) / unit, 0).astype(float)


FUNCTIONS: list[tuple[int, Callable[[np.ndarray], np.ndarray], float]] = [
    (EXP, np.exp, 1.25),
    (SIGMOID, lambda x: 1 / (1 + np.exp(-x)), 2.5),
    (TANH, np.tanh, 3),
]


@dtypes
@pytest.mark.parametrize(("code", "function", "most"), FUNCTIONS, ids=["exp", "sigmoid", "tanh"])
def test_accuracy(dtype: Any, code: int, function: Any, most: float) -> None:
    x = arguments(dtype)
    result = applied(code, x, dtype)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(x))
    exact_type = np.float64 if dtype == np.float32 else np.longdouble
    if np.finfo(exact_type).nmant == np.finfo(dtype).nmant:
        most += 1  # nothing wider here: the exact value has an error too
    with np.errstate(all="ignore"):
        exact = function(x.astype(exact_type))
    error = errors(result, exact)
    worst = error.argmax()
    assert error[worst] <= most, x[worst]
    assert error.max() > 0.5  # no function rounds all of these correctly: the check does compare


@dtypes
def test_exact_values(dtype: Any) -> None:
    assert applied(EXP, [0.0, -0.0, -np.inf], dtype).tolist() == [1, 1, 0]
    assert applied(SIGMOID, [0.0, -0.0, np.inf], dtype).tolist() == [0.5, 0.5, 1]
    assert applied(TANH, [0.0, -0.0, np.inf, -np.inf, 30, -30], dtype).tolist() == [
        *(0, 0, 1, -1, 1, -1)
    ]


@dtypes
def test_beyond_the_range(dtype: Any) -> None:
    limits = np.finfo(dtype)
    # What would be subnormal is zero; what would overflow stays at the top, infinity or next to it.
    least = np.log(limits.tiny.astype(np.longdouble)).astype(dtype)
    assert applied(EXP, [least * 1.001, -1e30, limits.min], dtype).tolist() == [0, 0, 0]
    assert (applied(EXP, [least * 0.999], dtype) > 0).all()
    assert (applied(EXP, [1000, 1e30, limits.max, np.inf], dtype) >= limits.max * 0.999).all()
    low = applied(SIGMOID, [-1000, -1e30, -np.inf], dtype)
    assert ((low >= 0) & (low <= limits.tiny)).all()
    assert applied(SIGMOID, [1000, 1e30], dtype).tolist() == [1, 1]


@dtypes
def test_one_value_does_not_depend_on_its_neighbours(dtype: Any) -> None:
    x = arguments(dtype)[::97]
    bits = f"u{np.dtype(dtype).itemsize}"
    for code, _, _ in FUNCTIONS:
        together = applied(code, x, dtype)
        shifted = applied(code, np.roll(x, 1), dtype)
        np.testing.assert_array_equal(np.roll(together, 1).view(bits), shifted.view(bits))
