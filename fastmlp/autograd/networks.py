"""A multilayer perceptron and its loss, out of tensors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastmlp.autograd.tensor import ACTIVATIONS, Operand, Tensor


def cross_entropy(logits: Tensor, labels: ArrayLike) -> Tensor:
    """Mean of -log softmax(logits)[label] over N rows; N times that is the summed loss.

    Parameters
    ----------
    logits : Tensor [N, C]
    labels : array_like of integers [N], 0 .. C - 1
    """
    # Less its maximum, a row has the same softmax, and exp cannot overflow.
    shifted = logits - logits.row_max().unsqueeze(-1)
    log_softmax = shifted - shifted.exp().row_sum().log().unsqueeze(-1)
    return -log_softmax.select(labels).sum() / np.size(labels)


def mlp(
    parameters: Sequence[Tensor], X: Operand, activation: str = "relu", residual: bool = False
) -> Tensor:
    """Logits [N, C] of a multilayer perceptron: A_l = act(A_{l-1} W_l + b_l), the last without act.

    Parameters
    ----------
    parameters : sequence of Tensor
        W_1, b_1, W_2, b_2, ...: W_l [in, out] (`Network.weights` transposed), b_l [out].
    X : array_like or Tensor [N, D]
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
    A = X if isinstance(X, Tensor) else Tensor(X)
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
    """Mean softmax cross-entropy of `mlp(parameters, X, activation, residual)` for `labels` [N]."""
    return cross_entropy(mlp(parameters, X, activation, residual), labels)
