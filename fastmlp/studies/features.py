"""What each layer of a network makes of images, computed with `fastmlp.autograd`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fastmlp.autograd import Tensor, avg_pool2d, conv2d, max_pool2d
from fastmlp.autograd.tensor import ACTIVATIONS
from fastmlp.training.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Convolution,
    Flatten,
    Head,
    Layer,
    Linear,
    MaxPool,
    Residual,
    spell_layer,
)
from fastmlp.training.network import Network

Float64 = NDArray[np.float64]
Parameters = Iterator[tuple[Float64, Float64]]

EPSILON = 1e-5  # of batch normalisation


def outputs_of(network: Network, images: np.ndarray) -> list[tuple[str, Float64]]:
    """Return what the layers of a network make of images.

    Parameters
    ----------
    network : Network
    images : array [N, D]
        Raw images, as for `Network.predict`.

    Returns
    -------
    list of (str, float64 array [N, C, H, W] or [N, outputs])
        One for each convolution, pool and linear layer: its text with that of the batch normalisation and the
        activation behind it, and the outputs of the last of them. The last entry holds the logits.
    """
    pairs = zip(network.weights, network.biases, strict=True)
    parameters = ((W.astype(np.float64), b.astype(np.float64)) for W, b in pairs)
    X = network.normalization.apply(images)
    if any(isinstance(layer, Flatten) for layer in network.layers):
        X = X.reshape(-1, *network.shape)
    found: list[tuple[str, Float64]] = []
    for layer in network.layers:
        X = _apply(layer, X, parameters)
        if isinstance(layer, Head | Residual):
            found.append((spell_layer(layer), X))
        elif not isinstance(layer, Flatten):
            found[-1] = (f"{found[-1][0]}, {spell_layer(layer)}", X)
    return found


def _apply(layer: Layer, X: Float64, parameters: Parameters) -> Float64:
    """Return what a layer makes of X [N, C, H, W] or [N, D], with the next of the parameters where it has any."""
    match layer:
        case Residual(layers):
            Y = X
            for inner in layers:
                Y = _apply(inner, Y, parameters)
            return X + Y
        case Linear():
            W, b = next(parameters)
            return np.asarray(X @ W.T + b)
        case Convolution():
            return conv2d(X, *next(parameters), layer.stride, layer.margin).data
        case MaxPool(size):
            return max_pool2d(X, size).data
        case AvgPool(size):
            return avg_pool2d(X, size).data
        case BatchNorm():
            (scale, shift), (mean, variance) = next(parameters), next(parameters)
            channels = (-1, *(1 for _ in X.shape[2:]))  # they are the second axis
            factor = scale / np.sqrt(variance + EPSILON)
            return np.asarray(
                X * factor.reshape(channels) + (shift - mean * factor).reshape(channels)
            )
        case Flatten():
            return X.reshape(len(X), -1)
        case Activation(name):
            return ACTIVATIONS[name](Tensor(X)).data
    return X  # a dropout, which evaluation leaves out
