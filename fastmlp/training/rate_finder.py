"""find_learning_rate(): the learning rate that a short training finds for a longer one.

A range test (Smith, "Cyclical learning rates for training neural networks", 2017): from its initial parameters the
network takes some hundred steps, each at a greater rate than the one before, and the loss of each batch is recorded.
The loss falls once the rate is large enough, and rises when it is too large. Batches differ, so the test is done
several times, each with initial parameters and batches of its own; losses are smoothed by exponential means, and the
median of the tests counts.

The rule: the smallest rate at which the loss has fallen half the way from where it begins to where it is least. There
it falls fast. Where it is least, the next steps may be too large; and where it is least depends on the batches, but how
far it falls hardly does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset
from fastmlp.errors import DataError
from fastmlp.training.config import TrainConfig
from fastmlp.training.draws import draw_epoch
from fastmlp.training.showing import RateShowing
from fastmlp.training.trainer import Training

LOWEST, HIGHEST = 1e-7, 10.0  # rates of the first and the last step
STEPS = 240  # 30 for each factor of ten
FIRST = STEPS // 10  # steps whose rates are too small to change the loss
TESTS = 3
SMOOTHING = 0.9  # what a smoothed loss keeps of the one before
MOST_SEED = 2**63  # of TrainConfig

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class FoundRate(RateShowing):
    """What `find_learning_rate` found.

    Parameters
    ----------
    learning_rate : float
        With two digits, as people write it.
    rates : float64 array [steps]
        The rate of each step.
    losses : float64 array [steps]
        The loss of each step's batch before the step, smoothed: the median of the tests. Infinite where most of them
        had diverged.
    """

    learning_rate: float
    rates: FloatArray
    losses: FloatArray


def find_learning_rate(config: TrainConfig, train: Dataset) -> FoundRate:
    """Find the learning rate for a training by short trainings at rates that rise step by step.

    It is for the optimiser, network, batch size and data of the configuration, whose `learning_rate` and schedule are
    not read. With ``schedule="one_cycle"`` the rate found serves as the highest one.

    Parameters
    ----------
    config : TrainConfig
        The settings of the training.
    train : Dataset
        The training part.

    Returns
    -------
    FoundRate
        The same for any number of threads.

    Raises
    ------
    ConfigError
        As for `fastmlp.train`.
    DataError
        As for `fastmlp.train`; also if the loss falls at no rate.
    """
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    tests = []
    for test in range(TESTS):
        one = config.replace(seed=(config.seed + test) % MOST_SEED, patience=None, select="loss")
        tests.append(_test(one, train, rates))
    losses = np.median([_smoothed(test) for test in tests], axis=0)
    return FoundRate(_chosen(rates, losses, np.array(tests)[:, :FIRST]), rates, losses)


def _test(config: TrainConfig, train: Dataset, rates: FloatArray) -> FloatArray:
    """Return the loss of each batch of a training whose steps have these rates, measured before the step."""
    training = Training(config, train)
    size = training.batch_size
    whole = len(train) // size * size  # batches of one size
    epochs = range(-(-len(rates) * size // whole))
    drawn = [draw_epoch(config, len(train), epoch) for epoch in epochs]
    count = len(rates) * size
    order, flips = (
        np.concatenate([one[:whole] for one in parts])[:count] for parts in zip(*drawn, strict=True)
    )
    try:
        training.engine.warm_up(training.train_samples)
        record = training.take(order, flips, training.steps(rates))
    finally:
        training.engine.close()
    losses = []
    for start in range(0, count, size):
        rows = slice(start, start + size)
        batch = record._replace(losses=record.losses[rows], correct=record.correct[rows])
        losses.append(training.weighting.scores(batch, order[rows])["loss"])
    return np.array(losses)


def _smoothed(losses: FloatArray) -> FloatArray:
    """Return exponential means of losses; those of the first ones weigh what there is, as Adam's."""
    smoothed, mean = np.empty_like(losses), 0.0
    for step, loss in enumerate(losses):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * (loss if np.isfinite(loss) else np.inf)
        smoothed[step] = mean / (1 - SMOOTHING ** (step + 1))
    return smoothed


def _chosen(rates: FloatArray, losses: FloatArray, first: FloatArray) -> float:
    """Return the rate at which losses have fallen half the way.

    Parameters
    ----------
    rates, losses : array [steps]
        Smoothed losses.
    first : array [tests, FIRST]
        The first losses as they are, which say how much they differ by chance.
    """
    begun = float(first.mean())
    losses = losses[FIRST:]  # before, they are means of too few to be compared
    least = float(losses.min())
    chance = float(first.std(axis=1).mean())
    if not begun - least > chance:  # also of NaN
        raise DataError(
            f"learning_rate: found no rate from {LOWEST:g} to {HIGHEST:g} at which the loss falls from {begun:.4g}, "
            "expected one; give a rate, or look at the data and its labels"
        )
    step = int((losses <= begun - (begun - least) / 2).argmax())
    return float(f"{rates[FIRST + step]:.2g}")
