"""What must hold between the fields of a TrainConfig."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastmlp.training.layers import Residual, count_heads


class Rule(NamedTuple):
    """What must hold of a TrainConfig, and the message (a format string of fields) if it does not."""

    holds: Callable[[Any], bool]
    message: str


def _one_a_layer(name: str) -> Rule:
    def holds(config: Any) -> bool:
        return len(getattr(config, name)) in (0, count_heads(config.hidden) + 1)

    found = f"{name}: found {{{name}}} with hidden {{hidden}}"
    return Rule(
        holds,
        f"{found}, expected one for each convolution and each linear layer, the output layer included",
    )


RULES = (
    Rule(lambda config: len(config.betas) == 2, "betas: found {betas}, expected two numbers"),
    _one_a_layer("learning_rate_factors"),
    _one_a_layer("weight_decay_factors"),
    Rule(
        lambda config: not config.nesterov or (config.optimizer == "sgd" and config.momentum > 0),
        "nesterov: found with optimizer {optimizer!r} and momentum {momentum}, "
        "expected optimizer 'sgd' and a momentum above 0",
    ),
    Rule(
        lambda config: (
            not config.residual or any(isinstance(one, Residual) for one in config.layers(1))
        ),
        "residual: found with hidden {hidden}, expected two hidden layers of equal width, one after "
        "the other, or a convolution that keeps the shape that one before it has made",
    ),
)
