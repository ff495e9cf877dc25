"""Pooling: the largest number of each window, or its mean."""

from __future__ import annotations

from dataclasses import dataclass

from fastmlp.kernels import codes
from fastmlp.kernels.layers.images import ImageLayer, ImageSignal, Step


class _Pool(Step):
    def forward(self, given: ImageSignal, halo: int) -> ImageSignal:
        layer = self.layer
        channels, height, width = given.shape
        shape = channels, height // layer.size, width // layer.size
        self.given, out = given, self.images(shape, halo)
        self.which = self.builder.nothing if layer.averages else self.bytes(shape)
        own = self.own(shape[1])
        self.builder.add(
            codes.POOL,
            self.share,
            reads=[(given.values, self.all)],
            writes=[(out.values, own), (self.which, own)],
            left=given.values,
            out=out.values,
            other=self.which,
            code=int(layer.averages),
            shape=self.shape_of(given, out, pool=layer.size),
        )
        return out

    def take_gradient(self, gradient: ImageSignal) -> None:
        if self.first:
            return
        layer, own = self.layer, self.own(gradient.shape[1])
        self.gradient = self.images(self.given.shape)
        self.builder.add(
            codes.UNPOOL,
            self.share,
            reads=[(gradient.values, own), (self.which, own)],
            writes=[(self.gradient.values, own)],
            left=gradient.values,
            out=self.gradient.values,
            other=self.which,
            code=int(layer.averages),
            shape=self.shape_of(self.gradient, gradient, pool=layer.size),
        )


@dataclass(frozen=True)
class Pool(ImageLayer):
    """Windows of `size` x `size`, one beside the other; `averages` takes their means."""

    size: int
    averages: bool
    step = _Pool
