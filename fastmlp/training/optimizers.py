"""The optimisers: hyper-parameters -> the numbers that each compiled step reads.

The formulas are in ``kernels/emit/steps.py``. What varies from step to step (the rate of a schedule, Adam's bias
correction) varies here, in plain NumPy. To add an optimiser, add a row to `OPTIMIZERS`; one that needs a new formula
also has a rule there and its twin in ``kernels/reference/steps.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastmlp.kernels.codes import (
    ADAM,
    COLUMNS,
    DECAY,
    EPSILON,
    GAIN,
    GRADIENT_STEP,
    HEAVY_BALL,
    KEPT,
    MOMENTUM,
    PLAIN,
    RMSPROP,
    ROOT_SCALE,
    SQUARE_DECAY,
    SQUARE_GAIN,
    STEP,
    VELOCITY,
)

# What a rule remembers of each parameter.
STATES: dict[int, tuple[str, ...]] = {
    int(PLAIN): (),
    int(HEAVY_BALL): ("velocity",),
    int(VELOCITY): ("velocity",),
    int(ADAM): ("velocity", "squares"),
    int(RMSPROP): ("squares",),
}


@dataclass(frozen=True)
class Steps:
    """A rule of ``kernels/emit/steps.py`` and its numbers for every step of an epoch.

    Attributes
    ----------
    rule : int
    hyper : array [steps, groups, COLUMNS] of float64
        For weights, for biases; or for weights and biases of each layer.
    """

    rule: int
    hyper: np.ndarray


class Factors(NamedTuple):
    """What the learning rate and the weight decay of each layer are multiplied by.

    Attributes
    ----------
    rates, decays : sequence of float
        One for each linear layer.
    """

    rates: Sequence[float]
    decays: Sequence[float]


class Numbers(NamedTuple):
    """A rule's numbers before they are filled in.

    Attributes
    ----------
    hyper : array [steps, groups, COLUMNS]
        Zeros, but for the decay, and ones for what is kept.
    rate, decay : arrays [steps or 1, groups]
    """

    hyper: np.ndarray
    rate: np.ndarray
    decay: np.ndarray


def sgd(
    steps: int,
    learning_rate: ArrayLike,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: ArrayLike = 0.0,
    decay_biases: bool = True,
    factors: Factors | None = None,
) -> Steps:
    """Return the steps of ``torch.optim.SGD`` with dampening 0.

    Here and below a learning rate or weight decay may be one number, or one for each step.
    """
    hyper, rate, _ = _numbers(steps, learning_rate, weight_decay, decay_biases, factors)
    if not momentum:
        hyper[..., GRADIENT_STEP] = rate
        return Steps(int(PLAIN), hyper)
    hyper[..., MOMENTUM] = momentum
    if not nesterov:
        hyper[..., STEP] = rate
        return Steps(int(HEAVY_BALL), hyper)
    hyper[..., GAIN], hyper[..., STEP] = 1, rate * momentum
    hyper[..., GRADIENT_STEP] = rate
    return Steps(int(VELOCITY), hyper)


def adam(
    steps: int,
    learning_rate: ArrayLike,
    *,
    before: int,
    weight_decay: ArrayLike = 0.0,
    decay_biases: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    decoupled: bool = False,
    factors: Factors | None = None,
) -> Steps:
    """Return the steps of ``torch.optim.Adam`` after `before` steps.

    Decay is added to the gradient; `decoupled`, as in ``torch.optim.AdamW``, it shrinks the weights instead.
    """
    hyper, rate, decay = _numbers(steps, learning_rate, weight_decay, decay_biases, factors)
    if decoupled:
        hyper[..., DECAY], hyper[..., KEPT] = 0, 1 - rate * decay
    t = before + 1 + np.arange(steps)[:, None]
    hyper[..., MOMENTUM], hyper[..., GAIN] = betas[0], 1 - betas[0]
    hyper[..., STEP] = rate / (1 - _power(betas[0], t))
    hyper[..., SQUARE_DECAY], hyper[..., SQUARE_GAIN] = betas[1], 1 - betas[1]
    hyper[..., ROOT_SCALE], hyper[..., EPSILON] = 1 / np.sqrt(1 - _power(betas[1], t)), epsilon
    return Steps(int(ADAM), hyper)


def rmsprop(
    steps: int,
    learning_rate: ArrayLike,
    *,
    weight_decay: ArrayLike = 0.0,
    decay_biases: bool = True,
    alpha: float = 0.99,
    epsilon: float = 1e-8,
    factors: Factors | None = None,
) -> Steps:
    """Return the steps of ``torch.optim.RMSprop``, not centred and without momentum."""
    hyper, rate, _ = _numbers(steps, learning_rate, weight_decay, decay_biases, factors)
    hyper[..., STEP] = rate
    hyper[..., SQUARE_DECAY], hyper[..., SQUARE_GAIN] = alpha, 1 - alpha
    hyper[..., ROOT_SCALE], hyper[..., EPSILON] = 1, epsilon
    return Steps(int(RMSPROP), hyper)


def sklearn_sgd(
    learning_rate: float, weight_decays: np.ndarray, *, momentum: float, nesterov: bool
) -> Steps:
    """Return the steps of scikit-learn's SGD.

    Its velocity keeps the rate, so that a new rate changes no step already on its way. `weight_decays` has one number
    a step: scikit-learn divides its alpha by the batch's weight.
    """
    hyper, _, _ = _numbers(len(weight_decays), 0.0, weight_decays, False)
    if not momentum:
        hyper[..., GRADIENT_STEP] = learning_rate
        return Steps(int(PLAIN), hyper)
    hyper[..., MOMENTUM], hyper[..., GAIN] = momentum, learning_rate
    hyper[..., STEP] = momentum if nesterov else 1
    hyper[..., GRADIENT_STEP] = learning_rate if nesterov else 0
    return Steps(int(VELOCITY), hyper)


def sklearn_adam(
    learning_rate: float,
    weight_decays: np.ndarray,
    *,
    before: int,
    betas: tuple[float, float],
    epsilon: float,
) -> Steps:
    """Return the steps of scikit-learn's Adam after `before` steps: it adds epsilon before the bias correction."""
    hyper, _, _ = _numbers(len(weight_decays), 0.0, weight_decays, False)
    t = before + 1 + np.arange(len(weight_decays))[:, None]
    hyper[..., MOMENTUM], hyper[..., GAIN] = betas[0], 1 - betas[0]
    unbiased = 1 - _power(betas[0], t), 1 - _power(betas[1], t)
    hyper[..., STEP] = learning_rate * np.sqrt(unbiased[1]) / unbiased[0]
    hyper[..., SQUARE_DECAY], hyper[..., SQUARE_GAIN] = betas[1], 1 - betas[1]
    hyper[..., ROOT_SCALE], hyper[..., EPSILON] = 1, epsilon
    return Steps(int(ADAM), hyper)


