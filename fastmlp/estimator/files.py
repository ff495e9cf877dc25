"""Model files of estimators: the container of `fastmlp.machine.files` with all that predicting needs.

The description (metadata "estimator", JSON) holds ``estimator`` (the class), ``activation``,
``output`` (scikit-learn's ``out_activation_``), ``sizes``, ``dtype``, ``feature_names`` (or null)
and ``labels`` (null for a regressor). ``labels`` holds ``dtype``, ``values``, and whether they are
``multilabel``. An estimator with layers also has ``hidden``, as in ``hidden_layer_sizes``, and
``image_shape`` (or null). The tensors have PyTorch's names and shapes: "0.weight" [out, in], "0.bias", ...
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.preprocessing import LabelBinarizer

from fastmlp.errors import DataError, FastMLPError, FormatError
from fastmlp.estimator.layers import TO_OURS, hidden_of, layers_of, turned
from fastmlp.machine.files import Layout, read_tensors, write_tensors
from fastmlp.training.layers import Layer, network_layers, sizes_of, without_dropout
from fastmlp.training.shapes import parameter_names, parameter_shapes
from fastmlp.training.state import named

KIND = "estimator"
_OUTPUTS = {"MLPClassifier": ("softmax", "logistic"), "MLPRegressor": ("identity", "exp")}
_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
_ENTRIES = ["activation", "dtype", "estimator", "feature_names", "labels", "output", "sizes"]
_WITH_LAYERS = ("hidden", "image_shape")
_TEXT = {
    "U": "str",
    "O": "object",
}  # names of the types of text labels; others have their NumPy names
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_LABELS = (*_TEXT.values(), *_NUMBERS, "float32", "float64")


def tensors_of(estimator: Any) -> dict[str, np.ndarray]:
    """Return weights and biases of a fitted estimator in PyTorch's layout, under PyTorch's names."""
    layers = _modules(getattr(estimator, "hidden_", None), _sizes(estimator), estimator.activation)
    weights = [np.ascontiguousarray(turned(coef)) for coef in estimator.coefs_]
    return named(layers, weights, estimator.intercepts_)


def _sizes(estimator: Any) -> list[int]:
    return list(sizes_of(layers_of(estimator), estimator.n_features_in_))


def _modules(
    hidden: Sequence[int | str] | None, sizes: Sequence[int], activation: str
) -> tuple[Layer, ...]:
    """Return the layers by which tensors are named; with widths alone an activation counts even if it is none."""
    if hidden is None:
        return network_layers(sizes[1:-1], sizes[-1])
    layers = network_layers(hidden, sizes[-1], activation=TO_OURS[activation])
    return without_dropout(layers)


def save(estimator: Any, path: str | Path) -> None:
    """Write a fitted estimator; see ``Conversions.save``."""
    names = getattr(estimator, "feature_names_in_", None)
    description = {
        "activation": estimator.activation,
        "dtype": str(estimator.coefs_[0].dtype),
        "estimator": "MLPClassifier" if is_classifier(estimator) else "MLPRegressor",
        "feature_names": None if names is None else names.tolist(),
        "labels": _described_labels(estimator) if is_classifier(estimator) else None,
        "output": estimator.out_activation_,
        "sizes": _sizes(estimator),
    }
    if getattr(estimator, "hidden_", None) is not None:
        description |= {"hidden": estimator.hidden_, "image_shape": estimator.image_shape_}
    write_tensors(path, KIND, description, tensors_of(estimator))


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the checked description and tensors of an estimator's file.

    Raises
    ------
    FormatError
        If the file is missing, unreadable, damaged or not an estimator's.
    """
    return read_tensors(path, KIND, _layout)


def load(kind: Any, path: str | Path) -> Any:
    """Read an estimator of a class; see ``Conversions.load``."""
    description, tensors = read(path)
    if (found := description["estimator"]) not in [parent.__name__ for parent in kind.__mro__]:
        raise FormatError(f"{path}: found an {found}, expected an {kind.__name__}")
    output, sizes = description["output"], description["sizes"]
    settings = {"loss": "poisson"} if output == "exp" else {}
    hidden, image_shape = description.get("hidden"), description.get("image_shape")
    estimator = kind(
        hidden_layer_sizes=tuple(sizes[1:-1] if hidden is None else hidden),
        activation=description["activation"],
        image_shape=image_shape and tuple(image_shape),
        **settings,
    )
    names = parameter_names(_modules(hidden, sizes, description["activation"]))
    coefs = [np.ascontiguousarray(turned(tensors[name])) for name in names[::2]]
    adopt(estimator, coefs, [tensors[name] for name in names[1::2]], output)
    if description["feature_names"] is not None:
        estimator.feature_names_in_ = np.asarray(description["feature_names"], dtype=object)
    if labels := description["labels"]:
        values = np.asarray(labels["values"], dtype=labels["dtype"])
        adopt_labels(estimator, values, labels["multilabel"])
    return estimator


