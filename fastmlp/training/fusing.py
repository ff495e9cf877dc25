"""Which layers the kernels compute together: a linear layer or convolution, and what follows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastmlp.kernels.layers.batchnorm import Normalization
from fastmlp.kernels.layers.convolution import FusedConvolution
from fastmlp.kernels.layers.flatten import Flat, Unflat
from fastmlp.kernels.layers.images import Fork, ImageActivation, ImageDropout, ImageLayer, Join
from fastmlp.kernels.layers.linear import FusedLinear
from fastmlp.kernels.layers.pooling import Pool
from fastmlp.training.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Residual,
    flat,
)

# Activations that keep the order of numbers: the largest of some activations is that of the largest.
RISING = ("relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu")

POOLED_AT_ONCE = 2


def fused(
    layers: Sequence[Layer], shape: Sequence[int], group_by_layer: bool = False
) -> list[FusedLinear | ImageLayer]:
    """Return what the kernels compute, in order.

    Parameters
    ----------
    layers : sequence of Layer
    shape : sequence of int
        (channels, height, width) of an image; (inputs,) is enough where no layer wants images.
    group_by_layer : bool
        Whether the optimiser has numbers of its own for each layer; otherwise one set for all weights and one for all
        biases. A batch normalisation has those of the layer it stands behind.
    """
    writer = _Writer(tuple(shape), group_by_layer, _normalizes_rows(layers))
    for layer in layers:
        writer.add(layer)
    return writer.found


def _normalizes_rows(layers: Sequence[Layer]) -> bool:
    """Return whether a batch normalisation follows a linear layer."""
    kinds = [type(layer) for layer in flat(layers)]
    return Linear in kinds and BatchNorm in kinds[kinds.index(Linear) :]


class _Writer:
    """Writes down one layer after the other.

    Attributes
    ----------
    found : list
    shape : tuple of int
        Of what the last layer makes: (C, H, W) of images, (width,) of rows.
    all_in_images : bool
        Whether what follows a linear layer is computed for images of one pixel, as a batch normalisation is.
    """

    def __init__(self, shape: tuple[int, ...], group_by_layer: bool, all_in_images: bool) -> None:
        self.found: list[Any] = []
        self.shape = shape
        self.group_by_layer = group_by_layer
        self.all_in_images = all_in_images
        self.heads = 0

    def add(self, layer: Layer, is_residual: bool = False) -> None:
        """Add a layer; a residual connection goes around it where it is linear."""
        match layer:
            case Linear(outputs):
                self.add_linear(outputs, is_residual)
            case Convolution():
                self.add_convolution(layer)
            case Activation(name):
                self.add_activation(name)
            case Dropout(rate):
                if self.is_in_rows:
                    self.found[-1] = self.found[-1]._replace(dropout=rate)
                else:
                    self.found.append(ImageDropout(self.images(), rate))
            case MaxPool(size) | AvgPool(size):
                self.add_pool(size, isinstance(layer, AvgPool))
            case BatchNorm():
                self.found.append(Normalization(self.images(), self.groups))
            case Residual(inner):
                self.add_residual(inner)
            case Flatten():
                pass  # what is flat follows from what comes next

    @property
    def is_in_rows(self) -> bool:
        """Whether what comes next is computed together with the linear layer below."""
        return len(self.shape) == 1 and not self.all_in_images

    @property
    def groups(self) -> tuple[int, int]:
        """The optimiser's groups of the present layer's weights and biases."""
        first = 2 * (self.heads - 1) if self.group_by_layer else 0
        return first, first + 1

    def images(self) -> tuple[int, int, int]:
        """Return the shape of images; rows become images of one pixel."""
        if len(self.shape) == 1:
            self.shape = (*self.shape, 1, 1)
            if self.found:
                self.found.append(Unflat(self.shape))
        channels, height, width = self.shape
        return channels, height, width

    def add_linear(self, outputs: int, is_residual: bool) -> None:
        """Add a linear layer, which is given rows."""
        self.heads += 1
        if len(self.shape) == 3 and self.found:
            self.found.append(Flat(self.images()))
        inputs = math.prod(self.shape)
        self.found.append(FusedLinear(inputs, outputs, "identity", 0.0, is_residual, self.groups))
        self.shape = (outputs,)

    def add_convolution(self, layer: Convolution) -> None:
        """Add a convolution."""
        self.heads += 1
        shape = self.images()
        rows, columns = (
            (size + 2 * layer.margin - layer.kernel) // layer.stride + 1 for size in shape[1:]
        )
        numbers = layer.channels, layer.kernel, layer.stride, layer.margin, rows, columns
        self.found.append(FusedConvolution(shape, *numbers, False, False, self.groups))
        self.shape = (layer.channels, rows, columns)

    def add_activation(self, name: str) -> None:
        """Add an activation: to the layer below where its kernel has it."""
        below = self.found[-1]
        if self.is_in_rows:
            self.found[-1] = below._replace(activation=name)
        elif name == "relu" and isinstance(below, FusedConvolution):
            self.found[-1] = replace(below, relu=True)
        else:
            self.found.append(ImageActivation(self.images(), name))

    def add_pool(self, size: int, averages: bool) -> None:
        """Add a pool: to the convolution below where its kernel has it.

        What the windows leave over is not computed.
        """
        channels, height, width = self.images()
        rows, columns = height // size, width // size
        pooled = (channels, rows, columns)
        activation = None
        if self.found and isinstance(self.found[-1], ImageActivation):
            activation = self.found.pop()
        pool: Pool | None = Pool((channels, rows * size, columns * size), size, averages)
        below = self.found[-1] if self.found else None
        if isinstance(below, FusedConvolution) and not below.pools:
            self.found[-1] = replace(below, rows=rows * size, columns=columns * size)
            at_once = size == POOLED_AT_ONCE and not averages
            if at_once and (activation is None or activation.name in RISING):
                self.found[-1] = replace(self.found[-1], pools=True)
                pool, activation = None, activation and replace(activation, shape=pooled)
            elif activation:
                activation = replace(activation, shape=(channels, rows * size, columns * size))
        else:
            pool = Pool((channels, height, width), size, averages)
        self.found += [one for one in (activation, pool) if one]
        self.shape = pooled

    def add_residual(self, inner: Sequence[Layer]) -> None:
        """Add layers whose input is added to their output."""
        if self.is_in_rows and not any(isinstance(one, Convolution) for one in inner):
            for one in inner:
                self.add(one, is_residual=True)
            return
        shape = self.images()
        self.found.append(Fork(shape))
        for one in inner:
            self.add(one)
        self.found.append(Join(self.images()))
