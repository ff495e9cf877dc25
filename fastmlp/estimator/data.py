"""The data of a fit: checked as scikit-learn does, and beyond that for what the engine cannot compute with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier, is_regressor
from sklearn.model_selection import train_test_split
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    validate_data,
)

from fastmlp.errors import DataError
from fastmlp.estimator.adapter import Examples, outputs_of
from fastmlp.estimator.layers import coef_shapes, shape_of
from fastmlp.machine.streams import warn
from fastmlp.training.magnitudes import check_magnitudes

# scikit-learn's words, which programs may look for.
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need "
    "to be preprocessed."
)


def _check_magnitudes(name: str, values: Any, dtype: Any, features: Any = None) -> None:
    """Refuse numbers whose squares are infinite or zero; of large ones say what scikit-learn says."""
    if issparse(values):  # whose extremes are all that is looked at
        extremes = values.min(axis=0), values.max(axis=0)
        values = np.concatenate([one.toarray().reshape(1, -1) for one in extremes])
    try:
        check_magnitudes(name, values, dtype, features)
    except DataError as error:
        large = f" ({NOT_FINITE})" if np.abs(values).max() > 1 else ""
        raise DataError(f"{error}{large}") from None


class EngineData(BaseMultilayerPerceptron):
    """What both estimators do with data."""

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
        """Check the data as scikit-learn does, and refuse numbers whose squares are infinite or zero."""
        X, y = super()._validate_input(X, y, incremental, reset)
        kind = np.float32 if self.dtype is not None or X.dtype == np.float32 else np.float64
        _check_magnitudes("X", X, kind, getattr(self, "feature_names_in_", None))
        if is_regressor(self):
            _check_magnitudes("y", np.reshape(y, (len(y), -1)), kind)
        return X, y

    def _check_shapes(self, examples: Examples) -> None:
        """Refuse wrong shapes, because compiled code checks no bounds."""
        found = [coef.shape for coef in self.coefs_]
        inputs = math.prod(shape_of(self))
        pairs = coef_shapes(self) if examples.X.shape[1] == inputs else []
        if (
            found != [coef for coef, _ in pairs]
            or [one.shape for one in self.intercepts_] != [bias for _, bias in pairs]
            or self.intercepts_[-1].size != self.n_outputs_
        ):
            raise DataError(
                f"coefs_: found shapes {found} with {examples.X.shape[1]} features and {self.n_outputs_} "
                "outputs, expected those of the data and intercepts_; a warm start or partial_fit "
                "goes on with the shapes of the fit before it"
            )

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        """Return the outputs [n, outputs]; layers that scikit-learn does not know are computed by the engine."""
        if getattr(self, "hidden_", None) is None:
            found: np.ndarray = super()._forward_pass_fast(X, check_input=check_input)
            return found
        if check_input:
            X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return outputs_of(self, X)

    def _held_out(self, examples: Examples, X: Any, y: Any, sample_weight: Any) -> Examples:
        """Return the validation data, checked."""
        if X is None or y is None:
            name, other = ("X_val", "y_val") if X is None else ("y_val", "X_val")
            raise DataError(f"{name}: found None, expected it together with {other}")
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        _check_magnitudes("X_val", X, examples.X.dtype, getattr(self, "feature_names_in_", None))
        y = self._encoded(y)
        check_consistent_length(X, y)
        y = y.reshape(len(y), -1)
        if y.shape[1] != examples.y.shape[1]:
            raise DataError(
                f"y_val: found {y.shape[1]} outputs, expected {examples.y.shape[1]} as in y"
            )
        if is_regressor(self):
            _check_magnitudes("y_val", y, examples.X.dtype)
        return Examples(X, y, self._checked_weight(sample_weight, X))

    def _checked_weight(self, sample_weight: Any, X: Any) -> np.ndarray | None:
        """Return weights as scikit-learn checks them, which can be added up and divided by their sum."""
        if sample_weight is None:
            return None
        checked: np.ndarray = _check_sample_weight(sample_weight, X)
        _check_magnitudes("sample_weight", checked.reshape(-1, 1), np.float64)
        return checked

    def _split(self, examples: Examples) -> tuple[np.ndarray, Examples]:
        """Set rows aside as scikit-learn does; return the rows to train on, and the held-out data."""
        stratified = is_classifier(self) and self.n_outputs_ == 1
        rows, others = train_test_split(
            np.arange(len(examples.X)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=examples.y if stratified else None,
        )
        if len(others) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        weight = examples.weight
        chosen = None if weight is None else weight[others]
        return rows, Examples(examples.X[others], examples.y[others], chosen)

    def _batch(self, count: int) -> int:
        if self.batch_size == "auto":
            return min(200, count)
        if self.batch_size > count:
            warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                UserWarning,
            )
        return int(np.clip(self.batch_size, 1, count))
