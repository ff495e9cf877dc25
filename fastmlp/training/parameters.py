"""The initial weights and biases of a training."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastmlp.training.config import Initialization

FloatArray = NDArray[np.floating[Any]]


def initialize(
    sizes: Sequence[int],
    scheme: Initialization,
    rng: np.random.Generator,
    dtype: DTypeLike,
    *,
    std: float = 0.01,
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Draw the initial parameters of a training.

    All numbers are drawn in float64, layer by layer, weights before biases, and then rounded. Runs in
    float32 and float64 with the same seed therefore start from the same numbers.

    Parameters
    ----------
    sizes : sequence of int
        The number of inputs, the width of each hidden layer, the number of outputs.
    scheme : {"torch", "he", "glorot", "normal", "zeros"}
        For a layer from `in` to `out` values:

        - ``"torch"``: weights and biases uniform within ``1 / sqrt(in)``, as ``torch.nn.Linear``.
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
    weights, biases = [], []
    for inputs, outputs in pairwise(sizes):
        W, b = np.zeros((outputs, inputs)), np.zeros(outputs)
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
        weights.append(W.astype(dtype, copy=False))
        biases.append(b.astype(dtype, copy=False))
    return weights, biases
