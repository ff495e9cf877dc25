"""Learning rates by epoch, in closed form and against PyTorch's schedulers."""

from typing import Any

import numpy as np
import pytest

from fastmlp.training.config import TrainConfig, choices_of
from fastmlp.training.schedule import SCHEDULES, learning_rate, learning_rates


def rates(config: TrainConfig) -> list[float]:
    return [learning_rate(config, epoch) for epoch in range(config.epochs)]


def test_constant() -> None:
    assert rates(TrainConfig(learning_rate=0.3, epochs=5)) == [0.3] * 5


def test_step_multiplies_after_every_so_many_epochs() -> None:
    config = TrainConfig(
        schedule="step", learning_rate=0.8, step_epochs=3, step_factor=0.5, epochs=8
    )
    assert rates(config) == [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2]


def test_cosine_starts_full_halves_midway_and_falls_towards_zero() -> None:
    config = TrainConfig(schedule="cosine", learning_rate=0.8, epochs=6)
    expected = [0.8, 0.4 + 0.2 * 3**0.5, 0.6, 0.4, 0.2, 0.4 - 0.2 * 3**0.5]
    assert rates(config) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_agrees_with_pytorch(schedule: str) -> None:
    torch = pytest.importorskip("torch")
    config = TrainConfig(
        schedule=schedule,
        learning_rate=0.07,
        step_epochs=4,
        step_factor=0.3,
        epochs=23,
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=config.learning_rate)
    scheduler = {
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "step": lambda: torch.optim.lr_scheduler.StepLR(optimizer, 4, gamma=0.3),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=23),
    }[schedule]()
    expected = []
    for _ in range(config.epochs):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates(config) == pytest.approx(expected, rel=1e-10)


def torch_rates(config: TrainConfig, steps: int, scheduler: str, **settings: Any) -> list[float]:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=config.learning_rate)
    found = getattr(torch.optim.lr_scheduler, scheduler)(optimizer, **settings)
    expected = []
    for _ in range(config.epochs * steps):
        expected.append(found.get_last_lr()[0])
        optimizer.step()
        if len(expected) < config.epochs * steps:
            found.step()
    return expected


@pytest.mark.parametrize(("epochs", "steps"), [(5, 7), (1, 10), (10, 1), (3, 100), (1, 4)])
def test_one_cycle_agrees_with_pytorch(epochs: int, steps: int) -> None:
    config = TrainConfig(schedule="one_cycle", learning_rate=0.3, epochs=epochs)
    found = np.concatenate([learning_rates(config, epoch, steps) for epoch in range(epochs)])
    cycle = {"max_lr": 0.3, "total_steps": epochs * steps, "cycle_momentum": False}
    expected = torch_rates(config, steps, "OneCycleLR", **cycle)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_warm_up_rises_evenly_to_the_schedules_rate(schedule: str) -> None:
    config = TrainConfig(schedule=schedule, learning_rate=0.3, epochs=4, warmup_epochs=2)
    plain = config.replace(warmup_epochs=0)
    found = np.concatenate([learning_rates(config, epoch, 5) for epoch in range(4)])
    whole = np.concatenate([learning_rates(plain, epoch, 5) for epoch in range(4)])
    rise = np.minimum(np.arange(1, 21) / 10, 1)
    np.testing.assert_allclose(found, whole * rise, rtol=1e-14)
    # PyTorch's rises from a factor of its own, here that of the first step.
    if schedule == "constant":
        expected = torch_rates(plain, 5, "LinearLR", start_factor=0.1, total_iters=9)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_one_cycle_of_few_steps_stays_between_its_ends(epochs: int) -> None:
    config = TrainConfig(schedule="one_cycle", learning_rate=0.3, epochs=epochs)
    found = [learning_rate(config, epoch) for epoch in range(epochs)]
    assert all(0 < one <= 0.3 for one in found)
    assert found[1:] == sorted(found[1:], reverse=True)


def test_every_schedule_has_a_formula() -> None:
    assert set(SCHEDULES) == set(choices_of("schedule"))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_says_whether_it_uses_the_number_of_epochs(schedule: str) -> None:
    config = TrainConfig(schedule=schedule, epochs=4, step_epochs=2)  # type: ignore[arg-type]
    same = rates(config) == rates(config.replace(epochs=8))[:4]
    assert same != SCHEDULES[schedule].uses_epochs
