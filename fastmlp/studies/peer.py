"""PyTorch as a peer of a record: the same network, optimiser, rates, batches and start, in the same training loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.studies.twins import Twin, TwinEngine
from fastmlp.training.config import TrainConfig
from fastmlp.training.draws import Parameters
from fastmlp.training.layers import (
    Activation,
    BatchNorm,
    Convolution,
    Flatten,
    Layer,
    Linear,
    MaxPool,
)
from fastmlp.training.shapes import with_shapes

# The layers, beside a ReLU, and the settings that the peer follows; every other setting must have its default.
MODULES = (Linear, Convolution, MaxPool, BatchNorm, Flatten)
FOLLOWS = (
    *("hidden", "initialization", "optimizer", "learning_rate", "betas", "batch_size", "epochs"),
    *("schedule", "restore_best", "normalize", "label_smoothing", "seed", "threads"),
)


def can_train(config: TrainConfig, layers: tuple[Layer, ...]) -> bool:
    """Return whether the peer trains as a configuration says: with Adam, on layers that it has modules for."""
    plain = TrainConfig(**{name: getattr(config, name) for name in FOLLOWS})
    known = all(layer == Activation("relu") or isinstance(layer, MODULES) for layer in layers)
    return known and config == plain and config.optimizer == "adam"


def take_threads(threads: int) -> None:
    """Let PyTorch compute on so many threads."""
    import torch

    torch.set_num_threads(threads)


class Peer(Twin):
    """The loop with PyTorch in place of the kernels."""

    def make_engine(self, parameters: Parameters) -> TwinEngine:
        """Return PyTorch's model and optimiser."""
        layers = self.config.layers(len(self.train.classes))
        return PeerEngine(self.config, self.batch_size, parameters, layers, self.train.shape)


class PeerEngine(TwinEngine):
    """A ``torch.nn.Sequential`` with ``torch.optim.Adam(fused=True)``, in float32.

    Parameters
    ----------
    config : TrainConfig
    batch_size : int
    parameters : (weights, biases)
        To start from.
    layers : sequence of Layer
    shape : tuple of int
        Of an image.
    """

    def __init__(
        self,
        config: TrainConfig,
        batch_size: int,
        parameters: Parameters,
        layers: tuple[Layer, ...],
        shape: tuple[int, ...],
    ) -> None:
        import torch

        self.batch_size, self.torch, self.smoothing = batch_size, torch, config.label_smoothing
        self.shape = shape if any(isinstance(one, Flatten) for one in layers) else (-1,)
        modules = [_module(layer, given) for layer, given, _ in with_shapes(layers, shape)]
        self.model = torch.nn.Sequential(*modules)
        self.pairs = [pair for module in modules for pair in _pairs(module)]
        with torch.no_grad():
            for pair, arrays in zip(self.pairs, zip(*parameters, strict=True), strict=True):
                for tensor, array in zip(pair, arrays, strict=True):
                    tensor.copy_(torch.from_numpy(array))
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, betas=config.betas, fused=True
        )

    def samples(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """Return tensors."""
        inputs = self.torch.from_numpy(images.astype(np.float32))
        return inputs.view(len(images), *self.shape), self.torch.from_numpy(labels)

    def step(self, images: Any, labels: Any, rate: float) -> np.ndarray:
        """Take a step on a batch, and return the logits that it had before."""
        logits = self.model(images)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.cross_entropy(
            logits, labels, label_smoothing=self.smoothing
        )
        loss.backward()
        self.optimizer.step()
        found: np.ndarray = logits.detach().numpy()
        return found

    def weights(self) -> Parameters:
        """Return copies of weights and biases, in the shapes in which they were given."""
        weights, biases = zip(*self.pairs, strict=True)
        return [_copied(one) for one in weights], [_copied(one) for one in biases]

    def logits(self, samples: tuple[Any, Any]) -> np.ndarray:
        """Return the logits [n, classes] of all samples."""
        with self.torch.no_grad():
            found: np.ndarray = self.model(samples[0]).numpy()
            return found


def _module(layer: Layer, given: tuple[int, ...]) -> Any:
    """Return PyTorch's module for a layer that is given such an input."""
    from torch import nn

    match layer:
        case Linear(outputs):
            return nn.Linear(int(np.prod(given)), outputs)
        case Convolution(channels, kernel, stride, padding):
            return nn.Conv2d(given[0], channels, kernel, stride, padding)
        case MaxPool(size):
            return nn.MaxPool2d(size)
        case BatchNorm():
            return (nn.BatchNorm2d if len(given) == 3 else nn.BatchNorm1d)(given[0])
        case Flatten():
            return nn.Flatten()
    return nn.ReLU()


def _pairs(module: Any) -> list[tuple[Any, Any]]:
    """Return a module's tensors in pairs, as `fastmlp.training.shapes.parameter_shapes` lists them."""
    pairs = [("weight", "bias"), ("running_mean", "running_var")]
    return [(getattr(module, a), getattr(module, b)) for a, b in pairs if hasattr(module, a)]


def _copied(tensor: Any) -> np.ndarray:
    copied: np.ndarray = tensor.detach().numpy().copy()
    return copied
