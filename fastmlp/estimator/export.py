"""Models -> ONNX (the extra ``export``)."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastmlp.errors import DataError, FastMLPError
from fastmlp.estimator import files
from fastmlp.estimator.classifier import MLPClassifier
from fastmlp.estimator.layers import layers_of, shape_of, turned
from fastmlp.estimator.onnx_graph import Graph, add_layers
from fastmlp.estimator.regressor import MLPRegressor
from fastmlp.machine.files import has_kind, write_atomic
from fastmlp.training.layers import Layer, has_images, without_dropout
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
        float64 (float64 also for images too far from zero for float32). The outputs are ``label`` and
        ``probabilities`` [rows, classes] of a classifier, and ``variable`` [rows, values] of a regressor, in the units
        of its targets. Where a row may have several labels, ``label`` is 0 or 1 for each, [rows, labels]. The columns
        are in the order of ``network.classes``, or ``estimator.classes_``, which the file states in its metadata:
        "classes", a list in JSON. "preparation" is there, too, if the network was trained on tables: what was done with
        their columns, and has to be before they are given to the model. Where ONNX Runtime computes in float32 alone
        (convolutions, mean pools, some activations), a float64 model does so too.

    Raises
    ------
    FastMLPError
        If the package onnx is not installed.
    DataError
        If `model` is something else, such as a pipeline, or the labels of an estimator are neither text nor numbers
        that ONNX has.
    OSError
        If the file cannot be written; it names `path`.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise FastMLPError(
            f"ONNX: found no onnx ({error}), expected it; pip install 'fastmlp[export]'"
        ) from error
    if not isinstance(model, Network | Estimator):
        step = "; give the last step of a pipeline, pipeline[-1]" if hasattr(model, "steps") else ""
        raise DataError(
            f"model: found {type(model).__name__}, expected a Network, MLPClassifier or MLPRegressor{step}"
        )
    build = _of_network if isinstance(model, Network) else _of_estimator
    write_atomic(path, build(model))


def _of_network(network: Network) -> bytes:
    scaling = network.normalization
    wide = np.dtype(np.float64)
    given = network.dtype if scaling.fits(network.dtype) else wide
    graph = Graph(network.dtype)
    # In float64, as a network's own normalisation: differences of large numbers are rounded once.
    x = "X" if given == wide else graph.cast("X", wide)
    x = graph.add("Sub", x, graph.constant(scaling.mean, wide))
    x = graph.add("Div", x, graph.constant(scaling.std, wide))
    x = x if network.dtype == wide else graph.cast(x, network.dtype)
    logits = _logits(graph, x, network.layers, network.shape, (network.weights, network.biases))
    _answers(graph, logits, network)
    if network.preparation is not None:
        graph.stated["preparation"] = network.preparation.as_dict()
    return graph.to_bytes("network", network.sizes[0], given)


def _answers(graph: Graph, logits: str, network: Network) -> None:
    """Add the outputs of a network's task."""
    columns = len(network.classes)
    if network.targets is not None:
        # In float64, as `predict`.
        x = graph.cast(logits, np.float64)
        x = graph.add("Mul", x, graph.constant(network.targets.std, np.float64))
        graph.add("Add", x, graph.constant(network.targets.mean, np.float64), name="variable")
        graph.stated["classes"] = list(network.classes)
        graph.output("variable", np.float64, columns)
    elif network.task == "multilabel":
        graph.add("Sigmoid", logits, name="probabilities")
        likely = graph.add("Greater", logits, graph.constant(0.0))
        graph.cast(likely, np.int64, name="label")
        graph.stated["classes"] = list(network.classes)
        graph.output("label", np.int64, columns)
        graph.output("probabilities", network.dtype, columns)
    else:
        graph.add("Softmax", logits, name="probabilities", axis=1)
        _label(graph, np.asarray(network.classes))
        graph.output("probabilities", network.dtype, columns)


def _of_estimator(model: Any) -> bytes:
    check_is_fitted(model)
    dtype, outputs = model.coefs_[0].dtype, model.intercepts_[-1].size
    graph = Graph(dtype)
    weights = [np.ascontiguousarray(turned(coef)) for coef in model.coefs_]
    layers = without_dropout(layers_of(model))
    logits = _logits(graph, "X", layers, shape_of(model), (weights, model.intercepts_))
    match model.out_activation_:
        case "identity":
            graph.add("Identity", logits, name="variable")
        case "exp":
            graph.add("Exp", logits, name="variable")
        case "softmax":
            graph.add("Softmax", logits, name="probabilities", axis=1)
        case "logistic" if model._label_binarizer.y_type_.startswith("multilabel"):
            graph.add("Sigmoid", logits, name="probabilities")
        case "logistic":
            positive = graph.add("Sigmoid", logits)
            negative = graph.add("Sub", graph.constant(1.0), positive)
            graph.add("Concat", negative, positive, name="probabilities", axis=1)
            outputs = 2
    if isinstance(model, MLPRegressor):
        graph.output("variable", dtype, outputs)
    elif model._label_binarizer.y_type_.startswith("multilabel"):
        likely = graph.add("Greater", "probabilities", graph.constant(0.5))
        graph.cast(likely, np.int64, name="label")
        graph.stated["classes"] = model.classes_.tolist()
        graph.output("label", np.int64, outputs)
        graph.output("probabilities", dtype, outputs)
    else:
        _label(graph, np.resize(model.classes_, outputs))  # a single class is both of two
        graph.output("probabilities", dtype, outputs)
    return graph.to_bytes("estimator", model.n_features_in_, dtype)


def _logits(
    graph: Graph,
    x: str,
    layers: Sequence[Layer],
    shape: Sequence[int],
    parameters: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
) -> str:
    """Add the nodes of all layers and return the name of the last one's output."""
    if has_images(layers):
        x = graph.add("Reshape", x, graph.constant((-1, *shape), np.int64))
    return add_layers(graph, x, layers, zip(*parameters, strict=True))


def _label(graph: Graph, labels: np.ndarray) -> None:
    """Add the output ``label``: of the likeliest class, as text or number."""
    dtype = _label_type(labels)
    graph.stated["classes"] = labels.tolist()
    best = graph.add("ArgMax", "probabilities", axis=1, keepdims=0)
    graph.add("Gather", graph.constant(labels.astype(dtype), dtype), best, name="label")
    graph.output("label", dtype)


def _label_type(labels: np.ndarray) -> Any:
    """Return the type that ONNX has for labels, or raise a DataError where it would be another label."""
    given, values = labels.dtype, labels.tolist()
    kind: Any
    if given.kind in "biu":
        kind, fits = np.int64, all(value <= np.iinfo(np.int64).max for value in values)
    elif given.kind == "f":
        kind, fits = given if given == np.float32 else np.float64, given.itemsize <= 8
    else:
        kind, fits = object, all(isinstance(value, str) for value in values)
    if not fits:
        raise DataError(
            f"classes: found {reprlib.repr(values)} of type {given}, expected text, or numbers that int64 "
            "or float64 holds: ONNX has no others"
        )
    return kind


def load_model(path: str | Path) -> Network | Estimator:
    """Read a model file, of a Network or an estimator.

    Raises
    ------
    FormatError
        If the file is missing, cannot be read, is damaged or is something else.
    """
    if has_kind(path, "network"):
        return load_network(path)
    description, _ = files.read(path)
    kind: Any = {one.__name__: one for one in (MLPClassifier, MLPRegressor)}
    model: Estimator = kind[description["estimator"]].load(path)
    return model
