"""Layers -> programs: where a network's parameters lie, and what is executed to train and evaluate it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastmlp.kernels import codes
from fastmlp.kernels.layers.linear import FusedLinear, Place, Placed
from fastmlp.kernels.loops import nonzeros
from fastmlp.kernels.program import (
    BATCH,
    OPERANDS,
    WORKSPACE,
    Builder,
    Kind,
    Program,
    Signal,
)


@dataclass(frozen=True)
class Layout:
    """Where the parameters of a network lie.

    Attributes
    ----------
    layers : tuple of FusedLinear
    kind : Kind
    places : tuple of Place
        One a layer.
    states : int
        Elements of weights and biases, and so of each array that the optimiser remembers.
    parameters, right : int
        Elements of the flat arrays; transposed weights lie behind the others. There is no array of right operands
        (0) where products read the parameters.
    """

    layers: tuple[FusedLinear, ...]
    kind: Kind
    places: tuple[Place, ...]
    states: int
    parameters: int
    right: int


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


def lay_out(layers: Sequence[FusedLinear], kind: Kind) -> Layout:
    """Give each layer its place in the flat arrays of the parameters."""
    offsets, rights = [], []
    states = right = 0
    for layer in layers:
        panels, rows = kind.panels(layer.outputs), kind.panels(layer.inputs) * kind.lanes
        offsets.append((states, states + panels * rows * kind.lanes))
        states += panels * (rows + 1) * kind.lanes
        rights.append(right)
        right += panels * kind.depth(layer.inputs) * kind.lanes**2
    behind = right if kind.pairs else states
    places = []
    for number, layer in enumerate(layers):
        weights, bias = offsets[number]
        transposed = behind if number else -1
        if number:
            behind += kind.panels(layer.inputs) * kind.depth(layer.outputs) * kind.lanes**2
        places.append(Place(weights, bias, rights[number] if kind.pairs else weights, transposed))
    parameters, right = (states, behind) if kind.pairs else (behind, 0)
    return Layout(tuple(layers), kind, tuple(places), states, parameters, right)


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
        codes.ROWS,
        panels=outputs.values.panels,
        reads=[(outputs.values, codes.ROWS)],
        writes=[(gradient.values, codes.ROWS)],
        left=outputs.values,
        out=gradient.values,
        inputs=outputs.width,
        code=loss.code,
        number=loss.smoothing,
    )
    b.write_operands(gradient, int(codes.ROWS))
    layers[-1].take_gradient(gradient)
    for below, layer in zip(layers[-2::-1], layers[:0:-1], strict=True):
        below.take_gradient(layer.backward(below))
    if penalties:
        found = [(layer.sums_of_squares, codes.FIRST) for layer in layers]
        b.add(codes.TOTAL, codes.FIRST, reads=found)
    marks, sums = b.nothing, b.nothing
    if not layout.kind.pairs:
        most = max(layer.panels for layer in layers)
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
        codes.ROWS,
        panels=outputs.values.panels,
        left=outputs.values,
        inputs=outputs.width,
    )
    return _finished(b, b.program(repeats=True))


def _builder(layout: Layout, batch: int, threads: int) -> Builder:
    return Builder(layout.kind, batch, threads, {WORKSPACE: 0, OPERANDS: 0})


def _forward(
    layout: Layout, batch: int, threads: int, trains: bool = True
) -> tuple[Builder, list[Placed], Signal]:
    """Begin a program with a batch and all layers; return it, the layers and the outputs."""
    b = _builder(layout, batch, threads)
    placed = []
    for number, (layer, place) in enumerate(zip(layout.layers, layout.places, strict=True)):
        one = layer if trains else layer._replace(dropout=0.0)
        placed.append(Placed(one, place, b, number == 0))
    signal = b.gathered(layout.layers[0].inputs, placed[0].share)
    share = int(codes.COPIES if signal.values.copy else codes.ROWS)
    b.add(
        codes.GATHER,
        share,
        panels=layout.kind.panels(signal.width),
        writes=[(one, share) for one in (signal.values, signal.columns, signal.rows)],
        out=signal.values,
        left=signal.columns,
        right=signal.rows,
    )
    for step in placed:
        signal = step.forward(signal)
        b.units += step.layer.outputs if step is not placed[-1] else 0
    return b, placed, signal


def _finished(b: Builder, program: Program, squares: int = 0) -> Plan:
    operands = b.sizes[OPERANDS] if b.kind.pairs else 0
    return Plan(program, b.batch, b.sizes[WORKSPACE], operands, squares)
