"""The fused weight gradient and step against its NumPy twin, with and without leaving zeros out; sums of squares."""

from typing import Any

import numpy as np
import pytest
from kernel_helpers import (
    Kind,
    close,
    draw,
    draw_part,
    dtypes,
    entry,
    guarded,
    guards_hold,
    in_pairs,
    kinds,
    positive,
    update_panels,
)

from fastmlp.kernels import reference
from fastmlp.kernels.arguments import PAIR, Marks, Part, Weights
from fastmlp.kernels.codes import (
    ADAM,
    COLUMNS,
    DECAY,
    GRADIENT_STEP,
    HEAVY_BALL,
    PLAIN,
    RMSPROP,
    ROOT_SCALE,
    SQUARE_DECAY,
    STEP,
    VELOCITY,
)
from fastmlp.kernels.loops import nonzeros
from fastmlp.kernels.loops import squares as squares_module
from fastmlp.kernels.loops import update as module
from fastmlp.kernels.loops.pack import lanes_of, round_up
from fastmlp.kernels.tiles import TILE

update, sum_squares = entry(module.update), entry(squares_module.sum_squares)

RULES = (PLAIN, HEAVY_BALL, VELOCITY, ADAM, RMSPROP)
HYPER = np.array([0.01, 0.85, 0.7, 0.2, 0.3, 0.99, 0.05, 1.2, 0.001, 0.0])  # as codes.py has them


