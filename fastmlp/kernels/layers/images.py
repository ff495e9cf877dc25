"""Layers of images: what they have in common, and those without parameters.

A layer of a network with convolutions is a step: `forward` appends its instructions and returns what it hands on,
`take_gradient` is given the gradient of that and appends what follows from it, `backward` returns the gradient of its
input. A step may write its gradient where it was given one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from fastmlp.kernels import codes
from fastmlp.kernels.activations import ACTIVATIONS, gradient_code, value_code
from fastmlp.kernels.builder import Builder
from fastmlp.kernels.layers.linear import Pair, Place, append_squares
from fastmlp.kernels.loops.pack import round_up
from fastmlp.kernels.program import Buffer

Shape = tuple[int, int, int]


class ImageSignal(NamedTuple):
    """Images that one layer hands to another, or their gradient.

    Attributes
    ----------
    values : Buffer
        [blocks, C * (H + 2 halo) * (W + 2 halo), lanes], rounded up to whole vectors of pixels.
    shape : (int, int, int)
        Channels, height and width.
    halo : int
        Rows and columns of zeros on each side.
    relu : bool
        Whether the images were made by ReLU, or the gradient is multiplied by its derivative: where that is free, the
        layer above does it.
    """

    values: Buffer
    shape: Shape
    halo: int
    relu: bool = False


class Step:
    """A layer of images in one program.

    Parameters
    ----------
    layer : ImageLayer
    places : sequence of Place
        Of its parameters.
    builder : Builder
    first : bool
        Whether nothing below it has parameters, so that its input needs no gradient.
    trains : bool
        Whether the program trains the network, instead of evaluating it.
    """

    units = 0
    sums_of_squares: Buffer | None = None
    weights: Buffer
    bias: Buffer

    def __init__(
        self, layer: Any, places: Sequence[Place], builder: Builder, first: bool, trains: bool
    ) -> None:
        self.layer, self.places, self.builder = layer, places, builder
        self.first, self.trains = first, trains
        self.share = builder.image_share

    # -- for those that derive from it ---------------------------------------------------------------

    def images(self, shape: Shape, halo: int = 0) -> ImageSignal:
        """Reserve images."""
        channels, height, width = shape
        kind = self.builder.kind
        pixels = channels * (height + 2 * halo) * (width + 2 * halo)
        blocks = self.builder.groups * int(codes.GROUP) // kind.lanes
        return ImageSignal(self.builder.reserve(blocks, round_up(pixels, kind.lanes)), shape, halo)

    def bytes(self, shape: Shape) -> Buffer:
        """Reserve a byte for each number of images."""
        kind = self.builder.kind
        blocks = self.builder.groups * int(codes.GROUP) // kind.lanes
        return self.builder.reserve(blocks, -(-math.prod(shape) // kind.item_bytes))

    def own(self, height: int) -> tuple[int, int]:
        """Say that each thread touches its images only, or its part of so many rows of each."""
        return (self.share, 0 if self.share == codes.GROUPS else height)

    @property
    def all(self) -> tuple[int, int]:
        """Say that each thread may touch all of its images."""
        return (self.share if self.share == codes.GROUPS else int(codes.COPIES), 0)

    def shape_of(self, given: ImageSignal, made: ImageSignal, **more: int) -> int:
        """Describe what an instruction reads and writes; return the number of the description."""
        names = ("channels", "height", "width")
        described = dict(zip(names, given.shape, strict=True)) | {"halo": given.halo}
        described |= {
            "outputs": made.shape[0],
            "out_height": made.shape[1],
            "out_width": made.shape[2],
            "out_halo": made.halo,
        }
        self.builder.shapes.append(described | more)
        return len(self.builder.shapes) - 1

    def map(
        self, code: int, left: ImageSignal, other: ImageSignal, out: ImageSignal
    ) -> ImageSignal:
        """Append ``out = f(left, other)``, and return `out`, of which nothing is known."""
        own = self.own(left.shape[1])
        self.builder.add(
            codes.MAP_IMAGES,
            self.share,
            reads=[(left.values, own), (other.values, own)],
            writes=[(out.values, own)],
            code=code,
            left=left.values,
            other=other.values,
            out=out.values,
            shape=self.shape_of(left, out, other_halo=other.halo),
        )
        return out._replace(relu=False)

    # -- what every step does ------------------------------------------------------------------------

    def forward(self, given: Any, halo: int) -> Any:
        """Append the layer, and return what it hands on, with a border of `halo` zeros where that is images."""
        raise NotImplementedError

    def take_gradient(self, gradient: Any) -> None:
        """Remember the gradient of the output, and append what follows from it."""
        self.gradient = gradient

    def backward(self, below: Any) -> Any:
        """Return the gradient of the input, which `below` handed on."""
        return self.gradient

    def update(self, marks: Buffer, sums: Buffer) -> None:
        """Append the optimiser's step of the parameters: there are none."""

    def squares(self, first: int) -> int:
        """Append the sums of squares of the weights, from number `first` on; return the next number."""
        if not self.layer.pairs:
            return first
        self.sums_of_squares, following = append_squares(self.builder, self.weights, first)
        return following


