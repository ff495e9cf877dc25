"""Gradients of convolutional networks, as the compiled epoch forms them, against differences of plain NumPy.

One plain step with learning rate 1 takes the gradient off the weights; in float64 the difference of the weights before
and after gives it back.
"""

from collections.abc import Callable

import numpy as np
import pytest

from fastmlp.training.optimizers import sgd
from tests.image_networks import (
    CLASSES,
    Net,
    Parameters,
    draw_batch,
    draw_parameters,
    kinds,
    make_engine,
    numpy_forward,
    seen,
)

STEP = 5e-6  # of the differences; their error is of order STEP**2 and eps / STEP
MARGIN = 50 * STEP  # more than a step can move a value anywhere in these networks

NETS = [
    # Kernels 1 to 7 in the first layer, whose input has no gradient.
    Net(("conv 2 1",), (1, 3, 3), 1),
    Net(("conv 3 2",), (2, 4, 5), 2),
    Net(("conv 5 3",), (3, 5, 4), 7),
    Net(("conv 2 4",), (4, 5, 6), 3),
    Net(("conv 4 5",), (1, 7, 6), 5),
    Net(("conv 1 6",), (5, 6, 7), 4),
    Net(("conv 3 7",), (2, 8, 7), 2),
    # Strides, paddings, windows that leave gaps, and a frame that is wider than the kernel.
    Net(("conv 2 3 stride 2",), (2, 7, 8), 16),
    Net(("conv 2 3 stride 3 padding 1",), (3, 7, 5), 9),
    Net(("conv 4 5 stride 2 padding 2",), (1, 9, 7), 8),
    Net(("conv 2 2 stride 3",), (1, 8, 7), 33),
    Net(("conv 3 1 stride 2",), (3, 5, 5), 17),
    Net(("conv 2 3 padding 4",), (1, 3, 4), 3),
    # Kernels 1 to 7 whose input has a gradient.
    Net(("conv 3 3", "conv 2 2"), (1, 6, 5), 6),
    Net(("conv 2 2", "conv 3 3 padding same"), (2, 4, 5), 15),
    Net(("conv 3 3 padding 1", "conv 2 5 stride 2 padding 1"), (1, 7, 6), 10),
    Net(("conv 2 1", "conv 4 7 padding 3"), (3, 3, 2), 4),
    Net(("conv 4 3", "conv 3 1 stride 2", 6), (1, 5, 7), 11),
    Net(("conv 2 3", "conv 3 4 padding 2", "conv 2 2 stride 3"), (1, 7, 8), 5),
    Net(("conv 5 2", "conv 1 6 padding 5"), (1, 3, 4), 3),
    Net(("conv 1 3", "conv 5 3 stride 2", 4, 5), (5, 7, 7), 8),
    # Pools, with and without a remainder.
    Net(("conv 3 3", "maxpool 2", "conv 4 3", "maxpool 2", 7, 5), (1, 14, 14), 5),
    Net(("conv 3 3", "maxpool 3"), (2, 9, 10), 7),
    Net(("conv 2 5 padding 2", "maxpool 4", "conv 3 2"), (3, 9, 11), 4),
    Net(("conv 3 3 padding 1", "maxpool 2", 5), (3, 5, 7), 33),
    Net(("conv 3 2", "avgpool 2", "conv 2 2", "avgpool 3"), (1, 10, 11), 6),
    Net(("conv 5 4 stride 2", "avgpool 2"), (2, 9, 12), 16),
    Net(("conv 3 2", "maxpool 2", "avgpool 2"), (2, 8, 10), 5),
    Net(("conv 3 2", "maxpool 2", "maxpool 2", 5), (2, 10, 11), 6, "tanh"),
    Net(("maxpool 2", "conv 3 3"), (3, 8, 9), 3),
    Net(("avgpool 2", "conv 2 3", 5), (1, 9, 8), 4),
    Net(("avgpool 3", 4), (2, 7, 6), 5),
    # Batch norm of channels and of features, before and after an activation.
    Net(("conv 3 3", "batchnorm"), (1, 5, 5), 8),
    Net(("conv 2 3", "batchnorm"), (2, 5, 6), 1, "tanh"),
    Net(("conv 4 3 stride 2", "batchnorm", "maxpool 2", 6, "batchnorm"), (2, 9, 10), 7),
    Net(("conv 2 3", "batchnorm", "conv 3 3 padding same", "batchnorm", "avgpool 2"), (3, 6, 7), 5),
    Net(("conv 3 3", "relu", "batchnorm", "conv 2 2"), (1, 5, 6), 9),
    Net((6, "batchnorm", 5), (1, 3, 4), 17, "tanh"),
    Net((6, "gelu", "batchnorm", 5), (1, 3, 4), 9),
    # Residual connections.
    Net(("conv 3 3", "conv 3 3 padding same", "maxpool 2"), (1, 7, 7), 6, residual=True),
    Net(("conv 3 3", "conv 3 5 padding same", "batchnorm"), (2, 5, 6), 4, residual=True),
    Net(("conv 2 3", "maxpool 2", "conv 2 3 padding same", 5, 5), (1, 8, 9), 5, residual=True),
    Net(("conv 2 2", "conv 2 1", "conv 2 3 padding 1"), (1, 4, 5), 8, "gelu", residual=True),
    Net((5, 5, "batchnorm", 5), (1, 3, 4), 13, "tanh", residual=True),
    # Activations, and losses of their own.
    Net(("conv 3 3", "maxpool 2", "conv 2 2"), (1, 9, 9), 5, "gelu"),
    Net(("conv 3 3", "maxpool 2", "conv 2 2"), (2, 8, 9), 12, "sigmoid"),
    Net(("conv 3 3", "tanh", "avgpool 2", "conv 2 2", "silu", 4), (1, 8, 8), 3),
    Net(("conv 3 3", "maxpool 2", "conv 2 2"), (1, 8, 8), 5, "identity"),
    Net(("conv 2 3", "maxpool 2", 4), (1, 6, 7), 13, "tanh", loss="logistic"),
    Net(("conv 2 3 stride 2",), (3, 6, 7), 10, loss="squared"),
]


