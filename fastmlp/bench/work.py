"""The arithmetic that training a network takes, counted from its layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from fastmlp.training.layers import (
    Activation,
    AvgPool,
    Convolution,
    Layer,
    Linear,
    MaxPool,
    network_layers,
)
from fastmlp.training.shapes import multiply_adds, parameter_shapes, shapes_of

# An entry of `fastmlp.bench.problem.Problem.sizes`; results.json has lists for shapes.
Size = int | str | Sequence[int]


def shape_of(sizes: Sequence[Size]) -> tuple[int, ...]:
    """Return the shape of an input: (width,), or (channels, height, width)."""
    first = sizes[0]
    assert not isinstance(first, str)
    return (first,) if isinstance(first, int) else tuple(first)


def layers_of(sizes: Sequence[Size]) -> tuple[Layer, ...]:
    """Return the layers of a network with ReLU."""
    hidden = [one for one in sizes[1:-1] if isinstance(one, int | str)]
    assert isinstance(sizes[-1], int)
    return network_layers(hidden, sizes[-1])


def spell_sizes(sizes: Sequence[Size]) -> str:
    """Return a network in words: 3072-10, or 1x28x28, conv 6 5, maxpool 2, 10."""
    between = "-" if isinstance(sizes[0], int) else ", "
    return between.join([spell_size(shape_of(sizes)), *map(str, sizes[1:])])


def spell_size(size: int | Sequence[int]) -> str:
    """Return a width, or the shape of an image, in words: 3072, or 1x28x28."""
    return str(size) if isinstance(size, int) else "x".join(map(str, size))


class Stage(NamedTuple):
    """A layer with weights, and the pooling that reads it.

    Attributes
    ----------
    layer : Linear or Convolution
    inputs, outputs : tuple of int
        Shapes, the outputs behind the pooling.
    multiply_adds : int
        For one sample on its way up; outputs that the pooling never reads count as none.
    weights : int
        Their number, without biases.
    """

    layer: Linear | Convolution
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    multiply_adds: int
    weights: int


def stages(layers: Sequence[Layer], shape: tuple[int, ...]) -> list[Stage]:
    """Return the layers with weights, from the inputs on."""
    found = []
    counts, made = multiply_adds(layers, shape), shapes_of(layers, shape)
    weights = (math.prod(one) for one, _ in parameter_shapes(layers, shape))
    for number, (layer, inputs) in enumerate(zip(layers, [shape, *made], strict=False)):
        if isinstance(layer, Linear | Convolution):
            outputs, size = _behind_pooling(layers, made, number)
            area = made[number][1:]
            read = math.prod(one // size * size for one in area)
            needed = counts[number] * read // math.prod(area)
            found.append(Stage(layer, inputs, outputs, needed, next(weights)))
    return found


def count_weights(sizes: Sequence[Size]) -> int:
    """Count the weights of a network, without biases."""
    return sum(one.weights for one in stages(layers_of(sizes), shape_of(sizes)))


def flops_per_sample(sizes: Sequence[Size]) -> int:
    """Count the arithmetic of training on one sample: the multiply-adds of layers, without padding.

    A multiply-add counts as two. Every layer computes its outputs, the gradient of its weights and that of its inputs;
    the first layer has no gradient of its inputs.
    """
    counts = [one.multiply_adds for one in stages(layers_of(sizes), shape_of(sizes))]
    return 2 * (3 * sum(counts) - counts[0])


def _behind_pooling(
    layers: Sequence[Layer], shapes: Sequence[tuple[int, ...]], number: int
) -> tuple[tuple[int, ...], int]:
    """Return the shape that pooling makes of a layer's outputs, and its size; their own shape and 1 without.

    `shapes` are those of the layers' outputs. Only activations may stand between.
    """
    for place, layer in enumerate(layers[number + 1 :], number + 1):
        if isinstance(layer, MaxPool | AvgPool):
            return shapes[place], layer.size
        if not isinstance(layer, Activation):
            break
    return shapes[number], 1
