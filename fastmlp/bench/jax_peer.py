"""JAX as a peer; images and filters have their channels last."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastmlp.bench.peer import Training
from fastmlp.bench.problem import Problem, WeightsAndBiases
from fastmlp.training.layers import (
    Activation,
    Convolution,
    Flatten,
    Linear,
    MaxPool,
)
from fastmlp.training.shapes import shapes_of

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class JaxPeer:
    """JAX on the CPU: jitted, parameters donated.

    XLA takes its thread count from the environment variable PJRT_NPROC (or the affinity mask)
    when its CPU client starts, so `prepare` sets the variable and restarts the client when the
    count changes; arrays and trainings of the client before are lost then.

    Parameters
    ----------
    name
        Its name in tables.
    scans
        One call is a scan over the batches of an epoch; otherwise it is a step.
    """

    name: str
    scans: bool = True
    decays_biases: bool = True

    _threads: ClassVar[int | None] = None

    def available(self) -> bool:
        """Return whether jax and jaxlib are installed."""
        return find_spec("jax") is not None and find_spec("jaxlib") is not None

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Compile a step; or the scan, and the loop that stands in for it over a part of an epoch."""
        if threads != JaxPeer._threads:
            from jax.extend import backend

            os.environ["PJRT_NPROC"] = str(threads)
            backend.clear_backends()
            JaxPeer._threads = threads
        return _JaxTraining(problem, self.scans)


class _JaxTraining:
    def __init__(self, problem: Problem, scans: bool) -> None:
        import jax
        import jax.numpy as jnp

        self._problem, self._scans, self._trained = problem, scans, 0
        self._device = jax.devices("cpu")[0]
        loss, stepped = _loss_of(problem), _adam if problem.optimizer == "adam" else _sgd

        def step(state: Any, rows: jax.Array, X: jax.Array, y: jax.Array) -> Any:
            gradients = jax.grad(loss)(state[0], X[rows], y[rows])
            return stepped(problem, state, gradients)

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

        self._X = self._put(_channels_last(problem.inputs.reshape(-1, *problem.shape)))
        self._y = self._put(problem.labels.astype(np.int32))
        # Donated arrays must belong to XLA, and device_put may borrow NumPy's memory.
        parameters = jax.tree.map(jnp.copy, self._put(_to_jax(problem)))
        velocity, squares = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        self._state: Any = (parameters, velocity)
        if problem.optimizer == "adam":
            self._state = (parameters, velocity, squares, jnp.zeros((), jnp.int32))
        order = self._order(0)
        if scans:
            self._epoch = compiled(epoch, self._state, order, self._X, self._y)
            self._part = compiled(part, self._state, order, 0, 0, self._X, self._y)
        else:
            self._step = compiled(step, self._state, order[0], self._X, self._y)
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
            if not self._scans:
                for rows in self._problem.order(epoch)[first:last].astype(np.int32):
                    self._state = self._step(self._state, rows, self._X, self._y)
            elif last - first == self._problem.steps_per_epoch:
                self._state = self._epoch(self._state, self._order(epoch), self._X, self._y)
            else:
                order = self._order(epoch)
                self._state = self._part(self._state, order, first, last, self._X, self._y)
        jax.block_until_ready(self._state)
        self._trained += steps

    def parameters(self) -> WeightsAndBiases:
        return _from_jax(self._problem, self._state[0])


def _loss_of(problem: Problem) -> Callable[..., jax.Array]:
    """Return the mean loss as a function of parameters, inputs and labels."""
    import jax
    import jax.numpy as jnp

    def outputs(parameters: Any, X: jax.Array) -> jax.Array:
        pairs = iter(parameters)
        for layer in problem.layers:
            match layer:
                case Linear():
                    W, b = next(pairs)
                    X = X @ W + b
                case Convolution():
                    W, b = next(pairs)
                    layout = ("NHWC", "HWIO", "NHWC")
                    X = jax.lax.conv_general_dilated(
                        X, W, (1, 1), "VALID", dimension_numbers=layout
                    )
                    X = X + b
                case Activation():
                    X = jax.nn.relu(X)
                case MaxPool(size):
                    window = (1, size, size, 1)
                    X = jax.lax.reduce_window(X, -jnp.inf, jax.lax.max, window, window, "VALID")
                case Flatten():
                    X = X.reshape(len(X), -1)
        return X

    def loss(parameters: Any, X: jax.Array, y: jax.Array) -> jax.Array:
        scores = jax.nn.log_softmax(outputs(parameters, X))
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], axis=1))

    return loss


def _sgd(problem: Problem, state: Any, gradients: Any) -> Any:
    """Return the state after a step with momentum."""
    import jax

    parameters, velocity = state
    velocity = jax.tree.map(
        lambda v, g, w: problem.momentum * v + (g + problem.weight_decay * w),
        velocity,
        gradients,
        parameters,
    )
    parameters = jax.tree.map(lambda w, v: w - problem.learning_rate * v, parameters, velocity)
    return parameters, velocity


def _adam(problem: Problem, state: Any, gradients: Any) -> Any:
    """Return the state after one of Adam's steps."""
    import jax
    import jax.numpy as jnp

    parameters, means, squares, count = state
    count = count + 1
    gradients = jax.tree.map(lambda g, w: g + problem.weight_decay * w, gradients, parameters)
    means = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, means, gradients)
    squares = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, squares, gradients)
    rate, scale = problem.learning_rate / (1 - 0.9**count), 1 / (1 - 0.999**count)
    parameters = jax.tree.map(
        lambda w, m, s: w - rate * m / (jnp.sqrt(s * scale) + 1e-8), parameters, means, squares
    )
    return parameters, means, squares, count


# -- channels last --------------------------------------------------------------------------------


def _channels_last(images: np.ndarray) -> np.ndarray:
    """Return images [n, channels, height, width] as [n, height, width, channels], other rows as they are."""
    return np.ascontiguousarray(np.moveaxis(images, 1, 3)) if images.ndim == 4 else images


def _flattened(problem: Problem) -> tuple[int, ...] | None:
    """Return the shape (channels, height, width) that the first linear layer reads; None without images."""
    shapes = [problem.shape, *shapes_of(problem.layers, problem.shape)]
    return next((one for one in shapes[::-1] if len(one) == 3), None)


def _to_jax(problem: Problem) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the start with filters [kernel, kernel, in, out], and with rows in the order of channels last."""
    weights: list[np.ndarray] = []
    shape = _flattened(problem)
    for W in problem.start.weights:
        if W.ndim == 4:
            W = W.transpose(2, 3, 1, 0)
        elif shape is not None:
            W = W.reshape(*shape, -1).transpose(1, 2, 0, 3).reshape(W.shape)
            shape = None
        weights.append(W)
    return list(zip(weights, problem.start.biases, strict=True))


def _from_jax(problem: Problem, parameters: Any) -> WeightsAndBiases:
    """Return parameters of JAX as a problem has them."""
    weights, biases = ([np.array(one) for one in part] for part in zip(*parameters, strict=True))
    shape = _flattened(problem)
    for number, W in enumerate(weights):
        if W.ndim == 4:
            weights[number] = np.ascontiguousarray(W.transpose(3, 2, 0, 1))
        elif shape is not None:
            channels, *area = shape
            rows = W.reshape(*area, channels, -1).transpose(2, 0, 1, 3)
            weights[number] = rows.reshape(W.shape)
            shape = None
    return WeightsAndBiases(weights, biases)
