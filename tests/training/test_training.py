"""train(): against a plain loop, with its history, its data and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from training_helpers import SMALL, TRAIN, VALID, dataset, parameters

import fastmlp
from fastmlp import ConfigError, DataError, Dataset, TrainConfig
from fastmlp.training.draws import draw_epoch
from fastmlp.training.evaluation import evaluate
from fastmlp.training.network import forward
from fastmlp.training.parameters import initialize
from fastmlp.training.schedule import learning_rate
from fastmlp.training.trainer import train


def plain_training(config: TrainConfig, data: Dataset) -> tuple[list[np.ndarray], list[float]]:
    """Train as the documentation says, one formula after the other; return parameters, losses."""
    channels, height, width = data.shape
    images = data.images.reshape(len(data), channels, height, width).astype(np.float64)
    mean, std = images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3))
    images = (images - mean[:, None, None]) / std[:, None, None]
    sizes = (data.images.shape[1], *config.hidden, len(data.classes))
    W, b = initialize(sizes, "torch", np.random.default_rng([0, config.seed]), np.float64)
    w, velocity = [*W, *b], [np.zeros_like(p) for p in (*W, *b)]
    layers = len(W)
    means = []
    for epoch in range(config.epochs):
        order, flips = draw_epoch(config, len(data), epoch)
        losses = []
        for start in range(0, len(order), config.batch_size):
            rows = slice(start, start + config.batch_size)
            X = images[order[rows]]
            X = np.where(flips[rows][:, None, None, None], X[..., ::-1], X)
            A = [X.reshape(len(X), -1)]
            for layer in range(layers):
                Z = A[-1] @ w[layer].T + w[layers + layer]
                A.append(np.maximum(Z, 0) if layer < layers - 1 else Z)
            T = np.eye(len(data.classes))[data.labels[order[rows]]]
            P = np.exp(A[-1]) / np.exp(A[-1]).sum(axis=1, keepdims=True)
            losses += list(-np.log((P * T).sum(axis=1)))
            D = (P - T) / len(X)
            g = [np.zeros(0)] * (2 * layers)
            for layer in reversed(range(layers)):
                g[layer], g[layers + layer] = D.T @ A[layer], D.sum(axis=0)
                D = (D @ w[layer]) * (A[layer] > 0)
            rate = learning_rate(config, epoch)
            for i in range(2 * layers):
                gradient = g[i] + config.weight_decay * w[i]
                velocity[i] = config.momentum * velocity[i] + gradient
                step = gradient + config.momentum * velocity[i] if config.nesterov else velocity[i]
                w[i] = w[i] - rate * step
        means.append(float(np.mean(losses)))
    return w, means


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"flip": True, "weight_decay": 0.02, "schedule": "cosine"},
        {"nesterov": True, "schedule": "step", "step_epochs": 2, "hidden": ()},
        {"momentum": 0.0, "batch_size": 64},
        {"batch_size": 1, "learning_rate": 0.001},
    ],
)
def test_training_is_what_the_documentation_says(changes: dict[str, Any]) -> None:
    config = SMALL.replace(dtype="float64", learning_rate=0.05).replace(**changes)
    result = train(config, TRAIN)
    expected, losses = plain_training(config, TRAIN)
    layers = len(result.network.weights)
    found = [*result.network.weights, *result.network.biases]
    assert layers == len(config.hidden) + 1
    for array, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, right, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose([row["train_loss"] for row in result.history], losses, rtol=1e-9)


def test_every_epoch_is_drawn_anew() -> None:
    config = SMALL.replace(flip=True)
    drawn = [
        draw_epoch(config.replace(seed=seed), 1000, epoch) for seed in (0, 1) for epoch in (0, 1)
    ]
    for order, flips in drawn:
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
        assert 400 < flips.sum() < 600
    for i in range(2):  # neither orders nor flips come again, with another seed or epoch
        assert len({array[i].tobytes() for array in drawn}) == len(drawn)
    order, flips = draw_epoch(SMALL, 1000, 0)
    assert not flips.any()
    np.testing.assert_array_equal(order, draw_epoch(SMALL, 1000, 0)[0])


def test_a_sum_over_the_batch_is_a_larger_rate() -> None:
    data = TRAIN.take(np.arange(40))
    config = SMALL.replace(dtype="float64", learning_rate=0.05)
    mean = train(config, data)
    total = train(config.replace(reduction="sum", learning_rate=0.05 / 8), data)
    for a, b in zip(parameters(mean.network), parameters(total.network), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_a_start_is_where_training_starts() -> None:
    first = train(SMALL.replace(epochs=1), TRAIN)
    assert first.history[0]["train_accuracy"] < 0.9
    again = train(SMALL.replace(epochs=1, learning_rate=1e-30), TRAIN, start=first.network)
    for a, b in zip(parameters(first.network), parameters(again.network), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(3))
def test_digits(seed: int) -> None:
    digits = fastmlp.load_digits()
    result = train(TrainConfig(seed=seed), digits.train, digits.test)
    assert result.status == "done"
    assert evaluate(result.network, digits.test)["accuracy"] > 0.96


def test_history() -> None:
    rows = []
    config = SMALL.replace(restore_best=False)
    result = train(config, TRAIN, VALID, on_epoch=lambda row: rows.append(row))
    assert result.status == "done"
    assert result.reason == "all 4 epochs done"
    assert rows == result.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert 0 < row["train_loss"] < 10
        assert 0 <= row["train_accuracy"] <= 1
        assert row["learning_rate"] == 0.1
        assert row["samples_per_second"] == len(TRAIN) / row["seconds"]
    scores = evaluate(result.network, VALID)
    assert scores == {"loss": rows[-1]["valid_loss"], "accuracy": rows[-1]["valid_accuracy"]}
    alone = train(SMALL, TRAIN)
    assert {row["valid_loss"] for row in alone.history} == {None}
    assert {row["valid_accuracy"] for row in alone.history} == {None}
    assert alone.best_epoch == 0


def test_evaluate() -> None:
    network = train(SMALL, TRAIN).network
    proba = network.predict_proba(VALID)
    own = proba[np.arange(len(VALID)), VALID.labels]
    scores = evaluate(network, VALID)
    assert scores["loss"] == pytest.approx(-np.log(own).mean(), rel=1e-12)
    assert scores["accuracy"] == (proba.argmax(axis=1) == VALID.labels).mean()
    for row in (0, 17, 29):
        np.testing.assert_array_equal(
            network.predict_proba(VALID.images[row : row + 1])[0], proba[row]
        )


# -- data that is hard to scale ------------------------------------------------------------------


def test_values_far_from_zero_keep_what_tells_them_apart() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    near = rng.standard_normal((400, 4)) + 3 * labels[:, None]
    near, far = (Dataset(X, labels, (1, 1, 4), ("a", "b"), "times") for X in (near, near + 1.7e9))
    config = SMALL.replace(normalize="feature", learning_rate=0.05)
    one, other = (train(config, data).network for data in (near, far))
    np.testing.assert_allclose(one.weights[0], other.weights[0], rtol=0.01, atol=1e-3)
    assert evaluate(other, far)["accuracy"] == evaluate(one, near)["accuracy"] > 0.95
    np.testing.assert_array_equal(other.predict(far), one.predict(near))


def test_values_far_from_zero_are_not_mirrored_after_each_got_its_own_scale() -> None:
    X = 1.7e9 + np.random.default_rng(0).standard_normal((40, 8)) * range(1, 9)
    far = Dataset(X, np.arange(40) % 2, (1, 1, 8), "ab", "times")
    config = SMALL.replace(normalize="feature", flip=True)
    with pytest.raises(ConfigError, match="flip: found with normalize='feature'"):
        train(config, far)
    assert train(config.replace(dtype="float64"), far).status == "done"
    channels = config.replace(normalize="channel")
    with pytest.raises(ConfigError, match="flip: found with normalize='feature'"):
        train(channels, far)  # rows have no channels
    assert train(channels, replace(far, shape=(1, 2, 4))).status == "done"


@pytest.mark.parametrize("factor", [1e46, 1e-39])
def test_values_that_float32_cannot_hold_are_normalised_first(factor: float) -> None:
    X = np.random.default_rng(0).standard_normal((200, 3)) + np.arange(200)[:, None] % 2 * 4
    data = Dataset(X * factor, np.arange(200) % 2, (1, 1, 3), "ab", "scaled")
    network = train(SMALL.replace(normalize="feature"), data).network
    assert evaluate(network, data)["accuracy"] > 0.95


# -- what is refused ---------------------------------------------------------------------------


def test_patience_needs_validation_data() -> None:
    with pytest.raises(ConfigError, match="patience: found without validation data"):
        train(SMALL.replace(patience=3), TRAIN)


def test_validation_images_must_fit() -> None:
    other = Dataset(VALID.images, VALID.labels, (1, 6, 4), VALID.classes, "other shape")
    with pytest.raises(DataError, match=r"valid: found \(1, 6, 4\) images"):
        train(SMALL, TRAIN, other)
    with pytest.raises(DataError, match="valid: found"):
        train(SMALL, TRAIN, dataset(20, classes=4))


def test_a_start_must_fit() -> None:
    network = train(SMALL.replace(hidden=(9,), epochs=1), TRAIN).network
    with pytest.raises(DataError, match=r"start: found a network of widths \(24, 9, 3\)"):
        train(SMALL, TRAIN, start=network)


def test_evaluate_refuses_what_the_network_was_not_trained_for() -> None:
    network = train(SMALL, TRAIN).network
    images, labels = TRAIN.images, TRAIN.labels
    wide = Dataset(np.zeros((2, 600), np.uint8), np.zeros(2, np.int64), (1, 20, 30), "abc", "wide")
    more = Dataset(images, labels, TRAIN.shape, "abcd", "more")
    turned = Dataset(images, labels, TRAIN.shape, "cab", "turned")
    for other in (wide, more, turned):
        with pytest.raises(
            DataError, match=r"dataset: found .* expected .* the network's training"
        ):
            evaluate(network, other)
    with pytest.raises(DataError, match=r"images: found shape \(2, 600\)"):
        forward(network, wide.images)
    numbered = Dataset(images, labels, TRAIN.shape, "012", "numbered")
    assert evaluate(network, numbered) == evaluate(network, TRAIN)
