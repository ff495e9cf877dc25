"""All random numbers of a training, in streams that follow from its seed.

Each epoch starts its streams anew from their number, the seed and the epoch. A resumed training therefore draws the
same numbers as one that was never interrupted.
"""

from __future__ import annotations

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.kernels.arguments import MIX
from fastmlp.training.config import TrainConfig
from fastmlp.training.layers import sizes_of
from fastmlp.training.parameters import initialize_layers

Parameters = tuple[list[np.ndarray], list[np.ndarray]]
"""Weights and biases, in the shapes and the order of `fastmlp.training.shapes.parameter_shapes`."""

# The streams. Other numbers would change all results.
INITIALISATION, ORDER, COINS, DROPOUT, MOVES, MIXES = range(6)


def network_sizes(config: TrainConfig, data: Dataset) -> tuple[int, ...]:
    """Return the widths (of convolutions: channels) of the network that a configuration trains on a data set."""
    return sizes_of(config.layers(len(data.classes)), data.images.shape[1])


def parameter_type(config: TrainConfig) -> str:
    """Return the type of weights and biases, which is float32 where products use bfloat16."""
    return "float32" if config.dtype == "bfloat16" else config.dtype


def draw_parameters(config: TrainConfig, data: Dataset) -> Parameters:
    """Draw the initial weights and biases of a training."""
    return initialize_layers(
        config.layers(len(data.classes)),
        data.shape,
        config.initialization,
        np.random.default_rng([INITIALISATION, config.seed]),
        parameter_type(config),
        std=config.initialization_std,
    )


def draw_epoch(config: TrainConfig, count: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the order of an epoch's samples, and which of them are mirrored.

    Parameters
    ----------
    config : TrainConfig
    count : int
        Number of samples.
    epoch : int
        Counted from 0.

    Returns
    -------
    order : array [count] of int64
        Each ``config.batch_size`` consecutive samples are a batch.
    flips : array [count] of bool
    """
    rng = np.random.default_rng([ORDER, config.seed, epoch])
    order = rng.permutation(count)
    return order, rng.random(count) < 0.5 if config.flip else np.zeros(count, np.bool_)


def alters(config: TrainConfig) -> bool:
    """Return whether samples are altered by more than being mirrored."""
    return config.shift > 0 or config.cutout > 0 or config.mixup > 0


def draw_moves(
    config: TrainConfig, shape: tuple[int, ...], flips: np.ndarray, epoch: int
) -> np.ndarray:
    """Draw how an epoch's samples are moved, and what is cut out of them.

    Parameters
    ----------
    config : TrainConfig
    shape : (channels, height, width)
    flips : array [count] of bool
        Which are mirrored, too.
    epoch : int
        Counted from 0.

    Returns
    -------
    array [count, 7] of int32
        As in `fastmlp.kernels.arguments.Batches`. The middle of a square that is cut out may be any pixel.
    """
    rng = np.random.default_rng([MOVES, config.seed, epoch])
    moves = np.zeros((len(flips), 7), np.int32)
    moves[:, 0] = flips
    moves[:, 1:3] = rng.integers(-config.shift, config.shift, (len(flips), 2), endpoint=True)
    sides = np.array(shape[1:])
    first = rng.integers(0, sides, (len(flips), 2)) - config.cutout // 2
    moves[:, 3:6:2] = np.clip(first, 0, sides)
    moves[:, 4:7:2] = np.clip(first + config.cutout, 0, sides)
    return moves


def draw_mixes(config: TrainConfig, count: int, epoch: int) -> np.ndarray:
    """Draw what an epoch's samples are mixed with; an empty array if they are not.

    Parameters
    ----------
    config : TrainConfig
    count : int
        Number of samples.
    epoch : int
        Counted from 0.

    Returns
    -------
    array [count] of `fastmlp.kernels.arguments.MIX`
        Each sample of a batch is the partner of one of the same batch. Shares are at least 1/2: which of two samples is
        mixed into the other is drawn with the partners.
    """
    if not config.mixup:
        return np.zeros(0, MIX)
    rng = np.random.default_rng([MIXES, config.seed, epoch])
    mixes = np.zeros(count, MIX)
    batches = np.arange(count) // config.batch_size
    mixes["partner"] = np.lexsort((rng.random(count), batches))
    shares = rng.beta(config.mixup, config.mixup, count)
    mixes["share"] = np.maximum(shares, 1 - shares)
    return mixes


def draw_coins(config: TrainConfig, count: int, epoch: int) -> np.ndarray:
    """Toss a coin for each batch of an epoch, and return them as an array [count] of bool."""
    return np.random.default_rng([COINS, config.seed, epoch]).random(count) < 0.5


def dropout_key(config: TrainConfig, epoch: int) -> int:
    """Draw the key of an epoch's dropout: 64 random bits."""
    rng = np.random.default_rng([DROPOUT, config.seed, epoch])
    return int(rng.integers(2**64, dtype=np.uint64))
