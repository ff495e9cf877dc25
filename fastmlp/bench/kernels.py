"""How fast one core runs each kernel alone, in the buffers of a network that has trained a step.

Calls repeat on the same buffers, so that data come from whichever cache of the core holds them. Only
the gather reads other images each time, as in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastmlp.bench.contender import load, steps_of
from fastmlp.bench.problem import Problem
from fastmlp.bench.timing import repeats
from fastmlp.bench.work import Stage, stages
from fastmlp.kernels import codes
from fastmlp.kernels.arguments import Batches, Record, Rule, Team, World
from fastmlp.kernels.program import needs_of
from fastmlp.kernels.run import run
from fastmlp.training.chosen import numbered
from fastmlp.training.layers import Convolution, Linear
from fastmlp.training.memory import aligned

GATHER, FORWARD, BACKWARD = "gather", "forward", "dX"
UPDATE, TRANSPOSE = "dW and update", "transpose"

# Of a convolution, whose gradients of inputs and weights take turns, some images at a time.
GRADIENTS, WEIGHT_GRADIENT, STEP = "dX and dW", "dW", "update"

# Between images and the rows of linear layers.
TO_ROWS, TO_IMAGES = "to rows", "to images"

ITEM = 4  # bytes of a float32


class Work(NamedTuple):
    """What a call of a kernel on a layer does, in float32.

    Attributes
    ----------
    name : str
        One of the constants above.
    inputs, outputs : int or tuple of int
        Widths of the layer, or shapes of its images, the outputs behind their pooling; GATHER fills the input of the
        first layer and has no outputs.
    flops : int
        Two for each multiply-add, without padding; 0 for kernels that hardly do more than move data.
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
    """Yield what the kernels of a problem do, layer by layer.

    A convolution's WEIGHT_GRADIENT is a part of its GRADIENTS, if it has these.
    """
    batch, gathered = problem.batch_size, problem.batch_size * problem.features
    yield Work(GATHER, _size(problem.shape), 0, 0, gathered * (1 + ITEM))
    found = stages(problem.layers, problem.shape)
    convolutions = [one for one in found if isinstance(one.layer, Convolution)]
    for stage in convolutions:
        yield from _of_convolution(problem, stage, stage is found[0])
    for stage in convolutions[-1:]:
        for name in (TO_ROWS, TO_IMAGES):
            moved = ITEM * 2 * batch * math.prod(stage.outputs)
            yield Work(name, _size(stage.outputs), 0, 0, moved)
    for stage in found[len(convolutions) :]:
        inputs, outputs, weights = _size(stage.inputs), _size(stage.outputs), stage.weights
        below, above = batch * stage.inputs[0], batch * stage.outputs[0]
        flops = 2 * batch * stage.multiply_adds
        yield Work(FORWARD, inputs, outputs, flops, ITEM * (below + above + weights))
        # Weights and the optimiser's states are both read and written.
        moved = below + above + 2 * (1 + _states(problem)) * weights
        yield Work(UPDATE, inputs, outputs, flops, ITEM * moved)
        if stage is not found[0]:
            # Activations are read too: they decide what the gradient lets through.
            yield Work(BACKWARD, inputs, outputs, flops, ITEM * (2 * below + above + weights))
            yield Work(TRANSPOSE, inputs, outputs, 0, ITEM * 2 * weights)


