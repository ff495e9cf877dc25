"""An estimator's network on the engine: scikit-learn's arrays in, losses and outputs out."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.neural_network._base import ACTIVATIONS

from fastmlp.estimator import solvers
from fastmlp.estimator.layers import layers_of, shape_of, turned
from fastmlp.machine.cores import usable_cores

_LOSSES = {"softmax": "softmax", "logistic": "logistic", "identity": "squared"}

Coefficients = tuple[list[np.ndarray], list[np.ndarray]]


class Examples(NamedTuple):
    """Validated data.

    Attributes
    ----------
    X : array [n, features] of float32 or float64
    y : array [n, outputs]
        One column a class, one for two classes; or the values to predict.
    weight : array [n] or None
        Weight of each row.
    """

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None


class EngineAdapter:
    """The engine that trains an estimator's network; ``with`` ends its threads.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        With weights, and a solver in ``_optimizer``.
    examples : Examples
    batch_size : int
    resumes : bool
        Whether the solver has already taken steps.
    """

    def __init__(
        self, estimator: Any, examples: Examples, batch_size: int, *, resumes: bool
    ) -> None:
        from fastmlp.training.engine import (
            Engine,  # loads compiled code, which predicting does without
        )

        self._estimator, self._batch_size = estimator, batch_size
        self._out_activation = estimator.out_activation_
        dtype = estimator.coefs_[0].dtype
        self._engine = Engine(
            [turned(coef) for coef in estimator.coefs_],
            estimator.intercepts_,
            batch_size=batch_size,
            dtype=estimator.dtype or dtype.name,
            threads=_threads(estimator.n_jobs),
            layers=layers_of(estimator),
            shape=shape_of(estimator),
            loss=_LOSSES[self._out_activation],
        )
        if resumes:
            solvers.load_states(estimator._optimizer, self._engine)
        if self._out_activation == "softmax":
            self._samples = self._described(examples.X, labels=examples.y.argmax(axis=1))
        else:
            self._samples = self._described(examples.X, targets=examples.y)
        self._weight = examples.weight
        # scikit-learn clips probabilities at this distance from 0 and 1, and so each row's loss.
        self._clip = float(np.finfo(dtype).eps) if self._out_activation != "identity" else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._engine.close()

    def warm_up(self) -> None:
        """Compile what training needs, if it is nowhere kept."""
        self._engine.warm_up(self._samples)

    def epoch(self, order: np.ndarray, scale: float, dropout_key: int) -> float:
        """Take a step for each batch of rows; return the epoch's loss as scikit-learn defines it.

        Parameters
        ----------
        order : int64 array [n]
            Rows of the examples.
        scale : float
            Factor of the learning rate, from the step schedule.
        dropout_key : int
            As for `Engine.epoch`.
        """
        alpha, count = self._estimator.alpha, len(order)
        starts = np.arange(0, count, self._batch_size)
        rows = np.diff(starts, append=count)
        weight, factors, totals = None, None, rows
        if self._weight is not None:
            weight = self._weight[order]
            totals = np.add.reduceat(weight, starts)
            if not totals.all():
                raise ZeroDivisionError(
                    "sample_weight: found a batch whose weights sum to zero, expected none; drop "
                    "rows of weight zero or take a larger batch_size"
                )
            factors = weight / np.repeat(totals, rows)
        record = self._engine.epoch(
            self._samples,
            order,
            solvers.next_steps(self._estimator._optimizer, alpha / totals, scale),
            factors=factors,
            penalties=alpha > 0,
            dropout_key=dropout_key,
        )
        losses = self._per_row(record.losses)
        sums = np.add.reduceat(losses if weight is None else losses * weight, starts)
        if alpha > 0:
            sums += 0.5 * alpha * record.penalties
        return float((sums / totals * rows).sum() / count)

    def outputs(self, examples: Examples) -> np.ndarray:
        """Return the network's present outputs [n, outputs]: probabilities, or values."""
        outputs = self._engine.logits(self._described(examples.X))
        with np.errstate(invalid="ignore"):  # of a network that diverged
            ACTIVATIONS[self._out_activation](outputs)
        return outputs

    def coefficients(self) -> Coefficients:
        """Return copies of the weights [in, out] and biases."""
        weights, biases = self._engine.weights()
        return [turned(weight) for weight in weights], biases

    def write_back(self) -> None:
        """Copy weights, biases and the solver's state to the estimator."""
        self._estimator.coefs_, self._estimator.intercepts_ = self.coefficients()
        solvers.save_states(self._estimator._optimizer, self._engine)

    def _described(
        self, X: np.ndarray, *, labels: np.ndarray | None = None, targets: np.ndarray | None = None
    ) -> Any:
        # One type for all data: Numba would compile again for another.
        X = np.asarray(X, self._engine.dtype)
        ones, zeros = np.ones(X.shape[1]), np.zeros(X.shape[1])
        return self._engine.samples(X, ones, zeros, labels=labels, targets=targets)

    def _per_row(self, losses: np.ndarray) -> np.ndarray:
        if self._clip is not None:
            return losses.clip(-math.log1p(-self._clip), -math.log(self._clip))
        mean: np.ndarray = losses / self._engine.sizes[-1]
        return mean


def outputs_of(estimator: Any, X: np.ndarray) -> np.ndarray:
    """Return the outputs [n, outputs] of a fitted estimator with layers: probabilities, or values."""
    nothing = Examples(X[:0], np.zeros((0, estimator.n_outputs_)), None)
    with EngineAdapter(estimator, nothing, 1, resumes=False) as engine:
        return engine.outputs(Examples(X, nothing.y, None))


def _threads(n_jobs: int | None) -> int | None:
    """Return the number of threads; None lets the engine choose by the size of a step."""
    if n_jobs is None:
        return 1 if _among_others() else None
    return n_jobs if n_jobs > 0 else max(1, usable_cores() + 1 + n_jobs)


def _among_others() -> bool:
    """Return whether others share the cores: in a task of joblib, or a worker process."""
    import multiprocessing

    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend()
    return bool(backend.nesting_level) or multiprocessing.parent_process() is not None
