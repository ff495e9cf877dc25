"""Layers with few outputs: the bits of the ordinary tiles, and the NumPy twins."""

from typing import Any

import numpy as np
import pytest
from kernel_helpers import draw, dtypes, entry, guarded, guards_hold

from fastmlp.kernels import reference
from fastmlp.kernels.arguments import Marks, Part, Weights
from fastmlp.kernels.codes import ADAM, HEAVY_BALL, PLAIN, RMSPROP, VELOCITY
from fastmlp.kernels.emit.narrow import narrow_columns
from fastmlp.kernels.loops import narrow as module
from fastmlp.kernels.loops import update as update_module
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.kernels.reference.steps import HAVE_SQUARES, HAVE_VELOCITY

update, update_narrow = entry(update_module.update), entry(module.update_narrow)

HYPER = np.array([0.01, 0.85, 0.7, 0.2, 0.3, 0.99, 0.05, 1.2, 0.001, 0.9])


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
            batch = int(rng.integers(1, 40))
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
