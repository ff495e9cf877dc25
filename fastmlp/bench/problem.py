"""What is benchmarked: networks, their optimisers, and synthetic data, the same for everyone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmlp.bench.work import Size, layers_of, shape_of
from fastmlp.errors import ConfigError
from fastmlp.training.layers import (
    Activation,
    Convolution,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    spell_layer,
)
from fastmlp.training.shapes import parameter_shapes

# Mean and standard deviation of grey levels drawn evenly from 0..255, as `Problem.images` are.
GREY_MEAN = 127.5
GREY_DEVIATION = ((256**2 - 1) / 12) ** 0.5

# Images that the NumPy loss takes through a network at a time: activations stay small beside the data.
ROWS, ROWS_OF_IMAGES = 4096, 256


class WeightsAndBiases(NamedTuple):
    """Weights and biases ``[out]`` of every layer, float32.

    Weights are ``[in, out]``; those of a convolution are ``[out, in, kernel, kernel]``.
    """

    weights: list[NDArray[np.float32]]
    biases: list[NDArray[np.float32]]


@dataclass(frozen=True)
class Problem:
    """A ReLU network with softmax cross-entropy, its optimiser, and data; equal fields give equal data.

    Data and start are made on first use and kept. Use them once before timing anything.

    Parameters
    ----------
    sizes
        The network from end to end: inputs first, as a width or as the shape of an image (channels, height, width);
        then layers as in `TrainConfig.hidden`; classes last.
    batch_size
        Rows of one step.
    samples
        Rows of data.
    learning_rate, weight_decay
        As in ``torch.optim``; biases decay too.
    momentum
        Of SGD.
    optimizer
        "sgd" or "adam", the latter with PyTorch's betas and epsilon.
    seed
        Seed of images, labels, initial weights and batches.

    Raises
    ------
    ConfigError
        If there are fewer than two sizes, a size is not positive, a layer is none that all peers train here, or a
        batch exceeds the data.
    """

    sizes: tuple[Size, ...]
    batch_size: int
    samples: int
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-3
    optimizer: str = "sgd"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a problem that has no step to train."""
        widths = [one for one in self.sizes if isinstance(one, int)]
        if len(self.sizes) < 2 or min([*self.shape, *widths]) < 1:
            raise ConfigError(f"sizes: found {self.sizes}, expected two or more positive widths")
        for layer in self.layers:
            match layer:
                case Linear() | Activation() | MaxPool() | Flatten():
                    continue
                case Convolution(stride=1, padding=0):
                    continue
            raise ConfigError(
                f"sizes: found {spell_layer(layer)!r}, expected widths, max-pooling and convolutions without stride "
                "or padding"
            )
        if not 1 <= self.batch_size <= self.samples:
            raise ConfigError(
                f"batch_size: found {self.batch_size}, expected 1 to {self.samples}, the samples"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input: (width,), or (channels, height, width)."""
        return shape_of(self.sizes)

    @property
    def has_images(self) -> bool:
        """Whether inputs are images."""
        return len(self.shape) == 3

    @property
    def features(self) -> int:
        """Numbers of an input."""
        return math.prod(self.shape)

    @property
    def hidden(self) -> tuple[Any, ...]:
        """The hidden layers, as in `TrainConfig`."""
        return self.sizes[1:-1]

    @property
    def classes(self) -> int:
        """Width of the output."""
        assert isinstance(self.sizes[-1], int)
        return self.sizes[-1]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The network's layers."""
        return layers_of(self.sizes)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the data."""
        return self.samples // self.batch_size

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """Grey levels ``[samples, features]``, drawn evenly from 0..255."""
        return self._random(0).integers(0, 256, (self.samples, self.features), dtype=np.uint8)

    @cached_property
    def inputs(self) -> NDArray[np.float32]:
        """The images less `GREY_MEAN`, divided by `GREY_DEVIATION`."""
        inputs = self.images.astype(np.float32)
        inputs -= np.float32(GREY_MEAN)
        inputs /= np.float32(GREY_DEVIATION)
        return inputs

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Classes ``[samples]`` that a random linear teacher gives, so that training can learn them."""
        shape = (self.features, self.classes)
        teacher = self._random(1).standard_normal(shape, dtype=np.float32)
        labels: NDArray[np.int64] = np.argmax(self.inputs @ teacher, axis=1)
        return labels

    @cached_property
    def start(self) -> WeightsAndBiases:
        """Initial parameters, drawn evenly from the interval +-1/sqrt(inputs of an output)."""
        random = self._random(2)
        weights, biases = [], []
        for shape, (outputs,) in parameter_shapes(self.layers, self.shape):
            bound = math.prod(shape[1:]) ** -0.5
            own = shape[::-1] if len(shape) == 2 else shape
            weights.append(random.uniform(-bound, bound, own).astype(np.float32))
            biases.append(random.uniform(-bound, bound, outputs).astype(np.float32))
        return WeightsAndBiases(weights, biases)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Rows of every batch of an epoch, counted from 0: ``[steps_per_epoch, batch_size]``."""
        rows = self._random(3, epoch).permutation(self.samples)
        return rows[: self.steps_per_epoch * self.batch_size].reshape(-1, self.batch_size)

    def segments(self, start: int, steps: int) -> Iterator[tuple[int, int, int]]:
        """Split steps ``start`` to ``start + steps`` of a training at the ends of epochs.

        Yields
        ------
        tuple of int
            The epoch, its first step to train, and the step after its last one.
        """
        stop = start + steps
        while start < stop:
            epoch, first = divmod(start, self.steps_per_epoch)
            last = min(first + stop - start, self.steps_per_epoch)
            yield epoch, first, last
            start += last - first

    def loss(self, parameters: WeightsAndBiases) -> float:
        """Mean cross-entropy of all samples, without decay, computed by NumPy for everyone."""
        total = 0.0
        count = ROWS_OF_IMAGES if self.has_images else ROWS
        for first in range(0, self.samples, count):
            rows = slice(first, first + count)
            logits = self._outputs(parameters, self.inputs[rows]).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            of_label = np.take_along_axis(logits, self.labels[rows, None], axis=1)
            total += float(np.sum(np.log(np.exp(logits).sum(axis=1, keepdims=True)) - of_label))
        return total / self.samples

    def _outputs(
        self, parameters: WeightsAndBiases, inputs: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the network's outputs ``[n, classes]`` for inputs ``[n, features]``."""
        values = inputs.reshape(-1, *self.shape)
        pairs = zip(*parameters, strict=True)
        for layer in self.layers:
            match layer:
                case Linear():
                    weights, biases = next(pairs)
                    values = values @ weights + biases
                case Convolution(kernel=kernel):
                    weights, biases = next(pairs)
                    windows = np.lib.stride_tricks.sliding_window_view(
                        values, (kernel, kernel), (2, 3)
                    )
                    sums = np.tensordot(windows, weights, ((1, 4, 5), (1, 2, 3))) + biases
                    values = np.moveaxis(sums, 3, 1)
                case Activation():
                    values = np.maximum(values, 0)
                case MaxPool(size):
                    height, width = (one // size * size for one in values.shape[2:])
                    places = [
                        values[:, :, y:height:size, x:width:size]
                        for y in range(size)
                        for x in range(size)
                    ]
                    values = np.maximum.reduce(places)
                case Flatten():
                    values = values.reshape(len(values), -1)
        return values

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])


