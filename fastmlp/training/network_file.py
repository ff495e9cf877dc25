"""The file of a network: which tensors belong to its description, and which values are allowed.

The description is the metadata entry "network": ``activation``, ``classes``, ``dtype``, ``residual``, ``shape`` and
``sizes``. If these do not describe the network, ``layers`` does, spelled as in `fastmlp.training.layers`. ``levels``
are those of `fastmlp.training.levels`; files of version 0.1 do not have them.
"""

import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError, DataError, FormatError
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.machine.files import Layout
from fastmlp.training.layers import (
    MIXED,
    Layer,
    is_network,
    network_layers,
    parse_layer,
    sizes_of,
)
from fastmlp.training.shapes import parameter_names, parameter_shapes
from fastmlp.training.state import check

PARAMETER_TYPES = ("float32", "float64")
ENTRIES = ("activation", "classes", "dtype", "residual", "shape", "sizes")
OPTIONAL = {"layers", "levels"}


def is_finite(array: np.ndarray) -> bool:
    """Return whether all values of an array are finite."""
    if array.dtype.kind != "f" or not array.size:
        return True
    # The least and the greatest value suffice, and need no array as large as np.isfinite(array).
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def layout_of(description: Any) -> Layout:
    """Return the tensors that belong to a description, which may be any JSON.

    Raises
    ------
    DataError
        If it does not describe a network.
    """
    check(
        isinstance(description, dict) and sorted(set(description) - OPTIONAL) == list(ENTRIES),
        "network",
        reprlib.repr(description),
        f"the entries {', '.join(ENTRIES)}",
    )
    sizes, shape, dtype = description["sizes"], description["shape"], description["dtype"]
    known = (*ACTIVATIONS, MIXED) if "layers" in description else tuple(ACTIVATIONS)
    for name, holds, expected in (
        ("sizes", _are_counts(sizes) and len(sizes) >= 2, "two or more numbers above 0"),
        ("dtype", dtype in PARAMETER_TYPES, " or ".join(PARAMETER_TYPES)),
        ("activation", description["activation"] in known, f"{known}"),
        ("residual", isinstance(description["residual"], bool), "True or False"),
        ("shape", _are_counts(shape) and len(shape) == 3, "three numbers above 0"),
    ):
        check(holds, name, reprlib.repr(description[name]), expected)
    check(
        math.prod(shape) == sizes[0], "shape", repr(shape), f"a product of {sizes[0]}, the inputs"
    )
    check(
        _are_names(description["classes"]) and len(description["classes"]) == sizes[-1],
        "classes",
        reprlib.repr(description["classes"]),
        f"a printable name for each of {sizes[-1]} outputs",
    )
    levels = description.get("levels", [0.0, 0.0])
    check(_are_levels(levels), "levels", reprlib.repr(levels), "two finite numbers in order")
    layers = layers_of(description)
    try:
        pairs = parameter_shapes(layers, shape)
    except ConfigError as error:
        raise DataError(str(error).replace("hidden", "layers", 1)) from None
    shapes = (one for pair in pairs for one in pair)
    layout = {name: (dtype, one) for name, one in zip(parameter_names(layers), shapes, strict=True)}
    scaling = ("float64", (sizes[0],))
    return layout | {"normalization.mean": scaling, "normalization.std": scaling}


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
    check(fits, "layers", reprlib.repr(spelled), f"layers of a network of the widths {sizes[1:]}")
    return layers


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 < value < 2**31 for value in values
    )


def _are_levels(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 2
        and all(type(value) is float and math.isfinite(value) for value in values)
        and values[0] <= values[1]
    )


def _are_names(values: Any) -> bool:
    # Printable: a foreign file must not send control characters to a terminal.
    return isinstance(values, list) and all(
        isinstance(value, str) and value and value.isprintable() for value in values
    )


def check_values(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise a FormatError if a parameter is not finite or a standard deviation is not above 0."""
    for name, array in tensors.items():
        if not is_finite(array):
            raise FormatError(
                f"{path}: {name}: found values that are not finite, expected a network whose "
                "training did not diverge"
            )
    if tensors["normalization.std"].min() <= 0:
        raise FormatError(f"{path}: normalization.std: found a value of 0 or less, expected more")
