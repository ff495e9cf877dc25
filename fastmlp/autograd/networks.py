"""Networks and their loss, out of tensors: multilayer perceptrons, and any list of layers."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastmlp.autograd.images import avg_pool2d, batch_norm, conv2d, flatten, max_pool2d
from fastmlp.autograd.tensor import ACTIVATIONS, Operand, Tensor, make_tensor

LAYERS = "Linear, Convolution, BatchNorm, MaxPool, AvgPool, Flatten, Activation or Residual"


def cross_entropy(logits: Tensor, labels: ArrayLike) -> Tensor:
    """Return the mean of -log softmax(logits)[label] over N rows; N times that is the summed loss.

    Parameters
    ----------
    logits : Tensor [N, C]
        A row an image.
    labels : array_like of integers [N]
        From 0 to C - 1.
    """
    # Less its maximum, a row has the same softmax, and exp cannot overflow.
    shifted = logits - logits.row_max().unsqueeze(-1)
    log_softmax = shifted - shifted.exp().row_sum().log().unsqueeze(-1)
    return -log_softmax.select(labels).sum() / np.size(labels)


def mlp(
    parameters: Sequence[Tensor], X: Operand, activation: str = "relu", residual: bool = False
) -> Tensor:
    """Return the logits [N, C] of a multilayer perceptron: A_l = act(A_{l-1} W_l + b_l), the last without act.

    Parameters
    ----------
    parameters : sequence of Tensor
        W_1, b_1, W_2, b_2, ...: W_l [in, out] (`Network.weights` transposed), b_l [out].
    X : array_like or Tensor [N, D]
        A row an image.
    activation : str
        A key of `fastmlp.autograd.tensor.ACTIVATIONS`: "relu", "gelu_tanh", ...
    residual : bool
        Add A_{l-1} to A_l, after act, where both are hidden layers and equally wide.

    Raises
    ------
    ValueError
        The activation is unknown, or the shapes do not fit together.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {list(ACTIVATIONS)}, found {activation!r}")
    shapes = [parameter.shape for parameter in parameters]
    pairs = list(zip(shapes[::2], shapes[1::2], strict=False))
    if not pairs or len(shapes) % 2 or any(len(W) != 2 or b != W[1:] for W, b in pairs):
        raise ValueError(f"parameters: expected W [in, out], b [out], ..., found shapes {shapes}")
    A = make_tensor(X)
    for layer in range(0, len(parameters) - 2, 2):
        below, A = A, ACTIVATIONS[activation](A @ parameters[layer] + parameters[layer + 1])
        if residual and layer > 0 and A.shape == below.shape:
            A = A + below
    return A @ parameters[-2] + parameters[-1]


def mlp_loss(
    parameters: Sequence[Tensor],
    X: Operand,
    labels: ArrayLike,
    activation: str = "relu",
    residual: bool = False,
) -> Tensor:
    """Return the mean softmax cross-entropy of `mlp`.

    Parameters
    ----------
    parameters : sequence of Tensor
        As for `mlp`.
    X : array_like or Tensor [N, D]
        A row an image.
    labels : array_like of integers [N]
        From 0 to C - 1.
    activation : str
        As for `mlp`.
    residual : bool
        As for `mlp`.
    """
    return cross_entropy(mlp(parameters, X, activation, residual), labels)


def network(layers: Sequence[Any], parameters: Sequence[Tensor], X: Operand) -> Tensor:
    """Return the logits [N, C] of a list of layers, as in training: batch norm takes the batch's statistics.

    Parameters
    ----------
    layers : sequence
        `Linear`, `Convolution`, `BatchNorm`, `MaxPool`, `AvgPool`, `Flatten`, `Activation` and
        `Residual` of `fastmlp.training.layers`, or others with the same names and attributes.
    parameters : sequence of Tensor
        Two for each layer that has any, in order: W [in, out] and b [out] of a `Linear`,
        W [O, C, K, K] and b [O] of a `Convolution`, weight [C] and bias [C] of a `BatchNorm`.
    X : array_like or Tensor [N, C, H, W] or [N, D]
        Images, or rows.

    Raises
    ------
    ValueError
        There is another layer or activation, or the parameters are too many, too few or misshapen.
    """
    left = iter(parameters)
    try:
        A = _forward(layers, left, make_tensor(X))
    except StopIteration:
        raise ValueError(f"parameters: found {len(parameters)}, expected more") from None
    if spare := len(list(left)):
        raise ValueError(f"parameters: found {len(parameters)}, expected {len(parameters) - spare}")
    return A


def network_loss(
    layers: Sequence[Any], parameters: Sequence[Tensor], X: Operand, labels: ArrayLike
) -> Tensor:
    """Return the mean softmax cross-entropy of `network`.

    Parameters
    ----------
    layers : sequence
        As for `network`.
    parameters : sequence of Tensor
        As for `network`.
    X : array_like or Tensor [N, C, H, W] or [N, D]
        Images, or rows.
    labels : array_like of integers [N]
        From 0 to C - 1.
    """
    return cross_entropy(network(layers, parameters, X), labels)


def _forward(layers: Sequence[Any], parameters: Iterator[Tensor], A: Tensor) -> Tensor:
    for layer in layers:
        match type(layer).__name__:
            case "Linear":
                A = A @ next(parameters) + next(parameters)
            case "Convolution":
                A = conv2d(A, next(parameters), next(parameters), layer.stride, layer.margin)
            case "BatchNorm":
                A = batch_norm(A, next(parameters), next(parameters))
            case "MaxPool":
                A = max_pool2d(A, layer.size)
            case "AvgPool":
                A = avg_pool2d(A, layer.size)
            case "Flatten":
                A = flatten(A)
            case "Activation" if layer.name in ACTIVATIONS:
                A = ACTIVATIONS[layer.name](A)
            case "Residual":
                A = _forward(layer.layers, parameters, A) + A
            case _:
                raise ValueError(f"layers: expected {LAYERS}, found {layer!r}")
    return A
