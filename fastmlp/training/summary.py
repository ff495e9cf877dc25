"""A network as a table to read: its layers, the shapes between them, what they hold and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fastmlp.reporting.tables import aligned_table
from fastmlp.training.layers import BatchNorm, Layer, Residual, spell_layer
from fastmlp.training.shapes import Shape, multiply_adds, parameter_shapes, shapes_of, spell_shape

HEADER = ("layer", "output", "parameters", "multiply-adds")


class Line(NamedTuple):
    """A layer in the table; `depth` counts the residual connections around it."""

    depth: int
    layer: Layer
    output: Shape
    parameters: int
    multiply_adds: int


def summary_of(layers: Iterable[Layer], shape: Sequence[int]) -> str:
    """Return a table with a line for each layer, and their totals.

    Parameters
    ----------
    layers : iterable of Layer
    shape : sequence of int
        (channels, height, width) of an image, or (D,).

    Raises
    ------
    ConfigError
        If a layer cannot take the shape that reaches it.
    """
    lines = list(lines_of(layers, tuple(shape)))
    rows: list[tuple[str, ...]] = [HEADER, ("input", spell_shape(shape), "", "")]
    for line in lines:
        name = "residual" if isinstance(line.layer, Residual) else spell_layer(line.layer)
        counts = (f"{one:,}" if one else "" for one in (line.parameters, line.multiply_adds))
        rows.append(("  " * line.depth + name, spell_shape(line.output), *counts))
    parameters, work = zip(*((line.parameters, line.multiply_adds) for line in lines), strict=True)
    rows.append(("total", "", f"{sum(parameters):,}", f"{sum(work):,}"))
    return aligned_table(rows, "llrr")


def lines_of(layers: Iterable[Layer], shape: Shape, depth: int = 0) -> Iterator[Line]:
    """Yield the lines of the table, those inside a residual connection below its own."""
    for layer in layers:
        output = shapes_of([layer], shape)[-1]
        if isinstance(layer, Residual):
            yield Line(depth, layer, output, 0, 0)
            yield from lines_of(layer.layers, shape, depth + 1)
        else:
            yield Line(
                depth, layer, output, _count(layer, shape), sum(multiply_adds([layer], shape))
            )
        shape = output


def _count(layer: Layer, shape: Shape) -> int:
    """Return the number of parameters; running means and variances are none."""
    pairs = parameter_shapes([layer], shape)
    learned = pairs[:1] if isinstance(layer, BatchNorm) else pairs
    return sum(math.prod(one) for pair in learned for one in pair)
