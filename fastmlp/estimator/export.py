"""Models -> ONNX, through scikit-learn's own estimators and skl2onnx (the extra ``export``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from fastmlp.errors import DataError, FastMLPError
from fastmlp.estimator import files
from fastmlp.estimator.classifier import MLPClassifier
from fastmlp.estimator.regressor import MLPRegressor
from fastmlp.machine.files import write_atomic
from fastmlp.training.network import Network
from fastmlp.training.network import load as load_network

Estimator = MLPClassifier | MLPRegressor


def to_onnx(model: Network | Estimator, path: str | Path) -> None:
    """Write a model as ONNX.

    Parameters
    ----------
    model : Network, or fitted MLPClassifier or MLPRegressor
        A Network's normalisation is included: the ONNX model takes raw images, as float.
    path : str or Path
        Usually named ``*.onnx``. The input is ``X`` [rows, features] in the model's type, float32 or
        float64. The outputs are ``label`` and ``probabilities`` [rows, classes] of a classifier,
        ``variable`` of a regressor.

    Raises
    ------
    DataError
        If skl2onnx or scikit-learn lacks the model: residual connections, the loss "poisson", a
        regressor of several values, a classifier of several labels a row.
    FastMLPError
        If skl2onnx is not installed.
    OSError
        If the file cannot be written; it names `path`.
    """
    try:
        from skl2onnx import to_onnx as convert
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ImportError as error:
        raise FastMLPError(
            f"ONNX: found no skl2onnx ({error}), expected it; pip install 'fastmlp[export]'"
        ) from error
    estimator = MLPClassifier.from_network(model) if isinstance(model, Network) else model
    plain = estimator.to_sklearn()
    if plain.out_activation_ == "exp":
        raise DataError("model: found loss='poisson', which skl2onnx lacks, expected another")
    if isinstance(estimator, MLPRegressor) and plain.n_outputs_ > 1:
        raise DataError(
            f"model: found {plain.n_outputs_} values to predict, which skl2onnx mixes up, expected "
            "one; export a regressor for each"
        )
    if plain.out_activation_ == "logistic" and plain.n_outputs_ > 1:
        raise DataError(
            "model: found several labels a row, which skl2onnx mixes up, expected one; export a "
            "classifier for each"
        )
    double = plain.coefs_[0].dtype == np.float64
    kind = DoubleTensorType if double else FloatTensorType
    options = {} if isinstance(estimator, MLPRegressor) else {id(plain): {"zipmap": False}}
    inputs = [("X", kind([None, plain.n_features_in_]))]
    converted = convert(plain, initial_types=inputs, options=options)
    write_atomic(path, converted.SerializeToString())


def load_model(path: str | Path) -> Network | Estimator:
    """Read a model file, of a Network or an estimator.

    Raises
    ------
    FormatError
        If the file is missing, cannot be read, is damaged or is something else.
    """
    if "network" in _metadata(path):
        return load_network(path)
    description, _ = files.read(path)
    kind: Any = {one.__name__: one for one in (MLPClassifier, MLPRegressor)}
    model: Estimator = kind[description["estimator"]].load(path)
    return model


def _metadata(path: str | Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="numpy") as opened:
            return opened.metadata() or {}
    except (OSError, SafetensorError):
        return {}  # the reader of the whole file says what is wrong
