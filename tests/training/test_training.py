"""train(): against a plain loop, always the same bits, resumed anywhere, honest about its end."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, Dataset, FormatError, TrainConfig
from fastmlp.training.draws import draw_epoch
from fastmlp.training.evaluation import evaluate, is_finite
from fastmlp.training.loop import TrainResult
from fastmlp.training.network import Network, forward
from fastmlp.training.parameters import initialize
from fastmlp.training.schedule import learning_rate
from fastmlp.training.stopping import Patience
from fastmlp.training.trainer import train

TIMES = ("seconds", "samples_per_second")


def dataset(count: int, *, classes: int = 3, seed: int = 0, noise: float = 0.3) -> Dataset:
    """Draw images [2, 3, 4] whose class shows, more or less."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    patterns = np.random.default_rng(99).integers(0, 256, (classes, 24))
    grey = (1 - noise) * patterns[labels] + noise * rng.integers(0, 256, (count, 24))
    names = tuple("abcdefgh"[:classes])
    return Dataset(grey.astype(np.uint8), labels, (2, 3, 4), names, f"drawn {seed}")


TRAIN, VALID = dataset(45), dataset(30, seed=1, noise=0.6)
SMALL = TrainConfig(
    hidden=(10, 10), epochs=4, batch_size=8, learning_rate=0.1, momentum=0.9, seed=5
)


def parameters(network: Network) -> list[np.ndarray]:
    return list(network.state_dict().values())


def fingerprint(result: TrainResult) -> str:
    """Return a digest of every bit that training decided: all but what it took in time."""
    digest = hashlib.sha256()
    for array in parameters(result.network):
        digest.update(array.tobytes())
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in result.history]
    ending = [result.status, result.reason, result.best_epoch]
    digest.update(json.dumps([rows, ending], sort_keys=True).encode())
    return digest.hexdigest()


# -- what training is --------------------------------------------------------------------------


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


# -- the same bits -----------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "flips, nesterov, cosine": {"flip": True, "nesterov": True, "schedule": "cosine"},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "rmsprop, residual tanh": {"optimizer": "rmsprop", "activation": "tanh", "residual": True},
    "dropout": {"dropout": 0.2, "flip": True},
    "float64": {"dtype": "float64"},
    "bfloat16": {"dtype": "bfloat16"},
}
pytestmark = pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_seed_decides_every_bit(name: str) -> None:
    config = SMALL.replace(**{"learning_rate": 0.02} | VARIANTS[name])
    expected = fingerprint(train(config, TRAIN, VALID))
    for threads in (None, 1, 2, 5):
        assert fingerprint(train(config.replace(threads=threads), TRAIN, VALID)) == expected
    assert fingerprint(train(config.replace(seed=6), TRAIN, VALID)) != expected


def test_another_process_gives_the_same_bits() -> None:
    config = SMALL.replace(flip=True)
    program = (
        f"import runpy; module = runpy.run_path({__file__!r})\n"
        "config = module['SMALL'].replace(flip=True)\n"
        "result = module['train'](config, module['TRAIN'], module['VALID'])\n"
        "print(module['fingerprint'](result))"
    )
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | environment,
    )
    assert done.stdout.strip() == fingerprint(train(config, TRAIN, VALID)), done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        *VARIANTS.values(),
        {"learning_rate": 0.3, "patience": 2, "stopping": "rises", "epochs": 30},
        {"learning_rate": 0.3, "patience": 3, "epochs": 30, "momentum": 0.95},
        {"schedule": "step", "step_epochs": 2, "restore_best": False},
    ],
    ids=[*VARIANTS, "rises", "patience", "step decay"],
)
def test_resumed_from_any_epoch_it_is_the_same_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = SMALL.replace(**{"learning_rate": 0.02, "epochs": 5} | changes)
    path = tmp_path / "run.checkpoint"
    whole = train(
        config,
        TRAIN,
        VALID,
        checkpoint=path,
        on_epoch=lambda row: shutil.copy(path, tmp_path / str(row["epoch"])) and None,
    )
    epochs = len(whole.history)
    assert fingerprint(whole) == fingerprint(train(config, TRAIN, VALID))
    if config.patience:
        assert whole.status == "stopped"
        assert 2 < epochs < 30
    for epoch in range(1, epochs + 1):
        seen: list[int] = []
        threads = 1 + epoch % 3
        resumed = train(
            config.replace(threads=threads),
            TRAIN,
            VALID,
            checkpoint=tmp_path / str(epoch),
            on_epoch=lambda row, seen=seen: seen.append(row["epoch"]),
        )
        assert seen == list(range(epoch + 1, epochs + 1))
        assert fingerprint(resumed) == fingerprint(whole)


