"""Products against their NumPy twin, for every shape from 1 to two tiles and one more."""

import numpy as np
import pytest
from kernel_helpers import (
    BFLOAT16,
    FLOAT32,
    MOST_PANELS,
    MOST_ROWS,
    Kind,
    close,
    draw,
    draw_factors,
    draw_part,
    entry,
    everything,
    guarded,
    guards_hold,
    in_pairs,
    kinds,
    magnitude_of,
    positive,
)

from fastmlp.kernels import reference
from fastmlp.kernels.activations import ACTIVATIONS, gradient_code, value_code
from fastmlp.kernels.arguments import Epilogue, Part
from fastmlp.kernels.codes import ADD, IDENTITY
from fastmlp.kernels.loops import multiply as module
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.kernels.tiles import TILE

multiply = entry(module.multiply)

RELU, RELU_GRADIENT = value_code("relu"), gradient_code("relu")
FORWARD = (int(IDENTITY), *map(value_code, ACTIVATIONS))
BACKWARD = (int(IDENTITY), *map(gradient_code, ACTIVATIONS))


def sums_of(A: np.ndarray, W: np.ndarray, start: np.ndarray, out: np.ndarray, part: Part) -> None:
    """Write the twin's ``start + A @ W`` without an epilogue."""
    reference.multiply(A, W, start, out, Epilogue(int(IDENTITY), out, out), part)


@kinds
@pytest.mark.parametrize("code", FORWARD)
def test_a_layer_in_every_shape(kind: Kind, code: int) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(0)
    # What follows the sums does not know how deep they were.
    depths = range(1, 2 * lanes + 2) if code == IDENTITY else (1, lanes + 1)
    for inputs in depths:
        # One product of the largest height for each K and N; its rows are those of all heights.
        X, _ = draw_factors(rng, kind, MOST_ROWS, inputs, 1)
        slices = [guarded(X[:, :rows], X.dtype) for rows in range(1, MOST_ROWS + 1)]
        for outputs in range(1, (MOST_PANELS - 1) * lanes + 2):
            _, W = draw_factors(rng, kind, 1, inputs, outputs)
            b = draw(rng, dtype, 1, outputs)
            count = len(b)
            whole = Part(0, count, 0, MOST_ROWS)
            expected, sums = np.zeros((2, count, MOST_ROWS, lanes))
            reference.multiply(X, W, b, expected, Epilogue(code, expected, expected), whole)
            sums_of(*positive(X, W, b), sums, whole)
            magnitude = magnitude_of(code, sums, expected, expected)
            for rows, part in enumerate(slices, start=1):
                H = guarded(np.full((count, rows, lanes), 7), dtype)
                multiply(part, W, b, H, Epilogue(code, H, H), Part(0, count, 0, rows))
                shape = (rows, inputs, outputs)
                assert close(H, expected[:, :rows], magnitude[:, :rows], inputs), shape
                assert guards_hold(H), shape
            if code == IDENTITY:  # the same check refuses a result of zeros
                nothing = np.zeros((count, 1, lanes), dtype)
                assert not close(nothing, expected[:, :1], magnitude[:, :1], inputs), shape


@kinds
@pytest.mark.parametrize("code", BACKWARD)
def test_an_input_gradient_in_every_shape(kind: Kind, code: int) -> None:
    # Shapes of the tile as above; here `start` is a matrix, as behind a residual connection.
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(1)
    for rows in range(1, MOST_ROWS + 1):
        for count in range(1, MOST_PANELS + 1):
            for outputs in (1, lanes - 1, lanes, lanes + 1, 2 * lanes + 1):
                inputs = count * lanes - rng.integers(lanes)
                D, T = draw_factors(rng, kind, rows, outputs, inputs)
                start, H = draw(rng, dtype, rows, inputs), draw(rng, dtype, rows, inputs)
                H[...] = np.where(rng.random(H.shape) < 0.4, 0, abs(H) % 1)
                part = everything(H)
                expected, sums = np.zeros((2, *H.shape))
                reference.multiply(D, T, start, expected, Epilogue(code, H, expected), part)
                sums_of(*positive(D, T, start), sums, part)
                magnitude = magnitude_of(code, sums, H, expected)
                G = guarded(np.full(H.shape, 7), dtype)
                multiply(D, T, start, G, Epilogue(code, H, G), part)
                assert close(G, expected, magnitude, outputs + 1), (rows, inputs, outputs)
                assert guards_hold(G), (rows, inputs, outputs)


