"""The compiled kernels' gradient against centred differences, on a few images of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp.datasets import Dataset, Normalization
from fastmlp.training.config import TrainConfig
from fastmlp.training.engine import Engine
from fastmlp.training.evaluation import score
from fastmlp.training.layers import without_dropout
from fastmlp.training.optimizers import sgd
from fastmlp.training.parameters import initialize_layers
from fastmlp.training.samples import samples_of

IMAGES, ENTRIES = 20, 40  # images, and parameters of each array, that gradients are checked on
DIFFERENCE = 1e-5  # the e of (f(t + e) - f(t - e)) / 2e
KINK = 1e-6  # relative change of that quotient by halving e, above which a ReLU bends in between
ROUNDING = 1e-10  # of that quotient


def check_kernels(config: TrainConfig, train: Dataset) -> dict[str, float]:
    """Compare the compiled kernels' gradient in float64 with centred differences.

    Parameters
    ----------
    config : TrainConfig
        Decides network, start and decay; the penalty is part of the loss.
    train : Dataset
        Its first images are the batch.

    Returns
    -------
    dict
        ``entries`` compared, the largest ``absolute`` and ``relative`` difference, the latter
        |a - n| / max(|a|, |n|) where that maximum is above 1e-6; and ``kinks``: entries left out,
        because a ReLU bends within the difference, so that half of it gives another slope.
    """
    rng = np.random.default_rng(config.seed)
    loss = _Loss(config, train, rng)
    entries, kinks, absolute, relative = 0, 0, 0.0, 0.0
    for array, gradient in zip(loss.parameters, loss.gradients(), strict=True):
        chosen = rng.choice(array.size, min(ENTRIES, array.size), replace=False)
        for index in zip(*np.unravel_index(chosen, array.shape), strict=True):
            numeric = loss.slope(array, index, DIFFERENCE)
            halved = loss.slope(array, index, DIFFERENCE / 2)
            if abs(numeric - halved) > KINK * abs(halved) + ROUNDING:
                kinks += 1
                continue
            analytic = float(gradient[index])
            size, gap = max(abs(numeric), abs(analytic)), abs(numeric - analytic)
            entries, absolute = entries + 1, max(absolute, gap)
            relative = max(relative, gap / size if size > 1e-6 else 0.0)
    loss.engine.close()
    return {"entries": entries, "kinks": kinks, "absolute": absolute, "relative": relative}


class _Loss:
    """The loss of one batch, penalty included, as a function of parameters that may change in place."""

    def __init__(self, config: TrainConfig, train: Dataset, rng: np.random.Generator) -> None:
        self.config = config
        self.batch = train.take(range(min(IMAGES, len(train))))
        scheme, std = config.initialization, config.initialization_std
        layers = without_dropout(config.layers(len(train.classes)))
        self.weights, self.biases = initialize_layers(
            layers, train.shape, scheme, rng, "float64", std=std
        )
        self.engine = Engine(
            self.weights,
            self.biases,
            batch_size=len(self.batch),
            dtype="float64",
            threads=1,
            layers=layers,
            shape=train.shape,
        )
        normalization = Normalization.of(train, config.normalize)
        self.samples = samples_of(self.engine, self.batch, normalization)

    @property
    def parameters(self) -> list[np.ndarray]:
        """All arrays, weights first."""
        return [*self.weights, *self.biases]

    def gradients(self) -> list[np.ndarray]:
        """Return the kernels' gradient of each array: what a step of plain SGD with rate 1 subtracts."""
        decay, decay_biases = self.config.weight_decay, self.config.decay_biases
        step = sgd(1, 1.0, weight_decay=decay, decay_biases=decay_biases)
        self.engine.epoch(self.samples, np.arange(len(self.batch)), step)
        weights, biases = self.engine.weights()
        after = [*weights, *biases]
        return [array - one for array, one in zip(self.parameters, after, strict=True)]

    def slope(self, array: np.ndarray, index: Any, difference: float) -> float:
        """Return the centred difference quotient along one entry."""
        centre = array[index]
        array[index] = centre + difference
        rise = self._value()
        array[index] = centre - difference
        rise -= self._value()
        array[index] = centre
        return rise / (2 * difference)

    def _value(self) -> float:
        self.engine.load(self.weights, self.biases)
        decayed: Sequence[np.ndarray] = self.weights
        if self.config.decay_biases:
            decayed = self.parameters
        penalty = sum(float(np.square(array).sum()) for array in decayed)
        cross_entropy = score(self.engine.logits(self.samples), self.batch.labels)["loss"]
        return cross_entropy + self.config.weight_decay / 2 * penalty
