"""How fast one core runs each kernel alone, in the buffers of a network that has trained a step.

Calls repeat on the same buffers, so that data come from whichever cache of the core holds them. Only
the gather reads other images each time, as in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fastmlp.bench.contender import load, steps_of
from fastmlp.bench.problem import Problem
from fastmlp.bench.timing import repeats
from fastmlp.kernels import codes
from fastmlp.kernels.arguments import Batches, Record, Rule, Team
from fastmlp.kernels.run import run
from fastmlp.training.memory import aligned

GATHER, FORWARD, BACKWARD = "gather", "forward", "dX"
UPDATE, TRANSPOSE = "dW and update", "transpose"

ITEM = 4  # bytes of a float32


@dataclass(frozen=True)
class LayerKernel:
    """One kernel on one layer, in float32 and on one thread.

    Attributes
    ----------
    name : str
        GATHER, FORWARD, BACKWARD, UPDATE or TRANSPOSE.
    inputs, outputs : int
        Widths of the layer; GATHER fills the input of the first and has no outputs.
    flops : int
        Two for each multiply-add of a call, without padding; 0 for kernels that only move data.
    bytes : int
        What a call must read and write at the least: each operand once.
    call : callable
        Repeats the kernel as many times as its argument says.
    """

    name: str
    inputs: int
    outputs: int
    flops: int
    bytes: int
    call: Callable[[int], object]

    def calls_in(self, seconds: float) -> int:
        """Compile, warm up, and return how many calls take about so many seconds."""
        self.call(1)
        return repeats(self.call, 1, seconds)


def layer_kernels(problem: Problem) -> Iterator[LayerKernel]:
    """Yield every kernel on every layer of a problem.

    Each is one instruction of the program that trains it, executed alone. The update has the problem's momentum and
    decay and a learning rate of 0, so that repeating it changes no weight.
    """
    bench = _Instructions(problem)
    batch, gathered = problem.batch_size, problem.batch_size * problem.sizes[0]
    (first,) = bench.find(codes.GATHER)
    yield LayerKernel(GATHER, problem.sizes[0], 0, 0, gathered * (1 + ITEM), bench.repeat(first))

    layers = len(problem.sizes) - 1
    products, steps = bench.find(codes.MULTIPLY), bench.find(codes.UPDATE)
    upwards, downwards = products[:layers], products[layers:][::-1]
    transposes = bench.find(codes.TRANSPOSE)
    for layer, (inputs, outputs) in enumerate(pairwise(problem.sizes)):
        weights, ends = inputs * outputs, batch * (inputs + outputs)
        flops = 2 * batch * weights

        call = bench.repeat(upwards[layer])
        yield LayerKernel(FORWARD, inputs, outputs, flops, ITEM * (ends + weights), call)

        # Weights and velocity are both read and written. The next instruction steps the biases.
        call = bench.repeat(steps[2 * layer], steps[2 * layer + 1])
        yield LayerKernel(UPDATE, inputs, outputs, flops, ITEM * (ends + 4 * weights), call)

        if layer > 0:
            # Activations are read too: they decide what the gradient lets through.
            call = bench.repeat(downwards[layer - 1])
            moved = ends + batch * inputs + weights
            yield LayerKernel(BACKWARD, inputs, outputs, flops, ITEM * moved, call)

            call = bench.repeat(transposes[layer - 1])
            yield LayerKernel(TRANSPOSE, inputs, outputs, 0, ITEM * 2 * weights, call)


class _Instructions:
    """The instructions of a problem's program, on the buffers of a network that trained a step."""

    def __init__(self, problem: Problem) -> None:
        self._engine, self._samples = load(problem, "float32", threads=1)
        order = problem.order(0)
        self._engine.epoch(self._samples, order[0], steps_of(problem, 1))
        still = steps_of(replace(problem, learning_rate=0.0), len(order))
        self._rule = Rule(np.int64(still.rule), still.hyper.astype(np.float32))
        count = order.size
        self._batches = Batches(
            order.ravel(),
            np.zeros(count, np.bool_),
            np.full(count, 1 / problem.batch_size, np.float32),
            problem.batch_size,
            len(order),
            np.uint64(0),
        )
        self._record = Record(
            np.zeros(count),
            np.zeros(count, np.bool_),
            np.zeros(0),
            np.zeros(0),
            np.zeros((0, 0), np.float32),
        )

    def find(self, operation: int) -> list[int]:
        """Return the numbers of all instructions with an operation."""
        found = np.flatnonzero(self._engine.plan.program.code["operation"] == operation)
        return list(map(int, found))

    def repeat(self, *numbers: int) -> Callable[[int], None]:
        """Return what executes instructions, and nothing else, as many times as its argument says."""
        engine, whole = self._engine, self._engine.plan.program
        program = whole._replace(code=whole.code[list(numbers)])
        room = engine.room._replace(mirrored=np.empty((1, 1, 1), self._samples.images.dtype))
        team = Team(0, 1, aligned(16, np.dtype(np.int64)))

        def execute(steps: int) -> None:
            batches = self._batches._replace(steps=steps)
            run(program, self._samples, batches, engine.model, room, self._rule, self._record, team)

        def call(times: int) -> None:
            for _ in range(times // self._batches.steps):
                execute(self._batches.steps)
            execute(times % self._batches.steps)

        return call
