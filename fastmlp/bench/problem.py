"""What is benchmarked: networks, their SGD, and synthetic data, the same for everyone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmlp.errors import ConfigError

# Mean and standard deviation of grey levels drawn evenly from 0..255, as `Problem.images` are.
GREY_MEAN = 127.5
GREY_DEVIATION = ((256**2 - 1) / 12) ** 0.5

# What is measured: layer widths (inputs, hidden layers, classes) and batch sizes by network, taken
# from the studies of CIFAR-10 and MNIST. "Network A" means this A wherever the package names it.
NETWORKS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "A": ((3072, 512, 128, 32, 2), (10, 32, 100, 256)),
    "B": ((3072, 10), (10, 100, 200)),
    "C": ((784, 3136, 10), (128,)),
    "D": ((64, 32, 10), (10, 100)),
}


def flops_per_sample(sizes: Sequence[int]) -> int:
    """Count the arithmetic of training on one sample: the matrix products, without padding.

    A multiply-add counts as two. The first layer has no gradient of its input.
    """
    products = [rows * columns for rows, columns in itertools.pairwise(sizes)]
    return 2 * (3 * sum(products) - products[0])


class WeightsAndBiases(NamedTuple):
    """Weights ``[in, out]`` and biases ``[out]`` of every layer, float32."""

    weights: list[NDArray[np.float32]]
    biases: list[NDArray[np.float32]]


@dataclass(frozen=True)
class Problem:
    """A ReLU network with softmax cross-entropy, its SGD, and data; equal fields give equal data.

    Data and start are made on first use and kept. Use them once before timing anything.

    Parameters
    ----------
    sizes
        Layer widths: inputs first, classes last.
    batch_size
        Rows of one step.
    samples
        Rows of data.
    learning_rate, momentum, weight_decay
        As in ``torch.optim.SGD``; biases decay too.
    seed
        Seed of images, labels, initial weights and batches.

    Raises
    ------
    ConfigError
        If there are fewer than two sizes, a size is not positive, or a batch exceeds the data.
    """

    sizes: tuple[int, ...]
    batch_size: int
    samples: int
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a problem that has no step to train."""
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ConfigError(f"sizes: found {self.sizes}, expected two or more positive widths")
        if not 1 <= self.batch_size <= self.samples:
            raise ConfigError(
                f"batch_size: found {self.batch_size}, expected 1 to {self.samples}, the samples"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the data."""
        return self.samples // self.batch_size

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """Grey levels ``[samples, sizes[0]]``, drawn evenly from 0..255."""
        return self._random(0).integers(0, 256, (self.samples, self.sizes[0]), dtype=np.uint8)

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
        shape = (self.sizes[0], self.sizes[-1])
        teacher = self._random(1).standard_normal(shape, dtype=np.float32)
        labels: NDArray[np.int64] = np.argmax(self.inputs @ teacher, axis=1)
        return labels

    @cached_property
    def start(self) -> WeightsAndBiases:
        """Initial parameters, drawn evenly from the interval +-1/sqrt(inputs of the layer)."""
        random = self._random(2)
        weights, biases = [], []
        for rows, columns in itertools.pairwise(self.sizes):
            bound = rows**-0.5
            weights.append(random.uniform(-bound, bound, (rows, columns)).astype(np.float32))
            biases.append(random.uniform(-bound, bound, columns).astype(np.float32))
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
        for first in range(0, self.samples, 4096):  # slices keep activations small beside the data
            rows = slice(first, first + 4096)
            values = self.inputs[rows]
            for layer, (weights, biases) in enumerate(zip(*parameters, strict=True)):
                if layer:
                    values = np.maximum(values, 0)
                values = values @ weights + biases
            logits = values.astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            of_label = np.take_along_axis(logits, self.labels[rows, None], axis=1)
            total += float(np.sum(np.log(np.exp(logits).sum(axis=1, keepdims=True)) - of_label))
        return total / self.samples

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])
