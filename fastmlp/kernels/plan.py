"""Layers -> programs: where a network's parameters lie, and what is executed to train and evaluate it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastmlp.kernels import codes
from fastmlp.kernels.builder import Builder
from fastmlp.kernels.layers.images import (
    ForkStep,
    ImageDropout,
    ImageLayer,
    JoinStep,
    Step,
    gather_images,
)
from fastmlp.kernels.layers.linear import FusedLinear, Pair, Place, Placed
from fastmlp.kernels.loops import nonzeros
from fastmlp.kernels.program import (
    BATCH,
    OPERANDS,
    WORKSPACE,
    Kind,
    Program,
    Signal,
)

Fused = FusedLinear | ImageLayer


@dataclass(frozen=True)
class Layout:
    """Where the parameters of a network lie.

    Attributes
    ----------
    layers : tuple of FusedLinear or ImageLayer
    kind : Kind
    pairs : tuple of Pair
        The parameters of all layers.
    places : tuple of Place
        One a pair.
    states : int
        Elements of weights and biases, and so of each array that the optimiser remembers.
    parameters, right : int
        Elements of the flat arrays; transposed weights lie behind the others. There is no array of right operands
        (0) where products read the parameters.
    """

    layers: tuple[Fused, ...]
    kind: Kind
    pairs: tuple[Pair, ...]
    places: tuple[Place, ...]
    states: int
    parameters: int
    right: int

    @property
    def last_group(self) -> int:
        """The last group of the optimiser's numbers: that of the output layer's biases."""
        last = self.layers[-1]
        assert isinstance(last, FusedLinear)
        return last.groups[1]


@dataclass(frozen=True)
class Plan:
    """A program and the memory that it works in.

    Attributes
    ----------
    program : Program
    batch : int
        Most rows of a batch.
    workspace, operands : int
        Elements of the flat arrays; without pairs, operands are the workspace (0).
    squares : int
        Elements of the record's `squares`.
    """

    program: Program
    batch: int
    workspace: int
    operands: int
    squares: int


@dataclass(frozen=True)
class Loss:
    """A loss of ``loops/loss.py``.

    Attributes
    ----------
    code : int
        SOFTMAX, LOGISTIC or SQUARED.
    smoothing : float
        Label smoothing, of SOFTMAX.
    """

    code: int
    smoothing: float = 0.0


def lay_out(layers: Sequence[Fused], kind: Kind) -> Layout:
    """Give the parameters of each layer their place in the flat arrays."""
    pairs = [pair for layer in layers for pair in layer.pairs]
    offsets, rights = [], []
    states = right = 0
    for pair in pairs:
        panels, rows = kind.panels(pair.outputs), kind.panels(pair.inputs) * kind.lanes
        offsets.append((states, states + panels * rows * kind.lanes))
        states += panels * (rows + 1) * kind.lanes
        rights.append(right)
        if pair.is_product:
            right += panels * kind.depth(pair.inputs) * kind.lanes**2
    behind = right if kind.pairs else states
    places = []
    for number, pair in enumerate(pairs):
        weights, bias = offsets[number]
        is_transposed = pair.is_product and number > 0
        transposed = behind if is_transposed else -1
        if is_transposed:
            behind += kind.panels(pair.inputs) * kind.depth(pair.outputs) * kind.lanes**2
        places.append(Place(weights, bias, rights[number] if kind.pairs else weights, transposed))
    parameters, right = (states, behind) if kind.pairs else (behind, 0)
    return Layout(tuple(layers), kind, tuple(pairs), tuple(places), states, parameters, right)


def training_plan(
    layout: Layout, loss: Loss, batch: int, threads: int, *, penalties: bool = False
) -> Plan:
    """Plan the step of one batch: forward, loss, backward, update.

    Parameters
    ----------
    layout : Layout
    loss : Loss
    batch : int
        Most rows of a batch.
    threads : int
        Size of the team.
    penalties : bool
        Whether to write down the squares of the weights before each step.
    """
    b, layers, outputs = _forward(layout, batch, threads)
    squares = 0
    if penalties:
        for layer in layers:
            squares = layer.squares(squares)
    gradient = b.signal(outputs.width)
    b.add(
        codes.LOSS,
        b.rows_share,
        panels=outputs.values.panels,
        reads=[(outputs.values, b.rows_share)],
        writes=[(gradient.values, b.rows_share)],
        left=outputs.values,
        out=gradient.values,
        inputs=outputs.width,
        code=loss.code,
        number=loss.smoothing,
    )
    b.write_operands(gradient, b.rows_share)
    layers[-1].take_gradient(gradient)
    for below, layer in zip(layers[-2::-1], layers[:0:-1], strict=True):
        if layer.first:
            break
        below.take_gradient(layer.backward(below))
    if penalties:
        found = [(one, codes.FIRST) for layer in layers if (one := layer.sums_of_squares)]
        b.add(codes.TOTAL, codes.FIRST, reads=found)
    marks, sums = b.nothing, b.nothing
    if not layout.kind.pairs:
        most = max(layer.panels for layer in layers if isinstance(layer, Placed))
        sizes = nonzeros.room(most, layout.kind.lanes, batch, layout.kind.item_bytes)
        marks, sums = (b.reserve_elements(size, 1, BATCH, WORKSPACE, threads) for size in sizes)
    for layer in layers:
        layer.update(marks, sums)
    return _finished(b, b.program(repeats=True), squares)


def evaluation_plan(layout: Layout, batch: int) -> Plan:
    """Plan what one thread does to write down the outputs of a batch."""
    b, _, outputs = _forward(layout, batch, 1, trains=False)
    b.add(
        codes.LOGITS,
        b.rows_share,
        panels=outputs.values.panels,
        left=outputs.values,
        inputs=outputs.width,
    )
    return _finished(b, b.program(repeats=True))


def _builder(layout: Layout, batch: int, threads: int) -> Builder:
    has_images = any(isinstance(layer, ImageLayer) for layer in layout.layers)
    return Builder(layout.kind, batch, threads, {WORKSPACE: 0, OPERANDS: 0}, has_images)


def _forward(
    layout: Layout, batch: int, threads: int, trains: bool = True
) -> tuple[Builder, list[Any], Signal]:
    """Begin a program with a batch and all layers; return it, the layers and the outputs."""
    b = _builder(layout, batch, threads)
    placed: list[Any] = []
    places = iter(layout.places)
    forks: list[ForkStep] = []
    first = True
    for layer in layout.layers:
        own = [next(places) for _ in layer.pairs]
        if trains or not isinstance(layer, ImageDropout):
            placed.append(layer.placed(own, b, first, trains))
        first = first and not layer.pairs
    for step in placed:
        if isinstance(step, ForkStep):
            forks.append(step)
        elif isinstance(step, JoinStep):
            step.fork = forks.pop()
    signal = gathered(b, layout.layers[0], placed)
    for number, step in enumerate(placed):
        signal = step.forward(signal, _halo(placed[number + 1 :]))
        b.units += step.units if step is not placed[-1] else 0
    return b, placed, signal


def _halo(above: Sequence[Placed | Step]) -> int:
    """Return how wide a border of zeros the layers above want around their images."""
    for step in above:
        if not isinstance(step, ForkStep):
            return getattr(step.layer, "padding", 0)
    return 0


def gathered(b: Builder, first: Fused, placed: Sequence[Any]) -> Any:
    """Append the gathering of a batch as the first layer takes it, and return it."""
    if isinstance(first, ImageLayer):
        return gather_images(placed[0], _halo(placed))
    at_once = placed[0].block > 0
    signal = b.gathered(first.inputs, placed[0].share, at_once)
    share = int(codes.COPIES if signal.values.copy and not at_once else codes.ROWS)
    b.add(
        codes.GATHER,
        share,
        panels=b.kind.panels(signal.width),
        writes=[(one, share) for one in (signal.values, signal.columns, signal.rows)],
        out=signal.values,
        left=signal.columns,
        right=signal.rows,
        units=placed[0].block,
        inputs=b.kind.panels(signal.width) if at_once and signal.values.copy else 0,
    )
    return signal


def _finished(b: Builder, program: Program, squares: int = 0) -> Plan:
    operands = b.sizes[OPERANDS] if b.kind.pairs else 0
    return Plan(program, b.batch, b.sizes[WORKSPACE], operands, squares)
