"""The initial weights and biases of a training."""

import math
from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastmlp.training.config import Initialization
from fastmlp.training.layers import Layer, network_layers
from fastmlp.training.shapes import parameter_shapes

FloatArray = NDArray[np.floating[Any]]


def initialize(
    sizes: Sequence[int],
    scheme: Initialization,
    rng: np.random.Generator,
    dtype: DTypeLike,
    *,
    std: float = 0.01,
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Draw the initial parameters of a network of linear layers.

    All numbers are drawn in float64, layer by layer, weights before biases, and then rounded. Runs in
    float32 and float64 with the same seed therefore start from the same numbers.

    Parameters
    ----------
    sizes : sequence of int
        The number of inputs, the width of each hidden layer, the number of outputs.
    scheme : {"torch", "he", "glorot", "normal", "zeros"}
        For a layer from `in` to `out` values:

        - ``"torch"``: weights and biases uniform within ``1 / sqrt(in)``, as ``torch.nn.Linear`` and
          ``torch.nn.Conv2d``.
        - ``"he"``: weights normal with variance ``2 / in``, biases 0.
        - ``"glorot"``: weights normal with variance ``2 / (in + out)``, biases 0.
        - ``"normal"``: weights and biases normal with standard deviation `std`.
        - ``"zeros"``: all 0; only a network without hidden layers can learn from there.
    rng : numpy.random.Generator
        Advanced by the numbers drawn.
    dtype : float32 or float64
        The type of the arrays.
    std : float
        The standard deviation of ``"normal"``: ``TrainConfig.initialization_std``.

    Returns
    -------
    weights : list of arrays [out, in]
    biases : list of arrays [out]
    """
    layers = network_layers(sizes[1:-1], sizes[-1], activation="identity")
    return initialize_layers(layers, sizes[:1], scheme, rng, dtype, std=std)


def initialize_layers(
    layers: Iterable[Layer],
    shape: Sequence[int],
    scheme: Initialization,
    rng: np.random.Generator,
    dtype: DTypeLike,
    *,
    std: float = 0.01,
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Draw the initial parameters of a network of any layers.

    A kernel of a convolution counts as a layer from the values under it, ``in = channels * kernel**2``, to those that a
    value goes to, ``out``, as in ``torch.nn.init``. A batchnorm starts with ones and zeros, its running mean and
    variance with zeros and ones, whatever the scheme.

    Parameters
    ----------
    layers : iterable of Layer
    shape : sequence of int
        (channels, height, width) of an image, or (D,).
    scheme, rng, dtype, std
        As for `initialize`.

    Returns
    -------
    weights, biases : lists of arrays
        Of the shapes that `fastmlp.training.shapes.parameter_shapes` returns.

    Raises
    ------
    ConfigError
        If a layer cannot take the shape that reaches it.
    """
    weights, biases = [], []
    normed = cycle(((1.0, 0.0), (0.0, 1.0)))  # weight and bias, then running mean and variance
    for weight, bias in parameter_shapes(layers, shape):
        if len(weight) == 1:
            first, second = next(normed)
            W, b = np.full(weight, first), np.full(bias, second)
        else:
            W, b = _draw(weight, scheme, rng, std)
        weights.append(W.astype(dtype, copy=False))
        biases.append(b.astype(dtype, copy=False))
    return weights, biases


def _draw(
    shape: tuple[int, ...], scheme: Initialization, rng: np.random.Generator, std: float
) -> tuple[FloatArray, FloatArray]:
    """Draw weights [out, in, ...] and biases [out]."""
    inputs, outputs = math.prod(shape[1:]), math.prod(shape[:1] + shape[2:])
    W, b = np.zeros(shape), np.zeros(shape[0])
    match scheme:
        case "torch":
            bound = 1 / math.sqrt(inputs)
            W, b = rng.uniform(-bound, bound, W.shape), rng.uniform(-bound, bound, b.shape)
        case "he":
            W = rng.normal(0, math.sqrt(2 / inputs), W.shape)
        case "glorot":
            W = rng.normal(0, math.sqrt(2 / (inputs + outputs)), W.shape)
        case "normal":
            W, b = rng.normal(0, std, W.shape), rng.normal(0, std, b.shape)
        case "zeros":
            pass
    return W, b
