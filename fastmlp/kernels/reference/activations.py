"""What each activation makes of numbers, and what each code of ``emit/vectors.map_vectors`` does.

To add an activation, add a row to `ACTIVATIONS`: its formula as a textbook has it, not as the kernel computes it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import activations
from fastmlp.kernels.codes import ADD, EXP, IDENTITY, MULTIPLIED, SIGMOID
from fastmlp.kernels.reference.panels import Float64

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


class Activation(NamedTuple):
    """One activation.

    Attributes
    ----------
    value : callable
        ``value(x)`` is the activation of x.
    gradient : callable
        ``gradient(g, y)`` is g times the derivative, given the activation's value y, or its input where the
        kernels' row says `of_input`.
    """

    value: Callable[[Float64], Float64]
    gradient: Callable[[Float64, Float64], Float64]


def sigmoid(x: Float64) -> Float64:
    """Return 1 / (1 + exp(-x)), of which no exponential overflows."""
    small = np.exp(-abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def normal_cdf(x: Float64) -> Float64:
    """Return the share of a standard normal distribution below x."""
    return np.vectorize(lambda one: math.erfc(-one / math.sqrt(2)) / 2, otypes=[float])(x)


def _gelu_curve(x: Float64) -> Float64:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _gelu_slope(x: Float64) -> Float64:
    return math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)


ACTIVATIONS = {
    "relu": Activation(lambda x: np.maximum(x, 0), lambda g, y: np.where(y > 0, g, 0)),
    "sigmoid": Activation(sigmoid, lambda g, y: g * y * (1 - y)),
    "tanh": Activation(np.tanh, lambda g, y: g * ((1 - y) * (1 + y))),
    "gelu": Activation(
        lambda x: x * normal_cdf(x),
        lambda g, x: g * (normal_cdf(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    ),
    "gelu_tanh": Activation(
        lambda x: x / 2 * (1 + np.tanh(_gelu_curve(x))),
        lambda g, x: (
            g
            * (
                (1 + np.tanh(_gelu_curve(x))) / 2
                + x / 2 * (1 - np.tanh(_gelu_curve(x)) ** 2) * _gelu_slope(x)
            )
        ),
    ),
    "silu": Activation(
        lambda x: x * sigmoid(x),
        lambda g, x: g * (sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x))),
    ),
    "leaky_relu": Activation(
        lambda x: np.where(x > 0, x, 0.01 * x), lambda g, y: np.where(y > 0, g, 0.01 * g)
    ),
    "elu": Activation(
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda g, y: np.where(y > 0, g, g * (y + 1)),
    ),
    "selu": Activation(
        lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        lambda g, y: g * np.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),
    ),
}


def _functions() -> dict[int, Callable[[Float64, Float64], Float64]]:
    """Return what each code makes of a value x and its neighbour y."""
    functions: dict[int, Callable[[Float64, Float64], Float64]] = {
        int(IDENTITY): lambda x, y: x,
        int(EXP): lambda x, y: np.exp(x),
        int(ADD): lambda x, y: x + y,
        int(MULTIPLIED): lambda x, y: x * y,
        int(SIGMOID): lambda x, y: sigmoid(x),
    }
    for name, row in ACTIVATIONS.items():
        functions[activations.value_code(name)] = lambda x, y, row=row: row.value(x)  # type: ignore[misc]
        functions[activations.gradient_code(name)] = row.gradient
    return functions


# Of `multiply`'s sums and its epilogue's other operand, and of `elementwise`'s operands.
FUNCTIONS = _functions()