def mean_loss(net: Net, parameters: Parameters, X: np.ndarray, T: np.ndarray) -> float:
    """Return the mean loss for targets T, a row of numbers each."""
    Z = numpy_forward(net, parameters, X).logits
    each = {
        "softmax": lambda: (np.log(np.exp(Z).sum(axis=1, keepdims=True)) - Z) * T,
        "logistic": lambda: T * np.log1p(np.exp(-Z)) + (1 - T) * np.log1p(np.exp(Z)),
        "squared": lambda: (Z - T) ** 2 / 2,
    }[net.loss]()
    return float(each.sum() / len(X))


def difference(function: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Differentiate by every entry of an array, with a centred difference."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        centre = array[index]
        above, below = centre + STEP, centre - STEP
        array[index] = above
        rise = function()
        array[index] = below
        gradient[index] = (rise - function()) / (above - below)
        array[index] = centre
    return gradient


def draw(net: Net) -> tuple[Parameters, np.ndarray, np.ndarray]:
    """Draw parameters, images and targets, until no value lies near a kink."""
    rng = np.random.default_rng(net.batch)
    while True:
        parameters = draw_parameters(net, rng)
        images, labels = draw_batch(net, rng, net.batch)
        if numpy_forward(net, parameters, seen(net, images)).margin > MARGIN:
            T = np.eye(CLASSES)[labels]
            if net.loss == "squared":
                T += rng.normal(size=T.shape)
            if net.loss == "logistic":
                T = rng.integers(0, 2, T.shape).astype(float)
            return parameters, images, T


def step(
    net: Net, parameters: Parameters, images: np.ndarray, T: np.ndarray, dtype: str = "float64"
) -> Parameters:
    """Return the parameters after one plain step with learning rate 1."""
    engine, one = make_engine(net, parameters, dtype), np.ones(images.shape[1])
    samples = engine.samples(images, one / 64, -2 * one, labels=T.argmax(axis=1), targets=T)
    engine.epoch(samples, np.arange(len(images)), sgd(1, 1.0))
    after = engine.weights()
    engine.close()
    return after


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_every_gradient_of_small_networks(net: Net) -> None:
    parameters, images, T = draw(net)
    X, after = seen(net, images), step(net, parameters, images, T)
    pairs = zip(*parameters, *after, kinds(net.layers), strict=True)
    running = iter(numpy_forward(net, parameters, X).running)
    largest = 0.0
    for number, (W, b, new_W, new_b, kind) in enumerate(pairs):
        if kind == "running":
            expected = next(running)
            np.testing.assert_allclose(new_W, expected.running_mean, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(new_b, expected.running_var, rtol=1e-12)
            continue
        for name, old, new in [("weight", W, new_W), ("bias", b, new_b)]:
            right = difference(lambda: mean_loss(net, parameters, X, T), old)
            error = abs(old - new - right)
            if kind == "shifted" and name == "bias":
                assert error.max() < 1e-7 * largest, (number, name)
                continue
            largest = abs(right).max()
            assert largest > 1e-4, (number, name)  # else there is nothing to compare
            worst = np.unravel_index(error.argmax(), error.shape)
            assert error.max() < 1e-7 * largest, (number, name, worst)


SMOOTH = [
    Net(
        ("conv 5 3", "batchnorm", "maxpool 2", "conv 7 3 padding same", 9), (3, 11, 12), 21, "tanh"
    ),
    Net(("conv 9 5 stride 2", "avgpool 2", "conv 4 2"), (1, 15, 14), 33, "gelu"),
]


@pytest.mark.parametrize("net", SMOOTH, ids=lambda net: net.name)
def test_float32_takes_the_same_step_less_precisely(net: Net) -> None:
    parameters, images, T = draw(net)
    exact, found = (step(net, parameters, images, T, dtype) for dtype in ("float64", "float32"))
    for right, new in zip(exact[0] + exact[1], found[0] + found[1], strict=True):
        assert new.dtype == np.float32
        error = abs(new - right).max() / abs(right).max()
        assert 1e-9 < error < 1e-5  # more than nothing: it is that type
