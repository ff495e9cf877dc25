"""The parameters of a network under the names that PyTorch gives them."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastmlp.errors import DataError, FormatError
from fastmlp.training.layers import BatchNorm, Convolution, Layer, Linear, flat, network_layers
from fastmlp.training.shapes import parameter_names

COUNTER = "num_batches_tracked"  # of a batchnorm; PyTorch counts with it, and reads it nowhere


def check(condition: bool, name: str, found: str, expected: str) -> None:
    """Raise a DataError unless a condition holds."""
    if not condition:
        raise DataError(f"{name}: found {found}, expected {expected}")


def check_pairs(
    layers: Sequence[Layer], weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
) -> None:
    """Raise a DataError unless the parameters have as many dimensions as those of the layers.

    Without layers they must be linear ones.
    """
    check(len(weights) > 0, "weights", "no layer", "at least one")
    expected = _dimensions(layers) or [2] * len(weights)
    for name, found, count in (
        ("weights", weights, len(expected)),
        ("biases", biases, len(weights)),
    ):
        check(len(found) == count, name, str(len(found)), str(count))
    words = {1: "[out]", 2: "[out, in]", 4: "[out, in, kernel, kernel]"}
    for pair, (W, b) in enumerate(zip(weights, biases, strict=True)):
        dimensions = expected[pair]
        check(W.ndim == dimensions, f"weights[{pair}]", f"shape {W.shape}", words[dimensions])
        check(b.ndim == 1, f"biases[{pair}]", f"shape {b.shape}", words[1])


def _dimensions(layers: Iterable[Layer]) -> list[int]:
    """Return the number of dimensions of the weights of each pair of parameters."""
    found: dict[type[Layer], list[int]] = {Linear: [2], Convolution: [4], BatchNorm: [1, 1]}
    return [one for layer in flat(layers) for one in found.get(type(layer), [])]


def named(
    layers: Iterable[Layer], weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Return weights and biases by the names of `parameter_names`."""
    arrays = [array for pair in zip(weights, biases, strict=True) for array in pair]
    return dict(zip(parameter_names(layers), arrays, strict=True))


def to_state(parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return copies of named parameters as the state of a ``torch.nn.Sequential``."""
    state = {}
    for name, array in parameters.items():
        state[name] = array.copy()
        if name.endswith(".running_var"):
            state[name.replace("running_var", COUNTER)] = np.array(0)
    return state


def from_state(
    state: Mapping[str, Any], layers: Sequence[Layer] | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return copies of weights and biases out of the state of a ``torch.nn.Sequential``.

    Parameters
    ----------
    state : mapping of str to array or CPU tensor
    layers : sequence of Layer, optional
        By default linear layers, with one activation between each two.

    Raises
    ------
    FormatError
        If the names are not those of these layers, or a value is not an array.
    """
    known = {name: value for name, value in state.items() if not str(name).endswith(f".{COUNTER}")}
    if layers is None:
        names = parameter_names(network_layers([1] * max(0, len(known) // 2 - 1), 1))
        expected = "torch.nn.Sequential of Linear layers with one activation between each two"
    else:
        names = parameter_names(layers)
        expected = "torch.nn.Sequential of the layers"
    if set(known) != set(names):
        raise FormatError(
            f"state: found {reprlib.repr(sorted(map(str, known)))}, expected "
            f"{reprlib.repr(names)}, as from {expected}"
        )
    arrays = [_array(name, known[name]) for name in names]
    return arrays[::2], arrays[1::2]


def _array(name: str, value: object) -> np.ndarray:
    """Return a copy of an array or tensor."""
    try:
        return np.asarray(value).copy(order="C")
    except (TypeError, ValueError, RuntimeError) as error:  # PyTorch's tensors raise all three
        raise FormatError(f"state: {name}: found no array ({error}), expected one") from error
