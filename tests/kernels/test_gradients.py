"""Gradients of whole networks, as the compiled epoch forms them, against differences and autograd.

One plain step with learning rate 1 takes the gradient off the weights; in float64 the difference of
the weights before and after gives it back.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from fastmlp.autograd import Tensor, mlp_loss
from fastmlp.kernels import reference
from fastmlp.kernels.arguments import Part
from fastmlp.kernels.loops.pack import lanes_of, round_up
from fastmlp.training.engine import Engine
from fastmlp.training.layers import network_layers
from fastmlp.training.optimizers import sgd

DROPOUT_KEY = 2**63 + 1
STEP = 1e-4  # of the differences; their error is of order STEP**4 and eps / STEP
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda Z: Z,
    "relu": lambda Z: np.maximum(Z, 0),
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
    "tanh": np.tanh,
}


class Net(NamedTuple):
    """A network and its batch, in sizes around those of vectors and tiles."""

    sizes: tuple[int, ...]
    batch: int = 7
    activation: str = "relu"
    residual: bool = False
    loss: str = "softmax"
    weight_decay: float = 0.0
    decay_biases: bool = True
    dropout: float = 0.0


NETS = [
    Net((1, 2), 1),
    Net((5, 3)),
    Net((8, 8), 8),
    Net((17, 10), 20, weight_decay=0.1),
    Net((4, 1), loss="logistic"),
    Net((9, 5), loss="squared"),
    Net((1, 1, 2), 3),
    Net((6, 7, 3)),
    Net((8, 16, 2), 9),
    Net((3, 33, 3), 5),
    Net((15, 9, 17), 16),
    Net((6, 7, 3), weight_decay=0.3),
    Net((6, 7, 3), weight_decay=0.3, decay_biases=False),
    Net((6, 9, 3), activation="sigmoid"),
    Net((6, 9, 3), activation="tanh"),
    Net((6, 9, 3), activation="identity", loss="squared"),
    Net((7, 10, 4), loss="logistic", weight_decay=0.01),
    Net((5, 8, 9, 3)),
    Net((16, 8, 24, 10), 13),
    Net((5, 9, 8, 2), 11, "tanh", weight_decay=0.05),
    Net((5, 9, 8, 3), 11, "sigmoid", loss="squared"),
    Net((4, 9, 9, 3), residual=True),
    Net((9, 9, 9, 3), activation="sigmoid", residual=True),
    Net((3, 7, 7, 7, 2), activation="tanh", residual=True),
    Net((3, 7, 7, 5, 5, 2), 6, residual=True, weight_decay=0.02),
    Net((3, 8, 8, 2), activation="identity", residual=True),
    Net((5, 8, 6, 7, 3)),
    Net((7, 12, 3, 12, 3), 10, "tanh"),
    Net((6, 20, 3), dropout=0.5),
    Net((7, 18, 30, 3), 9, "sigmoid", dropout=0.3),
    Net((3, 9, 9, 9, 2), activation="tanh", residual=True, dropout=0.2),
    Net((5, 20, 20, 3), 6, residual=True, dropout=0.4, weight_decay=0.02),
]


def named(net: Net) -> str:
    """Return what a test of this network is called."""
    words = ["-".join(map(str, net.sizes)), net.activation, net.loss]
    words += ["residual"] * net.residual + [f"decay {net.weight_decay}"] * (net.weight_decay > 0)
    words += [f"dropout {net.dropout}"] * (net.dropout > 0)
    return " ".join(words)


def dropout_masks(net: Net) -> list[np.ndarray]:
    """Return what each hidden layer's outputs [batch, units] are multiplied by."""
    lanes = lanes_of(np.dtype(np.float64))
    counts = [round_up(units, lanes) // lanes for units in net.sizes[1:-1]]
    masks, first = [], 0
    for count, units in zip(counts, net.sizes[1:-1], strict=True):
        mask = np.ones((count, net.batch, lanes))
        if net.dropout:
            stride = sum(net.sizes[1:-1])
            part = Part(0, count, 0, net.batch)
            reference.draw_mask(net.dropout, DROPOUT_KEY, first, stride, mask, part)
        masks.append(reference.to_matrix(mask)[:, :units])
        first += units
    return masks


def forward(net: Net, parameters: list[np.ndarray], X: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the outputs, and how near a ReLU came to its kink or a layer to being all off."""
    A, margin = X, np.inf
    masks = dropout_masks(net)
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    for layer, (W, b) in enumerate(layers[:-1]):
        Z = A @ W.T + b
        below, A = A, ACTIVATIONS[net.activation](Z) * masks[layer]
        margin = min(margin, abs(Z).min(), Z.max())
        if net.residual and layer > 0 and A.shape == below.shape:
            A = A + below
    W, b = layers[-1]
    return A @ W.T + b, margin


def objective(net: Net, parameters: list[np.ndarray], X: np.ndarray, T: np.ndarray) -> float:
    """Return the mean loss for targets T, a row of numbers each, and the penalty that is decay."""
    Z, _ = forward(net, parameters, X)
    each = {
        "softmax": lambda: np.log(np.exp(Z).sum(axis=1, keepdims=True)) - Z,
        "logistic": lambda: T * np.log1p(np.exp(-Z)) + (1 - T) * np.log1p(np.exp(Z)),
        "squared": lambda: (Z - T) ** 2 / 2,
    }[net.loss]()
    loss = (each * T if net.loss == "softmax" else each).sum() / len(X)
    decayed = parameters if net.decay_biases else parameters[::2]
    return float(loss + net.weight_decay / 2 * sum((p**2).sum() for p in decayed))


def differences(function: Callable[[], float], parameters: list[np.ndarray]) -> list[np.ndarray]:
    """Differentiate by every parameter with a centred difference of fourth order."""
    gradients = []
    for parameter in parameters:
        gradient = np.zeros_like(parameter)
        for index in np.ndindex(parameter.shape):
            centre = parameter[index]
            for distance, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
                parameter[index] = centre + distance * STEP
                gradient[index] += weight * function() / (12 * STEP)
            parameter[index] = centre
        gradients.append(gradient)
    return gradients


def engine_gradients(
    net: Net,
    parameters: list[np.ndarray],
    images: np.ndarray,
    T: np.ndarray,
    factors: np.ndarray | None = None,
    dtype: str = "float64",
) -> list[np.ndarray]:
    """Return what one step of the compiled epoch takes off each parameter."""
    layers = network_layers(
        net.sizes[1:-1],
        net.sizes[-1],
        activation=net.activation,
        residual=net.residual,
        dropout=net.dropout,
    )
    engine = Engine(
        parameters[::2],
        parameters[1::2],
        layers=layers,
        batch_size=net.batch,
        dtype=dtype,
        loss=net.loss,
    )
    D = images.shape[1]
    samples = engine.samples(
        images, np.full(D, 1 / 64), np.full(D, -2.0), labels=T.argmax(axis=1), targets=T
    )
    step = sgd(1, 1.0, weight_decay=net.weight_decay, decay_biases=net.decay_biases)
    engine.epoch(samples, np.arange(len(images)), step, factors=factors, dropout_key=DROPOUT_KEY)
    after = [array for layer in zip(*engine.weights(), strict=True) for array in layer]
    return [old - new for old, new in zip(parameters, after, strict=True)]


@pytest.mark.parametrize("net", NETS, ids=named)
def test_every_gradient_of_small_networks(net: Net) -> None:
    rng = np.random.default_rng(sum(net.sizes))
    margin = 0.0
    while margin < 20 * STEP:  # no difference may reach over a kink, no gradient be nothing
        parameters = [
            rng.normal(size=shape) / np.sqrt(inputs)
            for inputs, outputs in pairwise(net.sizes)
            for shape in ((outputs, inputs), (outputs,))
        ]
        images = rng.integers(0, 256, (net.batch, net.sizes[0])).astype(np.uint8)
        X = images / 64 - 2
        margin = forward(net, parameters, X)[1] if net.activation == "relu" else np.inf
    outputs = net.sizes[-1]
    labels = rng.integers(0, outputs, net.batch)
    T = np.eye(outputs)[labels]
    if net.loss == "squared":
        T += rng.normal(size=T.shape)
    if net.loss == "logistic":
        T = rng.integers(0, 2, T.shape).astype(float)

    found = engine_gradients(net, parameters, images, T)
    expected = differences(lambda: objective(net, parameters, X, T), parameters)
    for gradient, right in zip(found, expected, strict=True):
        largest = abs(right).max()
        assert largest > 1e-5  # else there is nothing to compare
        assert abs(gradient - right).max() < 1e-7 * largest

    if net.loss == "softmax" and net.activation != "identity" and not net.dropout:
        tensors = [Tensor(p.T) for p in parameters]
        mlp_loss(tensors, X, labels, net.activation, net.residual).backward()
        for i, (gradient, tensor, p) in enumerate(zip(found, tensors, parameters, strict=True)):
            decay = net.weight_decay if net.decay_biases or i % 2 == 0 else 0
            right = tensor.grad.T + decay * p
            assert abs(gradient - right).max() < 1e-13 * max(1, abs(right).max())


def test_a_batch_is_averaged_or_summed_with_factors() -> None:
    rng = np.random.default_rng(0)
    parameters = [rng.normal(size=(3, 4)), rng.normal(size=3)]
    images = rng.integers(0, 256, (6, 4)).astype(np.uint8)
    T = np.eye(3)[rng.integers(0, 3, 6)]
    factors = rng.random(6)
    mean = engine_gradients(Net((4, 3), 6), parameters, images, T)
    summed = engine_gradients(Net((4, 3), 6), parameters, images, T, factors)
    each = [
        engine_gradients(Net((4, 3), 1), parameters, images[i : i + 1], T[i : i + 1])
        for i in range(6)
    ]
    for i in range(2):
        alone = np.array([gradients[i] for gradients in each])
        np.testing.assert_allclose(mean[i], alone.mean(axis=0), rtol=1e-12, atol=1e-15)
        weighted = np.tensordot(factors, alone, 1)
        np.testing.assert_allclose(summed[i], weighted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("dtype", "precision"), [("float32", 1e-5), ("bfloat16", 0.03)])
@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")
def test_narrower_types_give_the_same_gradient_less_precisely(dtype: str, precision: float) -> None:
    net = Net((40, 33, 33, 10), 21, "tanh", residual=True)  # smooth: rounding changes no mask
    rng = np.random.default_rng(1)
    parameters = [
        (rng.normal(size=shape) / np.sqrt(inputs)).astype(np.float32)
        for inputs, outputs in pairwise(net.sizes)
        for shape in ((outputs, inputs), (outputs,))
    ]
    images = rng.integers(0, 256, (net.batch, net.sizes[0])).astype(np.uint8)
    T = np.eye(10)[rng.integers(0, 10, net.batch)]
    exact = engine_gradients(net, parameters, images, T)
    found = engine_gradients(net, parameters, images, T, dtype=dtype)
    for gradient, right in zip(found, exact, strict=True):
        largest = abs(right).max()
        assert abs(gradient - right).max() < precision * largest
        assert abs(gradient - right).max() > precision / 1000 * largest  # it is that type