def adopt(
    estimator: Any, coefs: list[np.ndarray], intercepts: list[np.ndarray], output: str
) -> None:
    """Make an estimator look fitted, in no epochs, with these coefs_ and intercepts_."""
    estimator.hidden_ = hidden_of(estimator.hidden_layer_sizes)
    estimator.image_shape_ = estimator.image_shape
    estimator.coefs_, estimator.intercepts_ = coefs, intercepts
    estimator._best_coefs, estimator._best_intercepts = list(coefs), list(intercepts)
    estimator.out_activation_ = output
    estimator.n_features_in_ = math.prod(estimator.image_shape or (len(coefs[0]),))
    estimator.n_layers_ = len(_sizes(estimator))
    estimator.n_outputs_ = len(intercepts[-1])
    estimator.n_iter_ = estimator.t_ = estimator._no_improvement_count = 0
    estimator.loss_curve_, estimator.best_loss_ = [], np.inf
    estimator.validation_scores_ = estimator.best_validation_score_ = None
    estimator.validation_loss_curve_ = None


def adopt_labels(classifier: Any, labels: np.ndarray, multilabel: bool = False) -> None:
    """Give a classifier its labels, in sorted order."""
    examples = np.eye(len(labels), dtype=int) if multilabel else labels
    classifier._label_binarizer = LabelBinarizer().fit(examples)
    classifier.classes_ = labels


def _described_labels(classifier: Any) -> dict[str, Any]:
    labels = classifier.classes_
    name = _TEXT.get(labels.dtype.kind, labels.dtype.name)
    values = labels.tolist()
    texts = name not in _TEXT.values() or all(isinstance(value, str) for value in values)
    if name not in _LABELS or not texts:
        raise DataError(
            f"classes_: found {reprlib.repr(values)} of type {labels.dtype}, expected numbers or "
            "strings, which a model file can hold"
        )
    multilabel = classifier._label_binarizer.y_type_.startswith("multilabel")
    return {"dtype": name, "multilabel": multilabel, "values": values}


def _layout(description: Any) -> Layout:
    """Check a description, which may be any JSON, and return the tensors that belong to it."""
    entries = ", ".join(_ENTRIES)
    is_whole = isinstance(description, dict) and (
        sorted(description) in (_ENTRIES, sorted([*_ENTRIES, *_WITH_LAYERS]))
    )
    _check(is_whole, "estimator", description, f"the entries {entries}")
    kind, output, activation = (description[name] for name in ("estimator", "output", "activation"))
    dtype, sizes, labels = (description[name] for name in ("dtype", "sizes", "labels"))
    names = description["feature_names"]
    _check(kind in list(_OUTPUTS), "estimator", kind, " or ".join(_OUTPUTS))
    _check(activation in _ACTIVATIONS, "activation", activation, ", ".join(_ACTIVATIONS))
    _check(output in _OUTPUTS[kind], "output", output, " or ".join(_OUTPUTS[kind]))
    _check(dtype in ("float32", "float64"), "dtype", dtype, "float32 or float64")
    _check(_are_counts(sizes) and len(sizes) >= 2, "sizes", sizes, "two or more numbers above 0")
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    has_names = names is None or (are_names and len(names) == sizes[0])
    _check(has_names, "feature_names", names, "a name for each feature, or none")
    if kind == "MLPRegressor":
        _check(labels is None, "labels", labels, "none")
    else:
        _check(_are_labels(labels, output, sizes[-1]), "labels", labels, "those of its outputs")
    hidden, shape = description.get("hidden"), description.get("image_shape")
    if "hidden" in description:
        _check(_are_layers(hidden, sizes), "hidden", hidden, f"layers of the widths {sizes[1:-1]}")
    is_shape = shape is None or (_are_counts(shape) and len(shape) == 3)
    _check(is_shape and math.prod(shape or sizes[:1]) == sizes[0], "image_shape", shape, "a shape")
    layers = _modules(hidden, sizes, activation)
    pairs = parameter_shapes(layers, shape or sizes[:1])
    shapes = (one for pair in pairs for one in pair)
    return {name: (dtype, one) for name, one in zip(parameter_names(layers), shapes, strict=True)}


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(one) is int and one > 0 for one in values)


def _are_layers(hidden: Any, sizes: Sequence[int]) -> bool:
    if not isinstance(hidden, list) or not all(type(one) in (int, str) for one in hidden):
        return False
    try:
        found = hidden_of(hidden)
    except FastMLPError:
        return False
    layers = network_layers(found or (), sizes[-1])
    return found == tuple(hidden) and sizes_of(layers, sizes[0]) == tuple(sizes)


def _are_labels(labels: Any, output: str, outputs: int) -> bool:
    if not isinstance(labels, dict) or sorted(labels) != ["dtype", "multilabel", "values"]:
        return False
    values, name = labels["values"], labels["dtype"]
    if not isinstance(values, list) or name not in _LABELS:
        return False
    if type(labels["multilabel"]) is not bool:
        return False
    plain = str if name in _TEXT.values() else (bool, int, float)
    if not all(isinstance(value, plain) for value in values):
        return False
    if labels["multilabel"] or output == "softmax":
        return len(values) == outputs
    return outputs == 1 and len(values) in (1, 2)


def _check(holds: bool, name: str, found: Any, expected: str) -> None:
    if not holds:
        raise FormatError(f"{name}: found {reprlib.repr(found)}, expected {expected}")
