"""From images to rows, which linear layers take, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastmlp.kernels import codes
from fastmlp.kernels.layers.images import ImageLayer, ImageSignal, Step
from fastmlp.kernels.layers.linear import FusedLinear
from fastmlp.kernels.program import Signal


class _Rows(Step):
    """What both have in common: they move numbers."""

    def to_rows(self, images: ImageSignal) -> Signal:
        """Append the rows of some images, and return them."""
        b = self.builder
        columns = math.prod(images.shape)
        rows = b.signal(columns)
        by_panels = (int(codes.PANELS), rows.values.panels)
        own = (self.share, 0) if self.share == codes.GROUPS else by_panels
        b.add(
            codes.FLATTEN,
            self.share,
            reads=[(images.values, self.all)],
            writes=[(rows.values, own)],
            left=images.values,
            out=rows.values,
            inputs=columns,
        )
        b.write_operands(rows, b.rows_share)
        return rows

    def to_images(self, rows: Signal, halo: int) -> ImageSignal:
        """Append the images of some rows, and return them."""
        images = self.images(self.layer.shape, halo)
        alone = (self.share, 0) if self.share == codes.GROUPS else (int(codes.FIRST), 0)
        self.builder.add(
            codes.UNFLATTEN,
            self.share,
            reads=[(rows.values, self.all)],
            writes=[(images.values, alone)],
            left=rows.values,
            out=images.values,
            inputs=math.prod(self.layer.shape),
            shape=self.shape_of(images, images),
        )
        return images


class _Flatten(_Rows):
    is_masked = False

    def forward(self, given: ImageSignal, halo: int) -> Signal:
        columns = math.prod(given.shape)
        rows = self.to_rows(given)
        # What a linear layer above asks of the one below; its product multiplies by the derivative of ReLU.
        activation = "relu" if given.relu else "identity"
        self.before, self.panels = rows.values, rows.values.panels
        self.linear = FusedLinear(columns, columns, activation, 0.0, False, (0, 0))
        self.mask = self.sum_gradient = self.builder.nothing
        return rows

    def take_gradient(self, gradient: Signal) -> None:
        if not self.first:
            is_relu = self.linear.activation == "relu"
            self.gradient = self.to_images(gradient, 0)._replace(relu=is_relu)


@dataclass(frozen=True)
class Flat(ImageLayer):
    """Images as rows."""

    step = _Flatten


class _Unflatten(_Rows):
    def forward(self, given: Signal, halo: int) -> ImageSignal:
        return self.to_images(given, halo)

    def take_gradient(self, gradient: ImageSignal) -> None:
        self.gradient = self.to_rows(gradient)


@dataclass(frozen=True)
class Unflat(ImageLayer):
    """Rows as images."""

    step = _Unflatten
