"""The error function and the normal distribution that kernels emit, against Python's ``math``."""

import math
from typing import Any

import numba
import numpy as np
import pytest
from kernel_helpers import dtypes
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import Emitter
from fastmlp.kernels.loops.pack import lanes_of

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan])


def mapping(method: str) -> Any:
    """Return a compiled function that applies a method of `Emitter` to `count` vectors."""

    @intrinsic
    def apply(typingctx, source, out, count):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            e = Emitter(context, builder, source.dtype)
            given, taken = (
                e.pointer(kind, array, e.index(0))
                for kind, array in ((source, arguments[0]), (out, arguments[1]))
            )

            def body(i, _):  # type: ignore[no-untyped-def]
                place = builder.mul(i, e.index(e.lanes))
                e.store(getattr(e, method)(e.load(given, place)), taken, place)
                return []

            e.loop(arguments[2], [], body)
            return context.get_dummy_value()

        return types.void(source, out, count), codegen

    return numba.njit(lambda source, out, count: apply(source, out, count))


FUNCTIONS = {
    "erf": (mapping("erf"), math.erf),
    "normal_cdf": (mapping("normal_cdf"), lambda x: math.erfc(-x * math.sqrt(0.5)) / 2),
}
functions = pytest.mark.parametrize("name", FUNCTIONS)


def applied(name: str, values: Any, dtype: Any) -> np.ndarray:
    """Return f(values) by the kernel."""
    values = np.asarray(values, dtype)
    rows = -(-len(values) // lanes_of(dtype))
    source = np.zeros(rows * lanes_of(dtype), dtype)
    source[: len(values)] = values
    out = np.empty_like(source)
    FUNCTIONS[name][0](source, out, rows)
    return out[: len(values)]


def arguments(dtype: Any) -> np.ndarray:
    """Return numbers of all orders of magnitude, more of those that matter, and where branches meet."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**64, 30_000, dtype=np.uint64) >> (64 - 8 * np.dtype(dtype).itemsize)
    anything = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    limits = np.finfo(dtype)
    subnormal = limits.tiny * rng.uniform(-1, 1, 1000)
    edges = np.array([0.5, math.sqrt(0.5), 6, 6 * math.sqrt(2), limits.tiny, limits.max / 2])
    around = np.concatenate([edges * (1 + k * limits.eps) for k in (-2, -1, 0, 1)])
    parts = (3 * rng.normal(size=30_000), 0.7 * rng.uniform(-1, 1, 20_000), subnormal)
    parts = (*parts, around, -around, SPECIAL)
    return np.concatenate([anything, *(part.astype(dtype) for part in parts)])


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """Return f(x) in float64."""
    return np.array([FUNCTIONS[name][1](float(value)) for value in x])


@dtypes
@functions
def test_error_is_a_few_units_of_one(name: str, dtype: Any) -> None:
    x = arguments(dtype)
    result = applied(name, x, dtype)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(x))
    error = np.nan_to_num(abs(result - exact(name, x)))
    assert error.max() <= 2 * np.finfo(dtype).eps, x[error.argmax()]
    assert error.max() > 0  # the check does compare


@dtypes
def test_erf_keeps_its_digits_near_zero(dtype: Any) -> None:
    x = arguments(dtype)
    x = x[(abs(x) < 0.5) & (x != 0)]
    result, right = applied("erf", x, dtype), exact("erf", x)
    unit = np.maximum(np.spacing(abs(right).astype(dtype)), np.finfo(dtype).smallest_subnormal)
    assert (abs(result - right) <= 4 * unit.astype(np.float64)).all()
    assert (abs(x) < np.finfo(dtype).tiny).sum() > 900


@dtypes
def test_exact_values(dtype: Any) -> None:
    found = applied("erf", [0.0, -0.0, np.inf, -np.inf, 7, -7, 1e30, -1e30], dtype)
    assert found.tolist() == [0, 0, 1, -1, 1, -1, 1, -1]
    assert np.signbit(found[:2]).tolist() == [False, True]
    found = applied("normal_cdf", [0.0, -0.0, np.inf, -np.inf, 12, 1e30, -1e30], dtype)
    assert found.tolist() == [0.5, 0.5, 1, 0, 1, 1, 0]
    assert np.isnan(applied("erf", [np.nan, -np.nan], dtype)).all()
    assert np.isnan(applied("normal_cdf", [np.nan, -np.nan], dtype)).all()


@dtypes
@functions
def test_both_stay_within_their_range_and_rise(name: str, dtype: Any) -> None:
    x = np.sort(arguments(dtype))
    x = x[~np.isnan(x)]
    result = applied(name, x, dtype)
    least = -1 if name == "erf" else 0
    assert least <= result.min()
    assert result.max() <= 1
    falls = np.minimum(np.diff(result), 0)
    assert falls.min() >= -4 * np.finfo(dtype).eps
    if name == "erf":
        np.testing.assert_array_equal(applied(name, -x, dtype), -result)


@dtypes
@functions
def test_a_value_does_not_depend_on_its_neighbours(name: str, dtype: Any) -> None:
    x = arguments(dtype)[::7]
    bits = f"u{np.dtype(dtype).itemsize}"
    together, shifted = applied(name, x, dtype), applied(name, np.roll(x, 1), dtype)
    np.testing.assert_array_equal(np.roll(together, 1).view(bits), shifted.view(bits))
