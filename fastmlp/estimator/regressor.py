"""MLPRegressor: scikit-learn's, trained on fastmlp's engine."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.metrics import r2_score
from sklearn.neural_network import _multilayer_perceptron
from sklearn.utils import check_array

from fastmlp.errors import DataError
from fastmlp.estimator.adapter import Examples
from fastmlp.estimator.callbacks import CallbackSupportMixin
from fastmlp.estimator.convert import Conversions
from fastmlp.estimator.training import CONSTRAINTS, EngineTraining


class MLPRegressor(
    Conversions,
    EngineTraining,
    CallbackSupportMixin,
    _multilayer_perceptron.MLPRegressor,
):
    """The ``MLPRegressor`` of scikit-learn: its parameters, attributes and numbers, in less time.

    scikit-learn itself trains what the engine does not accelerate: solver "lbfgs", sparse X, the loss
    "poisson".

    Parameters
    ----------
    loss : {"squared_error", "poisson"}
        As in `sklearn.neural_network.MLPRegressor`.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, \
early_stopping, validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun, \
initialization, monitor, step_epochs, step_factor, dropout, n_jobs, dtype, image_shape : as there
        As in `fastmlp.MLPClassifier`.

    Attributes
    ----------
    validation_loss_curve_ : list of float, or None
        Loss after each epoch on the validation data, without the penalty of `alpha`; None without
        validation data.
    validation_scores_ : list of float, or None
        R2 on the validation data. With `X_val` they exist without `early_stopping` too, unlike in
        scikit-learn.
    coefs_, intercepts_, loss_, loss_curve_, best_loss_, best_validation_score_, n_iter_, t_, \
n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.
    hidden_, image_shape_ : tuple or None
        As in `fastmlp.MLPClassifier`.

    Examples
    --------
    >>> from fastmlp import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 5, random_state=0)
    >>> model = MLPRegressor(learning_rate_init=0.01, random_state=0, max_iter=500).fit(X, y / 100)
    >>> model.score(X, y / 100) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_multilayer_perceptron.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        initialization: str = "sklearn",
        monitor: str = "score",
        step_epochs: int = 10,
        step_factor: float = 0.1,
        dropout: float = 0.0,
        n_jobs: int | None = None,
        dtype: str | None = None,
        image_shape: Any = None,
    ) -> None:
        super().__init__(
            loss=loss,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.initialization = initialization
        self.monitor = monitor
        self.step_epochs = step_epochs
        self.step_factor = step_factor
        self.dropout = dropout
        self.n_jobs = n_jobs
        self.dtype = dtype
        self.image_shape = image_shape

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train.

        Parameters
        ----------
        X : array or sparse matrix [n, features]
            Trained in float32 if it is float32, otherwise converted to float64.
        y : array [n] or [n, outputs]
            What is to be predicted.
        sample_weight : array [n], optional
            What each row counts in the loss.
        X_val : array [m, features], optional
            Validation data. Loss and score on it are recorded after each epoch, and
            `early_stopping` watches it instead of setting rows of X aside.
        y_val : array [m] or [m, outputs], optional
            What is to be predicted of `X_val`.
        sample_weight_val : array [m], optional
            What each row counts in the score.

        Returns
        -------
        self
            This estimator, fitted.
        """
        validation = None if X_val is None and y_val is None else (X_val, y_val, sample_weight_val)
        self._fit(X, y, sample_weight=sample_weight, validation=validation)
        return self

    def _encoded(self, y: Any) -> np.ndarray:
        """Return validation targets as an array of numbers."""
        values: np.ndarray = check_array(y, ensure_2d=False, dtype="numeric")
        if len(values) < 2 and self.early_stopping and self.monitor == "score":
            raise DataError(
                "y_val: found one row, expected at least two, as the score (R2) of one is not "
                "defined; pass more, or monitor='loss'"
            )
        return values

    def _score_of(self, outputs: np.ndarray, held_out: Examples) -> float:
        if not np.isfinite(outputs).all():
            return np.nan
        return float(r2_score(held_out.y, outputs, sample_weight=held_out.weight))
