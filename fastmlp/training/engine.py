"""One network in the kernels' memory layout, and the threads that train it.

The training loop decides what an epoch does: the order of the rows, the learning rates. The engine packs parameters
into panels, owns the buffers, runs the compiled programs on a team of threads and returns plain arrays.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import DataError
from fastmlp.kernels.arguments import (
    MIX,
    PAIR,
    Altered,
    Batches,
    Model,
    Record,
    Room,
    Rule,
    Team,
    World,
)
from fastmlp.kernels.codes import LOGISTIC, PLAIN, SOFTMAX, SQUARED
from fastmlp.kernels.emit.barrier import WORDS
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.kernels.plan import (
    Loss,
    Plan,
    evaluation_plan,
    lay_out,
    training_plan,
)
from fastmlp.kernels.program import Kind, needs_of
from fastmlp.kernels.run import run
from fastmlp.kernels.tiles import NATIVE_BF16
from fastmlp.machine.cores import usable_cores
from fastmlp.machine.streams import warn
from fastmlp.training.chosen import Given, count_of, describe, known, with_fill
from fastmlp.training.fusing import fused
from fastmlp.training.layers import Layer, network_layers, sizes_of
from fastmlp.training.memory import aligned
from fastmlp.training.optimizers import STATES, Steps, sgd
from fastmlp.training.packing import pack_operands, pack_parameters, unpack_parameters
from fastmlp.training.reading import Piece, Reader
from fastmlp.training.shapes import multiply_adds, parameter_shapes
from fastmlp.training.team import Threads, team_size

# Rows that a thread takes through the network at a time when it only evaluates: enough for full tiles, few
# enough for the activations to stay in L2.
EVALUATION_ROWS = 128

LOSSES = {"softmax": SOFTMAX, "logistic": LOGISTIC, "squared": SQUARED}

BFLOAT16_ONE = 0x3F80
INTEGER = np.dtype(np.int64)  # NumPy 1 on Windows has shorter ones, another type to Numba


class EpochRecord(NamedTuple):
    """The losses of an epoch.

    Attributes
    ----------
    losses : array [n] of float64
    correct : array [n] of bool
        For each sample in order, measured before the step of its batch; `correct` not with the loss "squared".
    penalties : array [steps] of float64
        Sum of squares of all weights (not biases) before each step; empty unless requested.
    """

    losses: np.ndarray
    correct: np.ndarray
    penalties: np.ndarray


class Engine:
    """Parameters, optimiser's state and workspace of one network, with methods that train and evaluate it.

    Parameters
    ----------
    weights, biases : sequences of arrays
        Initial parameters, pair by pair, in PyTorch's layout: see `fastmlp.training.shapes.parameter_shapes`.
    layers : sequence of Layer, optional
        By default linear layers of the weights' shapes with ReLU between them.
    shape : sequence of int, optional
        (channels, height, width) of an image, which layers of images need; by default the first weights' inputs.
    batch_size : int
        Most rows in a batch.
    dtype : {"float32", "float64", "bfloat16"}
        With bfloat16, products multiply bfloat16 numbers and sum in float32; parameters and states are float32.
        bfloat16 has the exponents of float32, so gradients underflow no sooner and need no loss scaling.
    threads : int, optional
        Size of the team; by default the number of usable cores, or 1 if a step is too small to share. Fewer if the
        system starts no more, with the same bits.
    loss : {"softmax", "logistic", "squared"}
    smoothing : float
        Label smoothing; only for the loss "softmax".
    group_by_layer : bool
        As for `fused`.
    alters : bool
        Whether epochs may have `moves`.

    Attributes
    ----------
    layout : Layout
        Offsets of the parameters.
    plan : Plan
        The program of a step.
    room : Room
        The memory that the program works in.
    steps_taken : int
        Optimiser steps since the start, which Adam's bias correction needs.
    """

    def __init__(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        *,
        layers: Sequence[Layer] | None = None,
        shape: Sequence[int] | None = None,
        batch_size: int,
        dtype: str = "float32",
        threads: int | None = None,
        loss: str = "softmax",
        smoothing: float = 0.0,
        group_by_layer: bool = False,
        alters: bool = False,
    ) -> None:
        _warn_of_emulation(dtype)
        if layers is None:
            layers = network_layers([w.shape[0] for w in weights[:-1]], weights[-1].shape[0])
        if shape is None:
            shape = (weights[0].shape[1],)
        self.sizes = (math.prod(shape), *sizes_of(layers, 0)[1:])
        self._shapes = parameter_shapes(layers, shape)
        self._shape, self._alters = tuple(shape), alters
        # What was compiled for an engine that alters takes arrays always.
        self._unaltered = (np.zeros((0, 7), np.int32), np.zeros(0, MIX)) if alters else (None, None)
        found = [(w.shape, b.shape) for w, b in zip(weights, biases, strict=True)]
        assert found == self._shapes, f"parameters: found {found}, expected {self._shapes}"
        self._pairs = dtype == "bfloat16"
        self.dtype = np.dtype("float32" if self._pairs else dtype)
        kind = Kind(lanes_of(self.dtype), self.dtype.itemsize, self._pairs)
        self.layout = lay_out(fused(layers, shape, group_by_layer), kind)
        self.batch_size = batch_size
        if threads is None:
            threads = team_size(sum(multiply_adds(layers, shape)), batch_size, usable_cores())
        self._team = Threads(threads, aligned(WORDS, INTEGER))
        threads = self.threads = self._team.size
        self._loss = Loss(int(LOSSES[loss]), smoothing)
        self.parameters = aligned(self.layout.parameters, self.dtype)
        self.right = aligned(self.layout.right, PAIR) if self._pairs else self.parameters
        # The system gives out memory only when it is written: an optimiser without velocity takes none for it.
        self.velocity, self.squares = (aligned(self.layout.states, self.dtype) for _ in range(2))
        self._remembered: tuple[str, ...] = ()
        self.steps_taken = 0
        self.plan = training_plan(self.layout, self._loss, batch_size, threads)
        self.room = self._memory(self.plan)
        self._evaluation = evaluation_plan(self.layout, EVALUATION_ROWS)
        self._evaluation_rooms: list[Room] = []
        self._needs = needs_of(self.plan.program, self._evaluation.program)
        self.load(weights, biases)

    # -- parameters in and out -----------------------------------------------------------------------------

    def load(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> None:
        """Set the weights and biases."""
        pack_parameters(self.layout, self.parameters, weights, biases)
        pack_operands(self.layout, self.right, weights)

    def weights(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return copies of weights, matrices in column-major order, and biases."""
        return unpack_parameters(self.layout, self.parameters, self._shapes)

    def states(self) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
        """Return copies of the optimiser's states, "velocity" and "squares", shaped like the parameters."""
        return {
            name: unpack_parameters(self.layout, getattr(self, name), self._shapes)
            for name in self._remembered
        }

    def load_state(
        self, name: str, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
    ) -> None:
        """Set one of the optimiser's `states`."""
        pack_parameters(self.layout, getattr(self, name), weights, biases)
        self._remembered = (*self._remembered, name)

    # -- work ----------------------------------------------------------------------------------------------

    def samples(
        self,
        images: np.ndarray,
        scale: np.ndarray,
        shift: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        targets: np.ndarray | None = None,
        columns: int | None = None,
    ) -> Given:
        """Describe a data set to the kernels.

        Parameters
        ----------
        images : array [N, D] of uint8, float32 or float64, or Rows of one
        scale, shift : arrays [D]
            A feature enters the network as ``image * scale + shift``.
        labels : array [N] of int64, optional
            For training with the loss "softmax".
        targets : array [N, outputs], optional
            For training with another loss.
        columns : int, optional
            Width of an image, for mirroring it; by default the whole row.

        Raises
        ------
        DataError
            If the images' width is not the network's: kernels check no bounds.
        """
        if images.shape[1:] != self.sizes[:1]:
            raise DataError(
                f"images: found shape {images.shape}, expected [N, {self.sizes[0]}], the network's inputs"
            )
        given = describe(
            images, scale, shift, labels, targets, columns or images.shape[1], self.dtype
        )
        return with_fill(given, self._shape) if self._alters else given

    def epoch(
        self,
        samples: Given,
        order: np.ndarray,
        steps: Steps,
        *,
        flips: np.ndarray | None = None,
        altered: Altered | None = None,
        factors: np.ndarray | None = None,
        penalties: bool = False,
        dropout_key: int = 0,
    ) -> EpochRecord:
        """Take one step for each batch of ``samples[order]``; the last batch may be smaller.

        Parameters
        ----------
        samples : Samples or Chosen
        order : array [n] of int64
        steps : Steps
            The optimiser's numbers for each batch.
        flips : array [n] of bool, optional
            Which samples to mirror; by default none.
        altered : (moves, mixes), optional
            How to alter all of them, as in `Batches`, instead of mirroring; for an engine that `alters`.
        factors : array [n], optional
            Factors of each sample's gradient; by default 1 / size of its batch, for a mean loss.
        penalties : bool
            Whether to record the squares of the weights.
        dropout_key : int
            Seed of dropout's random numbers, at least 0 and below 2**64.
        """
        count, size = len(order), self.batch_size
        assert len(steps.hyper) == -(-count // size)
        assert steps.hyper.shape[1] > self.layout.last_group or not count
        if flips is None:
            flips = np.full(count, altered is not None)
        if factors is None:
            factors = _factors_of_means(count, size)
        rule = self._rule(steps)
        numbers = size, 0, len(rule.hyper), np.uint64(dropout_key)
        factors = factors.astype(self.dtype)
        batches = Batches(order, flips, factors, *numbers, *(altered or self._unaltered))
        plan = self._plan_with_penalties if penalties else self.plan
        shape = (size, self.sizes[0]) if flips.any() else (1, 1)
        mirrored = np.empty((self.threads, *shape), known(samples).images.dtype)
        room = self.room._replace(mirrored=mirrored)
        record = self._record(count, plan.squares, len(rule.hyper) if penalties else 0)
        if count:  # a warm-up takes no step, and forgets nothing
            self._remembered = STATES[steps.rule]
        self.steps_taken += len(rule.hyper)
        reader = Reader(samples, batches, self.threads)
        for first, last in self._team.parts(len(rule.hyper)):
            pieces = reader.pieces(first, last)
            self._team.call(
                functools.partial(self._take, reader, pieces, plan, room, rule, record),
                together=count > 0,
                steps=last - first,
            )
            reader.check(pieces)
        return EpochRecord(record.losses, record.correct, record.penalties)

    def logits(self, samples: Given, indices: np.ndarray | None = None) -> np.ndarray:
        """Return the logits [n, classes] of ``samples[indices]``, by default of all; no row depends on the others."""
        plan = self._evaluation
        if not self._evaluation_rooms:
            self._evaluation_rooms = [self._memory(plan) for _ in range(self.threads)]
        nothing = np.empty((1, 1, 1), known(samples).images.dtype)
        rooms = [room._replace(mirrored=nothing) for room in self._evaluation_rooms]
        count = count_of(samples) if indices is None else len(indices)
        order = np.arange(count) if indices is None else indices
        record = self._record(0, 0, 0)._replace(
            logits=np.empty((count, self.sizes[-1]), self.dtype)
        )
        rule = Rule(PLAIN, np.zeros((0, 1, 1), self.dtype))
        numbers = plan.batch, 0, -(-count // plan.batch), np.uint64(0)
        no_factors = np.zeros(0, self.dtype)
        batches = Batches(order, np.zeros(count, np.bool_), no_factors, *numbers, *self._unaltered)

        def evaluate(team: Team) -> None:
            chunks = batches.last
            first, last = (chunks * rank // team.size for rank in (team.rank, team.rank + 1))
            own = slice(first * plan.batch, last * plan.batch)
            mine = batches._replace(order=order[own], flips=batches.flips[own], last=last - first)
            reader = Reader(samples, mine, 1)
            alone = Team(0, 1, self._team.barrier)
            pieces = reader.pieces(0, mine.last)
            written = record._replace(logits=record.logits[own])
            self._take(reader, pieces, plan, rooms[team.rank], rule, written, alone)
            reader.check(pieces)

        self._team.call(evaluate, together=count > 0)
        return record.logits

    def _take(self, reader: Reader, pieces: list[Piece], plan: Plan, *arguments: Any) -> None:
        """Execute a program for pieces; the others are the arguments of `run` but for the model."""
        room, rule, record, team = arguments
        for piece in pieces:
            if not reader.read(piece, team):
                return
            world = World(piece.samples, piece.batches, self.model, room, rule, record)
            run(plan.program, world, team, *self._needs)

    def warm_up(self, samples: Given) -> None:
        """Compile what training on `samples` needs, or load it from the cache; no step is taken."""
        nothing = np.zeros(0, np.int64)
        self.epoch(samples, nothing, sgd(0, 0.0))
        self.logits(samples, nothing)

    def close(self) -> None:
        """End the threads."""
        self._team.close()

    # -- memory --------------------------------------------------------------------------------------------

    @property
    def model(self) -> Model:
        """The buffers of parameters and states, as the kernels take them."""
        return Model(self.parameters, self.right, self.velocity, self.squares)

    @functools.cached_property
    def _plan_with_penalties(self) -> Plan:
        """The plan that also records penalties; its buffers are those of `plan`."""
        return training_plan(self.layout, self._loss, self.batch_size, self.threads, penalties=True)

    def _memory(self, plan: Plan) -> Room:
        """Return the memory that a plan works in, with ones written as the biases' input."""
        lanes = self.layout.kind.lanes
        workspace = aligned(plan.workspace, self.dtype)
        ones = slice(lanes, lanes * (plan.batch + 1))
        workspace[ones] = 1
        operands = workspace
        if self._pairs:
            operands = aligned(plan.operands, PAIR)
            operands[ones] = (BFLOAT16_ONE, BFLOAT16_ONE)
        return Room(workspace, operands, np.empty((1, 1, 1), np.uint8))

    def _rule(self, steps: Steps) -> Rule:
        with np.errstate(over="ignore"):  # a rate beyond float32 is infinite: the run diverges
            return Rule(np.int64(steps.rule), steps.hyper.astype(self.dtype))

    def _record(self, samples: int, squares: int, steps: int) -> Record:
        return Record(
            np.zeros(samples),
            np.zeros(samples, np.bool_),
            np.zeros(squares),
            np.zeros(steps),
            np.zeros((0, 0), self.dtype),
        )


def _factors_of_means(count: int, size: int) -> np.ndarray:
    """Return 1 / size of its batch for each of so many samples, of which the last batch may have fewer."""
    factors = np.full(count, 1 / size)
    rest = count % size
    factors[count - rest :] = 1 / max(rest, 1)
    return factors


def _warn_of_emulation(dtype: str) -> None:
    if dtype == "bfloat16" and not NATIVE_BF16:
        warn(
            "this CPU has no bfloat16 instruction (AVX512_BF16), or FASTMLP_BF16 or FASTMLP_TILE hides it: fastmlp "
            "emulates it, with the same bits and more slowly than float32",
            stacklevel=4,
        )