class Optimizer(NamedTuple):
    """One optimiser.

    Attributes
    ----------
    steps : callable
        Makes the steps, as `sgd` does.
    settings : tuple of str
        Fields of TrainConfig that are its arguments, beside the rate and the decay.
    counts : bool
        Whether it needs the number of steps `before`.
    states : callable
        How many numbers it remembers of each parameter, given the configuration.
    """

    steps: Callable[..., Steps]
    settings: tuple[str, ...]
    counts: bool
    states: Callable[[Any], int]


OPTIMIZERS = {
    "sgd": Optimizer(sgd, ("momentum", "nesterov"), False, lambda one: int(one.momentum > 0)),
    "adam": Optimizer(adam, ("betas", "epsilon"), True, lambda one: 2),
    "adamw": Optimizer(partial(adam, decoupled=True), ("betas", "epsilon"), True, lambda one: 2),
    "rmsprop": Optimizer(rmsprop, ("alpha", "epsilon"), False, lambda one: 1),
}


def steps_of(config: Any, count: int, rates: ArrayLike, before: int) -> Steps:
    """Return the numbers of the next `count` steps.

    Parameters
    ----------
    config : TrainConfig
    count : int
    rates : float or array [count]
        The learning rates.
    before : int
        Steps since the start.
    """
    row = OPTIMIZERS[config.optimizer]
    chosen = {name: getattr(config, name) for name in row.settings}
    if row.counts:
        chosen["before"] = before
    decay = {"weight_decay": config.weight_decay, "decay_biases": config.decay_biases}
    return row.steps(count, rates, factors=config.layer_factors(), **decay, **chosen)


def _numbers(
    steps: int,
    learning_rate: ArrayLike,
    weight_decay: ArrayLike,
    decay_biases: bool,
    factors: Factors | None = None,
) -> Numbers:
    """Return the table of a rule's numbers with the decay filled in, and rate and decay by group."""
    rate, decay = (np.reshape(one, (-1, 1)) for one in (learning_rate, weight_decay))
    rates = np.hstack([rate, rate])
    decays = np.hstack([decay, decay if decay_biases else np.zeros_like(decay)])
    if factors is not None:
        rates = np.hstack([rates * factor for factor in factors.rates])
        decays = np.hstack([decays * factor for factor in factors.decays])
    hyper = np.zeros((steps, rates.shape[1], COLUMNS))
    hyper[..., DECAY], hyper[..., KEPT] = decays, 1
    return Numbers(hyper, rates, decays)


def _power(base: float, exponents: np.ndarray) -> np.ndarray:
    """Return ``base ** exponents`` by multiplications alone.

    NumPy's own power takes the CPU's widest vectors, and its last bit depends on them.
    """
    result = np.ones(exponents.shape)
    while exponents.any():
        result = np.where(exponents % 2 == 1, result * base, result)
        base, exponents = base * base, exponents // 2
    return result