def _of_convolution(problem: Problem, stage: Stage, first: bool) -> Iterator[Work]:
    """Yield what the kernels of a convolution do; each pooled number has a byte that says where it was."""
    batch, layer = problem.batch_size, (_size(stage.inputs), _size(stage.outputs))
    weights = stage.weights
    below, above = (batch * math.prod(one) for one in (stage.inputs, stage.outputs))
    flops = 2 * batch * stage.multiply_adds
    moved = ITEM * (below + above + weights) + above
    yield Work(FORWARD, *layer, flops, moved)
    if not first:
        yield Work(GRADIENTS, *layer, 2 * flops, moved + ITEM * (below + weights))
    yield Work(WEIGHT_GRADIENT, *layer, flops, moved)
    # The sums of each group of images are read; weights and the optimiser's states are read and written.
    groups = -(-batch // int(codes.GROUP))
    yield Work(STEP, *layer, 0, ITEM * (groups + 2 * (1 + _states(problem))) * weights)


def _states(problem: Problem) -> int:
    """Return how many numbers the optimiser remembers of each weight."""
    return 2 if problem.optimizer == "adam" else 1


def _size(shape: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return the width of rows, or the shape of images."""
    return shape[0] if len(shape) == 1 else shape


def layer_kernels(problem: Problem) -> Iterator[LayerKernel]:
    """Yield every kernel on every layer of a problem, as `works_of` does.

    Each is executed alone: one instruction or two of the program that trains it. The update has the problem's
    optimiser and a learning rate of 0, so that repeating it changes no weight.
    """
    bench = _Instructions(problem)
    layers = len([one for one in problem.layers if isinstance(one, Linear)])
    products = bench.find(codes.MULTIPLY)
    gradients = bench.find(codes.CONVOLUTION_GRADIENTS)[::-1]
    # The instruction after a step of weights steps the biases.
    steps, steps_of_sums = (
        zip(found[::2], found[1::2], strict=True)
        for found in (bench.find(codes.UPDATE), bench.find(codes.STEP_OF_SUMS))
    )
    singles = {
        GATHER: bench.find(codes.GATHER_IMAGES if problem.has_images else codes.GATHER),
        FORWARD: bench.find(codes.CONVOLVE) + products[:layers],
        BACKWARD: products[layers:][::-1],
        TRANSPOSE: bench.find(codes.TRANSPOSE),
        GRADIENTS: gradients[1:],
        WEIGHT_GRADIENT: gradients,
        TO_ROWS: bench.find(codes.FLATTEN),
        TO_IMAGES: bench.find(codes.UNFLATTEN),
    }
    numbers: dict[str, Iterator[Sequence[int]]] = {UPDATE: steps, STEP: steps_of_sums}
    numbers |= {name: iter([(one,) for one in found]) for name, found in singles.items()}
    for work in works_of(problem):
        code = None
        if work.name == WEIGHT_GRADIENT:
            code = int(codes.SPREAD + codes.WEIGHT_GRADIENT)
        yield LayerKernel(work, bench.repeat(next(numbers[work.name]), code))


class _Instructions:
    """The instructions of a problem's program, on the buffers of a network that trained a step."""

    def __init__(self, problem: Problem) -> None:
        self._engine, samples = load(problem, "float32", threads=1)
        self._samples, _ = numbered(samples, None)
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
            0,
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

    def repeat(self, numbers: Sequence[int], code: int | None) -> Callable[[int], None]:
        """Return what executes instructions, perhaps with another code, as many times as its argument says."""
        engine, whole = self._engine, self._engine.plan.program
        program = whole._replace(code=whole.code[list(numbers)])
        needs = needs_of(whole)
        # Of a narrow first layer these two otherwise do what GATHER_MULTIPLY leaves.
        does_all = np.isin(program.code["operation"], (codes.GATHER, codes.MULTIPLY))
        program.code["units"][does_all] = 0
        if code is not None:
            program.code["code"] = code
        room = engine.room._replace(mirrored=np.empty((1, 1, 1), self._samples.images.dtype))
        team = Team(0, 1, aligned(16, np.dtype(np.int64)))

        def execute(steps: int) -> None:
            batches = self._batches._replace(last=steps)
            rule, record = self._rule, self._record
            world = World(self._samples, batches, engine.model, room, rule, record)
            run(program, world, team, *needs)

        def call(times: int) -> None:
            for _ in range(times // self._batches.last):
                execute(self._batches.last)
            execute(times % self._batches.last)

        return call
