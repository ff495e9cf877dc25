"""Every kernel against its NumPy twin, for every shape from 1 to two tiles and one more.

An element may differ by (K + 4) roundings of the magnitudes that went into it, K terms: for a
product ``(K + 4) * 2**-24 * (|A| @ |B|)`` in float32. The twin gives those magnitudes too, when it
gets absolute values. Where nothing is written, and in padding, they are zero: so is what is let
pass. Arrays lie between NaN, which no kernel may write over, and none may let into a result.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from fastmlp.kernels import backward, forward, gemm, loss, pack, reference
from fastmlp.kernels import elementwise as elementwise_module
from fastmlp.kernels import gather as gather_module
from fastmlp.kernels import update as update_module
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.loss import LOGISTIC, SQUARED
from fastmlp.kernels.pack import lanes_of, round_up, unpack
from fastmlp.kernels.simd import (
    ADAM,
    ADD,
    DECAY,
    EXP,
    GRADIENT_STEP,
    IDENTITY,
    PLAIN,
    RELU,
    RELU_GRADIENT,
    RMSPROP,
    ROOT_SCALE,
    SIGMOID,
    SIGMOID_GRADIENT,
    SQUARE_DECAY,
    STEP,
    TANH,
    TANH_GRADIENT,
    VELOCITY,
)
from fastmlp.kernels.tiles import TILE

MODULES = (backward, elementwise_module, forward, gather_module, gemm, loss, pack, update_module)

# These only arrange the arguments of another kernel, which is compiled.
affine, input_gradient = forward.affine.py_func, backward.input_gradient.py_func
# These may be compiled into their callers alone: here they get an entry of their own.
elementwise = kernel(elementwise_module.elementwise.py_func)
elementwise_loss = kernel(loss.elementwise_loss.py_func)
gather = kernel(gather_module.gather.py_func)
multiply = kernel(gemm.multiply.py_func)
softmax_cross_entropy = kernel(loss.softmax_cross_entropy.py_func)
transpose = kernel(pack.transpose.py_func)
update = kernel(update_module.update.py_func)

FORWARD = (IDENTITY, RELU, SIGMOID, TANH)
BACKWARD = (IDENTITY, RELU_GRADIENT, SIGMOID_GRADIENT, TANH_GRADIENT)
RULES = (PLAIN, VELOCITY, ADAM, RMSPROP)
HYPER = np.array([0.01, 0.85, 0.7, 0.2, 0.3, 0.99, 1.2, 0.001])  # as simd.py names the columns

NO_SQUARES = np.zeros((0, 0))

# More than a vector, so that a panel too many is seen; odd, so that no array begins a cache line.
GUARD = 67

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def guarded(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Copy `values` between two stretches of NaN."""
    buffer = np.full(values.size + 2 * GUARD, np.nan, dtype)
    array = buffer[GUARD:-GUARD].reshape(values.shape)
    array[...] = values
    return array


def guards_hold(*arrays: np.ndarray) -> bool:
    """Tell whether the NaN around `arrays` are all there."""
    return all(
        np.isnan(array.base[:GUARD]).all() and np.isnan(array.base[-GUARD:]).all()
        for array in arrays
    )


def close(result: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, terms: int) -> bool:
    """Tell whether every element is right to (terms + 4) roundings of its magnitude."""
    rounding = {np.dtype(np.float32): 2.0**-24, np.dtype(np.float64): 2.0**-53}[result.dtype]
    return bool((abs(result - expected) <= (terms + 4) * rounding * magnitude).all())


def panels(rng: np.random.Generator, dtype: Any, rows: int, columns: int, room: int) -> np.ndarray:
    """Draw a matrix [rows, columns] in panels with `room` rows; padding is zero."""
    matrix = np.pad(rng.normal(size=(rows, columns)).astype(dtype), ((0, room - rows), (0, 0)))
    return guarded(reference.to_panels(matrix, lanes_of(dtype)), dtype)


def positive(*arrays: np.ndarray) -> Iterator[np.ndarray]:
    """Yield magnitudes, for a twin to tell how large a result could have become."""
    return (abs(array.astype(np.float64)) for array in arrays)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_kernel_has_a_twin_with_its_arguments(module: Any) -> None:
    # A kernel writes into its arrays, what returns a value is a helper of it.
    found = {
        name: list(inspect.signature(value.py_func).parameters)
        for name, value in vars(module).items()
        if isinstance(value, Dispatcher)
        and value.py_func.__module__ == module.__name__
        and "return " not in inspect.getsource(value.py_func)
    }
    assert found
    for name, arguments in found.items():
        assert list(inspect.signature(getattr(reference, name)).parameters) == arguments, name


