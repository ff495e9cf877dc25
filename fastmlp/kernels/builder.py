"""Writes a program: reserves buffers, appends instructions, and finds out where the team must meet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.arguments import Images
from fastmlp.kernels.loops.pack import round_up
from fastmlp.kernels.program import (
    BATCH,
    BUFFER,
    INSTRUCTION,
    OPERANDS,
    PAIRS_OF_BATCH,
    SHAPE,
    WORKSPACE,
    Access,
    Buffer,
    Kind,
    Program,
    Signal,
)

# Sharing a layer by rows lets a thread carry its rows through several layers without a barrier, but each thread
# then reads all of W. Above this size (half of a common L2) each thread should read only its own panels.
PANELS_FROM_BYTES = 512 * 1024

# Groups of images from which each has one thread, even if threads are left over: parts of images would have to be
# handed from core to core (`benchmarks/many_cores.py`).
FEW_GROUPS = 8

# Where the first layer is shared by panels, every thread reads the whole batch, and up to four threads gather it each
# for itself where a copy is small: EXPERIMENTS.md, "Gathering". So they do where a narrow first layer gathers its rows
# itself: a thread then needs, of all rows, what its part of the weights sees. EXPERIMENTS.md, "Narrow layers".
OWN_COPIES_TO, OWN_COPY_BYTES = 4, 2 * 1024**2


@dataclass
class Builder:
    """Writes a program, instruction by instruction.

    Attributes
    ----------
    kind : Kind
    batch : int
        Most rows of a batch.
    threads : int
        Size of the team.
    sizes : dict
        Elements reserved so far, by memory.
    has_images : bool
        Whether the network has layers of images: a thread then takes whole groups of them through all layers.
    """

    kind: Kind
    batch: int
    threads: int
    sizes: dict[int, int]
    has_images: bool = False
    buffers: list[Buffer] = field(default_factory=list)
    _code: list[tuple[dict[str, Any], list[Access]]] = field(default_factory=list)
    units: int = 0
    shapes: list[dict[str, int]] = field(default_factory=list)
    taps: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Reserve what every program has: a vector of zeros, and a batch of ones, the biases' input."""
        self.nothing = self.place(WORKSPACE, 0, 0, 1)
        self.zeros = self.reserve(1, 1)
        ones = self.reserve(1, BATCH)
        if self.kind.pairs:
            self.reserve(1, 1, OPERANDS)
            ones = self.reserve(1, BATCH, OPERANDS)
            ones = self.place(OPERANDS, ones.offset, 1, PAIRS_OF_BATCH)
        self.ones = ones

    # -- buffers -----------------------------------------------------------------------------------

    def place(self, memory: int, offset: int, panels: int, rows: int, copy: int = 0) -> Buffer:
        """Name a stretch of memory that is there."""
        self.buffers.append(Buffer(len(self.buffers), memory, offset, panels, rows, copy))
        return self.buffers[-1]

    def reserve(
        self, panels: int, rows: int = BATCH, memory: int = WORKSPACE, copies: int = 1
    ) -> Buffer:
        """Reserve memory for panels, or for each thread's own."""
        many = {BATCH: self.batch, PAIRS_OF_BATCH: -(-self.batch // 2)}.get(rows, rows)
        return self.reserve_elements(panels * many * self.kind.lanes, panels, rows, memory, copies)

    def reserve_elements(
        self, count: int, panels: int, rows: int, memory: int, copies: int
    ) -> Buffer:
        """Reserve `count` elements of memory for each copy of a buffer."""
        offset = self.sizes[memory]
        self.sizes[memory] += count * copies
        return self.place(memory, offset, panels, rows, count if copies > 1 else 0)

    def signal(self, width: int, values: Buffer | None = None, copies: int = 1) -> Signal:
        """Reserve what a layer hands on, beside `values` where they are there already."""
        if values is None:
            values = self.reserve(self.kind.panels(width), copies=copies)
        if not self.kind.pairs:
            return Signal(values, values, values, width)
        columns = self.reserve(self.kind.depth(width), BATCH, OPERANDS, copies)
        panels = self.kind.panels(width)
        rows = self.reserve(panels, PAIRS_OF_BATCH, OPERANDS, copies)
        return Signal(values, columns, rows, width)

    def gathered(self, width: int, share: int, at_once: bool) -> Signal:
        """Reserve the batch that a first layer takes, in copies where that is faster.

        Parameters
        ----------
        width : int
        share : int
            How a team shares the layer.
        at_once : bool
            Whether it gathers most rows itself.
        """
        panels, rows = self.kind.panels(width), self.batch * self.kind.lanes
        numbers = panels
        if self.kind.pairs:  # columns, and rows
            numbers = self.kind.depth(width) + -(-panels // 2)
        few = self.threads <= OWN_COPIES_TO
        size = numbers * rows * self.kind.item_bytes
        small = size <= OWN_COPY_BYTES * (self.threads if at_once else 1)
        copies = self.threads if (share == codes.PANELS or at_once) and few and small else 1
        values = self.reserve(1 if self.kind.pairs else panels, copies=copies)
        return self.signal(width, values, copies)

    # -- instructions ------------------------------------------------------------------------------

    def share(self, inputs: int, outputs: int) -> int:
        """Return how a team shares the product of a layer with so many inputs and outputs."""
        height, width = (round_up(one, self.kind.lanes) for one in (inputs, outputs))
        is_large = height * width * self.kind.item_bytes > PANELS_FROM_BYTES
        return int(codes.PANELS) if is_large and width >= 8 * self.kind.lanes else self.rows_share

    @property
    def groups(self) -> int:
        """Groups of images in a batch."""
        return -(-self.batch // int(codes.GROUP))

    @property
    def image_share(self) -> int:
        """How a team shares images: whole groups of them, or parts of each where groups are too few."""
        few = self.groups < min(self.threads, FEW_GROUPS)
        return int(codes.INSIDE if few else codes.GROUPS)

    @property
    def rows_share(self) -> int:
        """How a team shares the rows of a batch: so that a thread's are those of its images."""
        follows = self.has_images and self.image_share == codes.GROUPS
        return int(codes.GROUPS if follows else codes.ROWS)

    def add(
        self,
        operation: int,
        share: int,
        *,
        panels: int = 0,
        slabs: int = 0,
        reads: Iterable[tuple[Buffer, int | tuple[int, int]]] = (),
        writes: Iterable[tuple[Buffer, int | tuple[int, int]]] = (),
        **fields: Any,
    ) -> None:
        """Append an instruction.

        Parameters
        ----------
        operation, share, panels, slabs : int
        reads, writes : pairs of Buffer and int
            What it touches, and how a team shares that: `share` itself, or COPIES where each thread may touch all; or
            a share with the number of what is shared.
        **fields
            The other columns of INSTRUCTION; a Buffer stands for its number.
        """
        given = {
            name: value.number if isinstance(value, Buffer) else value
            for name, value in fields.items()
        }
        count = {codes.PANELS: panels, codes.SLABS: slabs}
        accesses = [
            Access(buffer, how if isinstance(how, tuple) else (how, count.get(how, 0)), is_write)
            for touched, is_write in ((reads, False), (writes, True))
            for buffer, how in touched
            if not buffer.copy and buffer.panels
        ]
        own = {"operation": operation, "share": share, "panels": panels, "slabs": slabs}
        self._code.append((own | given, accesses))

    def multiply(
        self,
        left: Buffer,
        right: Buffer,
        start: Buffer,
        out: Buffer,
        share: int,
        *,
        code: int = int(codes.IDENTITY),
        other: Buffer | None = None,
        result: Buffer | None = None,
        **fields: int,
    ) -> None:
        """Append ``out = start + left @ right`` and ``result = f(out, other)``; `fields` as for `add`."""
        by_rows = share != codes.PANELS
        all_or_own = share if by_rows else codes.COPIES  # of the rows of `left`
        columns = codes.COPIES if by_rows else codes.PANELS  # of `right`
        # A start has its rows from the batch, or is one row that all read.
        start_share = share if start.rows == BATCH else columns
        other, result = other or out, result or out
        self.add(
            codes.MULTIPLY,
            share,
            panels=out.panels,
            reads=[(left, all_or_own), (right, columns), (start, start_share), (other, share)],
            writes=[(out, share), (result, share)],
            left=left,
            right=right,
            start=start,
            out=out,
            code=code,
            other=other,
            result=result,
            **fields,
        )

    def elementwise(self, code: int, left: Buffer, other: Buffer, out: Buffer, share: int) -> None:
        """Append ``out = f(left, other)``."""
        self.add(
            codes.ELEMENTWISE,
            share,
            panels=out.panels,
            reads=[(left, share), (other, share)],
            writes=[(out, share)],
            code=code,
            left=left,
            other=other,
            out=out,
        )

    def write_operands(self, signal: Signal, share: int) -> None:
        """Append what products need of a signal beside its values."""
        if self.kind.pairs:
            self.add(
                codes.OPERANDS,
                share,
                panels=signal.values.panels,
                reads=[(signal.values, share)],
                writes=[(signal.columns, share), (signal.rows, share)],
                left=signal.values,
                out=signal.columns,
                other=signal.rows,
            )

    def program(self, *, repeats: bool) -> Program:
        """Return what was written, with a MEET wherever a team needs one.

        Parameters
        ----------
        repeats : bool
            Whether the program begins again after its last instruction, so that its end comes before its beginning.
        """
        lines: list[dict[str, Any]] = []
        left_over: list[Access] = []
        # Again until what a batch leaves to the next is what it was: what the next begins with.
        for _ in range(3 if repeats else 1):
            lines, left_over = self._with_meetings(left_over if repeats else [])
        code = np.zeros(len(lines), INSTRUCTION)
        for row, line in zip(code, lines, strict=True):
            for name in ("out", "left", "right", "start", "other", "result"):
                row[name] = self.nothing.number
            for name, value in line.items():
                row[name] = value
        buffers = np.zeros(len(self.buffers), BUFFER)
        for row, one in zip(buffers, self.buffers, strict=True):
            for name in BUFFER.names or ():
                row[name] = getattr(one, name)
        shapes = np.zeros(len(self.shapes), SHAPE)
        for row, shape in zip(shapes, self.shapes, strict=True):
            for name, value in shape.items():
                row[name] = value
        images = Images(shapes, np.array(self.taps or [0], np.int64))
        return Program(code, buffers, self.units, images)

    def _with_meetings(self, pending: list[Access]) -> tuple[list[dict[str, Any]], list[Access]]:
        """Return the instructions with a MEET before each that conflicts with one since the last MEET."""
        lines: list[dict[str, Any]] = []
        for line, accesses in self._code:
            if self.threads > 1 and any(_conflict(a, b) for a in accesses for b in pending):
                lines.append({"operation": codes.MEET})
                pending = []
            lines.append(line)
            pending = pending + accesses
        return lines, pending


def _conflict(one: Access, other: Access) -> bool:
    """Return whether two threads may touch the same element, one of them to write it."""
    a, b = one.buffer, other.buffer
    same = (a.memory, a.offset) == (b.memory, b.offset)
    apart = one.share == other.share and one.share[0] != codes.COPIES
    return same and (one.writes or other.writes) and not apart
