"""Convolutional networks for tests: their parameters, and what PyTorch, NumPy and autograd make of them.

Parameters are lists of weights and biases in natural shapes, as an engine takes them. A batchnorm has two pairs, of
which the second, its running statistics, has no gradient.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.autograd import Tensor, network_loss
from fastmlp.kernels.reference.activations import ACTIVATIONS
from fastmlp.kernels.reference.batchnorm import Normalized, batch_norm
from fastmlp.kernels.reference.convolution import convolve
from fastmlp.kernels.reference.pooling import avg_pool, max_pool
from fastmlp.training.engine import Engine
from fastmlp.training.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Convolution,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Residual,
    flat,
    network_layers,
)
from fastmlp.training.shapes import parameter_names, parameter_shapes
from tests.torch_networks import sequential

Parameters = tuple[list[np.ndarray], list[np.ndarray]]
CLASSES = 3


class Net(NamedTuple):
    """A network and the size of its batches."""

    hidden: tuple[int | str, ...]
    shape: tuple[int, int, int]
    batch: int
    activation: str = "relu"
    residual: bool = False
    loss: str = "softmax"

    @property
    def layers(self) -> tuple[Layer, ...]:
        return network_layers(
            self.hidden, CLASSES, activation=self.activation, residual=self.residual
        )

    @property
    def given(self) -> tuple[int, ...]:
        """The shape of what the first layer takes."""
        is_row = isinstance(self.layers[0], Linear)
        return (int(np.prod(self.shape)),) if is_row else self.shape

    @property
    def name(self) -> str:
        """What a test of this network is called."""
        words = [", ".join(map(str, self.hidden)), "x".join(map(str, self.shape))]
        words += [f"batch {self.batch}", self.activation, *["residual"] * self.residual]
        return " ".join(words + [self.loss] * (self.loss != "softmax"))


def draw_parameters(net: Net, rng: np.random.Generator) -> Parameters:
    """Draw parameters of a size that keeps values near 1; a running variance is positive."""
    weights, biases = [], []
    for first, second in parameter_shapes(net.layers, net.shape):
        inputs = max(1, int(np.prod(first[1:])))
        weights.append(rng.normal(size=first) * np.sqrt(1.5 / inputs))
        biases.append(rng.uniform(0.2, 1.0, second) * rng.choice([-1, 1], second))
    for number, kind in enumerate(kinds(net.layers)):
        if kind == "running":
            biases[number] = abs(biases[number])
    return weights, biases


def kinds(layers: Iterable[Layer]) -> list[str]:
    """Return of each pair of parameters whether it is "trained", "running", or "shifted": the bias has no effect.

    A batchnorm that comes next takes it away again.
    """
    found: list[str] = []
    parametrised = False
    for layer in flat(layers):
        if isinstance(layer, BatchNorm):
            if parametrised:
                found[-1] = "shifted"
            found += ["trained", "running"]
        parametrised = isinstance(layer, Linear | Convolution)
        found += ["trained"] * parametrised
    return found


def draw_batch(net: Net, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw images [count, D] of uint8, which enter a network as ``image / 64 - 2``, and labels [count]."""
    images = rng.integers(0, 256, (count, int(np.prod(net.shape)))).astype(np.uint8)
    return images, rng.integers(0, CLASSES, count)


def make_engine(net: Net, parameters: Parameters, dtype: str = "float64") -> Engine:
    """Return an engine for batches of the network's size."""
    return Engine(
        *parameters,
        layers=net.layers,
        shape=net.shape,
        batch_size=net.batch,
        dtype=dtype,
        loss=net.loss,
    )


def seen(net: Net, images: np.ndarray) -> np.ndarray:
    """Return the images as they enter the network: [N, C, H, W], or [N, D] where no layer is one of images."""
    return images.reshape(len(images), *net.given) / 64 - 2


# -- PyTorch -------------------------------------------------------------------------------------------


def torch_model(net: Net, parameters: Parameters) -> Any:
    """Return PyTorch's modules in float64 with these parameters."""
    import torch

    model = sequential(net.layers, net.given).double()
    arrays = [one for pair in zip(*parameters, strict=True) for one in pair]
    state = {
        name: torch.tensor(array)
        for name, array in zip(parameter_names(net.layers), arrays, strict=True)
    }
    unknown = model.load_state_dict(state, strict=False)
    assert not unknown.unexpected_keys
    assert all("num_batches_tracked" in one for one in unknown.missing_keys)
    return model


# -- NumPy ---------------------------------------------------------------------------------------------


class Forward(NamedTuple):
    """What a forward pass in training gives.

    Attributes
    ----------
    logits : array [N, classes]
    running : list of Normalized
        Of each batchnorm.
    margin : float
        How near a ReLU came to its kink, or two pixels that a max-pool chose from to each other.
    """

    logits: np.ndarray
    running: list[Normalized]
    margin: float


def numpy_forward(net: Net, parameters: Parameters, X: np.ndarray) -> Forward:
    """Return what a network makes of images [N, C, H, W] in training."""
    pairs = iter(zip(*parameters, strict=True))
    running: list[Normalized] = []
    margins = [np.inf]

    def through(layers: Sequence[Layer], A: np.ndarray) -> np.ndarray:
        for layer in layers:
            match layer:
                case Convolution(_, _, stride, _):
                    A = convolve(A, *next(pairs), stride, layer.margin)
                case Linear():
                    W, b = next(pairs)
                    A = A.reshape(len(A), -1) @ W.T + b
                case BatchNorm():
                    running.append(batch_norm(A, *next(pairs), *next(pairs)))
                    A = running[-1].value
                case MaxPool(size):
                    margins.append(_gap(A, size))
                    A, _ = max_pool(A, size)
                case AvgPool(size):
                    A = avg_pool(A, size)
                case Flatten():
                    A = A.reshape(len(A), -1)
                case Activation(name):
                    margins.append(abs(A).min() if name == "relu" else np.inf)
                    A = ACTIVATIONS[name].value(A)
                case Residual(inner):
                    A = A + through(inner, A)
        return A

    logits = through(net.layers, X)
    return Forward(logits, running, min(margins))


def _gap(A: np.ndarray, size: int) -> float:
    """Return by how much the largest pixel of a window is larger than the next, at least.

    Equal pixels do not count: they are zeros of a ReLU, or sums of the same numbers, and equal they remain.
    """
    count, channels, height, width = A.shape
    high, wide = height // size, width // size
    windows = A[:, :, : high * size, : wide * size].reshape(count, channels, high, size, wide, size)
    pixels = np.sort(windows.swapaxes(3, 4).reshape(-1, size * size), axis=1)
    gaps = np.diff(pixels[:, -2:], axis=1)
    return float(gaps[gaps > 0].min(initial=np.inf))


# -- autograd ------------------------------------------------------------------------------------------


def autograd_gradients(
    net: Net, parameters: Parameters, X: np.ndarray, labels: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the gradients of the mean softmax loss, a pair for each pair that is trained."""
    pairs = [
        (Tensor(W.T if W.ndim == 2 else W), Tensor(b))
        for W, b, kind in zip(*parameters, kinds(net.layers), strict=True)
        if kind != "running"
    ]
    tensors = [one for pair in pairs for one in pair]
    network_loss(net.layers, tensors, X, labels).backward()
    return [(W.grad.T if W.grad.ndim == 2 else W.grad, b.grad) for W, b in pairs]
