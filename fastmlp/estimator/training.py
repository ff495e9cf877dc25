"""The training that replaces scikit-learn's, with the same random draws, losses and decisions.

scikit-learn validates and initialises. It also trains what the engine does not accelerate.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network._base import LOSS_FUNCTIONS
from sklearn.utils import check_random_state, shuffle
from sklearn.utils._param_validation import Interval, StrOptions

from fastmlp.errors import ConfigError
from fastmlp.estimator import solvers
from fastmlp.estimator.adapter import Coefficients, EngineAdapter, Examples
from fastmlp.estimator.callbacks import Tasks
from fastmlp.estimator.data import NOT_FINITE, EngineData
from fastmlp.estimator.layers import (
    checked_shape,
    draw,
    hidden_of,
    layers_of,
    widths_of,
)
from fastmlp.machine.interrupts import held_interrupt
from fastmlp.machine.streams import BestEffort, warn
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.training.config import Initialization
from fastmlp.training.layers import sizes_of
from fastmlp.training.parameters import initialize

STOCHASTIC = ("sgd", "adam", "rmsprop")
PROGRESS = "progress"

# Parameters that both estimators have beyond scikit-learn's.
CONSTRAINTS = {
    "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "step"})],
    "verbose": ["verbose", StrOptions({PROGRESS})],
    "initialization": [StrOptions({"sklearn", *get_args(Initialization)})],
    "monitor": [StrOptions({"score", "loss"})],
    "step_epochs": [Interval(Integral, 1, None, closed="left")],
    "step_factor": [Interval(Real, 0, 1, closed="right")],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "n_jobs": [
        Interval(Integral, 1, None, closed="left"),
        Interval(Integral, None, -1, closed="right"),
        None,
    ],
    "dtype": [StrOptions({"bfloat16"}), None],
    "image_shape": ["array-like", None],
}


class EngineTraining(EngineData):
    """What both estimators do differently from scikit-learn's base class."""

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        incremental: bool = False,
        validation: tuple[Any, Any, Any] | None = None,
    ) -> Any:
        """Check the data, `validation` (X_val, y_val, sample_weight_val) included, and train."""
        given = X, y, sample_weight
        reason = self._left_to_sklearn(X)
        if reason:
            return self._fit_by_sklearn(*given, incremental, validation, reason)
        widths = widths_of(self.hidden_layer_sizes)
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        if issparse(X):  # a table whose columns are all sparse
            return self._fit_by_sklearn(*given, incremental, validation, "sparse X")
        if is_classifier(self) and self._label_binarizer.y_type_.startswith("multilabel"):
            return self._fit_by_sklearn(*given, incremental, validation, "multilabel y")
        examples = Examples(X, y.reshape(len(y), -1), self._checked_weight(sample_weight, X))
        held_out = None if validation is None else self._held_out(examples, *validation)
        self.n_outputs_ = examples.y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            kind = X.dtype if self.dtype is None else np.dtype(np.float32)
            self._initialize(examples.y, [X.shape[1], *widths, self.n_outputs_], kind)
        self._check_shapes(examples)
        tasks = Tasks(self, *given, 1 if incremental else self.max_iter)
        self._train(examples, held_out, incremental, tasks)
        if not all(np.isfinite(array).all() for array in self.coefs_ + self.intercepts_):
            raise ValueError(NOT_FINITE)
        tasks.end()
        return self

    # -- what scikit-learn does ------------------------------------------------------------

    def _left_to_sklearn(self, X: Any) -> str | None:
        """Return what of this fit the engine does not accelerate, or None."""
        if self.solver not in STOCHASTIC:
            return f"solver={self.solver!r}"
        if self.loss == "poisson":
            return "loss='poisson'"
        return "sparse X" if issparse(X) else None

    def _fit_by_sklearn(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: Any, reason: str
    ) -> Any:
        stochastic = self.solver in STOCHASTIC
        for name, asked in (
            ("X_val", validation is not None),
            ("solver='rmsprop'", self.solver == "rmsprop"),
            ("learning_rate='step'", stochastic and self.learning_rate == "step"),
            ("monitor='loss'", stochastic and self.early_stopping and self.monitor != "score"),
            ("verbose='progress'", self.verbose == PROGRESS),
            (f"dtype={self.dtype!r}", self.dtype is not None),
            (f"dropout={self.dropout}", self.dropout > 0),
            ("layers in hidden_layer_sizes", hidden_of(self.hidden_layer_sizes) is not None),
        ):
            if asked:
                raise ConfigError(
                    f"{name}: found with {reason}, which scikit-learn itself trains and where it "
                    "has no such thing, expected without; see fastmlp.MLPClassifier's docstring"
                )
        tasks = Tasks(self, X, y, sample_weight, 0)
        super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
        tasks.end()
        return self

    def _initialize(self, y: np.ndarray, layer_units: list[int], dtype: Any) -> None:
        state = self._random_state.get_state()
        super()._initialize(y, layer_units, dtype)
        self.hidden_ = hidden_of(self.hidden_layer_sizes)
        layers = layers_of(self)
        self.image_shape_ = checked_shape(self.image_shape, layers, layer_units[0])
        if self.hidden_ is not None:
            self._random_state.set_state(state)  # scikit-learn drew a network without these layers
            self.n_layers_ = len(sizes_of(layers, layer_units[0]))
            self.coefs_, self.intercepts_ = draw(self, layers, dtype)
            self._best_coefs, self._best_intercepts = list(self.coefs_), list(self.intercepts_)
        self.validation_loss_curve_: Any = None
        if self.solver == "rmsprop":  # what scikit-learn does for the solvers it knows
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            self.best_loss_ = None if self.early_stopping else np.inf
            self.validation_scores_: Any = [] if self.early_stopping else None
            self.best_validation_score_: Any = -np.inf if self.early_stopping else None

    def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        if self.initialization == "sklearn":
            drawn: tuple[np.ndarray, np.ndarray] = super()._init_coef(fan_in, fan_out, dtype)
            return drawn
        sizes = fan_in, fan_out
        (weight,), (bias,) = initialize(sizes, self.initialization, self._random_state, dtype)
        return np.ascontiguousarray(weight.T), bias

    def _check_solver(self) -> bool:
        if self.solver == "rmsprop":
            return True
        return bool(super()._check_solver())

    # -- the loop ------------------------------------------------------------------------

    def _train(
        self, examples: Examples, held_out: Examples | None, incremental: bool, tasks: Tasks
    ) -> None:
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        resumes = incremental and hasattr(self, "_optimizer")
        if not resumes:
            self._optimizer = solvers.new_optimizer(self)
        rows = np.arange(len(examples.X))
        if self.early_stopping and held_out is None:
            rows, held_out = self._split(examples)
        if held_out is not None:
            self._begin_validation()
        best: Coefficients | None = None
        order = np.arange(len(rows))
        epochs = 1 if incremental else self.max_iter
        with (
            EngineAdapter(self, examples, self._batch(len(rows)), resumes=resumes) as engine,
            self._progress(engine, epochs) as report,
        ):
            try:
                self.n_iter_ = 0
                while self.n_iter_ < epochs:
                    with held_interrupt():
                        tasks.begin_epoch()
                        if self.shuffle:
                            order = shuffle(order, random_state=self._random_state)
                        self.loss_ = engine.epoch(rows[order], self._scale(), self._dropout_key())
                        self.n_iter_ += 1
                        self.t_ += len(rows)
                        self.loss_curve_.append(self.loss_)
                        stalls, is_best = self._judge(engine, held_out)
                        waited = self._no_improvement_count + 1
                        self._no_improvement_count = waited if stalls else 0
                        if is_best:
                            best = engine.coefficients()
                        report()
                        self._optimizer.iteration_ends(self.t_)
                        if tasks.watched:
                            engine.write_back()
                    if tasks.end_epoch() or self._has_converged():
                        break
                    if self.n_iter_ == self.max_iter and not incremental:
                        warn(
                            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached "
                            "and the optimization hasn't converged yet.",
                            ConvergenceWarning,
                        )
            except KeyboardInterrupt:
                warn("Training interrupted by user.", UserWarning)
            engine.write_back()
        if self.early_stopping:
            if best is not None:
                self._best_coefs, self._best_intercepts = best
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _scale(self) -> float:
        """Return the step schedule's factor of the learning rate in the next epoch."""
        if self.learning_rate != "step":
            return 1.0
        return float(self.step_factor ** (len(self.loss_curve_) // self.step_epochs))

    def _dropout_key(self) -> int:
        """Draw the key of the next epoch's dropout; without dropout draw nothing, as scikit-learn.

        The rows seen so far are part of it, because each `partial_fit` restarts `random_state`.
        """
        if not self.dropout:
            return 0
        drawn = int(self._random_state.randint(2**64, dtype=np.uint64))
        return int(np.random.default_rng([drawn, self.t_]).integers(2**64, dtype=np.uint64))

    def _judge(self, engine: EngineAdapter, held_out: Examples | None) -> tuple[bool, bool]:
        """Return whether the epoch improved by less than `tol`, and whether to keep its weights."""
        if held_out is not None:
            stalls, is_best = self._validate(engine, held_out)
            if self.early_stopping:
                return stalls, is_best
        best = np.inf if self.best_loss_ is None else self.best_loss_
        self.best_loss_ = min(best, self.loss_)
        return self.loss_ > best - self.tol, False

    def _begin_validation(self) -> None:
        if self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        if self.validation_loss_curve_ is None:
            self.validation_loss_curve_ = []

    def _validate(self, engine: EngineAdapter, held_out: Examples) -> tuple[bool, bool]:
        """Record validation loss and score; return whether they stall, and whether they are best."""
        outputs = engine.outputs(held_out)
        name = "binary_log_loss" if self.out_activation_ == "logistic" else self.loss
        with np.errstate(over="ignore", invalid="ignore"):  # the network may have diverged
            loss = float(LOSS_FUNCTIONS[name](held_out.y, outputs, held_out.weight))
            score = self._score_of(outputs, held_out)
        if self.monitor == "loss":
            best = min(self.validation_loss_curve_, default=np.inf)
            stalls, is_best = not loss <= best - self.tol, loss < best
        else:  # a score that is NaN does not stall, as in scikit-learn
            best = self.best_validation_score_
            stalls, is_best = score < best + self.tol, score > best
        self.validation_loss_curve_.append(loss)
        self.validation_scores_.append(score)
        if is_best:
            self.best_validation_score_ = score
        return stalls, is_best

    def _has_converged(self) -> bool:
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        watched = f"Validation {self.monitor}" if self.early_stopping else "Training loss"
        message = (
            f"{watched} did not improve more than tol={self.tol:f} for "
            f"{self.n_iter_no_change} consecutive epochs."
        )
        if self._optimizer.trigger_stopping(message, self._talks()):
            return True
        self._no_improvement_count = 0  # the learning rate was lowered
        return False

    # -- what a person sees --------------------------------------------------------------

    def _talks(self) -> bool:
        return bool(self.verbose) and self.verbose != PROGRESS

    @contextmanager
    def _progress(self, engine: EngineAdapter, epochs: int) -> Iterator[Callable[[], None]]:
        """Yield a function that reports an epoch: by a bar, by scikit-learn's lines, or not at all."""
        if self.verbose == PROGRESS:
            engine.warm_up()  # before the bar measures
            with ProgressDisplay(epochs, "epoch", bar=True) as display:
                yield lambda: display.show(self.n_iter_, "", self._figures())
        else:
            yield self._print if self._talks() else lambda: None

    def _print(self) -> None:
        lines = f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}"
        if self.early_stopping:
            lines += f"\nValidation score: {self.validation_scores_[-1]:f}"
        print(lines, file=BestEffort(sys.stdout))

    def _figures(self) -> str:
        figures = f"loss={self.loss_:.3g}"
        if self.validation_scores_:
            figures += f", validation score={self.validation_scores_[-1]:.3g}"
        return figures
