"""The learning rate of an epoch: a table of formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from fastmlp.training.config import TrainConfig


class Formula(NamedTuple):
    """How a schedule's learning rate follows from a configuration and an epoch, counted from 0.

    Attributes
    ----------
    rate : callable
    uses_epochs : bool
        Whether it depends on how many epochs there are. Then a training cannot go on for more of them.
    """

    rate: Callable[[TrainConfig, int], float]
    uses_epochs: bool = False


def _step(config: TrainConfig, epoch: int) -> float:
    return config.learning_rate * config.step_factor ** (epoch // config.step_epochs)


def _cosine(config: TrainConfig, epoch: int) -> float:
    return config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2


SCHEDULES: Mapping[str, Formula] = {
    "constant": Formula(lambda config, epoch: config.learning_rate),
    "step": Formula(_step),
    "cosine": Formula(_cosine, uses_epochs=True),
}


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Return the learning rate of one epoch.

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

    Returns
    -------
    float
        A function of these two alone, so a resumed training goes on with the same rates.
    """
    return SCHEDULES[config.schedule].rate(config, epoch)