def test_a_checkpoint_knows_what_its_run_began_with(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    starts = [train(SMALL.replace(seed=seed, epochs=1), TRAIN).network for seed in (1, 2)]
    train(SMALL, TRAIN, start=starts[0], checkpoint=path)
    assert train(SMALL, TRAIN, start=starts[0], checkpoint=path).status == "done"
    for other in (starts[1], None):
        with pytest.raises(FormatError, match=r"other settings or data \(start\)"):
            train(SMALL, TRAIN, start=other, checkpoint=path)


def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    train(SMALL, TRAIN, checkpoint=path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(header):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FormatError, match="checkpoint"):
            train(SMALL, TRAIN, checkpoint=path)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    train(SMALL, TRAIN, VALID, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(FormatError, match=r"momentum 0\.9 \(now 0\.8\)"):
        train(SMALL.replace(momentum=0.8), TRAIN, VALID, checkpoint=path)
    with pytest.raises(FormatError, match="other settings or data"):
        train(SMALL, VALID, VALID, checkpoint=path)
    with pytest.raises(FormatError, match="other settings or data"):
        train(SMALL, TRAIN, None, checkpoint=path)
    assert path.read_bytes() == before
    longer = train(SMALL.replace(epochs=6), TRAIN, VALID, checkpoint=path)
    assert fingerprint(longer) == fingerprint(train(SMALL.replace(epochs=6), TRAIN, VALID))


# -- how it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("stopping", ["best", "rises"])
@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping(stopping: str, restore_best: bool) -> None:
    config = SMALL.replace(
        learning_rate=0.3, epochs=50, patience=2, stopping=stopping, restore_best=restore_best
    )
    result = train(config, TRAIN, VALID)
    state = Patience(2, config.stopping)
    for row in result.history:
        assert state.verdict != "stop"
        state = state.update(row["valid_loss"])
    assert state.verdict == "stop"
    assert result.status == "stopped"
    assert result.best_epoch == state.best_epoch < len(result.history) < 50
    assert f"best was epoch {state.best_epoch}" in result.reason
    epoch = state.best_epoch if restore_best else len(result.history)
    row = result.history[epoch - 1]
    scores = evaluate(result.network, VALID)
    assert scores == {"loss": row["valid_loss"], "accuracy": row["valid_accuracy"]}
    # They are the parameters that a run of so many epochs ends with.
    shorter = train(config.replace(epochs=epoch, patience=None, restore_best=False), TRAIN, VALID)
    for a, b in zip(parameters(result.network), parameters(shorter.network), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rate", [1e30, 1e38, 1e45, 1e300])
def test_too_large_a_rate_is_reported(rate: float, dtype: str, threads: int) -> None:
    config = SMALL.replace(learning_rate=rate, dtype=dtype, threads=threads, epochs=60)
    result = train(config, TRAIN, VALID)
    assert result.status == "diverged"
    epoch = len(result.history)
    assert f"not finite at epoch {epoch}, learning rate {rate:g}" in result.reason
    assert "\n" not in result.reason


def test_parameters_that_overflow_in_the_last_step_are_reported() -> None:
    config = SMALL.replace(learning_rate=1e300, epochs=1, batch_size=64, hidden=())
    result = train(config, TRAIN)
    assert np.isfinite(result.history[0]["train_loss"])
    assert result.status == "diverged"
    assert "parameters not finite at epoch 1" in result.reason


@pytest.mark.parametrize("count", range(1, 70))
def test_infinities_of_both_signs_are_not_finite_and_no_warning(count: int) -> None:
    for kind in (np.float32, np.float64):
        assert is_finite(np.full(count, np.finfo(kind).max, kind))
        mixed = np.full(count, np.inf, kind)
        mixed[::2] = -np.inf
        assert not is_finite(mixed)
        mixed[:-1] = 0
        assert not is_finite(mixed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_planted_value_that_is_not_finite_is_reported(value: float, threads: int) -> None:
    rng = np.random.default_rng(0)
    config = SMALL.replace(normalize="none", learning_rate=1e-4, threads=threads)
    for _ in range(20):
        images = TRAIN.images.astype(np.float32) / 64
        images[rng.integers(len(images)), rng.integers(24)] = value
        planted = Dataset(images, TRAIN.labels, TRAIN.shape, TRAIN.classes, "planted")
        sound = Dataset(
            VALID.images.astype(np.float32) / 64, VALID.labels, VALID.shape, VALID.classes, "sound"
        )
        result = train(config, planted)
        assert result.status == "diverged"
        assert "train loss not finite at epoch 1, learning rate 0.0001" in result.reason
        result = train(config, sound, planted)
        assert result.status == "diverged"
        assert "valid loss not finite at epoch 1" in result.reason


def test_diverged_after_a_best_epoch_it_gives_that_epoch() -> None:
    config = SMALL.replace(learning_rate=2.5, momentum=0.99, epochs=300, weight_decay=0.9)
    result = train(config, TRAIN, VALID)
    assert result.status == "diverged"
    assert 0 < result.best_epoch < len(result.history)
    row = result.history[result.best_epoch - 1]
    assert evaluate(result.network, VALID)["loss"] == row["valid_loss"]
    assert all(np.isfinite(array).all() for array in parameters(result.network))


def test_on_epoch_can_stop() -> None:
    result = train(SMALL, TRAIN, on_epoch=lambda row: row["epoch"] == 2)
    assert result.status == "stopped"
    assert result.reason == "stopped by on_epoch at epoch 2"
    assert len(result.history) == 2


def test_ctrl_c_between_epochs_keeps_what_was_reached() -> None:
    def interrupt(row: dict[str, Any]) -> None:
        if row.pop("epoch") == 2:  # what it gets is a copy
            signal.raise_signal(signal.SIGINT)

    result = train(SMALL, TRAIN, on_epoch=interrupt)
    assert result.status == "interrupted"
    assert result.reason == "interrupted after epoch 2"
    assert [row["epoch"] for row in result.history] == [1, 2]
    shorter = train(SMALL.replace(epochs=2), TRAIN)
    for a, b in zip(parameters(result.network), parameters(shorter.network), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the system has no signals")
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_ctrl_c_within_an_epoch_lets_it_end(threads: int) -> None:
    data = TRAIN.take(np.arange(4000) % len(TRAIN))
    config = SMALL.replace(epochs=10_000, threads=threads, batch_size=20)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))

    def after_epoch(row: dict[str, Any]) -> None:
        if row["epoch"] == 1:  # not while the kernels are compiled
            timer.start()

    result = train(config, data, on_epoch=after_epoch)
    assert result.status == "interrupted"
    assert result.reason == f"interrupted after epoch {len(result.history)}"
    shorter = train(config.replace(epochs=len(result.history)), data)
    for a, b in zip(parameters(result.network), parameters(shorter.network), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_second_ctrl_c_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("held back twice")

    monkeypatch.setattr("fastmlp.training.loop.draw_epoch", interrupted)
    assert train(SMALL, TRAIN).reason == "interrupted after epoch 0"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_an_epoch_that_diverges_says_both() -> None:
    config = SMALL.replace(learning_rate=1e30, epochs=9)
    ended = train(config, TRAIN)
    epoch = len(ended.history)

    def draw(*given: Any) -> tuple[np.ndarray, np.ndarray]:
        if given[-1] == epoch - 1:
            signal.raise_signal(signal.SIGINT)
        return draw_epoch(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastmlp.training.loop.draw_epoch", draw)
        result = train(config, TRAIN)
    assert result.status == "interrupted"
    assert result.reason == f"interrupted after epoch {epoch}; {ended.reason}"


def test_a_handler_of_the_program_stays_in_place() -> None:
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        result = train(SMALL, TRAIN, on_epoch=lambda _: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.status == "done"
    assert seen == [signal.SIGINT] * SMALL.epochs


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
    assert train(config.replace(normalize="channel"), far).status == "done"


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
