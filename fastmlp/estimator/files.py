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

from fastmlp.errors import DataError, FormatError
from fastmlp.estimator.layers import TO_OURS, hidden_of, layers_of, turned
from fastmlp.machine.files import Layout, read_tensors, write_tensors
from fastmlp.machine.schema import Check, flag, items, none_or, one_of, require, table, text, whole
from fastmlp.training.layers import Layer, network_layers, sizes_of, without_dropout
from fastmlp.training.shapes import parameter_names, parameter_shapes
from fastmlp.training.state import named

KIND = "estimator"
_OUTPUTS = {"MLPClassifier": ("softmax", "logistic"), "MLPRegressor": ("identity", "exp")}
_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
_TEXT = {
    "U": "str",
    "O": "object",
}  # names of the types of text labels; others have their NumPy names
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_LABELS = (*_TEXT.values(), *_NUMBERS, "float32", "float64")


def _is_label(value: Any) -> bool:
    return type(value) in (bool, float, str) or whole(-(2**63), 2**64 - 1).holds(value)


_COUNT = whole(1, 2**31 - 1)
_check_description = table(
    {
        "activation": one_of(*_ACTIVATIONS),
        "dtype": one_of("float32", "float64"),
        "estimator": one_of(*_OUTPUTS),
        "feature_names": none_or(items(text())),
        "labels": none_or(
            table(
                {
                    "dtype": one_of(*_LABELS),
                    "multilabel": flag(),
                    "values": items(Check("a text or number", _is_label), least=1),
                }
            )
        ),
        "output": text(),
        "sizes": items(_COUNT, least=2, words="two or more numbers above 0"),
    },
    {
        "hidden": items(Check("a width or layer", lambda one: type(one) in (int, str))),
        "image_shape": none_or(items(_COUNT, least=3, most=3, words="three numbers above 0")),
    },
)


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
    _check_description("", description)
    kind, output, activation = (description[name] for name in ("estimator", "output", "activation"))
    dtype, sizes, labels = (description[name] for name in ("dtype", "sizes", "labels"))
    names = description["feature_names"]
    one_of(*_OUTPUTS[kind])("output", output)
    has_names = names is None or len(names) == sizes[0]
    require(has_names, "feature_names", names, "a name for each feature, or none")
    is_classifier = kind == "MLPClassifier"
    fits = _are_labels(labels, output, sizes[-1]) if is_classifier else labels is None
    require(fits, "labels", labels, "those of its outputs" if is_classifier else "none")
    both = ("hidden" in description) == ("image_shape" in description)
    require(both, "estimator", sorted(description), "hidden and image_shape, or neither")
    hidden, shape = description.get("hidden"), description.get("image_shape")
    if "hidden" in description:
        fits = _are_layers(hidden, sizes)
        require(fits, "hidden", hidden, f"layers of the widths {sizes[1:-1]}")
    is_shape = math.prod(shape or sizes[:1]) == sizes[0]
    require(is_shape, "image_shape", shape, f"a product of {sizes[0]}, or none")
    layers = _modules(hidden, sizes, activation)
    pairs = parameter_shapes(layers, shape or sizes[:1])
    shapes = (one for pair in pairs for one in pair)
    return {name: (dtype, one) for name, one in zip(parameter_names(layers), shapes, strict=True)}


def _are_layers(hidden: Any, sizes: Sequence[int]) -> bool:
    try:
        found = hidden_of(hidden)
        layers = network_layers(found or (), sizes[-1])
    except (TypeError, ValueError):
        return False
    return found == tuple(hidden) and sizes_of(layers, sizes[0]) == tuple(sizes)


def _are_labels(labels: Any, output: str, outputs: int) -> bool:
    if labels is None:
        return False
    values, name = labels["values"], labels["dtype"]
    kinds: tuple[type, ...] = (int, float) if name.startswith("float") else (int,)
    if name in _TEXT.values() or name == "bool":
        kinds = (bool,) if name == "bool" else (str,)
    if not all(type(value) in kinds for value in values):  # a bool is an int to isinstance
        return False
    try:
        array = np.asarray(values, dtype=name)
    except (OverflowError, TypeError, ValueError, DeprecationWarning):  # the last is NumPy 1's
        return False
    # A number that the type cannot hold, and labels that are twice the same, come back as others.
    if array.tolist() != values or len(set(values)) != len(values):
        return False
    if labels["multilabel"] or output == "softmax":
        return len(values) == outputs
    return outputs == 1 and len(values) in (1, 2)
