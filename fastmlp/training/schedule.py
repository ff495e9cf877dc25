"""The learning rates of an epoch, from a table of formulas. To add a schedule, add a row to `SCHEDULES`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Constants of "one_cycle", as in PyTorch: the share of steps in which the rate rises, and the divisors of the peak
# for the first rate and of the first rate for the last.
RISING_SHARE, FIRST_DIVISOR, LAST_DIVISOR = 0.3, 25.0, 1e4


class Formula(NamedTuple):
    """The formula of a schedule.

    Attributes
    ----------
    rates : callable
        ``rates(config, epoch, steps)`` returns the rates of an epoch's steps: one number, or one per step. Epochs
        are counted from 0.
    uses_epochs : bool
        Whether the rates depend on the number of epochs. If so, a checkpoint cannot be continued with more epochs.
    """

    rates: Callable[[Any, int, int], float | np.ndarray]
    uses_epochs: bool = False


def _step(config: Any, epoch: int, steps: int) -> float:
    rate: float = config.learning_rate * config.step_factor ** (epoch // config.step_epochs)
    return rate


def _cosine(config: Any, epoch: int, steps: int) -> float:
    rate: float = config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    return rate


def _one_cycle(config: Any, epoch: int, steps: int) -> np.ndarray:
    """Return the rates of PyTorch's OneCycleLR with its defaults and ``cycle_momentum=False``."""
    step = epoch * steps + np.arange(steps)
    last = config.epochs * steps - 1
    peak = max(RISING_SHARE * (last + 1) - 1, np.finfo(float).tiny)
    first = config.learning_rate / FIRST_DIVISOR
    # Of three steps or fewer the first is the peak, which all others are far beyond.
    rising = _along_cosine(first, config.learning_rate, np.minimum(step / peak, 1))
    falling = (step - peak) / max(last - peak, np.finfo(float).tiny)
    return np.where(
        step <= peak,
        rising,
        _along_cosine(config.learning_rate, first / LAST_DIVISOR, falling),
    )


def _along_cosine(start: float, end: float, share: np.ndarray) -> np.ndarray:
    """Return the rates between two ends, along half a cosine; `share` is the part of the way, 0 to 1."""
    shares = [(1 + math.cos(math.pi * one)) / 2 for one in share]
    return end + (start - end) * np.array(shares)


SCHEDULES: Mapping[str, Formula] = {
    "constant": Formula(lambda config, epoch, steps: config.learning_rate),
    "step": Formula(_step),
    "cosine": Formula(_cosine, uses_epochs=True),
    "one_cycle": Formula(_one_cycle, uses_epochs=True),
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
        - ``"one_cycle"``: step by step from ``learning_rate / 25`` up to ``learning_rate`` after 0.3 of all
          steps, then down to ``learning_rate / 250000``, each along half a cosine; PyTorch's OneCycleLR with
          ``cycle_momentum=False``.

        During the first `warmup_epochs` the rate is multiplied by a factor that rises linearly, step by step, to 1.
    epoch : int
        Counted from 0.
    steps : int
        Number of steps in each epoch.

    Returns
    -------
    array [steps] of float64
        They depend on the arguments alone, so a resumed training continues with the same rates.
    """
    rates = np.broadcast_to(SCHEDULES[config.schedule].rates(config, epoch, steps), steps)
    if epoch < config.warmup_epochs:
        risen = (epoch * steps + 1 + np.arange(steps)) / (config.warmup_epochs * steps)
        rates = rates * risen
    return rates


def learning_rate(config: Any, epoch: int) -> float:
    """Return the learning rate of an epoch that has one step."""
    return float(learning_rates(config, epoch, 1)[0])
