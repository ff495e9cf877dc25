"""What weights and biases a training starts from."""

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
    """Draw the parameters a training starts from.

    All numbers are drawn in float64, layer by layer, weights before biases, and rounded then: a
    float32 and a float64 run of one seed start alike.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, the width of each hidden layer, outputs.
    scheme : {"torch", "he", "glorot", "normal", "zeros"}
        For a layer from `in` to `out` values:

        - ``"torch"``: weights and biases uniform within ``1 / sqrt(in)``, as ``torch.nn.Linear``.
        - ``"he"``: weights normal with variance ``2 / in``, biases 0.
        - ``"glorot"``: weights normal with variance ``2 / (in + out)``, biases 0.
        - ``"normal"``: weights and biases normal with standard deviation `std`.
        - ``"zeros"``: all 0, from where only a network without hidden layers learns.
    rng : numpy.random.Generator
        Advanced by what is drawn.
    dtype : float32 or float64
        Of the arrays.
    std : float
        Of ``"normal"``; ``TrainConfig.initialization_std``.

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
