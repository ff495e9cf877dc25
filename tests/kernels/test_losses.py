"""Losses and their gradients against their NumPy twins."""

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
    record_of,
    rounding_of,
    samples_of,
    subset,
)

from fastmlp.kernels import reference
from fastmlp.kernels.arguments import MIX, Part
from fastmlp.kernels.codes import LOGISTIC, SQUARED
from fastmlp.kernels.loops import loss as module
from fastmlp.kernels.loops.pack import lanes_of, unpack

softmax_cross_entropy = entry(module.softmax_cross_entropy)
elementwise_loss = entry(module.elementwise_loss)

START = 4  # rows of the epoch before the batch


def after(count: int, values: np.ndarray) -> np.ndarray:
    """Return `values` behind so many zeros."""
    return np.concatenate([np.zeros(count, values.dtype), values])


@dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("spread", [1, 30, 1000])
def test_softmax_cross_entropy(dtype: Any, spread: float, smoothing: float) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(7)
    rounding = rounding_of(dtype)
    smallest = 4 * float(np.finfo(dtype).tiny)  # what exp takes for zero
    for outputs in range(1, 3 * lanes + 2):
        batch, extra = 5, 3
        Z = draw(rng, dtype, batch, outputs)
        Z[...] *= dtype(spread)
        labels = rng.integers(0, outputs, batch + extra)
        order = after(START, rng.permutation(batch + extra)[:batch])
        factors = after(START, rng.random(batch).astype(dtype))
        samples = samples_of(dtype, labels=labels)
        batches = batches_of(dtype, order, factors=factors)
        part = Part(0, len(Z), *(subset(rng, batch) if outputs % 2 else (0, batch)))
        D = guarded(rng.normal(size=Z.shape), dtype)
        losses = guarded(after(START, rng.random(batch)), np.float64)
        correct = np.ones(len(order), bool)
        gradient, expected, right = D.astype(np.float64), losses.copy(), correct.copy()
        given = (outputs, smoothing, samples, batches)
        wanted = record_of(dtype, expected, right)
        reference.softmax_cross_entropy(Z, gradient, *given, wanted, START, part)
        record = record_of(dtype, losses, correct)
        softmax_cross_entropy(Z, D, *given, record, START, part)

        rows, seen = (slice(first + part.row_from, first + part.row_to) for first in (0, START))
        logits = unpack(Z, batch, outputs).astype(np.float64)[rows]
        depth = logits.max(axis=1, keepdims=True) - logits
        # A rounded exponent moves P by itself, relatively; the sum adds one rounding a class.
        share = np.exp(-depth) / np.exp(-depth).sum(axis=1, keepdims=True)
        own = labels[order[seen]][:, None] == np.arange(outputs)
        size = share * (outputs + 8 + depth) + 3 * own + 6 * smoothing * (share + own + 1 / outputs)
        allowed = np.zeros(Z.shape)
        size = (rounding * size + smallest) * factors[seen, None]
        allowed[:, rows] = reference.to_panels(size, lanes)
        assert (abs(D - gradient) <= allowed).all(), outputs
        # Its sum and its depths are rounded as Z is; what the loss makes of them is float64.
        allowed = np.zeros(len(order))
        allowed[seen] = outputs + 8 + (depth * own).sum(axis=1)
        allowed[seen] += 3 * (smoothing > 0) * (depth.mean(axis=1) + (depth * own).sum(axis=1))
        assert (abs(losses - expected) <= rounding * allowed).all(), outputs
        np.testing.assert_array_equal(correct, right)
        assert guards_hold(D, losses, Z)

        in_place = guarded(Z, dtype)
        softmax_cross_entropy(in_place, in_place, *given, record, START, part)
        np.testing.assert_array_equal(in_place[:, rows], D[:, rows])


