"""How fast one core runs each kernel alone, in the buffers of a network that has trained a step.

Calls repeat on the same buffers, so that data come from whichever cache of the core holds them. Only
the gather reads other images each time, as in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastmlp.bench.contender import load, steps_of
from fastmlp.bench.problem import Problem
from fastmlp.bench.timing import repeats
from fastmlp.bench.work import stages
from fastmlp.kernels import codes
from fastmlp.kernels.arguments import Batches, Record, Rule, Team
from fastmlp.kernels.run import run
from fastmlp.training.layers import Linear
from fastmlp.training.memory import aligned

GATHER, FORWARD, BACKWARD = "gather", "forward", "dX"
UPDATE, TRANSPOSE = "dW and update", "transpose"

ITEM = 4  # bytes of a float32


class Work(NamedTuple):
    """What a call of a kernel on a layer does, in float32.

    Attributes
    ----------
    name : str
        GATHER, FORWARD, BACKWARD, UPDATE or TRANSPOSE.
    inputs, outputs : int or tuple of int
        Widths of the layer, or shapes of its images, the outputs behind their pooling; GATHER fills the input of the
        first layer and has no outputs.
    flops : int
        Two for each multiply-add, without padding; 0 for kernels that only move data.
    bytes : int
        What must be read and written at the least: each operand once.
    """

    name: str
    inputs: int | tuple[int, ...]
    outputs: int | tuple[int, ...]
    flops: int
    bytes: int


class LayerKernel(NamedTuple):
    """A kernel on a layer, on one thread.

    Attributes
    ----------
    work : Work
    call : callable
        Repeats the kernel as many times as its argument says.
    """

    work: Work
    call: Callable[[int], object]

    def calls_in(self, seconds: float) -> int:
        """Compile, warm up, and return how many calls take about so many seconds."""
        self.call(1)
        return repeats(self.call, 1, seconds)


def works_of(problem: Problem) -> Iterator[Work]:
    """Yield what the kernels of a problem do, layer by layer."""
    batch, gathered = problem.batch_size, problem.batch_size * problem.features
    yield Work(GATHER, _size(problem.shape), 0, 0, gathered * (1 + ITEM))
    states = 2 if problem.optimizer == "adam" else 1
    for number, stage in enumerate(stages(problem.layers, problem.shape)):
        inputs, outputs, weights = _size(stage.inputs), _size(stage.outputs), stage.weights
        below, above = (batch * math.prod(one) for one in (stage.inputs, stage.outputs))
        flops = 2 * batch * stage.multiply_adds
        yield Work(FORWARD, inputs, outputs, flops, ITEM * (below + above + weights))
        # Weights and the optimiser's states are both read and written.
        moved = below + above + 2 * (1 + states) * weights
        yield Work(UPDATE, inputs, outputs, flops, ITEM * moved)
        if number > 0:
            # Activations are read too: they decide what the gradient lets through.
            yield Work(BACKWARD, inputs, outputs, flops, ITEM * (2 * below + above + weights))
            if isinstance(stage.layer, Linear):
                yield Work(TRANSPOSE, inputs, outputs, 0, ITEM * 2 * weights)


def _size(shape: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return the width of rows, or the shape of images."""
    return shape[0] if len(shape) == 1 else shape


def layer_kernels(problem: Problem) -> Iterator[LayerKernel]:
    """Yield every kernel on every layer of a problem, as `works_of` does.

    Each is executed alone: one instruction or two of the program that trains it. The update has the problem's
    optimiser and a learning rate of 0, so that repeating it changes no weight.
    """
    bench = _Instructions(problem)
    layers = len(stages(problem.layers, problem.shape))
    products, steps = bench.find(codes.MULTIPLY), bench.find(codes.UPDATE)
    numbers = {
        GATHER: iter([bench.find(codes.GATHER)]),
        FORWARD: iter([[one] for one in products[:layers]]),
        BACKWARD: iter([[one] for one in products[layers:][::-1]]),
        # The instruction after a step of weights steps the biases.
        UPDATE: zip(steps[::2], steps[1::2], strict=True),
        TRANSPOSE: iter([[one] for one in bench.find(codes.TRANSPOSE)]),
    }
    for work in works_of(problem):
        yield LayerKernel(work, bench.repeat(*next(numbers[work.name])))


class _Instructions:
    """The instructions of a problem's program, on the buffers of a network that trained a step."""

    def __init__(self, problem: Problem) -> None:
        self._engine, self._samples = load(problem, "float32", threads=1)
        order = problem.order(0)
        self._engine.epoch(self._samples, order[0], steps_of(problem, 1, 0))
        still = steps_of(replace(problem, learning_rate=0.0), len(order), 1)
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
