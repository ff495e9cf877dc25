"""Networks of tensors against centred differences, torch, and gradients known by hand."""

import gc
import sys
from itertools import pairwise, product

import numpy as np
import pytest

from fastmlp.autograd import Tensor, check_gradients, mlp, mlp_loss
from fastmlp.autograd.tensor import ACTIVATIONS


def network(sizes, rows=7, seed=0):
    """Parameters W, b, W, b, ..., inputs and labels of a small network."""
    random = np.random.default_rng(seed)
    parameters = []
    for width_in, width_out in pairwise(sizes):
        parameters.append(Tensor(random.normal(0, 1 / np.sqrt(width_in), (width_in, width_out))))
        parameters.append(Tensor(random.normal(0, 0.5, width_out)))
    return parameters, random.normal(size=(rows, sizes[0])), random.integers(0, sizes[-1], rows)


def torch_activation(torch, name):
    functional = torch.nn.functional
    if name == "gelu_tanh":
        return lambda x: functional.gelu(x, approximate="tanh")
    return getattr(torch, name, None) or getattr(functional, name)


def torch_loss(torch, parameters, X, labels, activation, residual):
    """Compute the same loss with torch.nn.functional; weights are [in, out] here."""
    functional = torch.nn.functional
    weights, biases = parameters[::2], parameters[1::2]
    A = torch.tensor(X)
    for layer, (W, b) in enumerate(zip(weights[:-1], biases[:-1], strict=True)):
        hidden = torch_activation(torch, activation)(functional.linear(A, W.T, b))
        skip = residual and layer > 0 and W.shape[0] == W.shape[1]
        A = hidden + A if skip else hidden
    logits = functional.linear(A, weights[-1].T, biases[-1])
    return functional.cross_entropy(logits, torch.tensor(labels))


# 5-5: as wide as the inputs, which are no hidden layer. 4-4 at the end: the output is none either.
NETWORKS = [[6, 3], [5, 5, 4], [5, 5, 5, 5, 3], [6, 4, 4, 3, 3], [3, 4, 4, 4]]


every_network = pytest.mark.parametrize(
    ("sizes", "activation", "residual"),
    list(product(NETWORKS, ACTIVATIONS, [False, True])),
    ids=str,
)


@every_network
def test_network_gradients_agree_with_centred_differences(sizes, activation, residual):
    parameters, X, labels = network(sizes)

    def function(*parameters):
        return mlp_loss(parameters, X, labels, activation, residual)

    assert check_gradients(function, *parameters) < 1e-5


@every_network
def test_network_gradients_agree_with_torch(sizes, activation, residual):
    torch = pytest.importorskip("torch")
    parameters, X, labels = network(sizes)
    loss = mlp_loss(parameters, X, labels, activation, residual)
    loss.backward()
    theirs = [torch.tensor(parameter.data, requires_grad=True) for parameter in parameters]
    reference = torch_loss(torch, theirs, X, labels, activation, residual)
    reference.backward()
    np.testing.assert_allclose(loss.data, reference.item(), rtol=1e-14)
    for parameter, expected in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(parameter.grad, expected.grad.numpy(), rtol=1e-11, atol=1e-15)


def test_residual_skips_only_between_hidden_layers_of_equal_width():
    for sizes in ([5, 5, 4], [3, 4, 4], [4, 3, 4, 3]):  # nothing to skip
        parameters, X, _ = network(sizes)
        plain, skipping = (mlp(parameters, X, "tanh", residual).data for residual in (False, True))
        np.testing.assert_array_equal(plain, skipping)
    parameters, X, _ = network([2, 3, 3, 2])
    W1, b1, W2, b2, W3, b3 = (parameter.data for parameter in parameters)
    first = np.tanh(X @ W1 + b1)
    second = np.tanh(first @ W2 + b2) + first
    logits = mlp(parameters, X, "tanh", residual=True).data
    np.testing.assert_allclose(logits, second @ W3 + b3, rtol=1e-13)


def test_softmax_regression_gradient_by_hand():
    """Z = XW + b, and dloss/dZ = (softmax(Z) - onehot) / N."""
    parameters, X, labels = network([4, 3], rows=10)
    mlp_loss(parameters, X, labels).backward()
    W, b = (parameter.data for parameter in parameters)
    power = np.exp(X @ W + b)
    dZ = (power / power.sum(axis=1, keepdims=True) - np.eye(3)[labels]) / 10
    np.testing.assert_allclose(parameters[0].grad, X.T @ dZ, rtol=1e-12)
    np.testing.assert_allclose(parameters[1].grad, dZ.sum(axis=0), rtol=1e-12)


def test_training_follows_torch_sgd_step_by_step():
    torch = pytest.importorskip("torch")
    parameters, X, labels = network([6, 8, 8, 3], rows=64)
    theirs = [torch.tensor(parameter.data, requires_grad=True) for parameter in parameters]
    sgd = torch.optim.SGD(theirs, lr=0.5, momentum=0.9, weight_decay=1e-3)
    velocities = [np.zeros(parameter.shape) for parameter in parameters]
    losses = []
    for _ in range(50):
        loss = mlp_loss(parameters, X, labels, "relu", residual=True)
        loss.backward()
        losses.append(loss.data.item())
        for parameter, velocity in zip(parameters, velocities, strict=True):
            velocity *= 0.9
            velocity += parameter.grad + 1e-3 * parameter.data
            parameter.data -= 0.5 * velocity
        sgd.zero_grad()
        reference = torch_loss(torch, theirs, X, labels, "relu", True)
        reference.backward()
        sgd.step()
        assert losses[-1] == pytest.approx(reference.item(), rel=1e-9, abs=1e-12)
    assert losses[-1] < 0.5 * losses[0]


def test_depth_is_not_limited_by_recursion_and_graphs_leave_no_cycles():
    x = Tensor(1.0)
    y = x
    for _ in range(20 * sys.getrecursionlimit()):
        y = y + 1.0
    y.backward()
    assert x.grad == 1.0
    del x, y
    gc.collect()
    gc.disable()
    try:
        parameters, X, labels = network([4, 3, 3, 2])
        mlp_loss(parameters, X, labels, "tanh", residual=True).backward()
        assert gc.collect() == 0
    finally:
        gc.enable()
