"""Parameters in PyTorch's layout <-> the kernels' flat arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fastmlp.kernels.loops.pack import pack, pack_pairs, unpack
from fastmlp.kernels.plan import Layout

Shape = tuple[int, ...]


def _views(layout: Layout, buffer: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield weights [panels, rows, lanes] and biases [panels, 1, lanes] of each pair."""
    lanes = layout.kind.lanes
    for pair, place in zip(layout.pairs, layout.places, strict=True):
        panels = layout.kind.panels(pair.outputs)
        weights = buffer[place.weights : place.bias].reshape(panels, -1, lanes)
        bias = buffer[place.bias :][: panels * lanes].reshape(panels, 1, lanes)
        yield weights, bias


def pack_parameters(
    layout: Layout, buffer: np.ndarray, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
) -> None:
    """Write parameters, or what an optimiser remembers of each, into a flat array.

    Parameters
    ----------
    layout : Layout
    buffer : array [layout.states or more]
    weights, biases : sequences of arrays
        As in `fastmlp.training.shapes.parameter_shapes`.
    """
    for (w, b), weight, bias in zip(_views(layout, buffer), weights, biases, strict=True):
        pack(weight.reshape(len(bias), -1).T, w)
        pack(bias[None], b)


def unpack_parameters(
    layout: Layout, buffer: np.ndarray, shapes: Sequence[tuple[Shape, Shape]]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return copies of what `pack_parameters` wrote; matrices are in column-major order."""
    weights, biases = [], []
    for pair, (w, b), (shape, _) in zip(layout.pairs, _views(layout, buffer), shapes, strict=True):
        weights.append(unpack(w, pair.inputs, pair.outputs).T.reshape(shape))
        biases.append(unpack(b, 1, pair.outputs)[0])
    return weights, biases


def pack_operands(layout: Layout, right: np.ndarray, weights: Sequence[np.ndarray]) -> None:
    """Write what products read on their right, beside the parameters themselves."""
    kind = layout.kind

    def write(matrix: np.ndarray, offset: int) -> None:
        depth, width = matrix.shape
        shape = kind.panels(width), kind.depth(depth) * kind.lanes, kind.lanes
        place = right[offset : offset + math.prod(shape)].reshape(shape)
        (pack_pairs if kind.pairs else pack)(matrix, place)

    for place, pair, weight in zip(layout.places, layout.pairs, weights, strict=True):
        if kind.pairs and pair.is_product:
            write(weight.T, place.right)
        if place.transposed >= 0:
            write(weight, place.transposed)
