"""The peers that whole epochs are measured against: PyTorch, JAX and scikit-learn.

Each trains a `Problem` the way its users would write it, with the same mathematics,

    v = momentum * v + (gradient + weight_decay * w),    w = w - learning_rate * v,

from the same start and on the same number of threads, and each is given its best case:

* rows are normalised float32 in memory up front: no peer gathers from uint8 or normalises;
* compiling and the first wake-up of thread pools happen in `prepare`;
* an epoch is one permutation, cut into full batches; the rows of a batch are gathered inside the
  timed run, as people do: ``X[rows]`` in PyTorch, ``X[rows]`` inside JAX's scan, scikit-learn's
  own shuffle.

One difference is left: scikit-learn does not decay biases (`Peer.decays_biases`).

Pause between timed runs of different peers: OpenBLAS, under NumPy and so under scikit-learn and
`Problem.loss`, keeps its idle threads spinning on their cores for about 100 ms after a product.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastmlp.bench.problem import Problem, WeightsAndBiases

if TYPE_CHECKING:
    import jax
    import torch


class Training(Protocol):
    """A problem in training: compiled, at its start, waiting for `run`."""

    def run(self, steps: int) -> None:
        """Train so many more steps; return when their arithmetic is done."""

    def parameters(self) -> WeightsAndBiases:
        """Copy the parameters as they are now."""


class Peer(Protocol):
    """An implementation to measure against."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    @property
    def decays_biases(self) -> bool:
        """Return whether weight decay acts on biases as well as on weights."""

    def available(self) -> bool:
        """Return whether it is installed and can run here; imports nothing heavy."""

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Copy the problem's start, compile, and wake ``threads`` threads; trains no step.

        The thread count is the process's (PyTorch, XLA): trainings that are alive together must
        have been prepared with the same one.
        """


@dataclass(frozen=True)
class TorchPeer:
    """PyTorch in eager mode, or with parts of it switched on.

    Parameters
    ----------
    name
        Its name in tables.
    fused
        Update with ``torch.optim.SGD(fused=True)``; otherwise with SGD's defaults.
    compiled
        Compile model and loss, backward included, with ``torch.compile``. Preparing one such
        training forgets the compiled code of those before it.
    bfloat16
        Run model and loss under ``torch.autocast``; parameters and velocity stay float32.
    """

    name: str
    fused: bool = False
    compiled: bool = False
    bfloat16: bool = False
    decays_biases: bool = True

    def available(self) -> bool:
        """Return whether torch is installed, and a C++ compiler works where it needs one."""
        return find_spec("torch") is not None and (not self.compiled or _compiles_extensions())

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Compile and warm up; sets the process's thread count with ``torch.set_num_threads``."""
        import torch

        torch.set_num_threads(threads)
        return _TorchTraining(self, problem)


