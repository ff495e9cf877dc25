"""The optimiser's rules: what one step makes of weights, given the gradient of the loss."""

from collections.abc import Callable

import numpy as np

from fastmlp.kernels.codes import (
    ADAM,
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
from fastmlp.kernels.reference.panels import Float64

HAVE_VELOCITY = (HEAVY_BALL, VELOCITY, ADAM)
HAVE_SQUARES = (ADAM, RMSPROP)

# What each rule subtracts from a weight, given the rule's numbers h, the weight's gradient g with decay, and its new
# velocity v and mean square s.
DESCENTS: dict[int, Callable[[Float64, Float64, Float64, Float64], Float64]] = {
    int(PLAIN): lambda h, g, v, s: h[GRADIENT_STEP] * g,
    int(HEAVY_BALL): lambda h, g, v, s: h[STEP] * v,
    int(VELOCITY): lambda h, g, v, s: h[STEP] * v + h[GRADIENT_STEP] * g,
    int(ADAM): lambda h, g, v, s: h[STEP] * v / (h[ROOT_SCALE] * np.sqrt(s) + h[EPSILON]),
    int(RMSPROP): lambda h, g, v, s: h[STEP] * g / (h[ROOT_SCALE] * np.sqrt(s) + h[EPSILON]),
}


def take_step(
    rule: int, h: Float64, gradient: Float64, w: Float64, v: Float64, s: Float64
) -> tuple[Float64, Float64, Float64]:
    """Return weights, velocities and mean squares after a step; what a rule does not have stays."""
    g = gradient + h[DECAY] * w
    if rule in HAVE_VELOCITY:
        gain = 1 if rule == HEAVY_BALL else h[GAIN]
        v = h[MOMENTUM] * v + gain * g
    if rule in HAVE_SQUARES:
        s = h[SQUARE_DECAY] * s + h[SQUARE_GAIN] * g * g
    kept = h[KEPT] if rule in HAVE_SQUARES else 1
    return kept * w - DESCENTS[int(rule)](h, g, v, s), v, s
