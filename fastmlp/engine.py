"""One network in the kernels' memory layout, with the threads that train it.

The trainer says what to do in an epoch (which rows in which order, which rate); the engine packs parameters into
panels, owns the buffers, runs the compiled epoch on a team of threads and gives plain arrays back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.kernels.epoch import Model, Samples, Team, evaluate_rows, train_epoch
from fastmlp.kernels.pack import lanes_of, pack, unpack
from fastmlp.kernels.plan import BIAS, INPUTS, OUTPUT_PANELS, OUTPUTS, WEIGHTS, Plan, make_plan
from fastmlp.kernels.simd import MOMENTUM, NESTEROV, SGD
from fastmlp.threads import usable_cores

if TYPE_CHECKING:
    from fastmlp.network import Network

# Rows that a thread takes through the network at a time when it only evaluates: enough for full tiles, few
# enough for the activations to stay in L2.
EVALUATION_ROWS = 128

# Multiply-adds of one step below which a team loses more at its barriers than it gains.
TEAM_FROM_WORK = 1_000_000


class Engine:
    """Parameters, velocity and workspace of one network, and the calls that train and evaluate it.

    Parameters
    ----------
    weights : sequence of arrays [out, in]
        Initial weights, in PyTorch's layout.
    biases : sequence of arrays [out]
    batch_size : int
        Most rows in a batch.
    dtype : {"float32", "float64"}
    threads : int, optional
        Size of the team; by default as many as there are usable cores, or 1 where a step is too small to share.
    """

    def __init__(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        *,
        batch_size: int,
        dtype: str = "float32",
        threads: int | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.sizes = (weights[0].shape[1], *(w.shape[0] for w in weights))
        work = batch_size * sum(w.size for w in weights)
        if threads is None:
            threads = usable_cores() if work >= TEAM_FROM_WORK else 1
        self.threads = threads
        self.plan = self._plan(batch_size)
        self.parameters = aligned(self.plan.parameters, self.dtype)
        self.velocity = aligned(self.plan.parameters, self.dtype)
        self.workspace = self._workspace(self.plan)
        self._barrier = aligned(16, np.dtype(np.int64))
        self._evaluation: tuple[Plan, np.ndarray] | None = None
        self._pool = ThreadPoolExecutor(threads, "fastmlp") if threads > 1 else None
        self.load(weights, biases)

    def _plan(self, batch: int) -> Plan:
        return make_plan(self.sizes, batch, lanes_of(self.dtype), self.dtype.itemsize)

    def _workspace(self, plan: Plan) -> np.ndarray:
        workspace = aligned(plan.workspace, self.dtype)
        workspace[plan.lanes : plan.lanes * (plan.batch + 1)] = 1  # the biases' input
        return workspace

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
            weights.append(np.ascontiguousarray(matrix.T))
            biases.append(unpack(b, 1, row[OUTPUTS])[0])
        return weights, biases

    def load(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        *,
        velocity: bool = False,
    ) -> None:
        """Set the weights [out, in] and biases [out], or with `velocity` their velocities."""
        buffer = self.velocity if velocity else self.parameters
        for (w, b), weight, bias in zip(self._views(buffer), weights, biases, strict=True):
            pack(weight.T, w)
            pack(bias[None], b)

    def weights(self, *, velocity: bool = False) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of weights [out, in] and biases [out], or with `velocity` of their velocities."""
        return self._unpack(self.velocity if velocity else self.parameters)

    # -- work ----------------------------------------------------------------------------------------------

    def samples(
        self, images: np.ndarray, labels: np.ndarray, scale: np.ndarray, shift: np.ndarray, columns: int
    ) -> Samples:
        """Describe a data set to the kernels: a feature enters as ``image * scale + shift``."""
        return Samples(
            np.ascontiguousarray(images),
            np.ascontiguousarray(labels, np.int64),
            scale.astype(self.dtype),
            shift.astype(self.dtype),
            columns,
        )

    def epoch(
        self,
        samples: Samples,
        order: np.ndarray,
        flips: np.ndarray,
        *,
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay_biases: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take one step for each batch of ``samples[order]``.

        Returns
        -------
        losses : array [len(order)] of float64
        correct : array [len(order)] of bool
            Per sample, each as its batch saw it before its step.
        """
        rule = (NESTEROV if nesterov else MOMENTUM) if momentum else SGD
        hyper = np.array(
            [
                [learning_rate, momentum, weight_decay],
                [learning_rate, momentum, weight_decay if decay_biases else 0.0],
            ],
            self.dtype,
        )
        losses, correct = np.zeros(len(order)), np.zeros(len(order), np.bool_)
        scratch = np.empty((self.plan.batch, samples.images.shape[1]), samples.images.dtype)
        model = Model(self.plan.table, self.parameters, self.velocity)

        def run(rank: int) -> None:
            team = Team(rank, self.threads, self._barrier)
            train_epoch(
                samples,
                order,
                flips,
                model,
                self.workspace,
                scratch,
                self.plan.batch,
                0.0,
                rule,
                hyper,
                losses,
                correct,
                team,
            )

        self._as_team(run)
        return losses, correct

    def logits(self, samples: Samples, indices: np.ndarray | None = None) -> np.ndarray:
        """Logits [n, classes] of ``samples[indices]``, by default of all; a row's bits depend on it alone."""
        if indices is None:
            indices = np.arange(len(samples.images))
        if self._evaluation is None:
            plan = self._plan(EVALUATION_ROWS)
            self._evaluation = plan, np.stack([self._workspace(plan)] * self.threads)
        plan, workspace = self._evaluation
        logits = np.empty((len(indices), self.sizes[-1]), self.dtype)
        flips = np.zeros(len(indices), np.bool_)
        scratch = np.empty((1, samples.images.shape[1]), samples.images.dtype)

        def run(rank: int) -> None:
            team = Team(rank, self.threads, self._barrier)
            evaluate_rows(
                samples,
                indices,
                flips,
                plan.table,
                self.parameters,
                workspace,
                scratch,
                plan.batch,
                logits,
                team,
            )

        self._as_team(run)
        return logits

    def warm_up(self, samples: Samples) -> None:
        """Compile what training on `samples` needs, or load it from the cache, without a step."""
        nothing = np.zeros(0, np.int64)
        self.epoch(samples, nothing, np.zeros(0, np.bool_), learning_rate=0.0)
        self.logits(samples, nothing)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _as_team(self, run: Callable[[int], Any]) -> None:
        """Call ``run(rank)`` for every rank at once and wait for all.

        With a team no rank runs in the calling thread, where Ctrl-C could stop it between two barriers and leave
        the others waiting: an interrupt is raised here once the epoch has ended.
        """
        if self._pool is None:
            run(0)
            return
        leader = self._pool.submit(self._lead, run)
        try:
            leader.result()
        except KeyboardInterrupt:
            leader.result()
            raise

    def _lead(self, run: Callable[[int], Any]) -> None:
        assert self._pool is not None
        others: list[Future[Any]] = [self._pool.submit(run, r) for r in range(1, self.threads)]
        run(0)
        for other in others:
            other.result()


def forward(network: Network, X: np.ndarray) -> np.ndarray:
    """Logits [N, C] of raw images [N, D] under a network, with its normalisation."""
    engine = Engine(network.weights, network.biases, batch_size=1, dtype=network.dtype.name)
    scale = 1 / network.normalization.std
    samples = engine.samples(
        X, np.zeros(len(X), np.int64), scale, -network.normalization.mean * scale, X.shape[1]
    )
    try:
        return engine.logits(samples)
    finally:
        engine.close()


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """Zeros [count] whose first element begins a cache line: a vector load must not straddle two."""
    line = 64 // dtype.itemsize
    buffer = np.zeros(count + line, dtype)
    start = -(buffer.ctypes.data // dtype.itemsize) % line
    return buffer[start : start + count]
