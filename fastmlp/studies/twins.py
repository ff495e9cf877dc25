"""Twins of the compiled kernels: other code that takes the same steps, in the same training loop.

A twin does plain SGD with momentum and weight decay. `fastmlp.studies.kinds` refuses settings that ask for more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fastmlp import autograd
from fastmlp.datasets import Dataset
from fastmlp.training.config import TrainConfig
from fastmlp.training.draws import Parameters
from fastmlp.training.engine import EpochRecord
from fastmlp.training.evaluation import score_each
from fastmlp.training.layers import ACTIVATIONS
from fastmlp.training.loop import Loop


class TwinEngine(ABC):
    """What all twins do alike of `fastmlp.training.loop.Stepper`.

    Samples are normalised images and labels, in arrays of the twin's own; steps are learning rates.
    """

    batch_size: int

    @abstractmethod
    def samples(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """Return normalised images [N, D] of float64 and labels [N] in arrays of the twin's own."""

    @abstractmethod
    def step(self, images: Any, labels: Any, rate: float) -> np.ndarray:
        """Take a step on a batch, and return the logits that it had before."""

    @abstractmethod
    def weights(self) -> Parameters:
        """Return copies of weights [out, in] and biases [out]."""

    @abstractmethod
    def logits(self, samples: tuple[Any, Any]) -> np.ndarray:
        """Return the logits [n, classes] of all samples."""

    @property
    def parameters(self) -> np.ndarray:
        """All parameters in one array."""
        weights, biases = self.weights()
        return np.concatenate([array.ravel() for array in (*weights, *biases)])

    def warm_up(self, samples: tuple[Any, Any]) -> None:
        """Do nothing: there is nothing to compile."""
        return

    def epoch(
        self, samples: tuple[Any, Any], order: np.ndarray, steps: list[float], **_: Any
    ) -> EpochRecord:
        """Take one step for each batch of ``samples[order]``; nothing is mirrored, weighted or dropped."""
        images, labels = samples
        batches = [order[step * self.batch_size :][: self.batch_size] for step in range(len(steps))]
        logits = np.concatenate(
            [
                self.step(images[rows], labels[rows], rate)
                for rows, rate in zip(batches, steps, strict=True)
            ]
        )
        return EpochRecord(*score_each(logits, np.asarray(labels)[order]), np.zeros(0))

    def close(self) -> None:
        """Do nothing: there are no threads to end."""
        return


class Twin(Loop):
    """The loop with a twin in place of the kernels."""

    engine: TwinEngine

    def samples(self, dataset: Dataset) -> tuple[Any, Any]:
        """Return normalised images and labels."""
        return self.engine.samples(self.normalization.apply(dataset.images), dataset.labels)

    def steps(self, rates: np.ndarray) -> list[float]:
        """Return the learning rate of each step."""
        return list(map(float, rates))


class TorchTwin(Twin):
    """PyTorch's modules, cross-entropy and ``torch.optim.SGD``."""

    def make_engine(self, parameters: Parameters) -> TwinEngine:
        """Return PyTorch's model and optimiser."""
        return TorchEngine(self.config, self.batch_size, parameters)


class AutogradTwin(Twin):
    """`fastmlp.autograd` and an update written by hand, in float64."""

    def make_engine(self, parameters: Parameters) -> TwinEngine:
        """Return the parameters as tensors of `fastmlp.autograd`."""
        return AutogradEngine(self.config, self.batch_size, parameters)


class TorchEngine(TwinEngine):
    """A model of PyTorch's modules, with ``torch.optim.SGD``.

    Parameters
    ----------
    config : TrainConfig
    batch_size : int
    parameters : (weights, biases)
        To start from.
    """

    def __init__(self, config: TrainConfig, batch_size: int, parameters: Parameters) -> None:
        import torch

        self.batch_size, self.torch = batch_size, torch
        self.dtype = torch.float64 if config.dtype == "float64" else torch.float32
        layers: list[Any] = []
        for W, b in zip(*parameters, strict=True):
            layer = torch.nn.Linear(W.shape[1], W.shape[0], dtype=self.dtype)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(W))
                layer.bias.copy_(torch.from_numpy(b))
            name, options = ACTIVATIONS[config.activation].torch
            layers += [layer, getattr(torch.nn, name)(**options)]
        self.model = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )

    def samples(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """Return tensors."""
        return self.torch.from_numpy(images).to(self.dtype), self.torch.from_numpy(labels)

    def step(self, images: Any, labels: Any, rate: float) -> np.ndarray:
        """Take a step on a batch, and return the logits that it had before."""
        logits = self.model(images)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        self.torch.nn.functional.cross_entropy(logits, labels).backward()
        self.optimizer.step()
        found: np.ndarray = logits.detach().numpy()
        return found

    def weights(self) -> Parameters:
        """Return copies of weights [out, in] and biases [out]."""
        layers = self.model[::2]
        weights = [layer.weight.detach().numpy().copy() for layer in layers]
        return weights, [layer.bias.detach().numpy().copy() for layer in layers]

    def logits(self, samples: tuple[Any, Any]) -> np.ndarray:
        """Return the logits [n, classes] of all samples."""
        with self.torch.no_grad():
            found: np.ndarray = self.model(samples[0]).numpy()
            return found


class AutogradEngine(TwinEngine):
    """Tensors of `fastmlp.autograd` and their velocities.

    Parameters
    ----------
    config, batch_size, parameters
        As for `TorchEngine`.
    """

    def __init__(self, config: TrainConfig, batch_size: int, parameters: Parameters) -> None:
        self.config, self.batch_size = config, batch_size
        self.tensors: list[autograd.Tensor] = []
        for W, b in zip(*parameters, strict=True):
            self.tensors += [autograd.Tensor(W.T), autograd.Tensor(b)]
        self.velocities = [np.zeros(one.shape) for one in self.tensors]

    def samples(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the arrays as they are."""
        return images, labels

    def step(self, images: np.ndarray, labels: np.ndarray, rate: float) -> np.ndarray:
        """Take a step on a batch, and return the logits that it had before."""
        logits = self._forward(images)
        autograd.cross_entropy(logits, labels).backward()
        for tensor, velocity in zip(self.tensors, self.velocities, strict=True):
            velocity *= self.config.momentum
            velocity += tensor.grad + self.config.weight_decay * tensor.data
            tensor.data -= rate * velocity
        return logits.data

    def weights(self) -> Parameters:
        """Return copies of weights [out, in] and biases [out]."""
        weights = [one.data.T.copy() for one in self.tensors[::2]]
        return weights, [one.data.copy() for one in self.tensors[1::2]]

    def logits(self, samples: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return the logits [n, classes] of all samples."""
        return self._forward(samples[0]).data

    def _forward(self, images: np.ndarray) -> autograd.Tensor:
        config = self.config
        return autograd.mlp(self.tensors, images, config.activation, config.residual)