def update_magnitudes(
    X: np.ndarray, D: np.ndarray, states: list[np.ndarray], inputs: int, rule: int
) -> list[np.ndarray]:
    """Return the magnitudes behind new weights, velocities and mean squares."""
    hyper = HYPER * np.where(np.isin(np.arange(COLUMNS), [STEP, GRADIENT_STEP]), -1, 1)
    x, d, w, v, s = positive(X, D, *states)
    part = Part(0, len(w), 0, w.shape[1] // w.shape[2])
    if rule in (PLAIN, HEAVY_BALL, VELOCITY):
        reference.update(x, d, Weights(w, v, s, w), inputs, rule, hyper, None, part)
        return [w, v, s]
    g, v_new, s_new = np.zeros_like(w), v.copy(), s.copy()
    descent = np.eye(COLUMNS)[GRADIENT_STEP] * -1
    reference.update(x, d, Weights(g, g, g, g), inputs, PLAIN, descent, None, part)
    g += hyper[DECAY] * w
    moved = Weights(w.copy(), v_new, s_new, w)
    reference.update(x, d, moved, inputs, ADAM, hyper, None, part)
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


def marks_of(kind: Kind, panels: int, batch: int) -> Marks:
    """Return room for marks and sums."""
    lanes = lanes_of(kind.dtype)
    marks, sums = nonzeros.room(panels, lanes, batch, np.dtype(kind.dtype).itemsize)
    return Marks(guarded(np.zeros(marks + sums), kind.dtype), 0, marks)


@kinds
@pytest.mark.parametrize("rule", RULES)
def test_update_in_every_shape(kind: Kind, rule: int) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    most = 2 * max(lanes, TILE.largest_update(np.dtype(dtype).itemsize)[0]) + 1
    rng = np.random.default_rng(5)
    hyper = HYPER.astype(dtype)
    for batch in (1, 2, 3, 32) if rule == VELOCITY else (1, 3):
        X = draw(rng, dtype, batch, most)
        X = in_pairs(X)[1] if kind.pairs else X
        for outputs in range(1, (update_panels(dtype) - 1) * lanes + 2):
            D = draw(rng, dtype, batch, outputs)
            D = in_pairs(D)[1] if kind.pairs else D
            before = draw_states(rng, kind, most, outputs)
            expected = [state.astype(np.float64) for state in before]
            part = Part(0, len(D), 0, before[0].shape[1] // lanes)
            new = Weights(*expected, expected[0])
            reference.update(X, D, new, most, rule, hyper, None, part)
            magnitude = update_magnitudes(X, D, before, most, rule)
            # A layer of fewer inputs is the top of it: its other rows stay as they are.
            for inputs in range(1, most + 1):
                slabs = -(-inputs // lanes)
                height = slabs * lanes
                states = [guarded(state[:, :height], dtype) for state in before]
                depth = round_up(slabs, 2) * lanes // 2
                right = guarded(np.zeros((len(D), depth, lanes)), PAIR)
                if not kind.pairs:
                    right = states[0]
                part = Part(0, len(D), 0, slabs)
                rest = (inputs, rule, hyper, marks_of(kind, len(D), batch), part)
                update(guarded(X[:slabs], X.dtype), D, Weights(*states, right), *rest)
                shape = (batch, inputs, outputs)
                for state, new, size, old in zip(states, expected, magnitude, before, strict=True):
                    assert close(state[:, :inputs], new[:, :inputs], size[:, :inputs], batch + 4), (
                        shape
                    )
                    assert (state[:, inputs:] == old[:, inputs:height]).all(), shape
                if kind.pairs:
                    rounded = np.zeros_like(right)
                    reference.write_right_operand(states[0], rounded, part)
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
        part = draw_part(rng, len(D), slabs)
        right = guarded(np.full((len(D), round_up(slabs, 2) * lanes // 2, lanes), 7), PAIR)
        rounded = right.copy()
        expected = [state.astype(np.float64) for state in states]
        magnitude = update_magnitudes(X, D, states, inputs, rule)
        new = Weights(*expected, expected[0])
        reference.update(X, D, new, inputs, rule, hyper, None, part)
        weights = Weights(*states, right if kind.pairs else states[0])
        marks = marks_of(kind, len(D), batch)
        update(X, D, weights, inputs, rule, hyper, marks, part)

        rows = slice(part.row_from * lanes, min(part.row_to * lanes, inputs))
        inside = np.zeros(states[0].shape, bool)
        inside[part.panel_from : part.panel_to, rows] = True
        for name, state, old, new, size in zip(
            "WVS", states, before, expected, magnitude, strict=True
        ):
            changed = inside & (name in touched)
            assert close(state, new, np.where(changed, size, 0), batch + 4)
            assert (state == old)[~changed].all()
        if kind.pairs:
            reference.write_right_operand(states[0], rounded, part)
            assert (right == rounded).all()
        assert guards_hold(*states, right)


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
        outputs = (nonzeros.PANELS + 3) * lanes
        X, D = (draw(rng, dtype, batch, width) for width in (inputs, outputs))
        D[rng.random(D.shape) < rng.choice([0.3, 0.5, 0.9], (len(D), 1, 1))] = 0
        D[0] = 0
        D[1, :, :2] = 0
        D[2, 5, 1] = np.nan
        states = draw_states(rng, kind, inputs, outputs)
        dense = [guarded(state, dtype) for state in states]
        marks = marks_of(kind, len(D), batch)
        part = Part(0, len(D) - 1, 1, slabs)
        squares, expected = (guarded(np.zeros(outputs), np.float64) for _ in range(2))
        update(X, D, Weights(*states, states[0]), inputs, rule, hyper, marks, part)
        # Seven groups of rows at a time are less than a tile that leaves zeros out.
        for first in range(part.row_from, part.row_to, TILE.slabs - 1):
            few = part._replace(row_from=first, row_to=min(first + TILE.slabs - 1, part.row_to))
            other = marks._replace(array=marks.array.copy())
            update(X, D, Weights(*dense, dense[0]), inputs, rule, hyper, other, few)
        for state, other in zip(states, dense, strict=True):
            np.testing.assert_array_equal(state, other)
        for sums, weights in ((squares, states[0]), (expected, dense[0])):
            sum_squares(weights, sums, 0, Part(0, len(D), 0, slabs))
        np.testing.assert_array_equal(squares, expected)
        assert guards_hold(*states, squares, marks.array)
        left_out += marks.array[marks.sums :].any()
    assert left_out == 6


@dtypes
def test_sums_of_squares(dtype: Any) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(16)
    for _ in range(100):
        count, slabs = rng.integers(1, 8, 2)
        W = guarded(rng.normal(size=(count, slabs * lanes, lanes)), dtype)
        part = draw_part(rng, count, slabs)
        first = int(rng.integers(0, 50))
        squares = guarded(rng.random(first + count * lanes + 3), np.float64)
        expected, before = squares.copy(), squares.copy()
        reference.sum_squares(W, expected, first, part)
        sum_squares(W, squares, first, part)
        # Squares are of float64 whatever the weights are.
        np.testing.assert_allclose(squares, expected, rtol=1e-13)
        outside = np.ones(len(squares), bool)
        outside[first + part.panel_from * lanes : first + part.panel_to * lanes] = False
        assert (squares == before)[outside].all()
        assert not np.allclose(squares[~outside], 0) or outside.all()
        assert guards_hold(squares)
