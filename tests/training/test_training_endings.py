"""train(): early stopping, divergence and Ctrl-C, each of which says what happened."""

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from training_helpers import SMALL, TRAIN, VALID, parameters

from fastmlp import Dataset
from fastmlp.datasets.transforms import is_finite
from fastmlp.training.draws import draw_epoch
from fastmlp.training.evaluation import evaluate
from fastmlp.training.stopping import Patience
from fastmlp.training.trainer import train

pytestmark = pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_between_epochs_goes_on() -> None:
    """It has none of the team's threads."""
    config, here, children = SMALL.replace(threads=2), os.getpid(), []

    def fork(row: Any) -> None:
        if row["epoch"] == 1:
            children.append(os.fork())
            if os.getpid() != here:
                signal.alarm(60)

    code = 1
    try:
        result = train(config, TRAIN, on_epoch=fork)
        same = zip(parameters(result.network), parameters(train(SMALL, TRAIN).network), strict=True)
        code = 0 if all(np.array_equal(a, b) for a, b in same) else 2
    finally:
        if os.getpid() != here:
            os._exit(code)
    assert code == 0
    assert os.waitpid(children[0], 0)[1] == 0
