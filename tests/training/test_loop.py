"""The loop with other code in it: what a stepper sees, and what of it becomes history."""

from typing import Any

import numpy as np
import pytest

from fastmlp import DataError, Dataset, TrainConfig
from fastmlp.training.draws import Parameters, draw_coins, draw_epoch, draw_parameters, dropout_key
from fastmlp.training.engine import EpochRecord
from fastmlp.training.history import Row
from fastmlp.training.loop import Loop

IMAGES = np.arange(40, dtype=np.uint8).reshape(10, 4)
DATA = Dataset(IMAGES, np.arange(10) % 2, (1, 2, 2), ("a", "b"), "made up")
CONFIG = TrainConfig(hidden=(), epochs=6, batch_size=4, schedule="step", step_epochs=2)


class Recorder:
    """A stepper that keeps what it is given and whose loss is what it is told."""

    def __init__(self, parameters: Parameters, losses: list[float]) -> None:
        self.given, self.losses = parameters, iter(losses)
        self.calls: list[Any] = []

    @property
    def parameters(self) -> np.ndarray:
        return self.given[0][0]

    def weights(self) -> Parameters:
        return self.given

    def warm_up(self, samples: Any) -> None:
        self.calls.append("warm up")

    def epoch(self, samples: Any, order: np.ndarray, steps: Any, **_: Any) -> EpochRecord:
        self.calls.append((samples, order, steps))
        return EpochRecord(np.full(len(order), next(self.losses)), order % 2 == 0, np.zeros(0))

    def logits(self, samples: Any) -> np.ndarray:
        return np.zeros((len(DATA), 2))

    def close(self) -> None:
        self.calls.append("close")


class Recorded(Loop):
    engine: Recorder
    losses = (0.5, 0.25, 0.125, 0.0, 0.75, 1.0)

    def make_engine(self, parameters: Parameters) -> Recorder:
        return Recorder(parameters, list(self.losses))

    def samples(self, dataset: Dataset) -> Any:
        return dataset.name

    def steps(self, rates: np.ndarray) -> Any:
        return list(map(float, rates))

    def measure(self, row: Row, record: EpochRecord) -> None:
        row["train_cost"] = 2 * row["train_loss"]


def test_a_stepper_sees_the_order_and_the_rates_of_train() -> None:
    loop = Recorded(CONFIG, DATA)
    result = loop.run()
    begin, *epochs, end = loop.engine.calls
    assert (begin, end) == ("warm up", "close")
    for epoch, (samples, order, steps) in enumerate(epochs):
        assert samples == "made up"
        np.testing.assert_array_equal(order, draw_epoch(CONFIG, 10, epoch)[0])
        assert steps == [result.history[epoch]["learning_rate"]] * 3
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 5, 6]
    assert [row["train_cost"] for row in result.history] == [1.0, 0.5, 0.25, 0.0, 1.5, 2.0]
    assert result.history[0]["train_accuracy"] == 0.5
    assert result.history[0]["valid_loss"] is None
    np.testing.assert_array_equal(result.network.weights[0], draw_parameters(CONFIG, DATA)[0][0])


def test_patience_ends_any_stepper() -> None:
    config = CONFIG.replace(patience=2)
    result = Recorded(config, DATA, DATA).run()
    assert (result.status, result.best_epoch, len(result.history)) == ("stopped", 1, 3)
    assert result.history[0]["valid_loss"] == pytest.approx(np.log(2))


def test_a_measured_cost_that_is_not_finite_is_a_divergence() -> None:
    class Costly(Recorded):
        def measure(self, row: Row, record: EpochRecord) -> None:
            row["train_cost"] = np.inf

    result = Costly(CONFIG, DATA).run()
    assert result.status == "diverged"
    assert result.reason.startswith("train cost not finite at epoch 1, learning rate 0.01")


def test_a_start_of_other_widths_is_refused() -> None:
    network = Recorded(CONFIG.replace(epochs=1), DATA).run().network
    assert Recorded(CONFIG, DATA, None, network).run().status == "done"
    with pytest.raises(DataError, match="start: found a network of widths"):
        Recorded(CONFIG.replace(hidden=(3,)), DATA, None, network)


def test_no_two_streams_of_a_seed_are_alike() -> None:
    config = CONFIG.replace(flip=True)
    order, flips = draw_epoch(config, 64, 0)
    drawn = [flips, draw_coins(config, 64, 0), draw_epoch(config, 64, 1)[1]]
    drawn += [draw_coins(config, 64, 1), draw_coins(config.replace(seed=1), 64, 0)]
    assert len({array.tobytes() for array in drawn}) == len(drawn)
    assert len({dropout_key(config, 0), dropout_key(config, 1), dropout_key(CONFIG, 0)}) == 2
    assert sorted(order) == list(range(64))