@dtypes
def test_smoothing_is_the_loss_of_a_label_spread_over_all_outputs(dtype: Any) -> None:
    lanes, outputs, smoothing = lanes_of(dtype), 7, 0.3
    Z = draw(np.random.default_rng(17), dtype, 1, outputs)
    losses, gradients = [], []

    def note(label: int, smoothing: float) -> None:
        D, record = np.zeros_like(Z), record_of(dtype, np.zeros(1), np.ones(1, bool))
        samples, batches = (
            samples_of(dtype, labels=np.array([label])),
            batches_of(dtype, np.arange(1)),
        )
        part = Part(0, len(Z), 0, 1)
        softmax_cross_entropy(Z, D, outputs, smoothing, samples, batches, record, 0, part)
        losses.append(record.losses[0])
        gradients.append(unpack(D, 1, outputs)[0])

    for label in range(outputs):
        note(label, 0.0)
    note(2, smoothing)
    spread = np.full(outputs, smoothing / outputs)
    spread[2] += 1 - smoothing
    assert len(Z) == -(-outputs // lanes)
    tolerance = 50 * rounding_of(dtype)
    np.testing.assert_allclose(losses[-1], spread @ losses[:-1], rtol=tolerance)
    np.testing.assert_allclose(gradients[-1], spread @ gradients[:-1], rtol=0, atol=tolerance)
    assert abs(losses[-1] - losses[2]) > 1e-3
    np.testing.assert_allclose(gradients[-1].sum(), 0, atol=tolerance)


@dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_mixed_label_has_the_shares_of_two_losses(dtype: Any, smoothing: float) -> None:
    """The loss is linear in what is true, so that of a mixture is the mixture of losses."""
    rng = np.random.default_rng(23)
    batch, outputs = 5, 20
    Z = draw(rng, dtype, batch, outputs)
    factors = rng.random(batch).astype(dtype)
    mixes = np.zeros(batch, MIX)
    mixes["partner"], mixes["share"] = [3, 0, 1, 4, 2], [1, 0.5, 0.75, 0.9, 0.6]
    labels, order = rng.integers(0, outputs, 9), np.array([8, 2, 5, 0, 1])

    def of(order: np.ndarray, mixes: np.ndarray | None) -> tuple[np.ndarray, ...]:
        D, record = np.zeros_like(Z), record_of(dtype, np.zeros(batch), np.ones(batch, bool))
        batches = batches_of(dtype, order, factors=factors, mixes=mixes)
        given = (outputs, smoothing, samples_of(dtype, labels=labels), batches, record)
        softmax_cross_entropy(Z, D, *given, 0, Part(0, len(Z), 0, batch))
        return record.losses, unpack(D, batch, outputs), record.correct

    own, other = of(order, None), of(order[mixes["partner"]], None)
    share, tolerance = mixes["share"], 50 * rounding_of(dtype)
    losses, gradient, correct = of(order, mixes)
    np.testing.assert_allclose(losses, share * own[0] + (1 - share) * other[0], rtol=tolerance)
    expected = share[:, None] * own[1] + (1 - share)[:, None] * other[1]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(correct, own[2])
    for mixed, alone in zip(of(order, np.zeros(0, MIX)), own, strict=True):
        np.testing.assert_array_equal(mixed, alone)


@dtypes
@pytest.mark.parametrize("loss", [LOGISTIC, SQUARED])
def test_targets_are_mixed(dtype: Any, loss: int) -> None:
    """As if the mixed targets had been the targets."""
    rng = np.random.default_rng(29)
    batch, outputs = 5, 9
    Z = draw(rng, dtype, batch, outputs)
    targets = rng.integers(0, 2, (batch, outputs)).astype(dtype)
    mixes = np.zeros(batch, MIX)
    mixes["partner"], mixes["share"] = [3, 0, 1, 4, 2], [1, 0.5, 0.75, 0.875, 0.625]
    share = mixes["share"][:, None]
    mixed = (share * targets + (1 - share) * targets[mixes["partner"]]).astype(dtype)

    def of(targets: np.ndarray, mixes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        D, record = np.zeros_like(Z), record_of(dtype, np.zeros(batch), np.ones(batch, bool))
        batches = batches_of(dtype, np.arange(batch), mixes=mixes)
        given = (outputs, loss, samples_of(dtype, targets=targets), batches, record)
        elementwise_loss(Z, D, *given, 0, Part(0, len(Z), 0, batch))
        return record.losses, D

    for found, expected in zip(of(targets, mixes), of(mixed, None), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_lower_of_two_equal_classes_wins() -> None:
    lanes = lanes_of(np.float32)
    Z = reference.to_panels(np.array([[1, 5, 5], [5, 1, 5], [2, 2, 2]]), lanes).astype(np.float32)
    batches = batches_of(np.float32, np.arange(3))
    for label in range(3):
        record = record_of(np.float32, np.zeros(3), np.zeros(3, bool))
        samples = samples_of(np.float32, labels=np.full(3, label))
        given = (np.zeros_like(Z), 3, 0.0, samples, batches)
        softmax_cross_entropy(Z, *given, record, 0, Part(0, len(Z), 0, 3))
        assert record.correct.tolist() == [label == 1, label == 0, label == 0]


@dtypes
@pytest.mark.parametrize("planted", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_shows(dtype: Any, planted: float) -> None:
    lanes = lanes_of(dtype)
    batches = batches_of(dtype, np.array([0]))
    for outputs in (1, 2, lanes + 1):
        for place in range(outputs):
            logits = np.zeros((1, outputs))
            logits[0, place] = planted
            Z = reference.to_panels(logits, lanes).astype(dtype)
            for label in range(outputs):
                samples, part = samples_of(dtype, labels=np.array([label])), Part(0, len(Z), 0, 1)
                found = []
                for smoothing in (0.0, 0.1):
                    record = record_of(dtype, np.zeros(1), np.ones(1, bool))
                    given = (np.zeros_like(Z), outputs, smoothing, samples, batches, record)
                    softmax_cross_entropy(Z, *given, 0, part)
                    found.append(record.losses[0])
                if planted == -np.inf and outputs > 1:  # a class that is ruled out
                    assert np.isinf(found[0]) == (label == place)
                else:
                    assert np.isnan(found[0])
                assert not np.isfinite(found[1])  # every class has a part in a smoothed label


@dtypes
@pytest.mark.parametrize("loss", [LOGISTIC, SQUARED])
def test_elementwise_loss(dtype: Any, loss: int) -> None:
    lanes = lanes_of(dtype)
    rng = np.random.default_rng(8)
    rounding = rounding_of(dtype)
    for outputs in range(1, 3 * lanes + 2):
        batch = 5
        Z = draw(rng, dtype, batch, outputs)
        Z[...] *= dtype(rng.choice([0.1, 5, 50]))
        targets = rng.integers(0, 2, (batch + 2, outputs)).astype(dtype)
        if loss == SQUARED:
            targets += rng.normal(size=targets.shape).astype(dtype)
        order = after(START, rng.permutation(batch + 2)[:batch])
        factors = after(START, rng.random(batch).astype(dtype))
        part = Part(0, len(Z), *subset(rng, batch))
        D, losses = (
            guarded(rng.normal(size=Z.shape), dtype),
            guarded(after(START, rng.random(batch)), np.float64),
        )
        gradient, expected = D.astype(np.float64), losses.copy()
        right, correct = (rng.random(START + batch) < 0.5 for _ in range(2))
        right[...] = correct
        samples = samples_of(dtype, targets=targets)
        given = (outputs, loss, samples, batches_of(dtype, order, factors=factors))
        wanted, record = record_of(dtype, expected, right), record_of(dtype, losses, correct)
        reference.elementwise_loss(Z, gradient, *given, wanted, START, part)
        elementwise_loss(Z, D, *given, record, START, part)
        rows, seen = (slice(first + part.row_from, first + part.row_to) for first in (0, START))
        logits = unpack(Z, batch, outputs).astype(np.float64)[rows]
        size = np.full(logits.shape, 8.0)
        if loss == SQUARED:
            size = 3 * (abs(logits) + abs(targets[order[seen]]))
        allowed = np.zeros(Z.shape)
        allowed[:, rows] = rounding * reference.to_panels(size * factors[seen, None], lanes)
        assert (abs(D - gradient) <= allowed).all(), outputs
        # Losses are float64 whatever the outputs are.
        np.testing.assert_allclose(losses, expected, rtol=1e-13 * outputs)
        np.testing.assert_array_equal(correct, right)
        assert guards_hold(D, losses, Z)
