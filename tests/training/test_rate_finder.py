"""find_learning_rate(): a rule that is robust to noise, and rates that train well."""

from dataclasses import replace

import numpy as np
import pytest

from fastmlp import (
    ConfigError,
    DataError,
    Dataset,
    TrainConfig,
    find_learning_rate,
    load_digits,
    train,
)
from fastmlp.training.rate_finder import FIRST, HIGHEST, LOWEST, STEPS, _chosen, _smoothed

RATES = np.geomspace(LOWEST, HIGHEST, STEPS)
CONFIG = TrainConfig(hidden=(32,))


def fall(at: float, seed: int, noise: float = 0.05) -> np.ndarray:
    """Return the losses of a test in which half of the fall is at a rate, and the rise at twenty times of it."""
    losses = 2 - 1.5 / (1 + (at / RATES) ** 2) + np.minimum((RATES / (20 * at)) ** 4, 1e4)
    return losses + np.random.default_rng(seed).normal(size=STEPS) * noise


def chosen(tests: list[np.ndarray]) -> float:
    losses = np.median([_smoothed(test) for test in tests], axis=0)
    return _chosen(RATES, losses, np.array(tests)[:, :FIRST])


@pytest.mark.parametrize("at", [1e-4, 1e-2, 0.3])
def test_noise_hardly_moves_the_rate(at: float) -> None:
    found = [chosen([fall(at, 3 * seed + test) for test in range(3)]) for seed in range(20)]
    assert max(found) / min(found) < 1.6
    assert at / 1.5 < np.median(found) < 3 * at  # smoothed losses come some steps late


def test_a_loss_that_does_not_fall_is_said() -> None:
    for seed in range(50):
        noise = [np.random.default_rng([seed, test]).normal(2, 0.1, STEPS) for test in range(3)]
        rising = [one + np.minimum(RATES * 100, 1e30) for one in noise]
        with pytest.raises(
            DataError, match=r"^learning_rate: found no rate from 1e-07 to 10 at which"
        ):
            chosen(rising)
    with pytest.raises(DataError, match="found no rate"):
        chosen([np.full(STEPS, np.nan)] * 3)


def test_what_has_diverged_counts_as_infinite() -> None:
    tests = [fall(0.01, seed) for seed in range(3)]
    expected = chosen(tests)
    for test in tests:
        test[200:] = np.nan
    tests[0][150:] = np.nan
    assert chosen(tests) == expected


@pytest.mark.parametrize(
    ("optimizer", "grid"), [("sgd", (0.003, 0.03, 0.3)), ("adam", (0.0003, 0.003, 0.03))]
)
def test_the_rate_trains_nearly_as_well_as_the_best_of_a_grid(
    optimizer: str, grid: tuple[float, ...]
) -> None:
    part, valid = load_digits().train.split((0.8, 0.2), 0)
    config = CONFIG.replace(optimizer=optimizer, epochs=40)
    found = find_learning_rate(config, part)
    assert found.rates.shape == found.losses.shape == (STEPS,)

    def accuracy(rate: float) -> float:
        return max(
            row["valid_accuracy"]
            for row in train(config.replace(learning_rate=rate), part, valid).history
        )

    assert accuracy(found.learning_rate) > max(map(accuracy, grid)) - 0.01


def test_it_depends_on_the_settings_and_data_alone() -> None:
    digits = load_digits().train
    config = CONFIG.replace(
        flip=True, dropout=0.2, patience=3, schedule="one_cycle", seed=2**63 - 1
    )
    found = [find_learning_rate(config.replace(threads=count), digits) for count in (1, 2)]
    np.testing.assert_array_equal(found[0].losses, found[1].losses)
    other = find_learning_rate(config.replace(learning_rate=0.5, epochs=1), digits)
    assert other.learning_rate == found[0].learning_rate


def test_every_task_and_few_rows() -> None:
    X = np.random.default_rng(0).normal(size=(60, 5))
    signal = np.tanh(X @ np.ones((5, 2)))
    for y in (signal[:, 0] > 0, signal > 0, signal * 100 + 3):
        data = Dataset.from_arrays(X, y)
        for one in (data, replace(data, weights=np.arange(60.0)), data.take(range(9))):
            found = find_learning_rate(CONFIG, one)
            assert 1e-4 < found.learning_rate < 10
    with pytest.raises(ConfigError, match="class_weight"):
        find_learning_rate(CONFIG.replace(class_weight="balanced"), Dataset.from_arrays(X, signal))
    with pytest.raises(DataError, match="expected a Dataset"):
        find_learning_rate(CONFIG, X)  # type: ignore[arg-type]
