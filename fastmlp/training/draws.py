"""Every stream of random numbers that a seed is split into.

A stream begins anew from its number, the seed and the epoch. So a training that was killed and goes on draws what an
undisturbed one would have drawn.
"""

from __future__ import annotations

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.training.config import TrainConfig
from fastmlp.training.layers import sizes_of
from fastmlp.training.parameters import initialize

Parameters = tuple[list[np.ndarray], list[np.ndarray]]
"""Weights [out, in] and biases [out] of each layer."""

INITIALISATION, ORDER, COINS, DROPOUT = range(4)  # streams; another number gives other bits


def network_sizes(config: TrainConfig, data: Dataset) -> tuple[int, ...]:
    """Return the widths of the network that a configuration trains on a data set."""
    return sizes_of(config.layers(len(data.classes)), data.images.shape[1])


def parameter_type(config: TrainConfig) -> str:
    """Return the type of weights and biases: products may take bfloat16, parameters never are."""
    return "float32" if config.dtype == "bfloat16" else config.dtype


def draw_parameters(config: TrainConfig, data: Dataset) -> Parameters:
    """Draw the weights and biases that a training starts from."""
    return initialize(
        network_sizes(config, data),
        config.initialization,
        np.random.default_rng([INITIALISATION, config.seed]),
        parameter_type(config),
        std=config.initialization_std,
    )


def draw_epoch(config: TrainConfig, count: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the order in which an epoch sees its samples, and which of them it mirrors.

    Parameters
    ----------
    config : TrainConfig
    count : int
        Samples.
    epoch : int
        Counted from 0.

    Returns
    -------
    order : array [count] of int64
        Batches are consecutive stretches of ``config.batch_size``.
    flips : array [count] of bool
    """
    rng = np.random.default_rng([ORDER, config.seed, epoch])
    order = rng.permutation(count)
    return order, rng.random(count) < 0.5 if config.flip else np.zeros(count, np.bool_)


def draw_coins(config: TrainConfig, count: int, epoch: int) -> np.ndarray:
    """Toss a coin for each of `count` batches of an epoch: an array [count] of bool."""
    return np.random.default_rng([COINS, config.seed, epoch]).random(count) < 0.5


def dropout_key(config: TrainConfig, epoch: int) -> int:
    """Draw what an epoch's dropout follows from: 64 random bits."""
    rng = np.random.default_rng([DROPOUT, config.seed, epoch])
    return int(rng.integers(2**64, dtype=np.uint64))
