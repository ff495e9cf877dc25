"""The arithmetic that training a network takes, counted from its layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastmlp.training.layers import (
    Activation,
    AvgPool,
    Convolution,
    Layer,
    Linear,
    MaxPool,
    network_layers,
    parameter_shapes,
    shapes_of,
)

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
    if isinstance(sizes[0], int):
        return "-".join(map(str, sizes))
    return ", ".join(["x".join(map(str, shape_of(sizes))), *map(str, sizes[1:])])


def multiply_adds(layers: Sequence[Layer], shape: tuple[int, ...]) -> list[int]:
    """Count the multiply-adds of each layer with weights, for one sample on its way up.

    Outputs that the pooling behind them never reads count as none.
    """
    counts = []
    shapes = [shape, *shapes_of(layers, shape)]
    for number, layer in enumerate(layers):
        before, after = shapes[number], shapes[number + 1]
        if isinstance(layer, Linear):
            counts.append(math.prod(before) * layer.outputs)
        elif isinstance(layer, Convolution):
            size = _pooled(layers[number + 1 :])
            read = [one // size * size for one in after[1:]]
            counts.append(before[0] * layer.kernel**2 * layer.channels * math.prod(read))
    return counts


def count_weights(sizes: Sequence[Size]) -> int:
    """Count the weights of a network, without biases."""
    shapes = parameter_shapes(layers_of(sizes), shape_of(sizes))
    return sum(math.prod(weight) for weight, _ in shapes)


def flops_per_sample(sizes: Sequence[Size]) -> int:
    """Count the arithmetic of training on one sample: the multiply-adds of layers, without padding.

    A multiply-add counts as two. Every layer computes its outputs, the gradient of its weights and that of its inputs;
    the first layer has no gradient of its inputs.
    """
    counts = multiply_adds(layers_of(sizes), shape_of(sizes))
    return 2 * (3 * sum(counts) - counts[0])


def _pooled(layers: Sequence[Layer]) -> int:
    """Return the size of the pooling that reads a convolution, given the layers after it; 1 if there is none."""
    for layer in layers:
        if isinstance(layer, MaxPool | AvgPool):
            return layer.size
        if not isinstance(layer, Activation):
            break
    return 1
