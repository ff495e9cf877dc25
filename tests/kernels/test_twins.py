"""Every kernel against its NumPy twin, for every shape from 1 to two tiles and one more.

An element may differ by (K + 4) roundings of the magnitudes that went into it, K terms: for a
product ``(K + 4) * 2**-24 * (|A| @ |B|)`` in float32. The twin gives those magnitudes too, when it
gets absolute values. Where nothing is written, and in padding, they are zero: so is what is let
pass. Arrays lie between NaN, which no kernel may write over, and none may let into a result.
In bfloat16 operands are rounded before: their rounding is checked to the bit, products of them as
those of any other numbers.
"""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from fastmlp.kernels import backward, forward, gemm, loss, operands, pack, reference, sparse
from fastmlp.kernels import dropout as dropout_module
from fastmlp.kernels import elementwise as elementwise_module
from fastmlp.kernels import gather as gather_module
from fastmlp.kernels import update as update_module
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.loss import LOGISTIC, SQUARED
from fastmlp.kernels.pack import lanes_of, round_up, unpack
from fastmlp.kernels.simd import (
    ADAM,
    ADD,
    COLUMNS,
    DECAY,
    EXP,
    GRADIENT_STEP,
    HEAVY_BALL,
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

MODULES = (
    *(backward, dropout_module, elementwise_module, forward, gather_module),
    *(gemm, loss, operands, pack, update_module),
)

# These only arrange the arguments of another kernel, which is compiled.
affine, input_gradient = forward.affine.py_func, backward.input_gradient.py_func
# These may be compiled into their callers alone: here they get an entry of their own.
draw_mask = kernel(dropout_module.draw_mask.py_func)
elementwise = kernel(elementwise_module.elementwise.py_func)
elementwise_loss = kernel(loss.elementwise_loss.py_func)
gather = kernel(gather_module.gather.py_func)
multiply = kernel(gemm.multiply.py_func)
softmax_cross_entropy = kernel(loss.softmax_cross_entropy.py_func)
transpose = kernel(pack.transpose.py_func)
update = kernel(update_module.update.py_func)
write_operands = kernel(operands.write_operands.py_func)
write_right_operand = kernel(operands.write_right_operand.py_func)

FORWARD = (IDENTITY, RELU, SIGMOID, TANH)
BACKWARD = (IDENTITY, RELU_GRADIENT, SIGMOID_GRADIENT, TANH_GRADIENT)
RULES = (PLAIN, HEAVY_BALL, VELOCITY, ADAM, RMSPROP)
HYPER = np.array(
    [0.01, 0.85, 0.7, 0.2, 0.3, 0.99, 0.05, 1.2, 0.001]
)  # as simd.py names the columns
NO_SQUARES = np.zeros((0, 0))
NO_ROOM = np.zeros(0), 0, 0  # for twins

MOST_ROWS = 2 * max(rows for rows, _ in TILE.shapes) + 1
MOST_PANELS = 2 * max(vectors for _, vectors in TILE.shapes) + 1
UPDATE_PANELS = 2 * max(vectors for _, vectors in TILE.update_shapes) + 1


class Kind(NamedTuple):
    """A type of arithmetic: that of sums, and whether operands are pairs of bfloat16."""

    name: str
    dtype: Any
    pairs: bool = False


FLOAT32, FLOAT64 = Kind("float32", np.float32), Kind("float64", np.float64)
BFLOAT16 = Kind("bfloat16", np.float32, pairs=True)
kinds = pytest.mark.parametrize("kind", [FLOAT32, FLOAT64, BFLOAT16], ids=lambda kind: kind.name)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


# -- arrays and checks -------------------------------------------------------------------------

# More than a vector, so that a panel too many is seen; odd, so that no array begins a cache line.
GUARD = 67
GUARDS = {"f": np.nan, "i": 0x7FC07FC0}  # two NaN of bfloat16


def guarded(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Copy `values` between two stretches of NaN."""
    dtype = np.dtype(dtype)
    buffer = np.full(values.size + 2 * GUARD, GUARDS[dtype.kind], dtype)
    array = buffer[GUARD:-GUARD].reshape(values.shape)
    array[...] = values
    return array


def guards_hold(*arrays: np.ndarray) -> bool:
    """Tell whether the NaN around `arrays` are all there."""
    ends = [end for array in arrays for end in (array.base[:GUARD], array.base[-GUARD:])]
    return all(
        (np.isnan(end) if end.dtype.kind == "f" else end == GUARDS["i"]).all() for end in ends
    )


def close(result: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, terms: int) -> bool:
    """Tell whether every element is right to sqrt(terms) + 4 roundings of its magnitude."""
    rounding = {np.dtype(np.float32): 2.0**-24, np.dtype(np.float64): 2.0**-53}[result.dtype]
    return bool((abs(result - expected) <= (np.sqrt(terms) + 4) * rounding * magnitude).all())


def positive(*arrays: np.ndarray) -> Iterator[np.ndarray]:
    """Yield magnitudes, for a twin to tell how large a result could have become."""
    for array in arrays:
        if array.dtype == np.int32:
            yield array & np.int32(0x7FFF7FFF)  # both signs off
        else:
            yield abs(array.astype(np.float64))


def draw(
    rng: np.random.Generator, dtype: Any, rows: int, columns: int, room: int = 0
) -> np.ndarray:
    """Draw a matrix [rows, columns] in panels with at least `room` rows; padding is zero."""
    matrix = np.zeros((max(room, rows), columns))
    matrix[:rows] = rng.normal(size=(rows, columns))
    return guarded(reference.to_panels(matrix, lanes_of(dtype)), dtype)


def in_pairs(source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of columns and pairs of rows of panels."""
    count, rows, lanes = source.shape
    of_columns = guarded(np.zeros((-(-count // 2), rows, lanes)), np.int32)
    of_rows = guarded(np.zeros((count, -(-rows // 2), lanes)), np.int32)
    reference.write_operands(source, 0, of_columns, of_rows, 0, count, 0, rows)
    return of_columns, of_rows


def draw_factors(
    rng: np.random.Generator, kind: Kind, rows: int, depth: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the operands A and W of a product [rows, depth] @ [depth, columns]."""
    lanes = lanes_of(kind.dtype)
    A = draw(rng, kind.dtype, rows, depth)
    W = draw(rng, kind.dtype, depth, columns, round_up(depth, lanes * (2 if kind.pairs else 1)))
    return (in_pairs(A)[0], in_pairs(W)[1]) if kind.pairs else (A, W)


def subset(rng: np.random.Generator, count: int, even: bool = False) -> tuple[int, int]:
    """Draw a range within ``range(count)``; with `even`, one that cuts no pair."""
    first, last = np.sort(rng.integers(0, count + 1, 2))
    return (first // 2 * 2, min(count, (last + 1) // 2 * 2)) if even else (first, last)


def magnitude_of(code: int, x: np.ndarray, y: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Return how large f(x, y) could have become, given magnitudes x, the neighbours y, and f."""
    if code in (SIGMOID, TANH):
        return x + 2 * abs(result)  # x counts with a slope of at most 1; f itself is right to 3 ulp
    if code == TANH_GRADIENT and not TILE.fma:
        return x * (1 + y * y)  # y * y is rounded before 1 cancels with it
    return reference.FUNCTIONS[int(code)](x, y)


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


@kinds
@pytest.mark.parametrize("epilogue", FORWARD)
def test_affine_in_every_shape(kind: Kind, epilogue: int) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(0)
    # What follows the sums does not know how deep they were.
    depths = range(1, 2 * lanes + 2) if epilogue == IDENTITY else (1, lanes + 1)
    for inputs in depths:
        # One product of the largest height for each K and N; its rows are those of all heights.
        X, _ = draw_factors(rng, kind, MOST_ROWS, inputs, 1)
        slices = [guarded(X[:, :rows], X.dtype) for rows in range(1, MOST_ROWS + 1)]
        for outputs in range(1, (MOST_PANELS - 1) * lanes + 2):
            _, W = draw_factors(rng, kind, 1, inputs, outputs)
            b = draw(rng, dtype, 1, outputs)
            count = len(b)
            whole = (0, count, 0, MOST_ROWS)
            expected, sums = np.zeros((2, count, MOST_ROWS, lanes))
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


@kinds
@pytest.mark.parametrize("epilogue", BACKWARD)
def test_input_gradient_in_every_shape(kind: Kind, epilogue: int) -> None:
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
                place, rest = (lanes, rows * lanes), (0, count, 0, rows)
                expected, sums = np.zeros((2, *H.shape))
                reference.input_gradient(D, T, start, *place, H, expected, epilogue, *rest)
                reference.input_gradient(*positive(D, T, start), *place, H, sums, IDENTITY, *rest)
                magnitude = magnitude_of(epilogue, sums, H, expected)
                G = guarded(np.full(H.shape, 7), dtype)
                input_gradient(D, T, start, *place, H, G, epilogue, *rest)
                assert close(G, expected, magnitude, outputs + 1), (rows, inputs, outputs)
                assert guards_hold(G), (rows, inputs, outputs)


@kinds
def test_multiply_writes_its_rectangle_only(kind: Kind) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(2)
    for _ in range(500):
        rows, depth, columns = rng.integers(1, (90, 200, 150))
        A, W = draw_factors(rng, kind, rows, depth, columns)
        part = (*subset(rng, len(W)), *subset(rng, rows))
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
    for kind in (FLOAT32, BFLOAT16):
        for where in ("A", "W", "start"):
            A, W = (draw(rng, np.float32, rows, 5), draw(rng, np.float32, 5, 2 * lanes, 2 * lanes))
            start, mask = (draw(rng, np.float32, rows, 2 * lanes) for _ in range(2))
            {"A": A, "W": W, "start": start}[where][0, 2, 3] = planted
            A, W = (in_pairs(A)[0], in_pairs(W)[1]) if kind.pairs else (A, W[:, : len(A) * lanes])
            given = (A, np.ascontiguousarray(W), start, lanes, rows * lanes)
            out, expected = (guarded(mask, np.float32) for _ in range(2))
            multiply(*given, out, epilogue, mask, 0, 2, 0, rows)
            reference.multiply(*given, expected, epilogue, mask, 0, 2, 0, rows)
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
    X: np.ndarray, D: np.ndarray, states: list[np.ndarray], inputs: int, rule: int
) -> list[np.ndarray]:
    """Return the magnitudes behind new weights, velocities and mean squares."""
    hyper = HYPER * np.where(np.isin(np.arange(COLUMNS), [STEP, GRADIENT_STEP]), -1, 1)
    x, d, w, v, s = positive(X, D, *states)
    rest = (NO_SQUARES, *NO_ROOM, 0, len(w), 0, w.shape[1] // w.shape[2])
    if rule in (PLAIN, HEAVY_BALL, VELOCITY):
        reference.update(x, d, w, v, s, w, inputs, rule, hyper, *rest)
        return [w, v, s]
    g, v_new, s_new = np.zeros_like(w), v.copy(), s.copy()
    descent = np.eye(COLUMNS)[GRADIENT_STEP] * -1
    reference.update(x, d, g, g, g, g, inputs, PLAIN, descent, *rest)
    g += hyper[DECAY] * w
    reference.update(x, d, w.copy(), v_new, s_new, w, inputs, ADAM, hyper, *rest)
    # w moves by numerator / root, and the root by half of what s does, over itself. S is at least
    # 0.5 here: far from where a root has no slope.
    root = np.sqrt(HYPER[SQUARE_DECAY] * s)
    ratio = (v_new if rule == ADAM else g) / (HYPER[ROOT_SCALE] * root)
    return [w + HYPER[STEP] * ratio * (2 + s_new / root**2), v_new, s_new]


def draw_states(
    rng: np.random.Generator, kind: Kind, inputs: int, outputs: int
) -> list[np.ndarray]:
    """Draw weights, velocities and mean squares; none is zero, not even where they are padding."""
    lanes = lanes_of(kind.dtype)
    shape = (-(-outputs // lanes), round_up(inputs, lanes), lanes)
    return [guarded(rng.random(shape) + 0.5, kind.dtype) for _ in range(3)]


def room_of(kind: Kind, panels: int, batch: int) -> tuple[np.ndarray, int, int]:
    """Return room for marks and sums, and where they begin."""
    lanes = lanes_of(kind.dtype)
    marks, sums = sparse.room(panels, lanes, batch, np.dtype(kind.dtype).itemsize)
    return guarded(np.zeros(marks + sums), kind.dtype), 0, marks


@kinds
@pytest.mark.parametrize("rule", RULES)
def test_update_in_every_shape(kind: Kind, rule: int) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    most = 2 * max(lanes, TILE.update_rows) + 1
    rng = np.random.default_rng(5)
    hyper = HYPER.astype(dtype)
    for batch in (1, 2, 3, 32) if rule == VELOCITY else (1, 3):
        X = draw(rng, dtype, batch, most)
        X = in_pairs(X)[1] if kind.pairs else X
        for outputs in range(1, (UPDATE_PANELS - 1) * lanes + 2):
            D = draw(rng, dtype, batch, outputs)
            D = in_pairs(D)[1] if kind.pairs else D
            before = draw_states(rng, kind, most, outputs)
            expected = [state.astype(np.float64) for state in before]
            part = (0, len(D), 0, before[0].shape[1] // lanes)
            reference.update(
                X, D, *expected, expected[0], most, rule, hyper, NO_SQUARES, *NO_ROOM, *part
            )
            magnitude = update_magnitudes(X, D, before, most, rule)
            # A layer of fewer inputs is the top of it: its other rows stay as they are.
            for inputs in range(1, most + 1):
                slabs = -(-inputs // lanes)
                height = slabs * lanes
                states = [guarded(state[:, :height], dtype) for state in before]
                depth = round_up(slabs, 2) * lanes // 2
                right = guarded(np.zeros((len(D), depth, lanes)), np.int32)
                if not kind.pairs:
                    right = states[0]
                rest = (
                    right,
                    inputs,
                    rule,
                    hyper,
                    NO_SQUARES,
                    *room_of(kind, len(D), batch),
                    0,
                    len(D),
                    0,
                    slabs,
                )
                update(guarded(X[:slabs], X.dtype), D, *states, *rest)
                shape = (batch, inputs, outputs)
                for state, new, size, old in zip(states, expected, magnitude, before, strict=True):
                    assert close(state[:, :inputs], new[:, :inputs], size[:, :inputs], batch + 4), (
                        shape
                    )
                    assert (state[:, inputs:] == old[:, inputs:height]).all(), shape
                if kind.pairs:
                    rounded = np.zeros_like(right)
                    reference.write_right_operand(states[0], rounded, 0, len(D), 0, slabs)
                    assert (right == rounded).all(), shape
                assert guards_hold(*states, right), shape


@kinds
@pytest.mark.parametrize("rule", RULES)
def test_update_changes_its_part_only(kind: Kind, rule: int) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(6)
    hyper = HYPER.astype(dtype)
    touched = {PLAIN: "W", HEAVY_BALL: "WV", VELOCITY: "WV", ADAM: "WVS", RMSPROP: "WS"}[rule]
    for _ in range(100):
        batch, inputs, outputs = rng.integers(1, (40, 100, 150))
        X, D = (draw(rng, dtype, batch, width) for width in (inputs, outputs))
        if kind.pairs:
            X, D = in_pairs(X)[1], in_pairs(D)[1]
        states = draw_states(rng, kind, inputs, outputs)
        before = [state.copy() for state in states]
        slabs = states[0].shape[1] // lanes
        part = (*subset(rng, len(D)), *subset(rng, slabs))
        right = guarded(np.full((len(D), round_up(slabs, 2) * lanes // 2, lanes), 7), np.int32)
        rounded = right.copy()
        squares = guarded(np.full((len(D), slabs), 7), np.float64)
        sums = squares.copy()
        expected = [state.astype(np.float64) for state in states]
        magnitude = update_magnitudes(X, D, states, inputs, rule)
        reference.update(X, D, *expected, expected[0], inputs, rule, hyper, sums, *NO_ROOM, *part)
        rest = (inputs, rule, hyper, squares, *room_of(kind, len(D), batch), *part)
        update(X, D, *states, right if kind.pairs else states[0], *rest)

        inside = np.zeros(states[0].shape, bool)
        panel_from, panel_to, slab_from, slab_to = part
        inside[panel_from:panel_to, slab_from * lanes : min(slab_to * lanes, inputs)] = True
        for name, state, old, new, size in zip(
            "WVS", states, before, expected, magnitude, strict=True
        ):
            changed = inside & (name in touched)
            assert close(state, new, np.where(changed, size, 0), batch + 4)
            assert (state == old)[~changed].all()
        if kind.pairs:
            reference.write_right_operand(states[0], rounded, *part)
            assert (right == rounded).all()
        precision = 1e-13 if dtype == np.float64 else 2e-7 * lanes
        np.testing.assert_allclose(squares, sums, rtol=precision)
        assert guards_hold(*states, squares, right)


@dtypes
@pytest.mark.parametrize("rule", RULES)
def test_leaving_zeros_out_changes_no_bit(dtype: Any, rule: int) -> None:
    lanes = lanes_of(dtype)
    kind = Kind("", dtype)
    rng = np.random.default_rng(8)
    hyper = HYPER.astype(dtype)
    left_out = 0
    for batch in (24, 63, 64, 65, 100, 150):
        slabs = TILE.slabs * 2 + 3
        inputs = slabs * lanes - 1
        outputs = (sparse.PANELS + 3) * lanes
        X, D = (draw(rng, dtype, batch, width) for width in (inputs, outputs))
        D[rng.random(D.shape) < rng.choice([0.3, 0.5, 0.9], (len(D), 1, 1))] = 0
        D[0] = 0
        D[1, :, :2] = 0
        D[2, 5, 1] = np.nan
        states = draw_states(rng, kind, inputs, outputs)
        dense = [guarded(state, dtype) for state in states]
        room, marks, sums = room_of(kind, len(D), batch)
        part = (0, len(D) - 1, 1, slabs)
        squares, expected = (guarded(np.zeros((len(D), slabs)), np.float64) for _ in range(2))
        # Seven groups of rows at a time are less than a tile that leaves zeros out.
        rest = (states[0], inputs, rule, hyper, squares, room, marks, sums)
        update(X, D, *states, *rest, *part)
        for first in range(part[2], part[3], TILE.slabs - 1):
            last = min(first + TILE.slabs - 1, part[3])
            rest = (dense[0], inputs, rule, hyper, expected, room.copy(), marks, sums)
            update(X, D, *dense, *rest, *part[:2], first, last)
        for state, other in zip(states, dense, strict=True):
            np.testing.assert_array_equal(state, other)
        np.testing.assert_array_equal(squares, expected)
        assert guards_hold(*states, squares, room)
        left_out += room[sums:].any()
    assert left_out == 6


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
        Z = draw(rng, dtype, batch, outputs)
        Z[...] *= dtype(spread)
        labels = rng.integers(0, outputs, batch + extra)
        indices = rng.permutation(batch + extra)[:batch]
        factors = rng.random(batch).astype(dtype)
        rest = subset(rng, batch) if outputs % 2 else (0, batch)
        D = guarded(rng.normal(size=Z.shape), dtype)
        losses, correct = guarded(rng.random(batch), np.float64), np.ones(batch, bool)
        gradient, expected, right = D.astype(np.float64), losses.copy(), correct.copy()
        given = (labels, indices, outputs, factors)
        reference.softmax_cross_entropy(Z, *given, gradient, expected, right, *rest)
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
        # Its sum and its depth are rounded as Z is; what the loss makes of them is float64.
        allowed = np.zeros(batch)
        allowed[rows] = rounding * (outputs + 8 + (depth * own).sum(axis=1))
        assert (abs(losses - expected) <= allowed).all(), outputs
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
                losses = np.zeros(1)
                given = (np.array([label]), np.array([0]), outputs, np.ones(1, dtype))
                softmax_cross_entropy(Z, *given, np.zeros_like(Z), losses, np.ones(1, bool), 0, 1)
                if planted == -np.inf and outputs > 1:  # a class that is ruled out
                    assert np.isinf(losses[0]) == (label == place)
                else:
                    assert np.isnan(losses[0])


@dtypes
@pytest.mark.parametrize("loss", [LOGISTIC, SQUARED])
def test_elementwise_loss(dtype: Any, loss: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(8)
    rounding = 2.0**-24 if dtype == np.float32 else 2.0**-53
    for outputs in range(1, 3 * lanes + 2):
        batch = 5
        Z = draw(rng, dtype, batch, outputs)
        Z[...] *= dtype(rng.choice([0.1, 5, 50]))
        targets = rng.integers(0, 2, (batch + 2, outputs)).astype(dtype)
        if loss == SQUARED:
            targets += rng.normal(size=targets.shape).astype(dtype)
        indices = rng.permutation(batch + 2)[:batch]
        factors = rng.random(batch).astype(dtype)
        rest = subset(rng, batch)
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


# -- elementwise, operands, transpose, gather --------------------------------------------------


@dtypes
@pytest.mark.parametrize("code", sorted(set(reference.FUNCTIONS) - {int(RELU)}))
def test_elementwise(dtype: Any, code: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(9)
    for _ in range(50):
        shape = (*rng.integers(1, (6, 40)), lanes)
        source = guarded(5 * rng.normal(size=shape), dtype)
        other = guarded(np.where(rng.random(shape) < 0.3, 0, rng.random(shape)), dtype)
        part = (*subset(rng, shape[0]), *subset(rng, shape[1]))
        out = source if rng.random() < 0.5 else guarded(rng.normal(size=shape), dtype)
        expected = out.astype(np.float64)
        reference.elementwise(code, source, other, expected, *part)
        magnitude = magnitude_of(code, abs(source.astype(np.float64)), other, expected)
        if code in (EXP, SIGMOID, TANH):
            magnitude = abs(expected)
        elementwise(np.int64(code), source, other, out, *part)
        inside = np.zeros(shape, bool)
        inside[part[0] : part[1], part[2] : part[3]] = True
        assert close(out, expected, np.where(inside, magnitude, 0), 4)
        assert guards_hold(out)


@dtypes
@pytest.mark.parametrize(("rate", "key"), [(0.5, 0), (0.1, 2**64 - 1), (0.999, 12345)])
def test_dropout_draws_splitmix64(dtype: Any, rate: float, key: int) -> None:
    lanes = lanes_of(np.dtype(dtype))
    shape = 5, 9, lanes
    result, expected = (guarded(np.full(shape, 7.0), dtype) for _ in range(2))
    for p0, p1, m0, m1 in ((0, 5, 0, 9), (1, 3, 2, 7), (2, 2, 0, 9)):
        arguments = 10**9, 8 * lanes
        draw_mask(rate, np.uint64(key), *arguments, result, p0, p1, m0, m1)
        reference.draw_mask(rate, key, *arguments, expected, p0, p1, m0, m1)
        np.testing.assert_array_equal(result, expected)
        result[:], expected[:] = 7, 7
    assert guards_hold(result)


def test_dropout_is_random() -> None:
    # 40 million units: shares, and correlations with the next unit, row, and epoch, within 5 sigma.
    rate, lanes = 0.3, lanes_of(np.dtype(np.float32))
    shape = 625, 4000, lanes
    first, second = (np.zeros(shape, np.float32) for _ in range(2))
    for key, mask in enumerate((first, second)):
        draw_mask(rate, np.uint64(key), 0, shape[0] * lanes, mask, 0, shape[0], 0, shape[1])
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


def hard_to_round(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw float32 of all exponents, with ties, denormals, zeros and infinities, but no NaN."""
    bits = rng.integers(0, 2**32, shape, dtype=np.uint32)
    bits[rng.random(shape) < 0.2] &= np.uint32(0xFFFF8000)  # ties and what is bfloat16 already
    bits[rng.random(shape) < 0.2] &= np.uint32(0x807FFFFF)  # denormals and zeros
    bits[rng.random(shape) < 0.05] = 0x7F800000
    numbers = bits.view(np.float32)
    return np.where(np.isnan(numbers), np.float32(-0.0), numbers)


def test_pairs_of_bfloat16() -> None:
    lanes = lanes_of(np.float32)
    rng = np.random.default_rng(10)
    for count in range(1, 6):
        for rows in range(1, 12):
            first = rng.integers(0, 3)  # the panels may come out of a smaller array
            source = guarded(hard_to_round(rng, (first + count, rows, lanes)), np.float32)
            shapes = ((-(-count // 2), rows, lanes), (count, -(-rows // 2), lanes))
            for part in ((0, count, 0, rows), (*subset(rng, count), *subset(rng, rows, even=True))):
                found = [guarded(np.full(shape, 7), np.int32) for shape in shapes]
                expected = [array.copy() for array in found]
                write_operands(source, first, *found, *part)
                reference.write_operands(source, first, *expected, *part)
                for array, right in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(array, right)
                assert guards_hold(*found)


def test_weights_as_pairs_of_rows() -> None:
    lanes = lanes_of(np.float32)
    rng = np.random.default_rng(11)
    for count in range(1, 5):
        for slabs in range(1, 5):
            W = guarded(hard_to_round(rng, (count, slabs * lanes, lanes)), np.float32)
            found = guarded(np.full((count, slabs * lanes // 2, lanes), 7), np.int32)
            expected = found.copy()
            part = (*subset(rng, count), *subset(rng, slabs))
            write_right_operand(W, found, *part)
            reference.write_right_operand(W, expected, *part)
            np.testing.assert_array_equal(found, expected)
            assert guards_hold(found)


def test_nan_stays_nan_in_bfloat16() -> None:
    lanes = lanes_of(np.float32)
    # Among them those that a rounding of their bits would turn into infinity, or into zero.
    bits = [0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7FC00000]
    source = np.resize(np.array(bits, np.uint32), (2, 2, lanes)).view(np.float32)
    of_columns, of_rows = np.zeros((1, 2, lanes), np.int32), np.zeros((2, 1, lanes), np.int32)
    write_operands(source, 0, of_columns, of_rows, 0, 2, 0, 2)
    assert np.isnan(reference.columns_of(of_columns)).all()
    assert np.isnan(reference.rows_of(of_rows)).all()
    assert np.isnan(reference.from_bfloat16(reference.to_bfloat16(source))).all()


@kinds
def test_transpose(kind: Kind) -> None:
    lanes = lanes_of(kind.dtype)
    rng = np.random.default_rng(12)
    depth = lanes // 2 if kind.pairs else lanes
    for count in range(1, 5):
        for slabs in range(1, 5):
            W = guarded(rng.normal(size=(count, slabs * lanes, lanes)), kind.dtype)
            for part in ((0, count, 0, slabs), (*subset(rng, count), *subset(rng, slabs))):
                shape = (slabs, count * depth, lanes)
                T = guarded(np.full(shape, 7), np.int32 if kind.pairs else kind.dtype)
                expected = T.copy()
                transpose(W, T, *part)
                reference.transpose(W, expected, *part)
                np.testing.assert_array_equal(T, expected)
                assert guards_hold(T)
            if not kind.pairs:
                transpose(W, T, 0, count, 0, slabs)
                np.testing.assert_array_equal(reference.to_matrix(T), reference.to_matrix(W).T)


@kinds
@pytest.mark.parametrize("raw", [np.uint8, np.float32, np.float64])
def test_gather_in_every_width(kind: Kind, raw: Any) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(13)
    for width in (*range(1, 3 * lanes + 2), 17 * lanes, 17 * lanes + 5, 24 * lanes):
        count, batch = 9, int(rng.integers(1, 8))
        source = rng.integers(0, 256, (count, width)).astype(raw)
        if raw != np.uint8:
            source = guarded(source + rng.random(source.shape), raw)
        scale, shift = (guarded(rng.normal(size=width), dtype) for _ in range(2))
        columns = rng.choice([n for n in range(1, width + 1) if width % n == 0])
        indices, flips = rng.integers(0, count, batch), rng.random(batch) < 0.5
        rest = (np.zeros((batch, width), raw), *subset(rng, batch, even=kind.pairs))
        given = (source, indices, flips, columns)
        panels = -(-width // lanes)
        X = guarded(np.full((panels, batch, lanes), 7), dtype)
        expected, magnitude = X.astype(np.float64), np.zeros(X.shape)
        reference.gather(*given, scale, shift, expected, expected, expected, *rest)
        sizes = tuple(positive(scale, shift))
        reference.gather(*given, *sizes, magnitude, magnitude, magnitude, *rest)
        if not kind.pairs:
            gather(*given, scale, shift, X, X, X, *rest)
            assert close(X, expected, magnitude, 1), width
            assert guards_hold(X), width
            continue
        # What is no whole pair of panels passes through X, one panel of room.
        X = guarded(np.full((1, batch, lanes), 7), dtype)
        C = guarded(np.full((-(-panels // 2), batch, lanes), 7), np.int32)
        R = guarded(np.full((panels, -(-batch // 2), lanes), 7), np.int32)
        gather(*given, scale, shift, X, C, R, *rest)
        rows = slice(*rest[1:])
        found, right, size = (
            matrix[rows, :width]
            for matrix in (
                reference.columns_of(C),
                *map(reference.to_matrix, (expected, magnitude)),
            )
        )
        assert (abs(found - right) <= 2.0**-8 * abs(right) + 2.0**-21 * size).all(), width
        again = reference.to_matrix(reference.rows_of(R))[:batch]
        np.testing.assert_array_equal(again[rows, :width], found)
        assert not again[rows, width:].any()
        assert not reference.columns_of(C)[rows, width:].any()
        assert guards_hold(X, C, R), width


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 5, 7), (1, 2, 15), (3, 16, 16), (1, 3, 17), (1, 28, 28), (3, 32, 32)]
)
def test_a_flip_is_numpys(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(14)
    images = rng.integers(0, 256, (4, *shape)).astype(np.uint8)
    flat = images.reshape(4, -1)
    width, lanes = flat.shape[1], lanes_of(np.float32)
    flips = np.array([True, False, True, True])
    X = np.full((-(-width // lanes), 4, lanes), 7, np.float32)
    one, zero = np.ones(width, np.float32), np.zeros(width, np.float32)
    gather(flat, np.arange(4), flips, shape[2], one, zero, X, X, X, np.zeros_like(flat), 0, 4)
    expected = np.where(flips[:, None, None, None], images[:, :, :, ::-1], images)
    np.testing.assert_array_equal(unpack(X, 4, width), expected.reshape(4, -1))
