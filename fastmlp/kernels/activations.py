"""The activations: one row each, with what its kernel does to a vector.

A row's functions get an `emit.emitter.Emitter` and vectors; `gradient` multiplies the gradient g of an activation's
value by its derivative. To add an activation, add a row here, its twin in ``reference/activations.py`` and its method
in ``fastmlp/autograd``; everything else finds it by its name.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fastmlp.kernels.codes import FIRST_ACTIVATION, IDENTITY

GELU_CUBE = 0.044715  # Hendrycks and Gimpel, 2016

LEAK = 0.01  # of leaky ReLU, as in PyTorch

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al., 2017


class Activation(NamedTuple):
    """One activation.

    Attributes
    ----------
    value : callable
        ``value(e, x)`` emits the activation of x.
    gradient : callable
        ``gradient(e, g, y)`` emits g times the derivative, given the activation's value y.
    torch : (str, dict)
        The module of ``torch.nn`` that computes it, and its arguments.
    of_input : bool
        Whether `gradient` is given the activation's input instead of its value.
    """

    value: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any, Any], Any]
    torch: tuple[str, dict[str, str]]
    of_input: bool = False


def _relu(e, x):
    return e.at_least(e.constant(0.0), x)


def _relu_gradient(e, g, y):
    return e.where_positive(y, g)


def _sigmoid_gradient(e, g, y):
    return e.multiply(g, e.multiply(y, e.subtract(e.constant(1.0), y)))


def _tanh_gradient(e, g, y):
    return e.multiply(g, e.fma(e.negative(y), y, e.constant(1.0)))


def _gelu(e, x):
    return e.multiply(x, e.normal_cdf(x))


def _gelu_gradient(e, g, x):
    half_square = e.multiply(e.multiply(x, x), e.constant(-0.5))
    density = e.multiply(e.exp(half_square), e.constant(1 / math.sqrt(2 * math.pi)))
    return e.multiply(g, e.fma(x, density, e.normal_cdf(x)))


def _gelu_tanh_of(e, x):
    """Return tanh(u) and du/dx for u = sqrt(2 / pi) * (x + GELU_CUBE * x**3)."""
    root, square = math.sqrt(2 / math.pi), e.multiply(x, x)
    u = e.multiply(x, e.fma(square, e.constant(root * GELU_CUBE), e.constant(root)))
    return e.tanh(u), e.fma(square, e.constant(3 * root * GELU_CUBE), e.constant(root))


def _gelu_tanh(e, x):
    t, _ = _gelu_tanh_of(e, x)
    return e.multiply(e.multiply(x, e.constant(0.5)), e.add(t, e.constant(1.0)))


def _gelu_tanh_gradient(e, g, x):
    t, rise = _gelu_tanh_of(e, x)
    bend = e.multiply(x, e.multiply(rise, e.fma(e.negative(t), t, e.constant(1.0))))
    return e.multiply(g, e.multiply(e.constant(0.5), e.add(bend, e.add(t, e.constant(1.0)))))


def _silu(e, x):
    return e.multiply(x, e.sigmoid(x))


def _silu_gradient(e, g, x):
    s = e.sigmoid(x)
    rise = e.fma(x, e.subtract(e.constant(1.0), s), e.constant(1.0))
    return e.multiply(g, e.multiply(s, rise))


def _leaky_relu(e, x):
    return e.if_positive(x, x, e.multiply(x, e.constant(LEAK)))


def _leaky_relu_gradient(e, g, y):
    return e.if_positive(y, g, e.multiply(g, e.constant(LEAK)))


def _elu(e, x):
    return e.if_positive(x, x, e.expm1(x))


def _elu_gradient(e, g, y):
    return e.if_positive(y, g, e.fma(g, y, g))


def _selu(e, x):
    scale, both = e.constant(SELU_SCALE), e.constant(SELU_SCALE * SELU_ALPHA)
    return e.if_positive(x, e.multiply(x, scale), e.multiply(both, e.expm1(x)))


def _selu_gradient(e, g, y):
    slope = e.add(y, e.constant(SELU_SCALE * SELU_ALPHA))
    return e.multiply(g, e.if_positive(y, e.constant(SELU_SCALE), slope))


ACTIVATIONS = {
    "relu": Activation(_relu, _relu_gradient, ("ReLU", {})),
    "sigmoid": Activation(lambda e, x: e.sigmoid(x), _sigmoid_gradient, ("Sigmoid", {})),
    "tanh": Activation(lambda e, x: e.tanh(x), _tanh_gradient, ("Tanh", {})),
    "gelu": Activation(_gelu, _gelu_gradient, ("GELU", {}), of_input=True),
    "gelu_tanh": Activation(
        _gelu_tanh, _gelu_tanh_gradient, ("GELU", {"approximate": "tanh"}), of_input=True
    ),
    "silu": Activation(_silu, _silu_gradient, ("SiLU", {}), of_input=True),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_gradient, ("LeakyReLU", {})),
    "elu": Activation(_elu, _elu_gradient, ("ELU", {})),
    "selu": Activation(_selu, _selu_gradient, ("SELU", {})),
}


def value_code(name: str) -> int:
    """Return the code that names an activation's value in a program; "identity" is none."""
    if name == "identity":
        return int(IDENTITY)
    return FIRST_ACTIVATION + 2 * list(ACTIVATIONS).index(name)


def gradient_code(name: str) -> int:
    """Return the code that multiplies a gradient by an activation's derivative."""
    return int(IDENTITY) if name == "identity" else value_code(name) + 1
