"""A convolution, with what is computed in the same breath: ReLU, and the largest of each 2 x 2 pixels.

    Z = b + X * W        Y = relu(Z)        Y = largest of 2 x 2

On the way down the gradient is first multiplied by ReLU's derivative, which a pool does not change. It then goes to
the pixels that were the largest, and from there to the input and to the weights, group of images by group of images.
Then it is still in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastmlp.kernels import codes
from fastmlp.kernels.activations import gradient_code
from fastmlp.kernels.layers.images import ImageLayer, ImageSignal, Step
from fastmlp.kernels.layers.linear import Pair, place_weights
from fastmlp.kernels.loops.spread import MARGIN
from fastmlp.kernels.loops.weight_gradient import rooms, strip_height
from fastmlp.kernels.program import Buffer


class _Convolution(Step):
    def forward(self, given: ImageSignal, halo: int) -> ImageSignal:
        b, layer = self.builder, self.layer
        (pair,), (place,) = layer.pairs, self.places
        self.weights, self.bias = place_weights(b, pair, place)
        self.given = given
        pool = 2 if layer.pools else 1
        self.strip = strip_height(layer.rows, layer.columns, pool)
        self.out = self.images((layer.outputs, layer.rows // pool, layer.columns // pool), halo)
        self.which = self.bytes(self.out.shape) if layer.pools else b.nothing
        self.shape = self._shape(given, self.out)
        own = self.own(self.out.shape[1])
        b.add(
            codes.CONVOLVE,
            self.share,
            reads=[
                (given.values, self.all),
                (self.weights, codes.COPIES),
                (self.bias, codes.COPIES),
            ],
            writes=[(self.out.values, own), (self.which, own)],
            left=given.values,
            right=self.weights,
            start=self.bias,
            out=self.out.values,
            other=self.which,
            shape=self.shape,
        )
        return self.out._replace(relu=layer.relu)

    def _shape(self, given: ImageSignal, out: ImageSignal) -> int:
        """Describe the convolution, and where each tap is in its input."""
        layer, lanes = self.layer, self.builder.kind.lanes
        channels, height, width = (
            given.shape[0],
            given.shape[1] + 2 * given.halo,
            given.shape[2] + 2 * given.halo,
        )
        first = len(self.builder.taps)
        self.builder.taps += [
            ((c * height + ky) * width + kx) * lanes
            for c in range(channels)
            for ky in range(layer.kernel)
            for kx in range(layer.kernel)
        ]
        return self.shape_of(
            given,
            out,
            kernel=layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            rows=layer.rows,
            columns=layer.columns,
            relu=int(layer.relu),
            relu_below=int(given.relu),
            pool=2 if layer.pools else 1,
            taps=first,
            strip=self.strip,
        )

    def take_gradient(self, gradient: ImageSignal) -> None:
        b, layer = self.builder, self.layer
        if layer.relu and not gradient.relu:
            gradient = self.map(gradient_code("relu"), gradient, self.out, gradient)
        by_groups = self.share == codes.GROUPS
        blocks = int(codes.GROUP) // b.kind.lanes
        rows = self.strip if by_groups and self.first else layer.rows
        pixels = (rows + 2 * MARGIN) * (layer.columns + 2 * MARGIN) * (layer.outputs | 1)
        spread = b.reserve(
            blocks * (1 if by_groups else b.groups), pixels, copies=b.threads if by_groups else 1
        )
        taps = layer.pairs[0].inputs
        self.sums = b.reserve(b.groups * b.kind.panels(layer.outputs), taps + 1)
        count = rooms(layer.outputs, taps, self.strip == layer.rows, b.kind.lanes)
        room = b.reserve(1, int(count), copies=b.threads)
        out = self.given if self.first else self.images(self.given.shape)
        steps = [int(codes.SPREAD), int(codes.WEIGHT_GRADIENT)]
        if not self.first:
            steps.insert(1, int(codes.INPUT_GRADIENT))
        for what in [sum(steps)] if by_groups else steps:
            self._append_gradients(what, gradient, spread, room, out)
        self.gradient = out._replace(relu=self.given.relu)

    def _append_gradients(
        self, what: int, gradient: ImageSignal, spread: Buffer, room: Buffer, out: ImageSignal
    ) -> None:
        """Append some of the steps from the gradient of the output to those of input and weights."""
        given, own = self.given, self.own(gradient.shape[1])
        reads: list[tuple[Buffer, Any]] = []
        writes: list[tuple[Buffer, Any]] = []
        if what & codes.SPREAD:
            reads += [(gradient.values, own), (self.which, own)]
            writes += [(spread, own)]
        if what & codes.INPUT_GRADIENT:
            reads += [(spread, self.all), (self.weights, codes.COPIES)]
            reads += [(given.values, self.all)]
            writes += [(out.values, self.own(out.shape[1]))]
        if what & codes.WEIGHT_GRADIENT:
            reads += [(spread, self.all), (given.values, self.all), (gradient.values, self.all)]
            writes += [(self.sums, self.own(self.layer.pairs[0].inputs))]
        self.builder.add(
            codes.CONVOLUTION_GRADIENTS,
            self.share,
            reads=reads,
            writes=writes,
            code=what,
            left=gradient.values,
            start=self.which,
            result=spread,
            right=self.weights,
            other=given.values,
            out=out.values,
            inputs=self.sums.number,
            units=room.number,
            shape=self.shape,
        )

    def update(self, marks: Buffer, sums: Buffer) -> None:
        taps = self.layer.pairs[0].inputs
        append_steps(self, self.sums, taps, by_groups=True)


def append_steps(step: Step, sums: Buffer, rows: int, *, by_groups: bool) -> None:
    """Append the optimiser's step for `rows` of weights and one of biases, whose gradients are in `sums`."""
    b = step.builder
    panels = step.weights.panels
    weight_group, bias_group = step.layer.groups
    for weights, first, count, group, share in (
        (step.weights, 0, rows, weight_group, codes.SLABS),
        (step.bias, rows, 1, bias_group, codes.FIRST),
    ):
        b.add(
            codes.STEP_OF_SUMS,
            int(share),
            panels=panels,
            slabs=count,
            reads=[(sums, codes.COPIES)],
            writes=[(weights, share)],
            left=sums,
            right=weights,
            inputs=first,
            units=count,
            group=group,
            code=int(by_groups),
        )


@dataclass(frozen=True)
class FusedConvolution(ImageLayer):
    """A convolution, perhaps with ReLU and 2 x 2 max-pooling.

    Attributes
    ----------
    outputs, kernel, stride, padding : int
    rows, columns : int
        Of its output, as far as anybody reads it, before pooling.
    relu, pools : bool
    groups : (int, int)
        The optimiser's group of the weights, and of the biases.
    """

    outputs: int
    kernel: int
    stride: int
    padding: int
    rows: int
    columns: int
    relu: bool
    pools: bool
    groups: tuple[int, int]
    step = _Convolution

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Kernels [C * K * K, O] and biases."""
        return (Pair(self.shape[0] * self.kernel**2, self.outputs, is_product=False),)
