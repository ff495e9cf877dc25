"""The learning rates of an epoch: a table of formulas. To add a schedule, add a row to `SCHEDULES`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Formula(NamedTuple):
    """How a schedule's learning rates follow from a configuration.

    Attributes
    ----------
    rates : callable
        ``rates(config, epoch, steps)`` returns the rates of an epoch's steps: one number, or one a step. Epochs
        count from 0.
    uses_epochs : bool
        Whether they depend on how many epochs there are. Then a training cannot go on for more of them.
    """

    rates: Callable[[Any, int, int], float | np.ndarray]
    uses_epochs: bool = False


def _step(config: Any, epoch: int, steps: int) -> float:
    rate: float = config.learning_rate * config.step_factor ** (epoch // config.step_epochs)
    return rate


def _cosine(config: Any, epoch: int, steps: int) -> float:
    rate: float = config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    return rate


SCHEDULES: Mapping[str, Formula] = {
    "constant": Formula(lambda config, epoch, steps: config.learning_rate),
    "step": Formula(_step),
    "cosine": Formula(_cosine, uses_epochs=True),
}


def learning_rates(config: Any, epoch: int, steps: int) -> np.ndarray:
    """Return the learning rate of each step of one epoch.

    Parameters
    ----------
    config : TrainConfig
        Its `schedule` chooses the formula, with `learning_rate` as the rate of epoch 0:

        - ``"constant"``: ``learning_rate``.
        - ``"step"``: ``learning_rate * step_factor ** (epoch // step_epochs)``, PyTorch's StepLR.
        - ``"cosine"``: ``learning_rate * (1 + cos(pi * epoch / epochs)) / 2``, PyTorch's
          CosineAnnealingLR: it falls towards 0, which it would reach one epoch after the last.
    epoch : int
        Counted from 0.
    steps : int
        Of each epoch.

    Returns
    -------
    array [steps] of float64
        A function of these alone, so a resumed training goes on with the same rates.
    """
    return np.broadcast_to(SCHEDULES[config.schedule].rates(config, epoch, steps), steps)


def learning_rate(config: Any, epoch: int) -> float:
    """Return the learning rate with which an epoch begins, where it has but one step."""
    return float(learning_rates(config, epoch, 1)[0])
