"""fastmlp among its peers: the engine behind the interface of `fastmlp.bench.peer.Peer`.

Each of its steps gathers rows from uint8 and normalises them, which peers are spared. What the
trainer adds to the engine (a schedule, early stopping, a line of history an epoch) is left out, as
it is for the peers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.bench.measurements import FASTMLP, FASTMLP_BF16
from fastmlp.bench.peer import Training
from fastmlp.bench.problem import GREY_DEVIATION, GREY_MEAN, Problem, WeightsAndBiases
from fastmlp.kernels.tiles import NATIVE_BF16
from fastmlp.machine.cores import usable_cores
from fastmlp.training.chosen import Given
from fastmlp.training.engine import Engine
from fastmlp.training.optimizers import Steps, adam, sgd


@dataclass(frozen=True)
class FastMLP:
    """fastmlp's engine with one element type.

    Parameters
    ----------
    name
        Its name in tables.
    dtype
        As in `fastmlp.TrainConfig`.
    """

    name: str
    dtype: str
    decays_biases: bool = True

    def available(self) -> bool:
        """Return whether the CPU has the instructions; without them bfloat16 is emulated."""
        return self.dtype != "bfloat16" or NATIVE_BF16

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Compile, and start the threads.

        Where ``threads`` is the number of usable cores, the engine chooses for itself, as it does
        for users: it takes a single thread if a step is too small to share.
        """
        own_choice = threads == usable_cores()
        return _EngineTraining(problem, self.dtype, None if own_choice else threads)


CONTENDERS = (FastMLP(FASTMLP, "float32"), FastMLP(FASTMLP_BF16, "bfloat16"))


def load(problem: Problem, dtype: str, threads: int | None) -> tuple[Engine, Given]:
    """Give a problem's start and its images to an engine, and compile."""
    engine = Engine(
        [_turned(weights) for weights in problem.start.weights],
        problem.start.biases,
        layers=problem.layers,
        shape=problem.shape,
        batch_size=problem.batch_size,
        dtype=dtype,
        threads=threads,
    )
    scale = np.full(problem.features, 1 / GREY_DEVIATION)
    samples = engine.samples(problem.images, scale, -GREY_MEAN * scale, labels=problem.labels)
    engine.warm_up(samples)
    return engine, samples


def steps_of(problem: Problem, count: int, before: int) -> Steps:
    """Return the optimiser's numbers for `count` steps of a problem after `before` steps."""
    rate, decay = problem.learning_rate, problem.weight_decay
    if problem.optimizer == "adam":
        return adam(count, rate, before=before, weight_decay=decay)
    return sgd(count, rate, momentum=problem.momentum, weight_decay=decay)


def _turned(weights: np.ndarray) -> np.ndarray:
    """Return a linear layer's weights transposed, between a problem's layout and the engine's; filters as they are."""
    return weights.T if weights.ndim == 2 else weights


class _EngineTraining:
    def __init__(self, problem: Problem, dtype: str, threads: int | None) -> None:
        self._problem, self._trained = problem, 0
        self._engine, self._samples = load(problem, dtype, threads)

    def run(self, steps: int) -> None:
        for epoch, first, last in self._problem.segments(self._trained, steps):
            order = self._problem.order(epoch)[first:last].ravel()
            count = last - first
            taken = steps_of(self._problem, count, self._engine.steps_taken)
            self._engine.epoch(self._samples, order, taken)
        self._trained += steps

    def parameters(self) -> WeightsAndBiases:
        weights, biases = self._engine.weights()
        return WeightsAndBiases([np.ascontiguousarray(_turned(w)) for w in weights], biases)
