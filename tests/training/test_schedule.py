"""Learning rates by epoch, in closed form and against PyTorch's schedulers."""

import pytest

from fastmlp.training.config import TrainConfig, choices_of
from fastmlp.training.schedule import SCHEDULES, learning_rate


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


def test_every_schedule_has_a_formula() -> None:
    assert set(SCHEDULES) == set(choices_of("schedule"))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_says_whether_it_uses_the_number_of_epochs(schedule: str) -> None:
    config = TrainConfig(schedule=schedule, epochs=4, step_epochs=2)  # type: ignore[arg-type]
    same = rates(config) == rates(config.replace(epochs=8))[:4]
    assert same != SCHEDULES[schedule].uses_epochs