def gather_images(step: Step, halo: int) -> ImageSignal:
    """Append the gathering of a batch of images for a first layer, and return them."""
    b, share = step.builder, step.share
    out = step.images(step.layer.shape, halo)
    rows = b.reserve(b.kind.panels(math.prod(out.shape)), int(codes.GROUP), copies=b.threads)
    alone = (share, 0) if share == codes.GROUPS else (int(codes.FIRST), 0)
    b.add(
        codes.GATHER_IMAGES,
        share,
        writes=[(out.values, alone)],
        left=rows,
        out=out.values,
        shape=step.shape_of(out, out),
    )
    return out


@dataclass(frozen=True)
class ImageLayer:
    """A layer of images: plain values.

    Attributes
    ----------
    shape : (int, int, int)
        Channels, height and width of what it is given.
    """

    shape: Shape
    step: ClassVar[type[Step]]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Its parameters."""
        return ()

    def placed(self, places: Sequence[Place], builder: Builder, first: bool, trains: bool) -> Step:
        """Return the layer in a program; the arguments are those of `Step`."""
        return self.step(self, places, builder, first, trains)


class _Activation(Step):
    def forward(self, given: ImageSignal, halo: int) -> ImageSignal:
        self.before = given
        self.value = self.images(given.shape, halo)
        return self.map(value_code(self.layer.name), given, given, self.value)

    def take_gradient(self, gradient: ImageSignal) -> None:
        of_input = ACTIVATIONS[self.layer.name].of_input
        seen = self.before if of_input else self.value
        self.gradient = self.map(gradient_code(self.layer.name), gradient, seen, gradient)


@dataclass(frozen=True)
class ImageActivation(ImageLayer):
    """A function of each number."""

    name: str
    step = _Activation


class _Dropout(Step):
    def forward(self, given: ImageSignal, halo: int) -> ImageSignal:
        b = self.builder
        self.units = math.prod(given.shape)
        self.mask = self.images(given.shape)
        b.add(
            codes.MASK_IMAGES,
            self.share,
            writes=[(self.mask.values, self.own(given.shape[1]))],
            out=self.mask.values,
            units=b.units,
            number=self.layer.rate,
            shape=self.shape_of(self.mask, self.mask),
        )
        out = self.images(given.shape, halo)
        return self.map(int(codes.MULTIPLIED), given, self.mask, out)

    def take_gradient(self, gradient: ImageSignal) -> None:
        self.gradient = self.map(int(codes.MULTIPLIED), gradient, self.mask, gradient)


@dataclass(frozen=True)
class ImageDropout(ImageLayer):
    """In training, some numbers become zero; an evaluation leaves the layer out."""

    rate: float
    step = _Dropout


class ForkStep(Step):
    """A `Fork` in a program; its join says which gradient went past the layers between."""

    skipped: ImageSignal

    def forward(self, given: ImageSignal, halo: int) -> ImageSignal:
        """Remember the images for the join."""
        self.given = given
        return given

    def take_gradient(self, gradient: ImageSignal) -> None:
        """Add the gradient that went past the layers between."""
        self.gradient = self.map(int(codes.ADD), gradient, self.skipped, gradient)


@dataclass(frozen=True)
class Fork(ImageLayer):
    """Where a residual connection begins."""

    step = ForkStep


class JoinStep(Step):
    """A `Join` in a program; `fork` is set by the plan."""

    fork: ForkStep

    def forward(self, given: ImageSignal, halo: int) -> ImageSignal:
        """Append the sum."""
        out = self.images(given.shape, halo)
        return self.map(int(codes.ADD), given, self.fork.given, out)

    def take_gradient(self, gradient: ImageSignal) -> None:
        """Hand the gradient to the fork, and a copy to the layers between, which write where they are given one."""
        self.fork.skipped = gradient
        copy = self.images(gradient.shape)
        self.gradient = self.map(int(codes.IDENTITY), gradient, gradient, copy)


@dataclass(frozen=True)
class Join(ImageLayer):
    """Where a residual connection ends: the sum of what is given and what was given to the last fork."""

    step = JoinStep
