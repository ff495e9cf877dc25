"""One network in the kernels' memory layout, with the threads that train it.

The trainer says what to do in an epoch (which rows in which order, which rate); the engine packs parameters into
panels, owns the buffers, runs the compiled epoch on a team of threads and gives plain arrays back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastmlp.errors import DataError
from fastmlp.kernels.epoch import NO_DROPOUT, Dropout, Model, Team, run_epoch, write_right
from fastmlp.kernels.epoch import Samples as Samples
from fastmlp.kernels.loss import LOGISTIC, SOFTMAX, SQUARED
from fastmlp.kernels.pack import lanes_of, pack, unpack
from fastmlp.kernels.plan import BIAS, INPUTS, OUTPUT_PANELS, OUTPUTS, WEIGHTS, Plan, make_plan
from fastmlp.kernels.simd import (
    ADAM,
    COLUMNS,
    HEAVY_BALL,
    IDENTITY,
    PLAIN,
    RELU,
    RMSPROP,
    SIGMOID,
    TANH,
    VELOCITY,
)
from fastmlp.kernels.tiles import NATIVE_BF16
from fastmlp.machine.cores import take_own_core, usable_cores
from fastmlp.training.optimizers import Steps, sgd

if TYPE_CHECKING:
    from fastmlp.datasets import Normalization
    from fastmlp.training.network import Network

# Rows that a thread takes through the network at a time when it only evaluates: enough for full tiles, few
# enough for the activations to stay in L2.
EVALUATION_ROWS = 128

PAIR_OF_ONES = 0x3F803F80

# Multiply-adds of one step below which a team loses more at its barriers than it gains.
TEAM_FROM_WORK = 1_000_000

ACTIVATIONS = {"relu": RELU, "sigmoid": SIGMOID, "tanh": TANH, "identity": IDENTITY}
LOSSES = {"softmax": SOFTMAX, "logistic": LOGISTIC, "squared": SQUARED}


def count_weights(sizes: Sequence[int]) -> int:
    """Weights, without biases, of a network of these widths."""
    return sum(inputs * outputs for inputs, outputs in pairwise(sizes))


def team_size(sizes: Sequence[int], batch_size: int, cores: int) -> int:
    """How many threads train a network fastest when it may have so many cores: all of them, or 1."""
    return cores if batch_size * count_weights(sizes) >= TEAM_FROM_WORK else 1


class EpochRecord(NamedTuple):
    """What an epoch recorded.

    Attributes
    ----------
    losses : array [n] of float64
    correct : array [n] of bool
        Per sample in order, each as its batch saw it before its step; `correct` only with the loss "softmax".
    penalties : array [steps] of float64
        Sum of squares of all weights (not biases) before each step; empty unless asked for.
    """

    losses: np.ndarray
    correct: np.ndarray
    penalties: np.ndarray


class Engine:
    """Parameters, velocity and workspace of one network, and the calls that train and evaluate it.

    Parameters
    ----------
    weights : sequence of arrays [out, in]
        Initial weights, in PyTorch's layout.
    biases : sequence of arrays [out]
    batch_size : int
        Most rows in a batch.
    dtype : {"float32", "float64", "bfloat16"}
        With bfloat16, products take bfloat16 and sum in float32; parameters and states are float32. bfloat16 has
        float32's range of exponents, so that no gradient underflows that would not in float32: there is no loss
        scaling to choose.
    threads : int, optional
        Size of the team; by default as many as there are usable cores, or 1 where a step is too small to share.
    activation : {"relu", "sigmoid", "tanh", "identity"}
    residual : bool
        Whether a hidden layer's input is added to its output where the layer before is as wide.
    loss : {"softmax", "logistic", "squared"}
    dropout : float
        The probability, below 1, with which a step takes a hidden layer's output as zero; the others are divided by
        1 - dropout. A residual sum adds the layer's input after it. Evaluation takes all of them.

    Attributes
    ----------
    steps_taken : int
        Optimiser steps since the start; Adam's bias correction counts them.
    """

    def __init__(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        *,
        batch_size: int,
        dtype: str = "float32",
        threads: int | None = None,
        activation: str = "relu",
        residual: bool = False,
        loss: str = "softmax",
        dropout: float = 0.0,
    ) -> None:
        self._activation, self._residual = ACTIVATIONS[activation], residual
        self._loss, self._dropout = LOSSES[loss], float(dropout)
        self._pairs = dtype == "bfloat16"
        if self._pairs and not NATIVE_BF16:
            warnings.warn(
                "this CPU has no bfloat16 instruction (AVX512_BF16), or FASTMLP_BF16 or FASTMLP_TILE hides it: fastmlp "
                "emulates it, with the same bits and more slowly than float32",
                RuntimeWarning,
                stacklevel=3,
            )
        self.dtype = np.dtype("float32" if self._pairs else dtype)
        self.sizes = (weights[0].shape[1], *(w.shape[0] for w in weights))
        if threads is None:
            threads = team_size(self.sizes, batch_size, usable_cores())
        self.threads = threads
        self.plan = self._plan(batch_size, threads, self._dropout > 0)
        self.parameters = aligned(self.plan.parameters, self.dtype)
        self.velocity: np.ndarray | None = None
        self.squares: np.ndarray | None = None
        self.steps_taken = 0
        self.right = (
            aligned(self.plan.right, np.dtype(np.int32)) if self._pairs else self.parameters
        )
        self.workspace, self.operands = self._workspace(self.plan)
        self._barrier = aligned(16, np.dtype(np.int64))
        self._evaluation: tuple[Plan, list[tuple[np.ndarray, np.ndarray]]] | None = None
        self._pool = ThreadPoolExecutor(threads, "fastmlp") if threads > 1 else None
        self.load(weights, biases)

    def _plan(self, batch: int, threads: int = 1, dropout: bool = False) -> Plan:
        return make_plan(
            self.sizes,
            batch,
            lanes_of(self.dtype),
            self.dtype.itemsize,
            int(self._activation),
            self._residual,
            self._pairs,
            threads,
            dropout,
        )

    def _workspace(self, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """The workspace of a plan, and what products read: itself, or pairs of bfloat16."""
        workspace = aligned(plan.workspace, self.dtype)
        ones = slice(plan.lanes, plan.lanes * (plan.batch + 1))  # the biases' input
        workspace[ones] = 1
        if not self._pairs:
            return workspace, workspace
        operands = aligned(plan.operands, np.dtype(np.int32))
        operands[ones] = PAIR_OF_ONES
        return workspace, operands

    # -- parameters in and out -----------------------------------------------------------------------------

    def _views(self, buffer: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        lanes = self.plan.lanes
        views = []
        for row in self.plan.table:
            panels = row[OUTPUT_PANELS]
            weights = buffer[row[WEIGHTS] : row[BIAS]].reshape(panels, -1, lanes)
            bias = buffer[row[BIAS] : row[BIAS] + panels * lanes].reshape(panels, 1, lanes)
            views.append((weights, bias))
        return views

    def _unpack(self, buffer: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        weights, biases = [], []
        for row, (w, b) in zip(self.plan.table, self._views(buffer), strict=True):
            matrix = unpack(w, row[INPUTS], row[OUTPUTS])
            weights.append(matrix.T)
            biases.append(unpack(b, 1, row[OUTPUTS])[0])
        return weights, biases

    def load(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> None:
        """Set the weights [out, in] and biases [out]."""
        self._pack(self.parameters, weights, biases)
        write_right(self.plan.table, self.parameters, self.right)

    def weights(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of weights [out, in] and biases [out]; a weight's columns are contiguous."""
        return self._unpack(self.parameters)

    def states(self) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
        """Copies of what the optimiser remembers, shaped like the parameters: "velocity", "squares"."""
        buffers = {"velocity": self.velocity, "squares": self.squares}
        return {name: self._unpack(one) for name, one in buffers.items() if one is not None}

    def load_state(
        self, name: str, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
    ) -> None:
        """Set one of the optimiser's `states`."""
        self._pack(self._state(name, True), weights, biases)

    def _pack(
        self, buffer: np.ndarray, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
    ) -> None:
        for (w, b), weight, bias in zip(self._views(buffer), weights, biases, strict=True):
            pack(weight.T, w)
            pack(bias[None], b)

    def _state(self, name: str, needed: bool) -> np.ndarray:
        """The buffer `velocity` or `squares`, made when a rule first needs it; else the parameters.

        A rule that does not need it never touches it, and a kernel argument cannot be missing.
        """
        if getattr(self, name) is None and needed:
            setattr(self, name, aligned(self.plan.parameters, self.dtype))
        state: np.ndarray | None = getattr(self, name)
        return self.parameters if state is None else state

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
    ) -> Samples:
        """Describe a data set to the kernels.

        Parameters
        ----------
        images : array [N, D] of uint8, float32 or float64
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
            If images are of another width than the network's input: kernels check no bounds.
        """
        if images.shape[1:] != self.sizes[:1]:
            raise DataError(
                f"images: found shape {images.shape}, expected [N, {self.sizes[0]}], the network's inputs"
            )
        if labels is None:
            labels = np.zeros(len(images), np.int64)
        if targets is None:
            targets = np.zeros((0, 0))
        return Samples(
            _plain(images, images.dtype),
            _plain(labels, np.dtype(np.int64)),
            _plain(targets, self.dtype),
            scale.astype(self.dtype),
            shift.astype(self.dtype),
            columns or images.shape[1],
        )

    def epoch(
        self,
        samples: Samples,
        order: np.ndarray,
        steps: Steps,
        *,
        flips: np.ndarray | None = None,
        factors: np.ndarray | None = None,
        penalties: bool = False,
        dropout_key: int = 0,
    ) -> EpochRecord:
        """Take one step for each batch of ``samples[order]``, the last of which may be smaller.

        Parameters
        ----------
        samples : Samples
        order : array [n] of int64
        steps : Steps
            The optimiser's numbers for each batch.
        flips : array [n] of bool, optional
            Which samples to mirror; by default none.
        factors : array [n], optional
            What each sample's gradient is multiplied by; by default 1 / its batch, for a mean loss.
        penalties : bool
            Whether to record the squares of the weights.
        dropout_key : int
            From 0 up to, not including, 2**64: what dropout's random numbers follow from.
        """
        count, batch = len(order), self.plan.batch
        assert len(steps.hyper) == -(-count // batch)
        if flips is None:
            flips = np.zeros(count, np.bool_)
        if factors is None:
            factors = np.full(count, 1 / batch)
            rest = count % batch
            factors[count - rest :] = 1 / max(rest, 1)
        factors = factors.astype(self.dtype)
        with np.errstate(over="ignore"):  # a rate beyond float32 is infinite: the run diverges
            hyper = steps.hyper.astype(self.dtype)
        rule = np.int64(steps.rule)
        losses, correct = np.zeros(count), np.zeros(count, np.bool_)
        sums = np.zeros(len(hyper) if penalties else 0)
        squares_of_blocks = np.zeros(self.plan.blocks if penalties else 0)
        shape = (self.threads, batch, samples.images.shape[1])
        scratch = np.empty(shape if flips.any() else (self.threads, 1, 1), samples.images.dtype)
        velocity = self._state("velocity", steps.rule in (HEAVY_BALL, VELOCITY, ADAM))
        squares = self._state("squares", steps.rule in (ADAM, RMSPROP))
        model = Model(self.plan.table, self.parameters, self.right, velocity, squares)
        self.steps_taken += len(hyper)

        logits = np.zeros((0, 0), self.dtype)
        dropout = Dropout(self._dropout, np.uint64(dropout_key))

        def run(team: Team) -> None:
            run_epoch(
                samples,
                order,
                flips,
                factors,
                model,
                self.workspace,
                self.operands,
                scratch,
                batch,
                self._loss,
                rule,
                hyper,
                losses,
                correct,
                sums,
                squares_of_blocks,
                logits,
                dropout,
                team,
            )

        self._as_team(run, count)
        return EpochRecord(losses, correct, sums)

    def logits(self, samples: Samples, indices: np.ndarray | None = None) -> np.ndarray:
        """Logits [n, classes] of ``samples[indices]``, by default of all; a row's bits depend on it alone."""
        if indices is None:
            indices = np.arange(len(samples.images))
        if self._evaluation is None:
            plan = self._plan(EVALUATION_ROWS)
            self._evaluation = plan, [self._workspace(plan) for _ in range(self.threads)]
        plan, workspaces = self._evaluation
        unused = self.parameters
        model = Model(plan.table, self.parameters, self.right, unused, unused)
        logits = np.empty((len(indices), self.sizes[-1]), self.dtype)
        flips = np.zeros(len(indices), np.bool_)
        scratch = np.empty((1, 1, 1), samples.images.dtype)
        factors, hyper = np.zeros(0, self.dtype), np.zeros((0, 2, COLUMNS), self.dtype)
        losses, correct = np.zeros(0), np.zeros(0, np.bool_)
        chunks = -(-len(indices) // plan.batch)

        def run(team: Team) -> None:
            bounds = [
                chunks * rank // team.size * plan.batch for rank in (team.rank, team.rank + 1)
            ]
            own = slice(*bounds)
            workspace, operands = workspaces[team.rank]
            run_epoch(
                samples,
                indices[own],
                flips[own],
                factors,
                model,
                workspace,
                operands,
                scratch,
                plan.batch,
                self._loss,
                PLAIN,
                hyper,
                losses,
                correct,
                losses,
                losses,
                logits[own],
                NO_DROPOUT,
                Team(0, 1, self._barrier),
            )

        self._as_team(run, len(indices))
        return logits

    def warm_up(self, samples: Samples) -> None:
        """Compile what training on `samples` needs, or load it from the cache, without a step."""
        nothing = np.zeros(0, np.int64)
        self.epoch(samples, nothing, sgd(0, 0.0))
        self.logits(samples, nothing)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _as_team(self, run: Callable[[Team], Any], count: int) -> None:
        """Call `run` for every member of the team at once and wait for all; for no samples, alone.

        With a team no rank runs in the calling thread, where Ctrl-C could stop it between two barriers and leave
        the others waiting: an interrupt is raised here once the epoch has ended.
        """
        if self._pool is None or count == 0:
            run(Team(0, 1, self._barrier))
            return
        leader = self._pool.submit(self._lead, run)
        try:
            leader.result()
        except KeyboardInterrupt:
            leader.result()
            raise

    def _lead(self, run: Callable[[Team], Any]) -> None:
        assert self._pool is not None
        first, *others = [Team(rank, self.threads, self._barrier) for rank in range(self.threads)]

        def begin(team: Team) -> None:
            take_own_core(team.rank, team.size)
            run(team)

        futures: list[Future[Any]] = [self._pool.submit(begin, other) for other in others]
        begin(first)
        for future in futures:
            future.result()


def read_as_they_are(images: np.ndarray, normalization: Normalization, dtype: np.dtype) -> bool:
    """Tell whether kernels scale these images themselves, rather than being handed normalised ones."""
    return images.dtype != np.float64 or normalization.fits(dtype)


def normalized(
    engine: Engine,
    images: np.ndarray,
    normalization: Normalization,
    *,
    labels: np.ndarray | None = None,
    columns: int | None = None,
) -> Samples:
    """`Engine.samples` of raw images: they stay as they are, scaled when a batch is gathered.

    But float64 values that lie too far from zero, such as times in seconds, would lose in float32 what tells them
    apart. They are normalised here, into an array of their own.
    """
    scale = 1 / normalization.std
    shift = -normalization.mean * scale
    if not read_as_they_are(images, normalization, engine.dtype):
        images = normalization.apply(images).astype(engine.dtype)
        scale, shift = np.ones_like(scale), np.zeros_like(shift)
    return engine.samples(images, scale, shift, labels=labels, columns=columns)


def forward(network: Network, X: np.ndarray) -> np.ndarray:
    """Logits [N, C] of raw images [N, D] under a network, with its normalisation."""
    engine = Engine(
        network.weights,
        network.biases,
        batch_size=1,
        dtype=network.dtype.name,
        activation=network.activation,
        residual=network.residual,
    )
    try:
        return engine.logits(normalized(engine, X, network.normalization))
    finally:
        engine.close()


class _Memory:
    """The memory of a read-only array, offered as if it might be written."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array  # keeps the memory
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _plain(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array, contiguous and of a type that says nothing of being read-only (as joblib's memory maps are).

    Numba compiles everything once more for another type; the kernels do not write to it.
    """
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.writeable else np.asarray(_Memory(array))


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """Zeros [count] whose first element begins a cache line: a vector load must not straddle two."""
    line = 64 // dtype.itemsize
    buffer = np.zeros(count + line, dtype)
    start = -(buffer.ctypes.data // dtype.itemsize) % line
    return buffer[start : start + count]
