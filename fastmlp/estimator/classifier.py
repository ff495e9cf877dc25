"""MLPClassifier: scikit-learn's, trained on fastmlp's engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.neural_network import _multilayer_perceptron
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

from fastmlp.errors import ConfigError, DataError
from fastmlp.estimator.adapter import Examples
from fastmlp.estimator.callbacks import CallbackSupportMixin
from fastmlp.estimator.convert import ClassifierConversions
from fastmlp.estimator.training import CONSTRAINTS, EngineTraining


class MLPClassifier(
    ClassifierConversions,
    EngineTraining,
    CallbackSupportMixin,
    _multilayer_perceptron.MLPClassifier,
):
    """The ``MLPClassifier`` of scikit-learn: its parameters, attributes and numbers, in less time.

    Initial weights, shuffles and losses are scikit-learn's for the same `random_state`, up to
    rounding. scikit-learn itself trains what the engine does not accelerate: solver "lbfgs", sparse X,
    multilabel y.

    Parameters
    ----------
    hidden_layer_sizes : int, or list of int, str or Layer
        Widths, as in scikit-learn. Or layers as in the `hidden` of `fastmlp.TrainConfig`, such as
        ``["conv 6 5", "maxpool 2", 84]``; `activation` follows where none is named.
    activation : {"identity", "logistic", "tanh", "relu"}
        As in `sklearn.neural_network.MLPClassifier`.
    solver : {"lbfgs", "sgd", "adam", "rmsprop"}
        "rmsprop" is ``torch.optim.RMSprop`` (mean squares decay by 0.99) with this class's
        `epsilon`.
    alpha, batch_size : float, int
        As in `sklearn.neural_network.MLPClassifier`.
    learning_rate : {"constant", "invscaling", "adaptive", "step"}
        "step" multiplies the rate of any solver by `step_factor` after every `step_epochs` epochs.
        The others act on "sgd" alone, as in scikit-learn.
    learning_rate_init, power_t, max_iter, shuffle, random_state, tol : as in scikit-learn
        As in `sklearn.neural_network.MLPClassifier`.
    verbose : bool, int or "progress"
        True prints each epoch's loss, as in scikit-learn; "progress" shows a bar with the time left.
    warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, \
epsilon, n_iter_no_change, max_fun : as in scikit-learn
        As in `sklearn.neural_network.MLPClassifier`.
    class_weight : dict, "balanced" or None
        Multiplies `sample_weight`, as in other classifiers of scikit-learn.
    initialization : {"sklearn", "torch", "he", "glorot", "normal", "zeros"}
        How weights are drawn: as in scikit-learn, or as in `fastmlp.training.network.initialize`.
    monitor : {"score", "loss"}
        What `early_stopping` watches on the validation data.
    step_epochs, step_factor : int, float
        See `learning_rate`.
    dropout : float
        Probability, below 1, that a step of the stochastic solvers sets an output of a hidden layer to
        zero; it divides the others by 1 - dropout. `loss_curve_` is that of the thinned networks;
        prediction and validation use all units.
    n_jobs : int or None
        Threads. None takes every usable core where a step is worth sharing, but one in a task of
        joblib or a worker process. -1 takes every usable core, -2 all but one. Results do not depend
        on it.
    dtype : {"bfloat16"} or None
        None trains in the type of X. "bfloat16" rounds the operands of products to bfloat16 and keeps
        sums, weights and solver in float32: fast on a CPU with AVX512_BF16, emulated elsewhere.
    image_shape : (channels, height, width) or None
        Of an image in a row of X; only layers of images in `hidden_layer_sizes` need it.

    Attributes
    ----------
    validation_loss_curve_ : list of float, or None
        Loss after each epoch on the validation data, without the penalty of `alpha`; None without
        validation data.
    validation_scores_ : list of float, or None
        Accuracy on the validation data. With `X_val` they exist without `early_stopping` too,
        unlike in scikit-learn.
    coefs_, intercepts_, classes_, loss_, loss_curve_, best_loss_, best_validation_score_, \
n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn. With layers, `coefs_` has the kernels of convolutions as [out, in, kernel,
        kernel], and of a batchnorm its weight and its running mean, `intercepts_` its bias and its running
        variance.
    hidden_, image_shape_ : tuple or None
        The layers, and the shape of an image; None with widths alone, and without `image_shape`.

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(learning_rate_init=0.01, early_stopping=True, random_state=0)
    >>> model.fit(X / 16, y).score(X / 16, y) > 0.97
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_multilayer_perceptron.MLPClassifier._parameter_constraints,
        **CONSTRAINTS,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
        class_weight: Mapping[Any, float] | str | None = None,
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
        self.class_weight = class_weight
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
        y : array [n] of labels, or [n, labels] of 0 and 1
            What is to be predicted.
        sample_weight : array [n], optional
            What each row counts in the loss.
        X_val : array [m, features], optional
            Validation data. Loss and score on it are recorded after each epoch, and
            `early_stopping` watches it instead of setting rows of X aside.
        y_val : array [m], optional
            What is to be predicted of `X_val`.
        sample_weight_val : array [m], optional
            Not multiplied by `class_weight`.

        Returns
        -------
        self
            This estimator, fitted.
        """
        validation = None if X_val is None and y_val is None else (X_val, y_val, sample_weight_val)
        self._fit(X, y, sample_weight=sample_weight, validation=validation)
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        incremental: bool = False,
        validation: tuple[Any, Any, Any] | None = None,
    ) -> Any:
        if self.class_weight is not None:
            if incremental and self.class_weight == "balanced":
                raise ConfigError(
                    "class_weight: found 'balanced' in partial_fit, which sees a part of the data, "
                    "expected a dict such as "
                    "sklearn.utils.class_weight.compute_class_weight gives for all of it"
                )
            weight = compute_sample_weight(self.class_weight, y)
            if sample_weight is not None:
                weight *= _check_sample_weight(sample_weight, weight[:, None])
            sample_weight = weight
        return super()._fit(X, y, sample_weight, incremental, validation)

    def _encoded(self, y: Any) -> np.ndarray:
        """Return validation labels as scikit-learn encodes those of the training."""
        y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise DataError(
                f"y_val: found the labels {unknown.tolist()}, expected those of y: "
                f"{self.classes_.tolist()}"
            )
        encoded: np.ndarray = self._label_binarizer.transform(y).astype(bool)
        return encoded

    def _score_of(self, outputs: np.ndarray, held_out: Examples) -> float:
        found, expected = (
            self._label_binarizer.inverse_transform(each.ravel() if each.shape[1] == 1 else each)
            for each in (outputs, held_out.y)
        )
        return float(np.average(found == expected, weights=held_out.weight))
