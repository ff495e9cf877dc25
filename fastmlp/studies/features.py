"""What each layer of a network makes of images, in plain NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fastmlp.kernels.reference.activations import ACTIVATIONS
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
    Y = X
    match layer:
        case Residual(layers):
            for inner in layers:
                Y = _apply(inner, Y, parameters)
            Y = X + Y
        case Linear():
            W, b = next(parameters)
            Y = X @ W.T + b
        case Convolution():
            Y = _convolve(layer, X, *next(parameters))
        case MaxPool(size):
            Y = _squares(X, size).max(axis=(3, 5))
        case AvgPool(size):
            Y = _squares(X, size).mean(axis=(3, 5))
        case BatchNorm():
            (scale, shift), (mean, variance) = next(parameters), next(parameters)
            channels = (-1, *(1 for _ in X.shape[2:]))  # they are the second axis
            factor = scale / np.sqrt(variance + EPSILON)
            Y = X * factor.reshape(channels) + (shift - mean * factor).reshape(channels)
        case Flatten():
            Y = X.reshape(len(X), -1)
        case Activation(name):
            Y = ACTIVATIONS[name].value(X)
    return Y


def _convolve(layer: Convolution, X: Float64, W: Float64, b: Float64) -> Float64:
    margin = (layer.margin, layer.margin)
    padded = np.pad(X, ((0, 0), (0, 0), margin, margin))
    windows = sliding_window_view(padded, W.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: layer.stride, :: layer.stride]
    Y = np.tensordot(windows, W, axes=((1, 4, 5), (1, 2, 3)))  # [N, H, W, O]
    return np.moveaxis(Y + b, 3, 1)


def _squares(X: Float64, size: int) -> Float64:
    """Return X as [N, C, rows, size, columns, size], without what is left over."""
    rows, columns = X.shape[2] // size, X.shape[3] // size
    kept = X[:, :, : rows * size, : columns * size]
    return kept.reshape(*X.shape[:2], rows, size, columns, size)
