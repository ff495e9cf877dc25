"""The file of a network: which tensors belong to its description, and which values are allowed.

The description is the metadata entry "network": ``activation``, ``classes``, ``dtype``, ``residual``, ``shape`` and
``sizes``. If these do not describe the network, ``layers`` does, spelled as in `fastmlp.training.layers`. ``levels``
are those of `fastmlp.training.levels`; files of version 0.1 do not have them. ``task`` is there unless it is a
classification, and ``preparation`` if the network was trained on tables.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.datasets import Preparation
from fastmlp.datasets.labels import TASKS
from fastmlp.datasets.transforms import is_finite
from fastmlp.errors import ConfigError, DataError, FormatError
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.machine.files import Layout
from fastmlp.machine.schema import (
    Check,
    flag,
    items,
    label,
    number,
    one_of,
    require,
    table,
    text,
    whole,
)
from fastmlp.training.layers import (
    MIXED,
    MOST_LAYERS,
    Layer,
    is_network,
    network_layers,
    parse_layer,
    sizes_of,
)
from fastmlp.training.shapes import parameter_names, parameter_shapes

PARAMETER_TYPES = ("float32", "float64")
_COUNT = whole(1, 2**31 - 1)
_check_description = table(
    {
        "activation": text(),
        "classes": items(label(), words="a printable name for each output"),
        "dtype": one_of(*PARAMETER_TYPES),
        "residual": flag(),
        "shape": items(_COUNT, least=3, most=3, words="three numbers above 0"),
        "sizes": items(
            _COUNT,
            least=2,
            most=MOST_LAYERS + 2,
            words="two or more numbers above 0, no more than layers can have",
        ),
    },
    {
        "layers": items(text()),
        "levels": items(number(), least=2, most=2, words="two finite numbers in order"),
        "preparation": Check("a table", lambda value: type(value) is dict),
        "task": one_of(*TASKS),
    },
)


def layout_of(description: Any) -> Layout:
    """Return the tensors that belong to a description, which may be any JSON.

    Raises
    ------
    DataError
        If it does not describe a network.
    """
    _check_description("", description)
    sizes, shape, dtype = description["sizes"], description["shape"], description["dtype"]
    known = (MIXED,) if "layers" in description else tuple(ACTIVATIONS)
    one_of(*known)("activation", description["activation"])
    inputs = f"a product of {sizes[0]}, the inputs"
    require(math.prod(shape) == sizes[0], "shape", shape, inputs)
    classes = description["classes"]
    named = f"a printable name for each of {sizes[-1]} outputs"
    require(len(classes) == sizes[-1], "classes", classes, named)
    low, high = levels = description.get("levels", [0, 0])
    require(low <= high, "levels", levels, "two finite numbers in order")
    if "preparation" in description:
        features = Preparation.from_dict(description["preparation"]).features
        require(
            len(features) == sizes[0], "preparation", features, f"{sizes[0]} features, one an input"
        )
    layers = layers_of(description)
    try:
        pairs = parameter_shapes(layers, shape)
    except ConfigError as error:
        raise DataError(str(error).replace("hidden", "layers", 1)) from None
    shapes = (one for pair in pairs for one in pair)
    layout = {name: (dtype, one) for name, one in zip(parameter_names(layers), shapes, strict=True)}
    scaled = {"normalization": sizes[0]}
    if description.get("task") == "regression":
        scaled["targets"] = sizes[-1]
    for name, width in scaled.items():
        layout |= dict.fromkeys((f"{name}.mean", f"{name}.std"), ("float64", (width,)))
    return layout


def layers_of(description: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Return the layers of the network that a description describes.

    Raises
    ------
    DataError
        If ``layers`` cannot be read, or do not have the widths in ``sizes``.
    """
    sizes = description["sizes"]
    if "layers" not in description:
        return network_layers(
            sizes[1:-1],
            sizes[-1],
            activation=description["activation"],
            residual=description["residual"],
        )
    spelled = description["layers"]
    try:
        layers = tuple(parse_layer(one) for one in spelled)
        fits = is_network(layers) and sizes_of(layers, sizes[0]) == tuple(sizes)
    except (AttributeError, TypeError, ValueError):
        fits = False
    require(fits, "layers", spelled, f"layers of a network of the widths {sizes[1:]}")
    return layers


def check_values(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise a FormatError if a parameter is not finite or a standard deviation is not above 0."""
    for name, array in tensors.items():
        if not is_finite(array):
            raise FormatError(
                f"{path}: {name}: found values that are not finite, expected a network whose "
                "training did not diverge"
            )
        if name.endswith(".std") and array.min() <= 0:
            raise FormatError(f"{path}: {name}: found a value of 0 or less, expected more")