class _TorchTraining:
    def __init__(self, peer: TorchPeer, problem: Problem) -> None:
        import torch

        self._problem, self._trained = problem, 0
        self._X = torch.from_numpy(problem.inputs)
        self._y = torch.from_numpy(problem.labels)
        layers: list[torch.nn.Module] = []
        with torch.no_grad():
            for weights, biases in zip(*problem.start, strict=True):
                linear = torch.nn.Linear(*weights.shape)
                linear.weight.copy_(torch.from_numpy(weights.T))
                linear.bias.copy_(torch.from_numpy(biases))
                layers += [linear, torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])

        def mean_loss(X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(model(X), y)

        self._model = model
        self._loss: Any = mean_loss
        if peer.compiled:
            # Dynamo counts all problems against one limit of recompiles; past it, Dynamo would
            # quietly run eager code.
            torch.compiler.reset()
            self._loss = torch.compile(mean_loss, fullgraph=True, dynamic=False)
        self._precision: Any = nullcontext
        if peer.bfloat16:
            self._precision = functools.partial(torch.autocast, "cpu", torch.bfloat16)
        self._optimizer = torch.optim.SGD(
            model.parameters(),
            lr=problem.learning_rate,
            momentum=problem.momentum,
            weight_decay=problem.weight_decay,
            fused=peer.fused or None,
        )
        for _ in range(2):
            self._gradients(torch.arange(problem.batch_size))

    def _gradients(self, rows: torch.Tensor) -> None:
        self._optimizer.zero_grad()
        with self._precision():
            loss = self._loss(self._X[rows], self._y[rows])
        loss.backward()

    def run(self, steps: int) -> None:
        import torch

        for epoch, first, last in self._problem.segments(self._trained, steps):
            for rows in torch.from_numpy(self._problem.order(epoch)[first:last]):
                self._gradients(rows)
                self._optimizer.step()
        self._trained += steps

    def parameters(self) -> WeightsAndBiases:
        arrays = [parameter.detach().numpy() for parameter in self._model.parameters()]
        return WeightsAndBiases(
            [w.T.copy() for w in arrays[0::2]], [b.copy() for b in arrays[1::2]]
        )


class JaxPeer:
    """JAX on the CPU: one jitted scan over the batches of an epoch, parameters donated.

    XLA takes its thread count from the environment variable PJRT_NPROC (or the affinity mask)
    when its CPU client starts, so `prepare` sets the variable and restarts the client when the
    count changes; arrays and trainings of the client before are lost then.
    """

    name = "JAX jit + scan"
    decays_biases = True

    def __init__(self) -> None:
        self._threads: int | None = None

    def available(self) -> bool:
        """Return whether jax and jaxlib are installed."""
        return find_spec("jax") is not None and find_spec("jaxlib") is not None

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Compile the scan, and the loop that stands in for it over a part of an epoch."""
        if threads != self._threads:
            from jax.extend import backend

            os.environ["PJRT_NPROC"] = str(threads)
            backend.clear_backends()
            self._threads = threads
        return _JaxTraining(problem)


class _JaxTraining:
    def __init__(self, problem: Problem) -> None:
        import jax
        import jax.numpy as jnp

        self._problem, self._trained = problem, 0
        self._device = jax.devices("cpu")[0]

        def loss(parameters: Any, X: jax.Array, y: jax.Array) -> jax.Array:
            *hidden, (weights, biases) = parameters
            for W, b in hidden:
                X = jax.nn.relu(X @ W + b)
            scores = jax.nn.log_softmax(X @ weights + biases)
            return -jnp.mean(jnp.take_along_axis(scores, y[:, None], axis=1))

        def step(state: Any, rows: jax.Array, X: jax.Array, y: jax.Array) -> Any:
            parameters, velocity = state
            gradients = jax.grad(loss)(parameters, X[rows], y[rows])
            velocity = jax.tree.map(
                lambda v, g, w: problem.momentum * v + (g + problem.weight_decay * w),
                velocity,
                gradients,
                parameters,
            )
            parameters = jax.tree.map(
                lambda w, v: w - problem.learning_rate * v, parameters, velocity
            )
            return parameters, velocity

        def epoch(state: Any, order: jax.Array, X: jax.Array, y: jax.Array) -> Any:
            return jax.lax.scan(lambda s, rows: (step(s, rows, X, y), None), state, order)[0]

        # A scan has its length compiled in. This is the loop that a scan becomes, with open bounds,
        # so that one compilation serves any number of steps; it is as fast as the scan.
        def part(
            state: Any, order: jax.Array, first: int, last: int, X: jax.Array, y: jax.Array
        ) -> Any:
            return jax.lax.fori_loop(first, last, lambda k, s: step(s, order[k], X, y), state)

        def compiled(function: Any, *arguments: Any) -> Any:
            return jax.jit(function, donate_argnums=0).lower(*arguments).compile()

        self._X = self._put(problem.inputs)
        self._y = self._put(problem.labels.astype(np.int32))
        # Donated arrays must belong to XLA, and device_put may borrow NumPy's memory.
        parameters = jax.tree.map(jnp.copy, self._put(list(zip(*problem.start, strict=True))))
        self._state: Any = (parameters, jax.tree.map(jnp.zeros_like, parameters))
        order = self._order(0)
        self._epoch = compiled(epoch, self._state, order, self._X, self._y)
        self._part = compiled(part, self._state, order, 0, 0, self._X, self._y)
        jax.block_until_ready((self._state, self._X, self._y))

    def _put(self, value: Any) -> Any:
        import jax

        return jax.device_put(value, self._device)

    def _order(self, epoch: int) -> jax.Array:
        order: jax.Array = self._put(self._problem.order(epoch).astype(np.int32))
        return order

    def run(self, steps: int) -> None:
        import jax

        for epoch, first, last in self._problem.segments(self._trained, steps):
            order = self._order(epoch)
            if last - first == self._problem.steps_per_epoch:
                self._state = self._epoch(self._state, order, self._X, self._y)
            else:
                self._state = self._part(self._state, order, first, last, self._X, self._y)
        jax.block_until_ready(self._state)
        self._trained += steps

    def parameters(self) -> WeightsAndBiases:
        weights, biases = zip(*self._state[0], strict=True)
        return WeightsAndBiases([np.array(w) for w in weights], [np.array(b) for b in biases])


class SklearnPeer:
    """scikit-learn's ``MLPClassifier(solver="sgd")``, one ``partial_fit`` an epoch.

    It divides ``alpha`` by the batch size, so ``alpha`` is ``weight_decay * batch_size``. Batches come
    from its own shuffle of the rows that a full epoch uses; fewer steps than an epoch train on the
    first rows.
    """

    name = "scikit-learn MLPClassifier"
    decays_biases = False

    def available(self) -> bool:
        """Return whether scikit-learn is installed."""
        return find_spec("sklearn") is not None

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Initialise the classifier; BLAS is held to ``threads`` threads during each run."""
        return _SklearnTraining(problem, threads)


class _SklearnTraining:
    def __init__(self, problem: Problem, threads: int) -> None:
        from sklearn.neural_network import MLPClassifier
        from threadpoolctl import ThreadpoolController

        self._problem, self._threads = problem, threads
        self._model = MLPClassifier(
            hidden_layer_sizes=problem.sizes[1:-1],
            solver="sgd",
            alpha=problem.weight_decay * problem.batch_size,
            batch_size=problem.batch_size,
            learning_rate_init=problem.learning_rate,
            momentum=problem.momentum,
            nesterovs_momentum=False,
            n_iter_no_change=np.inf,
            # With an int, every epoch would be shuffled alike.
            random_state=np.random.RandomState(problem.seed),
        )
        # For two classes scikit-learn would train one logistic output. One-hot labels keep both
        # columns, and softmax replaces the sigmoids that they bring.
        self._y = np.eye(problem.sizes[-1], dtype=np.int64)[problem.labels]
        self._pools = ThreadpoolController()
        # The first call initialises, and trains a step that is undone here.
        with self._settings():
            rows = slice(problem.batch_size)
            classes = np.arange(problem.sizes[-1])
            self._model.partial_fit(problem.inputs[rows], self._y[rows], classes=classes)
        self._model.out_activation_ = "softmax"
        for name, values in zip(("coefs_", "intercepts_"), problem.start, strict=True):
            setattr(self._model, name, [value.copy() for value in values])
        del self._model._optimizer  # the next call makes another, with no velocity

    @contextmanager
    def _settings(self) -> Iterator[None]:
        from sklearn import config_context

        # Without assume_finite every epoch would begin with a pass over all the data.
        with (
            self._pools.limit(limits=self._threads, user_api="blas"),
            config_context(assume_finite=True),
        ):
            yield

    def run(self, steps: int) -> None:
        with self._settings():
            while steps > 0:
                trained = min(steps, self._problem.steps_per_epoch)
                rows = slice(trained * self._problem.batch_size)
                self._model.partial_fit(self._problem.inputs[rows], self._y[rows])
                steps -= trained

    def parameters(self) -> WeightsAndBiases:
        return WeightsAndBiases(
            [weights.copy() for weights in self._model.coefs_],
            [biases.copy() for biases in self._model.intercepts_],
        )


@functools.cache
def _compiles_extensions() -> bool:
    """Return whether the C++ compiler that torch.compile would call can build an extension."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text("#include <Python.h>\n#include <omp.h>\n")
        include = "-I" + sysconfig.get_paths()["include"]
        command = [*compiler, include, "-fopenmp", "-fsyntax-only", str(source)]
        try:
            return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


PEERS: tuple[Peer, ...] = (
    TorchPeer("PyTorch eager"),
    TorchPeer("PyTorch fused SGD", fused=True),
    TorchPeer("PyTorch torch.compile", fused=True, compiled=True),
    TorchPeer("PyTorch bf16 autocast", fused=True, bfloat16=True),
    JaxPeer(),
    SklearnPeer(),
)
