"""A linear layer, with what follows it: activation, dropout, and a residual connection around all three.

    Z = X @ W + b        H = activation(Z)        Y = H * mask        Y = Y + X

The activation is the product's epilogue. On the way down, the derivative of the layer below is the epilogue of the
product that forms its gradient, unless a mask or a residual connection lies between the two. Padded columns of W and b
are zero, so those of H are the activation of zero; the next layer's padded rows of W are zero and let nothing of them
through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from fastmlp.kernels import codes
from fastmlp.kernels.activations import ACTIVATIONS, gradient_code, value_code
from fastmlp.kernels.builder import Builder
from fastmlp.kernels.emit.narrow import COLUMNS_OF_TILES, ROW_VECTORS, narrow_columns
from fastmlp.kernels.program import (
    PARAMETERS,
    RECORD,
    RIGHT,
    Buffer,
    Kind,
    Signal,
)


class Place(NamedTuple):
    """Where a layer's weights and biases lie in the flat arrays of the parameters.

    Attributes
    ----------
    weights, bias : int
        Offsets in the parameters, and in what the optimiser remembers.
    right : int
        Offset of the weights as right operand.
    transposed : int
        Offset of W.T as right operand; -1 where none is needed.
    """

    weights: int
    bias: int
    right: int
    transposed: int


class Pair(NamedTuple):
    """Parameters that lie together: weights [inputs, outputs] and biases [outputs].

    Attributes
    ----------
    inputs, outputs : int
    is_product : bool
        Whether the weights are an operand of products, which may want them transposed or as pairs.
    """

    inputs: int
    outputs: int
    is_product: bool


def place_weights(builder: Builder, pair: Pair, place: Place) -> tuple[Buffer, Buffer]:
    """Name the weights and the biases of a pair in a program."""
    kind = builder.kind
    panels, rows = kind.panels(pair.outputs), kind.panels(pair.inputs) * kind.lanes
    weights = builder.place(PARAMETERS, place.weights, panels, rows)
    return weights, builder.place(PARAMETERS, place.bias, panels, 1)


def append_squares(builder: Builder, weights: Buffer, first: int) -> tuple[Buffer, int]:
    """Append the sums of squares of each unit's weights, from number `first` on; return them and the next number."""
    lanes = builder.kind.lanes
    sums = builder.place(RECORD, first, weights.panels, 1)
    builder.add(
        codes.SQUARES,
        int(codes.PANELS),
        panels=weights.panels,
        slabs=weights.rows // lanes,
        reads=[(weights, codes.COPIES)],
        writes=[(sums, codes.PANELS)],
        left=weights,
        units=first,
    )
    return sums, first + weights.panels * lanes


