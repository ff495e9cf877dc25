"""An optimiser's hyper-parameters -> the numbers that each compiled step reads.

The formulas are in ``kernels/update.py``. What varies from step to step (Adam's bias correction, a decay that is
divided by the batch) varies here, in plain NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.kernels.codes import (
    ADAM,
    COLUMNS,
    DECAY,
    EPSILON,
    GAIN,
    GRADIENT_STEP,
    HEAVY_BALL,
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
    """A rule of ``kernels/update.py`` and its numbers for every step of an epoch.

    Attributes
    ----------
    rule : int
    hyper : array [steps, 2, COLUMNS] of float64
        For weights, for biases.
    """

    rule: int
    hyper: np.ndarray


def sgd(
    steps: int,
    learning_rate: float,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay_biases: bool = True,
) -> Steps:
    """``torch.optim.SGD`` with dampening 0."""
    hyper = _table(steps, weight_decay, decay_biases)
    if not momentum:
        hyper[..., GRADIENT_STEP] = learning_rate
        return Steps(int(PLAIN), hyper)
    hyper[..., MOMENTUM] = momentum
    if not nesterov:
        hyper[..., STEP] = learning_rate
        return Steps(int(HEAVY_BALL), hyper)
    hyper[..., GAIN], hyper[..., STEP] = 1, learning_rate * momentum
    hyper[..., GRADIENT_STEP] = learning_rate
    return Steps(int(VELOCITY), hyper)


def adam(
    steps: int,
    learning_rate: float,
    *,
    before: int,
    weight_decay: float = 0.0,
    decay_biases: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> Steps:
    """``torch.optim.Adam`` after `before` steps: decay is added to the gradient."""
    hyper = _table(steps, weight_decay, decay_biases)
    t = before + 1 + np.arange(steps)[:, None]
    hyper[..., MOMENTUM], hyper[..., GAIN] = betas[0], 1 - betas[0]
    hyper[..., STEP] = learning_rate / (1 - _power(betas[0], t))
    hyper[..., SQUARE_DECAY], hyper[..., SQUARE_GAIN] = betas[1], 1 - betas[1]
    hyper[..., ROOT_SCALE], hyper[..., EPSILON] = 1 / np.sqrt(1 - _power(betas[1], t)), epsilon
    return Steps(int(ADAM), hyper)


def rmsprop(
    steps: int,
    learning_rate: float,
    *,
    weight_decay: float | np.ndarray = 0.0,
    decay_biases: bool = True,
    alpha: float = 0.99,
    epsilon: float = 1e-8,
) -> Steps:
    """``torch.optim.RMSprop``, not centred and without momentum."""
    hyper = _table(steps, weight_decay, decay_biases)
    hyper[..., STEP] = learning_rate
    hyper[..., SQUARE_DECAY], hyper[..., SQUARE_GAIN] = alpha, 1 - alpha
    hyper[..., ROOT_SCALE], hyper[..., EPSILON] = 1, epsilon
    return Steps(int(RMSPROP), hyper)


def sklearn_sgd(
    learning_rate: float, weight_decays: np.ndarray, *, momentum: float, nesterov: bool
) -> Steps:
    """scikit-learn's SGD: the velocity keeps the rate, so that a new rate changes no step already on its way.

    `weight_decays` has one number a step: scikit-learn divides its alpha by the batch's weight.
    """
    hyper = _table(len(weight_decays), weight_decays, False)
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
    """scikit-learn's Adam after `before` steps: epsilon is added before the bias correction, not after it."""
    hyper = _table(len(weight_decays), weight_decays, False)
    t = before + 1 + np.arange(len(weight_decays))[:, None]
    hyper[..., MOMENTUM], hyper[..., GAIN] = betas[0], 1 - betas[0]
    unbiased = 1 - _power(betas[0], t), 1 - _power(betas[1], t)
    hyper[..., STEP] = learning_rate * np.sqrt(unbiased[1]) / unbiased[0]
    hyper[..., SQUARE_DECAY], hyper[..., SQUARE_GAIN] = betas[1], 1 - betas[1]
    hyper[..., ROOT_SCALE], hyper[..., EPSILON] = 1, epsilon
    return Steps(int(ADAM), hyper)


def _table(steps: int, weight_decay: float | np.ndarray, decay_biases: bool) -> np.ndarray:
    hyper = np.zeros((steps, 2, COLUMNS))
    hyper[:, 0, DECAY] = weight_decay
    hyper[:, 1, DECAY] = weight_decay if decay_biases else 0
    return hyper


def _power(base: float, exponents: np.ndarray) -> np.ndarray:
    """Return ``base ** exponents`` by multiplications alone.

    NumPy's own power takes the CPU's widest vectors, and its last bit depends on them.
    """
    result = np.ones(exponents.shape)
    while exponents.any():
        result = np.where(exponents % 2 == 1, result * base, result)
        base, exponents = base * base, exponents // 2
    return result
