"""warm_up(): compile the kernels before they are needed, or load them from where they are kept."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError
from fastmlp.training.config import TrainConfig
from fastmlp.training.draws import parameter_type
from fastmlp.training.engine import Engine
from fastmlp.training.layers import has_images
from fastmlp.training.shapes import parameter_shapes
from fastmlp.training.trainer import Training

CLASSES = tuple("0123456789")
SIDES = (8, 16, 32, 64, 128, 256, 512)  # of pictures that convolutions and pools make smaller


def warm_up(what: TrainConfig | str = "float32", train: Dataset | None = None) -> float:
    """Compile the kernels that trainings need, or load what was compiled before.

    A first training does so by itself; this is for programs that measure, or begin, at a time of their own. Other
    widths, activations, optimisers and losses of the same kind need no other kernels.

    Parameters
    ----------
    what : TrainConfig or {"float32", "float64", "bfloat16"}
        A configuration: what `fastmlp.train` needs for it. A type: what linear networks of it need, for pictures and
        for rows of numbers of that type; of float32 and float64 also regressors and classifiers of two classes.
    train : Dataset, optional
        With a configuration: data of the kind that it is to train on; by default pictures of bytes.

    Returns
    -------
    float
        Seconds it took.

    Raises
    ------
    ConfigError
        If `what` is neither, or a layer cannot take the shape that reaches it.
    """
    start = time.perf_counter()
    if isinstance(what, TrainConfig):
        _warm_up_training(what, _pictures(what) if train is None else train)
    elif isinstance(what, str) and train is None:
        config = TrainConfig().replace(dtype=what)
        for part in (_pictures(config), _rows(parameter_type(config))):
            _warm_up_training(config, part)
        if what != "bfloat16":
            _warm_up_targets(what)
    else:
        expected = "a TrainConfig" if train is not None else "a TrainConfig or a dtype"
        raise ConfigError(f"what: found {what!r}, expected {expected}")
    return time.perf_counter() - start


def _warm_up_training(config: TrainConfig, part: Dataset) -> None:
    few = _first_rows(part)
    training = Training(config.replace(threads=1, patience=None, select="loss"), few)
    try:
        training.warm_up()
    finally:
        training.engine.close()


def _first_rows(part: Dataset) -> Dataset:
    """Return two rows of a part that can be trained on."""
    few = part.take([0, 0])
    labels = few.labels
    if part.task == "regression":  # which has two values at least
        labels = np.zeros_like(labels)
        labels[1] = 1
    return replace(few, labels=labels, weights=None if few.weights is None else np.ones(2))


def _warm_up_targets(dtype: str) -> None:
    """Compile what networks with targets need: regressors, and classifiers of two classes."""
    shapes = parameter_shapes(TrainConfig().layers(1), (8,))
    weights, biases = ([np.zeros(one[part], dtype) for one in shapes] for part in (0, 1))
    engine = Engine(weights, biases, batch_size=2, dtype=dtype, threads=1, loss="squared")
    ones, zeros = np.ones(8), np.zeros(8)
    rows, targets = np.zeros((2, 8), dtype), np.zeros((2, 1))
    engine.warm_up(engine.samples(rows, ones, zeros, targets=targets))
    engine.close()


def _pictures(config: TrainConfig) -> Dataset:
    """Return pictures that the layers of a configuration can take."""
    layers = config.layers(len(CLASSES))
    for side in SIDES:
        try:
            parameter_shapes(layers, (1, side, side))
            break
        except ConfigError:
            if side == SIDES[-1] or not has_images(layers):
                raise
    return _dataset(np.zeros((1, side * side), np.uint8), (1, side, side))


def _rows(numbers: str) -> Dataset:
    return _dataset(np.zeros((1, 8), numbers), (1, 1, 8))


def _dataset(images: np.ndarray, shape: tuple[int, ...]) -> Dataset:
    return Dataset(images, np.zeros(len(images), np.int64), shape, CLASSES, "warm-up")
