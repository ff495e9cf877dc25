"""The engine's own promises: what it hands out is a copy, and an empty epoch changes nothing."""

import math

import numpy as np
import pytest

from fastmlp.kernels import reference
from fastmlp.kernels.arguments import Part
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.kernels.run import run
from fastmlp.training.engine import Engine
from fastmlp.training.evaluation import score
from fastmlp.training.layers import network_layers
from fastmlp.training.optimizers import sgd
from fastmlp.training.shapes import parameter_shapes


@pytest.fixture
def engine():
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((5, 7)), rng.standard_normal((3, 5))]
    return Engine(weights, [np.ones(5), np.ones(3)], batch_size=4, dtype="float64")


def samples(engine):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 8)
    return engine.samples(rng.standard_normal((8, 7)), np.ones(7), np.zeros(7), labels=labels)


def test_parameters_handed_out_do_not_change_with_training(engine):
    # Biases of narrow layers once were views: the best epoch's network got the last epoch's biases.
    weights, biases = engine.weights()
    before = [array.copy() for array in (*weights, *biases)]
    engine.epoch(samples(engine), np.arange(8), sgd(2, 0.1))
    for old, array in zip(before, (*weights, *biases), strict=True):
        np.testing.assert_array_equal(array, old)
    for old, array in zip(before, [*engine.weights()[0], *engine.weights()[1]], strict=True):
        assert not np.array_equal(array, old)


def test_warming_up_changes_nothing(engine):
    before = [*engine.weights()[0], *engine.weights()[1]]
    engine.warm_up(samples(engine))
    for old, new in zip(before, [*engine.weights()[0], *engine.weights()[1]], strict=True):
        np.testing.assert_array_equal(new, old)


def test_warming_up_forgets_no_state(engine):
    engine.epoch(samples(engine), np.arange(8), sgd(2, 0.1, momentum=0.9))
    before = engine.states()["velocity"]
    engine.warm_up(samples(engine))
    after = engine.states()["velocity"]
    for old, new in zip([*before[0], *before[1]], [*after[0], *after[1]], strict=True):
        np.testing.assert_array_equal(new, old)
        assert np.abs(new).max() > 0


@pytest.mark.parametrize(
    ("shape", "hidden"),
    # Steps of small batches do without what evaluation has; evaluation does without dropout.
    [((3072,), []), ((16,), [8]), ((1, 8, 8), ["conv 2 3", "maxpool 2", 8])],
)
def test_a_network_compiles_one_loop(shape, hidden):
    layers = network_layers(hidden, 10, dropout=0.5)
    parameters = parameter_shapes(layers, shape)
    weights, biases = ([np.zeros(one[i]) for one in parameters] for i in range(2))
    engine = Engine(weights, biases, layers=layers, shape=shape, batch_size=4, threads=1)
    width = math.prod(shape)
    images, labels = np.zeros((4, width), np.uint8), np.zeros(4, np.int64)
    before = len(run.overloads)
    engine.warm_up(engine.samples(images, np.ones(width), np.zeros(width), labels=labels))
    assert len(run.overloads) <= before + 1


def test_read_only_data_are_no_other_type_to_the_compiler(engine):
    images, labels = np.ones((8, 7)), np.zeros(8, np.int64)
    one = np.ones(7)
    assert engine.samples(images, one, one, labels=labels).images is images
    for array in (images, labels):
        array.flags.writeable = False
    samples = engine.samples(images, one, one, labels=labels)
    assert samples.images.flags.writeable
    assert samples.labels.flags.writeable
    assert np.shares_memory(samples.images, images)
    assert np.isfinite(engine.epoch(samples, np.arange(8), sgd(2, 0.1)).losses).all()


def test_shorter_integers_are_no_other_type_to_the_compiler(engine):
    # NumPy 1 on Windows makes integers of 32 bits: an order of them had the epoch compiled again, within it.
    data = samples(engine)
    engine.epoch(data, np.arange(8), sgd(2, 0.0))
    expected, compiled = engine.logits(data, np.arange(8)), len(run.overloads)
    for dtype in (np.int32, np.intc, np.uint32):
        engine.epoch(data, np.arange(8, dtype=dtype), sgd(2, 0.0))
        np.testing.assert_array_equal(engine.logits(data, np.arange(8, dtype=dtype)), expected)
        labels = np.zeros(8, dtype)
        assert (
            engine.samples(np.ones((8, 7)), np.ones(7), np.ones(7), labels=labels).labels.dtype
            == np.int64
        )
    assert len(run.overloads) == compiled


def test_dropout_thins_training_alone_by_a_rows_place_in_the_epoch():
    rng, key, count, width, lanes = np.random.default_rng(2), 99, 11, 40, lanes_of(np.float64)
    W, V = rng.standard_normal((width, 7)), rng.standard_normal((3, width))
    engine = Engine(
        [W, V],
        [np.ones(width), np.zeros(3)],
        layers=network_layers([width], 3, dropout=0.4),
        batch_size=4,
        dtype="float64",
    )
    images, labels, order = (
        rng.standard_normal((count, 7)),
        rng.integers(0, 3, count),
        rng.permutation(count),
    )
    samples = engine.samples(images, np.ones(7), np.zeros(7), labels=labels)
    record = engine.epoch(samples, order, sgd(3, 0.0), dropout_key=key)

    hidden = np.maximum(images @ W.T + 1, 0)
    panels = width // lanes
    mask = np.zeros((panels, count, lanes))
    reference.draw_mask(0.4, key, 0, width, mask, Part(0, panels, 0, count))
    thinned = (hidden[order] * reference.to_matrix(mask)) @ V.T
    expected = [
        score(z[None], labels[i : i + 1])["loss"] for z, i in zip(thinned, order, strict=True)
    ]
    np.testing.assert_allclose(record.losses, expected, rtol=1e-12)
    np.testing.assert_allclose(engine.logits(samples), hidden @ V.T, rtol=1e-12, atol=1e-12)
