"""Layers with few outputs: the bits of the ordinary tiles, and the NumPy twins."""

from typing import Any

import numpy as np
import pytest
from kernel_helpers import (
    batches_of,
    draw,
    dtypes,
    entry,
    guarded,
    guards_hold,
    samples_of,
    subset,
)

from fastmlp.kernels import reference
from fastmlp.kernels.activations import value_code
from fastmlp.kernels.arguments import Epilogue, FirstLayer, Marks, Part, Weights
from fastmlp.kernels.codes import ADAM, HEAVY_BALL, IDENTITY, PLAIN, RMSPROP, VELOCITY
from fastmlp.kernels.emit.narrow import COLUMNS_OF_TILES, ROW_VECTORS, narrow_columns
from fastmlp.kernels.loops import gather as gather_module
from fastmlp.kernels.loops import multiply as multiply_module
from fastmlp.kernels.loops import narrow as module
from fastmlp.kernels.loops import update as update_module
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.kernels.reference.steps import HAVE_SQUARES, HAVE_VELOCITY

update, update_narrow = entry(update_module.update), entry(module.update_narrow)
gather, multiply = entry(gather_module.gather), entry(multiply_module.multiply)
gather_multiply = entry(module.gather_multiply)

HYPER = np.array([0.01, 0.85, 0.7, 0.2, 0.3, 0.99, 0.05, 1.2, 0.001, 0.9])


def test_which_rows_blocks_leave() -> None:
    for rows, left in ((31, 31), (32, 0), (47, 15), (48, 0), (50, 0), (64, 0), (68, 4)):
        rest = module.left_over.py_func(Part(0, 1, 3, 3 + rows), 32)
        assert (rest.row_from, rest.row_to) == (3 + rows - left, 3 + rows)
    assert module.left_over.py_func(Part(0, 1, 3, 50), 0) == Part(0, 1, 3, 50)


def test_which_layers_are_narrow() -> None:
    assert [narrow_columns(outputs, 16) for outputs in (1, 4, 5, 10, 11)] == [4, 4, 10, 10, 0]
    # Three vectors of four are as full as a tile of ten.
    assert [narrow_columns(outputs, 8) for outputs in (4, 5, 8, 9, 10)] == [4, 0, 0, 10, 10]
    assert [narrow_columns(outputs, 4) for outputs in (4, 10)] == [0, 0]


@dtypes
@pytest.mark.parametrize("rule", [PLAIN, HEAVY_BALL, VELOCITY, ADAM, RMSPROP])
def test_update_narrow_has_the_bits_of_update(dtype: Any, rule: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(21)
    hyper = HYPER.astype(dtype)
    marks = Marks(np.zeros(1, dtype), 0, 0)  # not touched: too few rows to leave zeros out
    for outputs in range(1, 13):
        columns = narrow_columns(outputs, lanes)
        for inputs in (lanes - 1, lanes, 3 * lanes + 2, 4 * lanes):
            batch = int(rng.integers(10, 40))
            X, D = (draw(rng, dtype, batch, width) for width in (inputs, outputs))
            slabs = len(X)
            shape = (len(D), slabs * lanes, lanes)
            states = [guarded(rng.random(shape) + 0.5, dtype) for _ in range(3)]
            dense, exact = (
                [guarded(state, kind) for state in states] for kind in (dtype, np.float64)
            )
            part = Part(0, len(D), int(rng.integers(0, slabs)), slabs)
            given = (inputs, columns, rule, hyper, part)
            first = update_narrow(X, D, Weights(*states, states[0]), *given)
            assert first == reference.update_narrow(X, D, Weights(*exact, exact[0]), *given)
            assert first == part.row_from or columns
            done = part._replace(row_to=first)
            update(X, D, Weights(*dense, dense[0]), inputs, rule, hyper, marks, done)
            for state, other in zip(states, dense, strict=True):
                np.testing.assert_array_equal(state, other)
            touched = (True, rule in HAVE_VELOCITY, rule in HAVE_SQUARES)
            for state, other, is_touched in zip(states, exact, touched, strict=True):
                if is_touched:
                    np.testing.assert_allclose(state, other, rtol=1e-3, atol=1e-3)
            assert guards_hold(*states)


@dtypes
@pytest.mark.parametrize("raw", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("code", [IDENTITY, value_code("relu"), value_code("tanh")])
def test_gather_multiply_has_the_bits_of_both(dtype: Any, raw: Any, code: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(22)
    block = ROW_VECTORS * lanes
    for outputs in range(1, 11):
        columns = narrow_columns(outputs, lanes)
        if columns != COLUMNS_OF_TILES[-1]:
            continue
        inputs, start = int(rng.integers(1, 5)) * lanes, 3
        batch = int(rng.integers(block, 3 * block))
        images = rng.integers(0, 256, (batch + 9, inputs)).astype(raw)
        scale, shift = (rng.normal(size=inputs).astype(dtype) / 100 for _ in range(2))
        samples = samples_of(dtype, images, scale=scale, shift=shift, columns=lanes // 2)
        order = rng.integers(0, len(images), start + batch)
        batches = batches_of(dtype, order, flips=rng.random(start + batch) < 0.5)
        W, bias = draw(rng, dtype, inputs, outputs), draw(rng, dtype, 1, outputs)
        part = Part(0, len(W), *subset(rng, batch))

        def room(kind: Any, fill: float) -> list[np.ndarray]:
            counts = (inputs // lanes, len(W), len(W))  # noqa: B023
            return [guarded(np.full((one, batch, lanes), fill), kind) for one in counts]  # noqa: B023

        X, out, result = room(dtype, 7)
        other_X, other_out, other_result = room(dtype, 7)
        exact = room(np.float64, 7)
        mirrored = np.zeros((batch, inputs), raw)
        own = sorted(map(int, rng.integers(0, inputs // lanes + 1, 2)))
        at_once = FirstLayer(X, W, bias, out, mirrored, *own)
        in_tile = code == value_code("relu")
        epilogue = Epilogue(code, out, out if in_tile else result)
        gather_multiply(samples, batches, start, at_once, columns, epilogue, part)
        assert (np.delete(X, range(*own), axis=0) == 7).all()

        rest = module.left_over.py_func(part, block)
        done = part._replace(row_to=rest.row_from)
        whole = done._replace(panel_to=len(X))
        gather(samples, batches, start, other_X, None, None, mirrored, whole)
        epilogue = Epilogue(code, other_out, other_out if in_tile else other_result)
        multiply(other_X, W, bias, other_out, epilogue, done)
        other_X[: own[0]] = other_X[own[1] :] = 7
        for one, other in ((X, other_X), (out, other_out), (result, other_result)):
            np.testing.assert_array_equal(one, other)
        assert guards_hold(X, out, result)

        epilogue = Epilogue(code, exact[1], exact[1] if in_tile else exact[2])
        layer = FirstLayer(exact[0], W, bias, exact[1], mirrored, *own)
        reference.gather_multiply(samples, batches, start, layer, columns, epilogue, part)
        for one, twin in zip((X, out, result), exact, strict=True):
            np.testing.assert_allclose(one, twin, rtol=1e-3, atol=1e-3)
