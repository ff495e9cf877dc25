"""What follows from a list of layers: the shapes between them, their parameters, and what an image costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from fastmlp.errors import ConfigError
from fastmlp.training.layers import (
    AvgPool,
    BatchNorm,
    Convolution,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    flat,
    spell_layer,
)

Shape = tuple[int, ...]


def shapes_of(layers: Iterable[Layer], shape: Sequence[int]) -> list[Shape]:
    """Return the shape of each layer's output.

    Parameters
    ----------
    layers : iterable of Layer
        Layers inside residual blocks count one by one, as `fastmlp.training.layers.flat` yields them.
    shape : sequence of int
        (channels, height, width) of an image, or the number of inputs alone, (D,).

    Returns
    -------
    list of tuple
        (channels, height, width) or (width,).

    Raises
    ------
    ConfigError
        If a layer cannot take the shape that reaches it; the message names both.
    """
    shapes: list[Shape] = []
    given: Shape = tuple(shape)
    for layer in flat(layers):
        given = _output(layer, given)
        shapes.append(given)
    return shapes


def _output(layer: Layer, given: Shape) -> Shape:
    match layer:
        case Linear(outputs):
            return (outputs,)  # of an image, all numbers
        case Flatten():
            return (math.prod(given),)
        case Convolution(channels, kernel, stride, _):
            least = kernel - 2 * layer.margin
            _check_image(layer, given, least, "kernel", " or more padding")
            height, width = ((one - least) // stride + 1 for one in given[1:])
            return channels, height, width
        case MaxPool(size) | AvgPool(size):
            _check_image(layer, given, size, "window", "")
            return given[0], given[1] // size, given[2] // size
        case _:
            return given


def _check_image(layer: Layer, given: Shape, least: int, name: str, or_else: str) -> None:
    """Raise a ConfigError unless a layer is given an image of a height and width of at least `least`."""
    told = f"hidden: {spell_layer(layer)!r} is given {spell_shape(given)}"
    if len(given) != 3:
        raise ConfigError(f"{told} numbers, which are no image; expected channels x height x width")
    if min(given[1:]) < least:
        raise ConfigError(
            f"{told} (channels x height x width): the {name} does not fit; expected at least "
            f"{least} x {least}{or_else and ','}{or_else}"
        )


def with_shapes(layers: Iterable[Layer], shape: Sequence[int]) -> list[tuple[Layer, Shape, Shape]]:
    """Return each layer with the shape that reaches it and the shape of its output; see `shapes_of`."""
    layers = list(layers)
    after = shapes_of(layers, shape)
    return list(zip(flat(layers), [tuple(shape), *after[:-1]], after, strict=True))


def spell_shape(shape: Sequence[int]) -> str:
    """Return a shape as people write it: ``6 x 24 x 24``."""
    return " x ".join(map(str, shape))


def parameter_shapes(layers: Iterable[Layer], shape: Sequence[int]) -> list[tuple[Shape, Shape]]:
    """Return the shapes of the parameters, pair by pair, as they stand in the lists of weights and biases.

    Parameters
    ----------
    layers, shape
        As for `shapes_of`.

    Returns
    -------
    list of (tuple, tuple)
        Of a linear layer ([out, in], [out]), of a convolution ([out, in, kernel, kernel], [out]). A batchnorm of C
        channels or features has two pairs ([C], [C]): weight and bias, running mean and running variance.

    Raises
    ------
    ConfigError
        As for `shapes_of`.
    """
    pairs: list[tuple[Shape, Shape]] = []
    for layer, given, _ in with_shapes(layers, shape):
        match layer:
            case Linear(outputs):
                pairs.append(((outputs, math.prod(given)), (outputs,)))
            case Convolution(channels, kernel):
                pairs.append(((channels, given[0], kernel, kernel), (channels,)))
            case BatchNorm():
                pairs += [((given[0],), (given[0],))] * 2
    return pairs


def parameter_names(layers: Iterable[Layer]) -> list[str]:
    """Return the names of the parameters as in a ``torch.nn.Sequential`` of the layers, two for each pair."""
    kinds: dict[type[Layer], tuple[str, ...]] = {
        Linear: ("weight", "bias"),
        Convolution: ("weight", "bias"),
        BatchNorm: ("weight", "bias", "running_mean", "running_var"),
    }
    return [
        f"{number}.{kind}"
        for number, layer in enumerate(flat(layers))
        for kind in kinds.get(type(layer), ())
    ]


def multiply_adds(layers: Iterable[Layer], shape: Sequence[int]) -> list[int]:
    """Return the multiply-adds that each layer takes for one image; only those of products count.

    Parameters
    ----------
    layers, shape
        As for `shapes_of`.

    Raises
    ------
    ConfigError
        As for `shapes_of`.
    """
    counts = []
    for layer, given, made in with_shapes(layers, shape):
        match layer:
            case Linear(outputs):
                counts.append(outputs * math.prod(given))
            case Convolution(_, kernel):
                counts.append(math.prod(made) * given[0] * kernel**2)
            case _:
                counts.append(0)
    return counts
