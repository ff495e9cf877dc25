"""PyTorch as a peer of a record: the same network, optimiser, rates, batches and start, in the same training loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.studies.twins import Twin, TwinEngine
from fastmlp.training.config import TrainConfig
from fastmlp.training.draws import Parameters
from fastmlp.training.layers import Activation, Convolution, Flatten, Layer, Linear, MaxPool
from fastmlp.training.shapes import with_shapes

# What the peer does as the configuration says; every other field must have its default.
FOLLOWS = (
    *("hidden", "initialization", "optimizer", "learning_rate", "betas", "batch_size", "epochs"),
    *("schedule", "restore_best", "normalize", "label_smoothing", "seed", "threads"),
)


def can_train(config: TrainConfig, layers: tuple[Layer, ...]) -> bool:
    """Return whether the peer trains as a configuration says: with Adam, on layers that it has modules for."""
    plain = TrainConfig(**{name: getattr(config, name) for name in FOLLOWS})
    known = all(
        layer == Activation("relu") or isinstance(layer, Linear | Convolution | MaxPool | Flatten)
        for layer in layers
    )
    return known and config == plain and config.optimizer == "adam"


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
        self.trained = [module for module in modules if hasattr(module, "weight")]
        with torch.no_grad():
            for module, weights, biases in zip(self.trained, *parameters, strict=True):
                module.weight.copy_(torch.from_numpy(weights))
                module.bias.copy_(torch.from_numpy(biases))
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
        pairs = [(one.weight, one.bias) for one in self.trained]
        weights, biases = zip(*pairs, strict=True)
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
        case Flatten():
            return nn.Flatten()
    return nn.ReLU()


def _copied(tensor: Any) -> np.ndarray:
    copied: np.ndarray = tensor.detach().numpy().copy()
    return copied
