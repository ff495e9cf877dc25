"""Trainings that test what a published program may have done: a recorded cost, batches back to front."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fastmlp.datasets import Dataset, Normalization
from fastmlp.training.draws import draw_coins
from fastmlp.training.engine import Engine, EpochRecord
from fastmlp.training.history import Row
from fastmlp.training.optimizers import Steps
from fastmlp.training.samples import Given
from fastmlp.training.trainer import Training

REVERSED_ROWS = 1000  # that are normalised and reversed at a time: 12 MB of float32


class Penalised(Training):
    """`fastmlp.train`, with the cost in its history: the loss plus the weight decay's penalty."""

    records_penalties = True

    def measure(self, row: Row, record: EpochRecord) -> None:
        """Add the costs: in training the mean over steps, in validation after the epoch."""
        factor = self.config.weight_decay / 2
        row["train_cost"] = row["train_loss"] + factor * float(record.penalties.mean())
        if row["valid_loss"] is not None:
            weights, _ = self.engine.weights()
            with np.errstate(over="ignore"):  # of a network that diverges
                penalty = sum(float(np.square(one, dtype=np.float64).sum()) for one in weights)
            row["valid_cost"] = row["valid_loss"] + factor * penalty


class Reversed(Penalised):
    """`Penalised`, with each batch back to front with probability 1/2.

    An image is stored as its red, its green, its blue values, row by row. Back to front it is turned by 180 degrees,
    and red and blue have changed places.
    """

    def take(self, order: np.ndarray, flips: np.ndarray, steps: Steps) -> EpochRecord:
        """Take an epoch's steps, some batches reversed."""
        coins = draw_coins(self.config, len(steps.hyper), self.epoch)
        pieces = reversed_pieces(
            self.engine, self.train, self.normalization, self.batch_size, order, steps, coins
        )
        records = [self.engine.epoch(*piece, penalties=True) for piece in pieces]
        return EpochRecord(*map(np.concatenate, zip(*records, strict=True)))


def reversed_pieces(
    engine: Engine,
    data: Dataset,
    normalization: Normalization,
    batch_size: int,
    order: np.ndarray,
    steps: Steps,
    coins: np.ndarray,
) -> Iterator[tuple[Given, np.ndarray, Steps]]:
    """Yield an epoch in pieces of some batches: samples, their order, steps.

    Parameters
    ----------
    engine : Engine
    data : Dataset
    normalization : Normalization
        Applied before a batch is reversed.
    batch_size : int
    order : array [n] of int64
    steps : Steps
    coins : array [batches] of bool
        Which batches are reversed.
    """
    width = data.images.shape[1]
    backwards = np.repeat(coins, batch_size)[: len(order)]
    at_a_time = max(1, REVERSED_ROWS // batch_size)
    for first in range(0, len(coins), at_a_time):
        part = slice(first * batch_size, (first + at_a_time) * batch_size)
        rows = order[part]
        images = normalization.apply(data.images[rows]).astype(engine.dtype)
        images[backwards[part]] = images[backwards[part], ::-1]
        samples = engine.samples(images, np.ones(width), np.zeros(width), labels=data.labels[rows])
        yield samples, np.arange(len(rows)), replace(steps, hyper=steps.hyper[first:][:at_a_time])
