"""Batch normalisation of each channel; ``loops/batchnorm.py`` has the formulas."""

from __future__ import annotations

from dataclasses import dataclass

from fastmlp.kernels import codes
from fastmlp.kernels.layers.convolution import append_steps
from fastmlp.kernels.layers.images import ImageLayer, ImageSignal, Step
from fastmlp.kernels.layers.linear import Pair, place_weights
from fastmlp.kernels.loops.batchnorm import KEPT
from fastmlp.kernels.program import Buffer


class _BatchNorm(Step):
    def forward(self, given: ImageSignal, halo: int) -> ImageSignal:
        b, channels = self.builder, given.shape[0]
        of_weights, of_statistics = self.places
        pair, _ = self.layer.pairs
        self.weights, self.bias = place_weights(b, pair, of_weights)
        mean, variance = place_weights(b, pair, of_statistics)
        panels = b.kind.panels(channels)
        self.given, out = given, self.images(given.shape, halo)
        self.kept = b.reserve(KEPT * panels, 1)
        self.room = b.reserve(1, 4, copies=b.threads)
        by_channels = (int(codes.PANELS), channels)
        b.add(
            codes.MEASURE,
            int(codes.PANELS if self.trains else codes.COPIES),
            panels=channels,
            reads=[(given.values, codes.COPIES)],
            writes=[(self.kept, by_channels), (mean, by_channels), (variance, by_channels)],
            code=int(self.trains),
            left=given.values,
            right=mean,
            result=variance,
            start=self.kept,
            other=self.room,
            shape=self.shape_of(given, out),
        )
        b.add(
            codes.NORMALIZE,
            self.share,
            reads=[
                (given.values, self.own(given.shape[1])),
                (self.kept, codes.COPIES),
                (self.weights, codes.COPIES),
                (self.bias, codes.COPIES),
            ],
            writes=[(out.values, self.own(given.shape[1]))],
            left=given.values,
            right=self.weights,
            result=self.bias,
            start=self.kept,
            out=out.values,
            shape=self.shape_of(given, out),
        )
        return out

    def take_gradient(self, gradient: ImageSignal) -> None:
        b, given = self.builder, self.given
        channels, height, _ = given.shape
        self.sums = b.reserve(b.kind.panels(channels), 2)
        by_channels = (int(codes.PANELS), channels)
        shape = self.shape_of(given, gradient)
        b.add(
            codes.MEASURE_GRADIENTS,
            int(codes.PANELS),
            panels=channels,
            reads=[(given.values, codes.COPIES), (gradient.values, codes.COPIES)],
            writes=[(self.kept, by_channels), (self.sums, by_channels)],
            left=given.values,
            other=gradient.values,
            start=self.kept,
            out=self.sums,
            inputs=self.room.number,
            shape=shape,
        )
        b.add(
            codes.NORMALIZATION_GRADIENT,
            self.share,
            reads=[
                (given.values, self.own(height)),
                (self.kept, codes.COPIES),
                (self.weights, codes.COPIES),
            ],
            writes=[(gradient.values, self.own(height))],
            left=given.values,
            other=gradient.values,
            start=self.kept,
            right=self.weights,
            out=gradient.values,
            shape=shape,
        )
        self.gradient = gradient

    def update(self, marks: Buffer, sums: Buffer) -> None:
        append_steps(self, self.sums, 1, by_groups=False)


@dataclass(frozen=True)
class Normalization(ImageLayer):
    """Batch normalisation; `groups` are the optimiser's, of scales and of shifts."""

    groups: tuple[int, int]
    step = _BatchNorm

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Scale and shift, running mean and variance of each channel."""
        return (Pair(1, self.shape[0], is_product=False),) * 2