@dataclass(frozen=True)
class Measured:
    """A network that is measured.

    Attributes
    ----------
    sizes : tuple
        As in `Problem`.
    batches : tuple of int
        Batch sizes.
    training : mapping
        The fields of `Problem` that are not its defaults.
    """

    sizes: tuple[Size, ...]
    batches: tuple[int, ...]
    training: Mapping[str, Any] = field(default_factory=dict)

    def problem(self, batch_size: int, samples: int) -> Problem:
        """Return the problem of training it."""
        return Problem(self.sizes, batch_size, samples, **self.training)


ADAM = {"optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0}

LENET: tuple[Size, ...] = ("conv 6 5", "maxpool 2", "conv 16 5", "maxpool 2", 120, 84, 10)

# What is measured, taken from the studies of CIFAR-10 and MNIST. "Network A" means this A wherever the package names
# it.
NETWORKS: dict[str, Measured] = {
    "A": Measured((3072, 512, 128, 32, 2), (10, 32, 100, 256)),
    "B": Measured((3072, 10), (10, 100, 200)),
    "C": Measured((784, 3136, 10), (128,)),
    "D": Measured((64, 32, 10), (10, 100)),
    "E": Measured(((1, 28, 28), *LENET), (16, 64, 256), ADAM),
    "F": Measured(((3, 32, 32), *LENET), (16, 64, 256), ADAM),
}
