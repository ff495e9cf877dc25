"""How fast one core runs each kernel alone, in the buffers of a network that has trained a step.

Calls repeat on the same buffers, so that data come from whichever cache of the core holds them. Only
the gather reads other images each time, as in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fastmlp.bench.contender import load, steps_of
from fastmlp.bench.problem import Problem
from fastmlp.bench.timing import repeats
from fastmlp.kernels.epoch import (
    NO_DROPOUT,
    Model,
    Team,
    backward_layer,
    forward_layer,
    gather_batch,
    transpose_layer,
    update_layer,
)
from fastmlp.kernels.jit import ZERO, kernel
from fastmlp.training.engine import aligned

GATHER, FORWARD, BACKWARD = "gather", "forward", "dX"
UPDATE, TRANSPOSE = "dW and update", "transpose"

ITEM = 4  # bytes of a float32


@kernel
def _gather(
    times: Any,
    samples: Any,
    order: Any,
    flips: Any,
    table: Any,
    workspace: Any,
    scratch: Any,
    team: Any,
) -> None:
    """Gather the batches of `order` [batches, rows], again from the first after the last."""
    for i in range(times):
        rows = order[i % order.shape[0]]
        gather_batch(samples, rows, flips, table, workspace, workspace, scratch, team)


@kernel
def _forward(times: Any, layer: Any, model: Any, workspace: Any, batch: Any, team: Any) -> None:
    for _ in range(times):
        forward_layer(
            model.table, layer, model, workspace, workspace, NO_DROPOUT, ZERO, batch, team
        )


@kernel
def _backward(times: Any, layer: Any, model: Any, workspace: Any, batch: Any, team: Any) -> None:
    for _ in range(times):
        backward_layer(model.table, layer, workspace, workspace, batch, team)


@kernel
def _update(
    times: Any,
    layer: Any,
    model: Any,
    workspace: Any,
    batch: Any,
    team: Any,
    rule: Any,
    hyper: Any,
    squares: Any,
) -> None:
    for _ in range(times):
        update_layer(
            model.table, layer, model, workspace, workspace, batch, rule, hyper, squares, team
        )


@kernel
def _transpose(times: Any, layer: Any, model: Any, workspace: Any, team: Any) -> None:
    for _ in range(times):
        transpose_layer(model.table, layer, model.parameters, workspace, team)


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

    The update has the problem's momentum and decay and a learning rate of 0, so that repeating it
    changes no weight.
    """
    engine, samples = load(problem, "float32", threads=1)
    engine.epoch(samples, problem.order(0)[0], steps_of(problem, 1))
    velocity = engine.velocity
    assert velocity is not None
    workspace, batch = engine.workspace, np.int64(problem.batch_size)
    model = Model(engine.plan.table, engine.parameters, engine.right, velocity, velocity)
    team = Team(0, 1, aligned(16, np.dtype(np.int64)))

    flips = np.zeros(problem.batch_size, np.bool_)
    scratch = np.empty((1, 1, 1), problem.images.dtype)  # nothing is mirrored
    order = problem.order(0)
    call = _repeated(_gather, samples, order, flips, model.table, workspace, scratch, team)
    gathered = problem.batch_size * problem.sizes[0]
    yield LayerKernel(GATHER, problem.sizes[0], 0, 0, gathered * (1 + ITEM), call)

    still = steps_of(replace(problem, learning_rate=0.0), 1)
    step = np.int64(still.rule), still.hyper[0].astype(np.float32), np.zeros(0)
    for number, (inputs, outputs) in enumerate(pairwise(problem.sizes)):
        layer, weights = np.int64(number), inputs * outputs
        flops = 2 * problem.batch_size * weights
        ends = problem.batch_size * (inputs + outputs)

        call = _repeated(_forward, layer, model, workspace, batch, team)
        yield LayerKernel(FORWARD, inputs, outputs, flops, ITEM * (ends + weights), call)

        # Weights and velocity are both read and written.
        call = _repeated(_update, layer, model, workspace, batch, team, *step)
        yield LayerKernel(UPDATE, inputs, outputs, flops, ITEM * (ends + 4 * weights), call)

        if number > 0:
            # Activations are read too: they decide what the gradient lets through.
            call = _repeated(_backward, layer, model, workspace, batch, team)
            moved = ends + problem.batch_size * inputs + weights
            yield LayerKernel(BACKWARD, inputs, outputs, flops, ITEM * moved, call)

            call = _repeated(_transpose, layer, model, workspace, team)
            yield LayerKernel(TRANSPOSE, inputs, outputs, 0, ITEM * 2 * weights, call)


def _repeated(function: Callable[..., object], *arguments: object) -> Callable[[int], object]:
    """Fix all of a function's arguments but the first, how often it repeats."""
    return lambda times: function(times, *arguments)
