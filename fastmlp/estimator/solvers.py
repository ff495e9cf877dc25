"""scikit-learn's optimiser objects <-> the engine's steps and states.

An estimator keeps its solver's state in scikit-learn's own object, as plain arrays. A pickle holds
nothing of the engine then, and `partial_fit` continues wherever the fit before it ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neural_network._stochastic_optimizers import (
    AdamOptimizer,
    BaseOptimizer,
    SGDOptimizer,
)

from fastmlp.estimator.layers import turned

if TYPE_CHECKING:
    from fastmlp.training.engine import Engine
    from fastmlp.training.optimizers import Steps


class RMSPropOptimizer(BaseOptimizer):
    """``torch.optim.RMSprop``'s state, in the manner of scikit-learn's solvers.

    Parameters
    ----------
    params : list of arrays
        Weights, then biases; their shapes are those of `vs`, the mean squares of the gradients.
    learning_rate_init, epsilon : float
    """

    def __init__(
        self, params: Sequence[np.ndarray], learning_rate_init: float, epsilon: float
    ) -> None:
        super().__init__(learning_rate_init)
        self.epsilon = epsilon
        self.vs = [np.zeros_like(param) for param in params]


# The attributes in which a solver keeps the engine's states.
_STATES = {
    SGDOptimizer: {"velocity": "velocities"},
    AdamOptimizer: {"velocity": "ms", "squares": "vs"},
    RMSPropOptimizer: {"squares": "vs"},
}


def new_optimizer(estimator: Any) -> BaseOptimizer:
    """Return a new optimiser object for the estimator's solver."""
    params = estimator.coefs_ + estimator.intercepts_
    match estimator.solver:
        case "sgd":
            return SGDOptimizer(
                params,
                estimator.learning_rate_init,
                estimator.learning_rate,
                estimator.momentum,
                estimator.nesterovs_momentum,
                estimator.power_t,
            )
        case "adam":
            return AdamOptimizer(
                params,
                estimator.learning_rate_init,
                estimator.beta_1,
                estimator.beta_2,
                estimator.epsilon,
            )
        case _:
            return RMSPropOptimizer(params, estimator.learning_rate_init, estimator.epsilon)


def next_steps(optimizer: BaseOptimizer, weight_decays: np.ndarray, scale: float) -> Steps:
    """Return the engine's numbers for an epoch, and count its steps if the solver does.

    Parameters
    ----------
    optimizer : BaseOptimizer
    weight_decays : array [steps]
        Factor of the weights in what each step adds to their gradient.
    scale : float
        Factor of the learning rate, from the step schedule.
    """
    from fastmlp.training.optimizers import rmsprop, sklearn_adam, sklearn_sgd  # loads Numba

    match optimizer:
        case AdamOptimizer():
            rate = optimizer.learning_rate_init * scale
            betas = optimizer.beta_1, optimizer.beta_2
            steps = sklearn_adam(
                rate,
                weight_decays,
                before=optimizer.t,
                betas=betas,
                epsilon=optimizer.epsilon,
            )
            optimizer.t += len(weight_decays)
            bias_corrections = 1 - np.array(betas) ** optimizer.t
            optimizer.learning_rate = rate * np.sqrt(bias_corrections[1]) / bias_corrections[0]
            return steps
        case SGDOptimizer():
            return sklearn_sgd(
                optimizer.learning_rate * scale,
                weight_decays,
                momentum=optimizer.momentum,
                nesterov=optimizer.nesterov,
            )
        case _:
            return rmsprop(
                len(weight_decays),
                optimizer.learning_rate * scale,
                weight_decay=weight_decays,
                decay_biases=False,
                epsilon=optimizer.epsilon,
            )


def load_states(optimizer: BaseOptimizer, engine: Engine) -> None:
    """Copy the solver's state to the engine."""
    unit = _unit(optimizer)
    for state, name in _STATES[type(optimizer)].items():
        arrays = getattr(optimizer, name)
        layers = len(arrays) // 2
        weights = [turned(array) / unit for array in arrays[:layers]]
        engine.load_state(state, weights, [array / unit for array in arrays[layers:]])


def save_states(optimizer: BaseOptimizer, engine: Engine) -> None:
    """Copy the engine's states to the solver."""
    unit, states = _unit(optimizer), engine.states()
    for state, name in _STATES[type(optimizer)].items():
        if state in states:  # sgd without momentum has none
            weights, biases = states[state]
            arrays = [*map(turned, weights), *biases]
            setattr(optimizer, name, [array * unit for array in arrays])


def _unit(optimizer: BaseOptimizer) -> float:
    """Return -1 for sgd, or 1: scikit-learn adds its velocity to the weights, the engine subtracts it."""
    return -1.0 if isinstance(optimizer, SGDOptimizer) else 1.0