@kinds
def test_multiply_writes_its_part_only(kind: Kind) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(2)
    for _ in range(500):
        rows, depth, columns = rng.integers(1, (90, 200, 150))
        A, W = draw_factors(rng, kind, rows, depth, columns)
        part = draw_part(rng, len(W), rows)
        out = guarded(rng.normal(size=(len(W), rows, lanes)), dtype)
        code = int(rng.choice([IDENTITY, RELU, RELU_GRADIENT, gradient_code("sigmoid"), ADD]))
        other = guarded(rng.random(out.shape), dtype)
        # Sums may begin with what stands in `out` already.
        start = out if rng.random() < 0.5 else guarded(rng.normal(size=out.shape), dtype)
        expected, magnitude = out.astype(np.float64), np.zeros(out.shape)
        reference.multiply(A, W, start, expected, Epilogue(code, other, expected), part)
        sizes = positive(A, W, start)
        reference.multiply(*sizes, magnitude, Epilogue(code, other, magnitude), part)
        multiply(A, W, start, out, Epilogue(code, other, out), part)
        assert close(out, expected, magnitude, depth + 2), (rows, depth, columns, *part)
        assert guards_hold(out)


@kinds
def test_sums_are_kept_where_the_result_is_another_array(kind: Kind) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(15)
    for code in (value_code("tanh"), gradient_code("sigmoid"), int(ADD)):
        for _ in range(30):
            rows, depth, columns = rng.integers(1, (50, 100, 100))
            A, W = draw_factors(rng, kind, rows, depth, columns)
            part = draw_part(rng, len(W), rows)
            start = draw(rng, dtype, 1, 1)  # one row of one panel, for all
            other = guarded(rng.random((len(W), rows, lanes)), dtype)
            out, result = (guarded(rng.normal(size=other.shape), dtype) for _ in range(2))
            sums, expected = out.astype(np.float64), result.astype(np.float64)
            reference.multiply(A, W, start, sums, Epilogue(code, other, expected), part)
            sizes = np.zeros(out.shape)
            sums_of(*positive(A, W, start), sizes, part)
            multiply(A, W, start, out, Epilogue(code, other, result), part)
            assert close(out, sums, sizes, depth + 2)
            magnitude = np.where(sizes > 0, magnitude_of(code, sizes, other, expected), 0)
            assert close(result, expected, magnitude, depth + 2)
            assert guards_hold(out, result)


@pytest.mark.parametrize("planted", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "code", [int(IDENTITY), RELU, RELU_GRADIENT, value_code("sigmoid"), value_code("tanh")]
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_multiply_hides_no_nan(planted: float, code: int) -> None:
    lanes = lanes_of(np.float32)
    rng = np.random.default_rng(3)
    rows = TILE.rows + 1
    for kind in (FLOAT32, BFLOAT16):
        for where in ("A", "W", "start"):
            A, W = (draw(rng, np.float32, rows, 5), draw(rng, np.float32, 5, 2 * lanes, 2 * lanes))
            start, other = (draw(rng, np.float32, rows, 2 * lanes) for _ in range(2))
            {"A": A, "W": W, "start": start}[where][0, 2, 3] = planted
            A, W = (in_pairs(A)[0], in_pairs(W)[1]) if kind.pairs else (A, W[:, : len(A) * lanes])
            given = (A, np.ascontiguousarray(W), start)
            out, expected = (guarded(other, np.float32) for _ in range(2))
            part = Part(0, 2, 0, rows)
            multiply(*given, out, Epilogue(code, other, out), part)
            reference.multiply(*given, expected, Epilogue(code, other, expected), part)
            np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
            finite = ~np.isnan(out)
            np.testing.assert_allclose(out[finite], expected[finite], rtol=1e-4, atol=1e-5)


def test_a_wrong_product_fails_the_check() -> None:
    rng = np.random.default_rng(4)
    terms = 40
    A, W = rng.normal(size=(30, terms)), rng.normal(size=(terms, 50))
    right = (A @ W).astype(np.float32)
    magnitude = abs(A) @ abs(W)

    def passes(result: np.ndarray) -> bool:
        return close(result.astype(np.float32), A @ W, magnitude, terms)

    assert passes(right)
    assert not passes(np.zeros_like(right))
    for change in (right * (1 + 1e-5), right + 1e-3, right.astype(np.float16), right[::-1]):
        assert not passes(change)
    for value in (0, np.nan, np.inf, right[3, 4] + 1e-3):
        spoilt = right.copy()
        spoilt[3, 4] = value
        assert not passes(spoilt)
    assert not passes(right - np.outer(A[:, -1], W[-1]))  # the last k left out