# -- products ----------------------------------------------------------------------------------


def magnitude_of(code: int, x: np.ndarray, y: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Return how large f(x, y) could have become, given magnitudes x, the neighbours y, and f."""
    if code in (SIGMOID, TANH):
        return x + 2 * abs(result)  # x counts with a slope of at most 1; f itself is right to 3 ulp
    if code == TANH_GRADIENT and not TILE.fma:
        return x * (1 + y * y)  # y * y is rounded before 1 cancels with it
    return reference.FUNCTIONS[int(code)](x, y)


@dtypes
@pytest.mark.parametrize("epilogue", FORWARD)
def test_affine_in_every_shape(dtype: Any, epilogue: int) -> None:
    lanes, most = lanes_of(dtype), 2 * TILE.rows + 1
    rng = np.random.default_rng(0)
    for inputs in range(1, 2 * lanes + 2):
        # One product of the largest height for each K and N; its rows are those of all heights.
        X = panels(rng, dtype, most, inputs, most)
        slices = [guarded(X[:, :rows], dtype) for rows in range(1, most + 1)]
        for outputs in range(1, 2 * TILE.vectors * lanes + 2):
            W = panels(rng, dtype, inputs, outputs, round_up(inputs, lanes))
            b = panels(rng, dtype, 1, outputs, 1)
            count = len(W)
            whole = (0, count, 0, most)
            expected, sums = np.zeros((2, count, most, lanes))
            reference.affine(X, W, b, expected, epilogue, *whole)
            reference.affine(*positive(X, W, b), sums, IDENTITY, *whole)
            magnitude = magnitude_of(epilogue, sums, expected, expected)
            for rows, part in enumerate(slices, start=1):
                H = guarded(np.full((count, rows, lanes), 7), dtype)
                affine(part, W, b, H, epilogue, 0, count, 0, rows)
                shape = (rows, inputs, outputs)
                assert close(H, expected[:, :rows], magnitude[:, :rows], inputs), shape
                assert guards_hold(H), shape
            if epilogue == IDENTITY:  # the same check refuses a result of zeros
                nothing = np.zeros((count, 1, lanes), dtype)
                assert not close(nothing, expected[:, :1], magnitude[:, :1], inputs), shape


@dtypes
@pytest.mark.parametrize("epilogue", BACKWARD)
def test_input_gradient_in_every_shape(dtype: Any, epilogue: int) -> None:
    # Shapes of the tile as above; here `start` is a matrix, as behind a residual connection.
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(1)
    for rows in range(1, 2 * TILE.rows + 2):
        for count in range(1, 2 * TILE.vectors + 2):
            for outputs in (1, lanes - 1, lanes, lanes + 1, 2 * lanes + 1):
                inputs = count * lanes - rng.integers(lanes)
                D = panels(rng, dtype, rows, outputs, rows)
                T = panels(rng, dtype, outputs, inputs, round_up(outputs, lanes))
                start = panels(rng, dtype, rows, inputs, rows)
                H = guarded(abs(panels(rng, dtype, rows, inputs, rows)) % 1, dtype)
                H[rng.random(H.shape) < 0.4] = 0
                place = (start, lanes, rows * lanes)
                rest = (0, count, 0, rows)
                expected, sums = np.zeros((2, *H.shape))
                reference.input_gradient(D, T, *place, H, expected, epilogue, *rest)
                reference.input_gradient(
                    *positive(D, T, start), *place[1:], H, sums, IDENTITY, *rest
                )
                magnitude = magnitude_of(epilogue, sums, H, expected)
                G = guarded(np.full(H.shape, 7), dtype)
                input_gradient(D, T, *place, H, G, epilogue, *rest)
                assert close(G, expected, magnitude, outputs + 1), (rows, inputs, outputs)
                assert guards_hold(G), (rows, inputs, outputs)


@dtypes
def test_multiply_writes_its_rectangle_only(dtype: Any) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(2)
    for _ in range(500):
        rows, depth, columns = rng.integers(1, (90, 200, 150))
        row_from, row_to = np.sort(rng.integers(0, rows + 1, 2))
        A = panels(rng, dtype, rows, depth, rows)
        W = panels(rng, dtype, depth, columns, round_up(depth, lanes))
        panel_from, panel_to = np.sort(rng.integers(0, len(W) + 1, 2))
        part = (panel_from, panel_to, row_from, row_to)
        out = guarded(rng.normal(size=(len(W), rows, lanes)), dtype)
        epilogue = rng.choice([IDENTITY, RELU, RELU_GRADIENT, SIGMOID_GRADIENT, ADD])
        mask = guarded(rng.random(out.shape), dtype)
        # Sums may begin with what stands in `out` already.
        start = out if rng.random() < 0.5 else guarded(rng.normal(size=out.shape), dtype)
        steps = (lanes, rows * lanes)
        expected, magnitude = out.astype(np.float64), np.zeros(out.shape)
        reference.multiply(A, W, start, *steps, expected, epilogue, mask, *part)
        reference.multiply(*positive(A, W, start), *steps, magnitude, epilogue, mask, *part)
        multiply(A, W, start, *steps, out, epilogue, mask, *part)
        assert close(out, expected, magnitude, depth + 2), (rows, depth, columns, *part)
        assert guards_hold(out)


@pytest.mark.parametrize("planted", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("epilogue", [IDENTITY, RELU, RELU_GRADIENT, SIGMOID, TANH])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_multiply_hides_no_nan(planted: float, epilogue: int) -> None:
    lanes = lanes_of(np.float32)
    rng = np.random.default_rng(3)
    rows = TILE.rows + 1
    for where in ("A", "W", "start"):
        operands = {
            "A": panels(rng, np.float32, rows, 5, rows),
            "W": panels(rng, np.float32, 5, 2 * lanes, round_up(5, lanes)),
            "start": panels(rng, np.float32, rows, 2 * lanes, rows),
        }
        operands[where][0, 2, 3] = planted
        mask = panels(rng, np.float32, rows, 2 * lanes, rows)
        steps, rest = (lanes, rows * lanes), (0, 2, 0, rows)
        out, expected = (guarded(mask, np.float32) for _ in range(2))
        multiply(*operands.values(), *steps, out, epilogue, mask, *rest)
        reference.multiply(*operands.values(), *steps, expected, epilogue, mask, *rest)
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


# -- updates -----------------------------------------------------------------------------------


def update_magnitudes(
    X: np.ndarray,
    D: np.ndarray,
    W: np.ndarray,
    V: np.ndarray,
    S: np.ndarray,
    inputs: int,
    rule: int,
) -> list[np.ndarray]:
    """Return the magnitudes behind new weights, velocities and mean squares."""
    hyper = HYPER * np.where(np.isin(np.arange(8), [STEP, GRADIENT_STEP]), -1, 1)
    w, v, s = positive(W, V, S)
    rest = (hyper, NO_SQUARES, 0, len(W), 0, W.shape[1] // W.shape[2])
    x, d = positive(X, D)
    if rule in (PLAIN, VELOCITY):
        reference.update(x, d, w, v, s, inputs, rule, *rest)
        return [w, v, s]
    # w -= step * numerator / root, and the root of s moves by half of what s does, over itself.
    g = np.zeros_like(w)
    reference.update(x, d, g, g, g, inputs, PLAIN, np.eye(8)[GRADIENT_STEP] * -1, *rest[1:])
    g += hyper[DECAY] * w
    w_new, v_new, s_new = w.copy(), v.copy(), s.copy()
    reference.update(x, d, w_new, v_new, s_new, inputs, ADAM, *rest)
    root = np.sqrt(
        HYPER[SQUARE_DECAY] * s
    )  # S is at least 0.5 below: far from where a root has no slope
    numerator = v_new if rule == ADAM else g
    ratio = numerator / (HYPER[ROOT_SCALE] * root)
    return [w + HYPER[STEP] * ratio * (2 + s_new / root**2), v_new, s_new]


@dtypes
@pytest.mark.parametrize("rule", RULES)
def test_update_in_every_shape(dtype: Any, rule: int) -> None:
    lanes, most = lanes_of(dtype), 2 * max(lanes_of(dtype), TILE.update_rows) + 1
    rng = np.random.default_rng(5)
    hyper = HYPER.astype(dtype)
    for batch in (1, 2, 3, 8, 2 * TILE.update_rows + 1):
        X = panels(rng, dtype, batch, most, batch)
        for outputs in range(1, 2 * TILE.update_vectors * lanes + 2):
            D = panels(rng, dtype, batch, outputs, batch)
            before = [panels(rng, dtype, most, outputs, round_up(most, lanes)) for _ in range(3)]
            before[2][...] = abs(before[2]) + 0.5
            count, room = len(D), before[0].shape[1]
            expected = [array.astype(np.float64) for array in before]
            slabs = room // lanes
            reference.update(X, D, *expected, most, rule, hyper, NO_SQUARES, 0, count, 0, slabs)
            magnitude = update_magnitudes(X, D, *before, most, rule)
            # A layer of fewer inputs is the top of it: its other rows stay as they are.
            for inputs in range(1, most + 1):
                slabs = -(-inputs // lanes)
                height = slabs * lanes
                part = guarded(X[:slabs], dtype)
                states = [guarded(array[:, :height], dtype) for array in before]
                update(part, D, *states, inputs, rule, hyper, NO_SQUARES, 0, count, 0, slabs)
                shape = (batch, inputs, outputs)
                for i, state in enumerate(states):
                    top = np.s_[:, :inputs]
                    assert close(state[top], expected[i][top], magnitude[i][top], batch + 4), shape
                    rest = np.s_[:, inputs:height]
                    assert (state[rest] == before[i][rest]).all(), shape
                assert guards_hold(*states), shape


@dtypes
@pytest.mark.parametrize("rule", RULES)
def test_update_changes_its_part_only(dtype: Any, rule: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(6)
    hyper = HYPER.astype(dtype)
    for _ in range(100):
        batch, inputs, outputs = rng.integers(1, (40, 100, 150))
        X, D = (panels(rng, dtype, batch, width, batch) for width in (inputs, outputs))
        room = round_up(inputs, lanes)
        states = [guarded(rng.random((len(D), room, lanes)) + 0.5, dtype) for _ in range(3)]
        panel_from, panel_to = np.sort(rng.integers(0, len(D) + 1, 2))
        slab_from, slab_to = np.sort(rng.integers(0, room // lanes + 1, 2))
        part = (panel_from, panel_to, slab_from, slab_to)
        expected = [state.astype(np.float64) for state in states]
        magnitude = update_magnitudes(X, D, *states, inputs, rule)
        before = [state.copy() for state in states]
        squares = guarded(np.full((len(D), room // lanes), 7), np.float64)
        sums = squares.copy()
        reference.update(X, D, *expected, inputs, rule, hyper, sums, *part)
        update(X, D, *states, inputs, rule, hyper, squares, *part)
        np.testing.assert_allclose(
            squares, sums, rtol=lanes * 2e-7 if dtype == np.float32 else 1e-13
        )
        inside = np.zeros(states[0].shape, bool)
        inside[panel_from:panel_to, slab_from * lanes : min(slab_to * lanes, inputs)] = True
        touched = {PLAIN: "W", VELOCITY: "WV", ADAM: "WVS", RMSPROP: "WS"}[rule]
        for name, state, old, new, size in zip(
            "WVS", states, before, expected, magnitude, strict=True
        ):
            changed = inside & (name in touched)
            assert close(state, new, np.where(changed, size, 0), batch + 4)
            assert (state == old)[~changed].all()
        assert guards_hold(*states, squares)


# -- losses ------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("spread", [1, 30, 1000])
def test_softmax_cross_entropy(dtype: Any, spread: float) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(7)
    rounding = 2.0**-24 if dtype == np.float32 else 2.0**-53
    smallest = 4 * float(np.finfo(dtype).tiny)  # what exp takes for zero
    for outputs in range(1, 3 * lanes + 2):
        batch, extra = 5, 3
        Z = panels(rng, dtype, batch, outputs, batch)
        Z[...] *= dtype(spread)
        labels = rng.integers(0, outputs, batch + extra)
        indices = rng.permutation(batch + extra)[:batch]
        factors = rng.random(batch).astype(dtype)
        row_from, row_to = np.sort(rng.integers(0, batch + 1, 2)) if outputs % 2 else (0, batch)
        rest = (row_from, row_to)
        D = guarded(rng.normal(size=Z.shape), dtype)
        losses, correct = guarded(rng.random(batch), np.float64), np.ones(batch, bool)
        gradient, loss, right = D.astype(np.float64), losses.copy(), correct.copy()
        given = (labels, indices, outputs, factors)
        reference.softmax_cross_entropy(Z, *given, gradient, loss, right, *rest)
        softmax_cross_entropy(Z, *given, D, losses, correct, *rest)

        rows = slice(*rest)
        logits = unpack(Z, batch, outputs).astype(np.float64)[rows]
        depth = logits.max(axis=1, keepdims=True) - logits
        # A rounded exponent moves P by itself, relatively; the sum adds one rounding a class.
        share = np.exp(-depth) / np.exp(-depth).sum(axis=1, keepdims=True)
        own = labels[indices[rows]][:, None] == np.arange(outputs)
        size = rounding * (share * (outputs + 8 + depth) + 3 * own) + smallest
        allowed = np.zeros(Z.shape)
        allowed[:, rows] = reference.to_panels(size * factors[rows, None], lanes)
        assert (abs(D - gradient) <= allowed).all(), outputs
        allowed = rounding * (outputs + 8 + (depth * own).sum(axis=1))
        assert (abs(losses - loss)[rows] <= allowed).all(), outputs
        assert (losses != loss).sum() <= row_to - row_from
        np.testing.assert_array_equal(correct, right)
        assert guards_hold(D, losses, Z)

        in_place = guarded(Z, dtype)
        softmax_cross_entropy(in_place, *given, in_place, losses, correct, *rest)
        np.testing.assert_array_equal(in_place[:, rows], D[:, rows])


def test_the_lower_of_two_equal_classes_wins() -> None:
    lanes = lanes_of(np.float32)
    Z = reference.to_panels(np.array([[1, 5, 5], [5, 1, 5], [2, 2, 2]]), lanes).astype(np.float32)
    everyone = np.arange(3)
    for label in range(3):
        correct = np.zeros(3, bool)
        given = (np.full(3, label), everyone, 3, np.ones(3, np.float32))
        softmax_cross_entropy(Z, *given, np.zeros_like(Z), np.zeros(3), correct, 0, 3)
        assert correct.tolist() == [label == 1, label == 0, label == 0]


@dtypes
@pytest.mark.parametrize("planted", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_shows(dtype: Any, planted: float) -> None:
    lanes = lanes_of(dtype)
    for outputs in (1, 2, lanes + 1):
        for place in range(outputs):
            logits = np.zeros((1, outputs))
            logits[0, place] = planted
            Z = reference.to_panels(logits, lanes).astype(dtype)
            for label in range(outputs):
                loss = np.zeros(1)
                given = (np.array([label]), np.array([0]), outputs, np.ones(1, dtype))
                softmax_cross_entropy(Z, *given, np.zeros_like(Z), loss, np.ones(1, bool), 0, 1)
                if planted == -np.inf and outputs > 1:  # a class that is ruled out
                    assert np.isinf(loss[0]) == (label == place)
                else:
                    assert np.isnan(loss[0])


@dtypes
@pytest.mark.parametrize("loss", [LOGISTIC, SQUARED])
def test_elementwise_loss(dtype: Any, loss: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(8)
    rounding = 2.0**-24 if dtype == np.float32 else 2.0**-53
    for outputs in range(1, 3 * lanes + 2):
        batch = 5
        Z = panels(rng, dtype, batch, outputs, batch)
        Z[...] *= dtype(rng.choice([0.1, 5, 50]))
        targets = rng.integers(0, 2, (batch + 2, outputs)).astype(dtype)
        if loss == SQUARED:
            targets += rng.normal(size=targets.shape).astype(dtype)
        indices = rng.permutation(batch + 2)[:batch]
        factors = rng.random(batch).astype(dtype)
        row_from, row_to = np.sort(rng.integers(0, batch + 1, 2))
        rest = (row_from, row_to)
        D, losses = guarded(rng.normal(size=Z.shape), dtype), guarded(rng.random(batch), np.float64)
        gradient, expected = D.astype(np.float64), losses.copy()
        given = (Z, targets, indices, outputs, loss, factors)
        reference.elementwise_loss(*given, gradient, expected, *rest)
        elementwise_loss(*given, D, losses, *rest)
        rows = slice(*rest)
        logits = unpack(Z, batch, outputs).astype(np.float64)[rows]
        size = np.full(logits.shape, 8.0)
        if loss == SQUARED:
            size = 3 * (abs(logits) + abs(targets[indices[rows]]))
        allowed = np.zeros(Z.shape)
        allowed[:, rows] = rounding * reference.to_panels(size * factors[rows, None], lanes)
        assert (abs(D - gradient) <= allowed).all(), outputs
        # Losses are float64 whatever the outputs are.
        np.testing.assert_allclose(losses, expected, rtol=1e-13 * outputs)
        assert guards_hold(D, losses, Z)


# -- elementwise, transpose, gather ------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("code", sorted(set(reference.FUNCTIONS) - {int(IDENTITY), int(RELU)}))
def test_elementwise(dtype: Any, code: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(9)
    for _ in range(50):
        shape = (*rng.integers(1, (6, 40)), lanes)
        source = guarded(5 * rng.normal(size=shape), dtype)
        other = guarded(np.where(rng.random(shape) < 0.3, 0, rng.random(shape)), dtype)
        panel_from, panel_to = np.sort(rng.integers(0, shape[0] + 1, 2))
        row_from, row_to = np.sort(rng.integers(0, shape[1] + 1, 2))
        part = (panel_from, panel_to, row_from, row_to)
        out = source if rng.random() < 0.5 else guarded(rng.normal(size=shape), dtype)
        expected = out.astype(np.float64)
        reference.elementwise(code, source, other, expected, *part)
        magnitude = magnitude_of(code, abs(source.astype(np.float64)), other, expected)
        if code in (EXP, SIGMOID, TANH):
            magnitude = abs(expected)
        elementwise(np.int64(code), source, other, out, *part)
        inside = np.zeros(shape, bool)
        inside[panel_from:panel_to, row_from:row_to] = True
        assert close(out, expected, np.where(inside, magnitude, 0), 4)
        assert guards_hold(out)


@dtypes
def test_transpose(dtype: Any) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(10)
    for count in range(1, 5):
        for slabs in range(1, 5):
            W = guarded(rng.normal(size=(count, slabs * lanes, lanes)), dtype)
            T = guarded(np.full((slabs, count * lanes, lanes), 7), dtype)
            transpose(W, T, 0, count, 0, slabs)
            np.testing.assert_array_equal(reference.to_matrix(T), reference.to_matrix(W).T)
            panel_from, panel_to = np.sort(rng.integers(0, count + 1, 2))
            slab_from, slab_to = np.sort(rng.integers(0, slabs + 1, 2))
            part = (panel_from, panel_to, slab_from, slab_to)
            T[...] = 7
            expected = T.copy()
            transpose(W, T, *part)
            reference.transpose(W, expected, *part)
            np.testing.assert_array_equal(T, expected)
            assert guards_hold(T)


@dtypes
@pytest.mark.parametrize("raw", [np.uint8, np.float32, np.float64])
def test_gather_in_every_width(dtype: Any, raw: Any) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(11)
    widths = [*range(1, 3 * lanes + 2), 17 * lanes, 17 * lanes + 5]
    for width in widths:
        count, batch = 9, 6
        source = rng.integers(0, 256, (count, width)).astype(raw)
        if raw != np.uint8:
            source = guarded(source + rng.random(source.shape), raw)
        scale, shift = (guarded(rng.normal(size=width), dtype) for _ in range(2))
        columns = rng.choice([n for n in range(1, width + 1) if width % n == 0])
        indices, flips = rng.integers(0, count, batch), rng.random(batch) < 0.5
        row_from, row_to = np.sort(rng.integers(0, batch + 1, 2)) if width % 2 else (0, batch)
        rest = (np.zeros((batch, width), raw), row_from, row_to)
        X = guarded(np.full((-(-width // lanes), batch, lanes), 7), dtype)
        expected, magnitude = X.astype(np.float64), np.zeros(X.shape)
        given = (source, indices, flips, columns)
        reference.gather(*given, scale, shift, expected, *rest)
        reference.gather(*given, *positive(scale, shift), magnitude, *rest)
        gather(*given, scale, shift, X, *rest)
        assert close(X, expected, magnitude, 1), width
        assert guards_hold(X), width


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (1, 8, 8), (3, 16, 16)])
def test_a_flip_is_numpys(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(12)
    images = rng.integers(0, 256, (4, *shape)).astype(np.uint8)
    flat = images.reshape(4, -1)
    width, lanes = flat.shape[1], lanes_of(np.float32)
    flips = np.array([True, False, True, True])
    X = np.full((-(-width // lanes), 4, lanes), 7, np.float32)
    one, zero = np.ones(width, np.float32), np.zeros(width, np.float32)
    gather(flat, np.arange(4), flips, shape[2], one, zero, X, np.zeros_like(flat), 0, 4)
    expected = np.where(flips[:, None, None, None], images[:, :, :, ::-1], images)
    np.testing.assert_array_equal(unpack(X, 4, width), expected.reshape(4, -1))
