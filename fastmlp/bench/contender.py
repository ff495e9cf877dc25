"""fastmlp among its peers: the engine behind the interface of `fastmlp.bench.peers.Peer`.

Each of its steps gathers rows from uint8 and normalises them, which peers are spared. What the
trainer adds to the engine (a schedule, early stopping, a line of history an epoch) is left out, as
it is for the peers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.bench.measurements import FASTMLP, FASTMLP_BF16
from fastmlp.bench.peers import Training
from fastmlp.bench.problem import GREY_DEVIATION, GREY_MEAN, Problem, WeightsAndBiases
from fastmlp.kernels.arguments import Samples
from fastmlp.kernels.tiles import NATIVE_BF16
from fastmlp.machine.cores import usable_cores
from fastmlp.training.engine import Engine
from fastmlp.training.optimizers import Steps, sgd


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


def load(problem: Problem, dtype: str, threads: int | None) -> tuple[Engine, Samples]:
    """Give a problem's start and its images to an engine, and compile."""
    engine = Engine(
        [weights.T for weights in problem.start.weights],
        problem.start.biases,
        batch_size=problem.batch_size,
        dtype=dtype,
        threads=threads,
    )
    scale = np.full(problem.sizes[0], 1 / GREY_DEVIATION)
    samples = engine.samples(problem.images, scale, -GREY_MEAN * scale, labels=problem.labels)
    engine.warm_up(samples)
    return engine, samples


def steps_of(problem: Problem, count: int) -> Steps:
    """Return the optimiser's numbers for `count` steps of a problem."""
    return sgd(
        count,
        problem.learning_rate,
        momentum=problem.momentum,
        weight_decay=problem.weight_decay,
    )


class _EngineTraining:
    def __init__(self, problem: Problem, dtype: str, threads: int | None) -> None:
        self._problem, self._trained = problem, 0
        self._engine, self._samples = load(problem, dtype, threads)

    def run(self, steps: int) -> None:
        for epoch, first, last in self._problem.segments(self._trained, steps):
            order = self._problem.order(epoch)[first:last].ravel()
            self._engine.epoch(self._samples, order, steps_of(self._problem, last - first))
        self._trained += steps

    def parameters(self) -> WeightsAndBiases:
        weights, biases = self._engine.weights()
        return WeightsAndBiases([np.ascontiguousarray(w.T) for w in weights], biases)