class FusedLinear(NamedTuple):
    """A linear layer, with what is computed in the same breath.

    Attributes
    ----------
    inputs, outputs : int
    activation : str
        A name of `ACTIVATIONS`, or "identity".
    dropout : float
    residual : bool
        Whether the input is added to the output, which is as wide.
    groups : (int, int)
        The optimiser's group of the weights, and of the biases.
    """

    inputs: int
    outputs: int
    activation: str
    dropout: float
    residual: bool
    groups: tuple[int, int]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Its parameters."""
        return (Pair(self.inputs, self.outputs, is_product=True),)

    def placed(
        self, places: Sequence[Place], builder: Builder, first: bool, trains: bool
    ) -> Placed:
        """Return the layer in a program; an evaluation leaves dropout out."""
        (place,) = places
        one = self if trains else self._replace(dropout=0.0)
        return Placed(one, place, builder, first)


class Below(Protocol):
    """What a linear layer wants to know of the one below it, whose gradient it forms.

    Attributes
    ----------
    linear : FusedLinear
    share, panels : int
    before, mask, sum_gradient : Buffer
        Its activation's argument or value, its mask, and room for the gradient of its sum.
    is_masked : bool
    """

    linear: FusedLinear
    share: int
    panels: int
    before: Buffer
    mask: Buffer
    sum_gradient: Buffer
    is_masked: bool


class Placed:
    """A linear layer and its buffers in one program; the methods append its instructions.

    Parameters
    ----------
    layer : FusedLinear
    place : Place
    builder : Builder
    first : bool
        Whether its input is the batch, which needs no gradient.
    """

    def __init__(self, layer: FusedLinear, place: Place, builder: Builder, first: bool) -> None:
        self.layer = self.linear = layer
        self.builder, self.first = builder, first
        kind: Kind = builder.kind
        self.panels, self.slabs = kind.panels(layer.outputs), kind.panels(layer.inputs)
        self.share = builder.share(layer.inputs, layer.outputs)
        self.weights, self.bias = place_weights(builder, layer.pairs[0], place)
        depth = kind.depth(layer.inputs) * kind.lanes
        self.right = builder.place(RIGHT, place.right, self.panels, depth)
        depth = kind.depth(layer.outputs) * kind.lanes
        self.transposed = (
            builder.nothing if first else builder.place(RIGHT, place.transposed, self.slabs, depth)
        )
        self.columns = 0 if kind.pairs else narrow_columns(layer.outputs, kind.lanes)
        # Rows that are gathered and multiplied at once: as many as have a vector, or 0.
        block = ROW_VECTORS * kind.lanes
        fills = layer.inputs % kind.lanes == 0 and builder.batch >= builder.threads * block
        at_once = (
            first and self.columns == COLUMNS_OF_TILES[-1] and fills and not builder.has_images
        )
        self.block = block if at_once else 0
        self.is_masked, self.mask = layer.dropout > 0, builder.nothing
        # Made on the way down by the layer above, where this one is residual.
        self.sum_gradient = builder.nothing
        self.units = layer.outputs

    # -- forward -----------------------------------------------------------------------------------

    def forward(self, given: Signal, halo: int = 0) -> Signal:
        """Append the layer, and return what it hands on."""
        b, layer, share = self.builder, self.layer, self.share
        self.given = given
        self.value = b.reserve(self.panels)
        code = value_code(layer.activation)
        of_input = layer.activation != "identity" and ACTIVATIONS[layer.activation].of_input
        self.before = b.reserve(self.panels) if of_input else self.value
        if self.block:
            self._gather_multiply(code)
        b.multiply(
            given.columns,
            self.right,
            self.bias,
            self.before,
            share,
            code=code,
            other=self.before,
            result=self.value,
            units=self.block,
        )
        handed_on = self.value
        if self.is_masked:
            self._draw_mask(b)
            handed_on = b.reserve(self.panels)
            b.elementwise(int(codes.MULTIPLIED), self.value, self.mask, handed_on, share)
        if layer.residual:
            out = handed_on if self.is_masked else b.reserve(self.panels)
            b.elementwise(int(codes.ADD), handed_on, given.values, out, share)
            handed_on = out
        signal = b.signal(layer.outputs, handed_on)
        b.write_operands(signal, share)
        return signal

    def _gather_multiply(self, code: int) -> None:
        self.builder.add(
            codes.GATHER_MULTIPLY,
            self.share,
            panels=self.panels,
            reads=[(one, codes.COPIES) for one in (self.weights, self.bias)],
            writes=[(one, self.share) for one in (self.given.values, self.before, self.value)],
            left=self.given.values,
            right=self.weights,
            start=self.bias,
            out=self.before,
            code=code,
            other=self.before,
            result=self.value,
            inputs=self.columns,
        )

    def _draw_mask(self, b: Builder) -> None:
        self.mask = b.reserve(self.panels)
        b.add(
            codes.MASK,
            self.share,
            panels=self.panels,
            writes=[(self.mask, self.share)],
            out=self.mask,
            units=b.units,
            number=self.layer.dropout,
        )

    # -- backward ----------------------------------------------------------------------------------

    def backward(self, below: Below) -> Signal:
        """Append the gradient of the layer's input, and of what lies `below` before its activation; return it."""
        b = self.builder
        share = b.share(self.layer.outputs, self.layer.inputs)
        if below.share == codes.PANELS:
            # A thread then writes the gradient of just those units whose weights it changes.
            share = int(codes.PANELS)
        self.back_share = share
        start = self.sum_gradient if self.layer.residual else b.zeros

        def product(out: Buffer, code: int, other: Buffer) -> None:
            b.multiply(
                self.gradient.columns,
                self.transposed,
                start,
                out,
                share,
                code=code,
                other=other,
                result=out,
            )

        signal = b.signal(below.linear.outputs)
        out, code = signal.values, gradient_code(below.linear.activation)
        if below.linear.residual:
            # The layer below also passes on the gradient of its sum, before dropout and activation.
            out = below.sum_gradient = b.reserve(below.panels)
        at_once = not (below.linear.residual or below.is_masked)
        product(out, code if at_once else int(codes.IDENTITY), below.before)
        if below.is_masked:
            b.elementwise(int(codes.MULTIPLIED), out, below.mask, signal.values, share)
            out = signal.values
        if not at_once:
            b.elementwise(code, out, below.before, signal.values, share)
        b.write_operands(signal, share)
        return signal

    def take_gradient(self, gradient: Signal) -> None:
        """Remember the gradient of the output before its activation, for `backward` and `update`."""
        self.gradient = gradient

    # -- the step ----------------------------------------------------------------------------------

    def weights_share(self) -> int:
        """Return how a team shares the weights: panels, or groups of rows where panels are few.

        Also groups of rows where they multiply the units that a thread computes: inputs, weights and their transpose
        then stay in its cache.
        """
        follows = not self.first and self.back_share == codes.PANELS
        by_panels = self.panels >= 2 * self.builder.threads and not follows
        return int(codes.PANELS if by_panels else codes.SLABS)

    def update(self, marks: Buffer, sums: Buffer) -> None:
        """Append the optimiser's step of weights and biases, and the transpose that follows from it."""
        b, share = self.builder, self.weights_share()
        weight_group, bias_group = self.layer.groups
        for weights, right, inputs, slabs, rows, group in (
            (
                self.weights,
                self.right,
                self.layer.inputs,
                self.slabs,
                self.given.rows,
                weight_group,
            ),
            (self.bias, b.nothing, 1, 1, b.ones, bias_group),
        ):
            b.add(
                codes.UPDATE,
                share,
                panels=self.panels,
                slabs=slabs,
                reads=[(rows, codes.COPIES), (self.gradient.rows, codes.COPIES)],
                writes=[(weights, share), (right, share)],
                left=rows,
                right=self.gradient.rows,
                out=weights,
                result=right,
                start=marks,
                other=sums,
                inputs=inputs,
                units=self.columns,
                group=group,
            )
        if not self.first:
            self.transpose(share)

    def transpose(self, share: int) -> None:
        """Append W.T as right operand."""
        self.builder.add(
            codes.TRANSPOSE,
            share,
            panels=self.panels,
            slabs=self.slabs,
            reads=[(self.weights, share)],
            writes=[(self.transposed, share)],
            left=self.weights,
            out=self.transposed,
        )

    def squares(self, first: int) -> int:
        """Append the sums of squares of each unit's weights, from number `first` on; return the next number."""
        self.sums_of_squares, following = append_squares(self.builder, self.weights, first)
        return following
