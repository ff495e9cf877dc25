"""Functions of outputs one by one, and dropout, against their NumPy twins."""

from typing import Any

import numpy as np
import pytest
from kernel_helpers import (
    RELATIVE,
    close,
    draw_part,
    dtypes,
    entry,
    guarded,
    guards_hold,
    inside,
    magnitude_of,
)

from fastmlp.kernels import reference
from fastmlp.kernels.activations import value_code
from fastmlp.kernels.arguments import Part
from fastmlp.kernels.codes import EXP
from fastmlp.kernels.loops import dropout as dropout_module
from fastmlp.kernels.loops import elementwise as module
from fastmlp.kernels.loops.pack import lanes_of

elementwise, draw_mask = entry(module.elementwise), entry(dropout_module.draw_mask)


@dtypes
@pytest.mark.parametrize("code", sorted(reference.FUNCTIONS))
def test_elementwise(dtype: Any, code: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(9)
    for _ in range(50):
        shape = (*rng.integers(1, (6, 40)), lanes)
        source = guarded(5 * rng.normal(size=shape), dtype)
        other = guarded(np.where(rng.random(shape) < 0.3, 0, rng.random(shape)), dtype)
        part = draw_part(rng, *shape[:2])
        out = source if rng.random() < 0.5 else guarded(rng.normal(size=shape), dtype)
        expected = out.astype(np.float64)
        reference.elementwise(code, source, other, expected, part)
        magnitude = magnitude_of(code, abs(source.astype(np.float64)), other, expected)
        if code == EXP or code in RELATIVE:
            magnitude = abs(expected)
        elementwise(np.int64(code), source, other, out, part)
        assert close(out, expected, np.where(inside(part, shape), magnitude, 0), 4)
        assert guards_hold(out)


def test_relu_is_exact() -> None:
    lanes = lanes_of(np.float32)
    values = np.resize(np.float32([-np.inf, -1, -1e-45, -0.0, 0, 1e-45, 1, np.inf]), (1, 4, lanes))
    out = np.empty_like(values)
    elementwise(np.int64(value_code("relu")), values, values, out, Part(0, 1, 0, 4))
    np.testing.assert_array_equal(out, np.maximum(values, 0))


@dtypes
@pytest.mark.parametrize(("rate", "key"), [(0.5, 0), (0.1, 2**64 - 1), (0.999, 12345)])
def test_dropout_draws_splitmix64(dtype: Any, rate: float, key: int) -> None:
    lanes = lanes_of(np.dtype(dtype))
    shape = 5, 9, lanes
    result, expected = (guarded(np.full(shape, 7.0), dtype) for _ in range(2))
    for part in (Part(0, 5, 0, 9), Part(1, 3, 2, 7), Part(2, 2, 0, 9)):
        arguments = 10**9, 8 * lanes
        draw_mask(rate, np.uint64(key), *arguments, result, part)
        reference.draw_mask(rate, key, *arguments, expected, part)
        np.testing.assert_array_equal(result, expected)
        result[:], expected[:] = 7, 7
    assert guards_hold(result)


def test_dropout_is_random() -> None:
    # 40 million units: shares, and correlations with the next unit, row, and epoch, within 5 sigma.
    rate, lanes = 0.3, lanes_of(np.dtype(np.float32))
    shape = 625, 4000, lanes
    first, second = (np.zeros(shape, np.float32) for _ in range(2))
    for key, mask in enumerate((first, second)):
        part = Part(0, shape[0], 0, shape[1])
        draw_mask(rate, np.uint64(key), 0, shape[0] * lanes, mask, part)
    assert set(np.unique(first)) == {0, np.float32(1 / 0.7)}
    kept = [(mask > 0) - np.float32(1 - rate) for mask in (first, second)]
    deviation = np.sqrt(rate * (1 - rate) / first.size)
    assert abs(kept[0].mean(dtype=float)) < 5 * deviation
    pairs = (
        (kept[0][..., 1:], kept[0][..., :-1]),
        (kept[0][:, 1:], kept[0][:, :-1]),
        (kept[0][1:], kept[0][:-1]),
        tuple(kept),
    )
    for a, b in pairs:
        assert abs((a * b).mean(dtype=float)) < 5.5 * rate * (1 - rate) / np.sqrt(a.size)
