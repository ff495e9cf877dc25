"""A network as a program: the instructions of one batch, the buffers they use, and where the team must meet.

Python writes a program once, with a `Builder`; `run.run` executes it for every batch. Layers are in ``layers/``. A
program knows no data type: in bfloat16 it has buffers of pairs beside those of numbers, and instructions that fill
them.

A buffer is a stretch of one flat array, seen as panels [panels, rows, lanes]. An instruction names buffers by number:

=============== ===================================== ==========================================================
operation       buffers and numbers                   what happens
=============== ===================================== ==========================================================
MEET                                                  the team waits for all its threads
GATHER          out, left, right                      out = the next batch; left and right its operands of pairs
MULTIPLY        left, right, start, out,              out = start + left @ right; result = f(out, other)
                code, other, result
ELEMENTWISE     code, left, other, out                out = f(left, other)
MASK            out, units, number                    out = 0 with probability `number`, else what makes up for it
OPERANDS        left, out, other                      left as pairs of columns and of rows
LOSS            left, out, inputs, code, number       losses of the outputs `left`; out = their gradient
LOGITS          left, inputs                          writes the outputs down
SQUARES         left, units                           sums of squares of each unit's weights
TOTAL                                                 writes down their sum, the penalty
UPDATE          left, right, out, inputs, group,      weights `out` take the optimiser's step for inputs `left` and
                result, other, start                  gradient `right`; result = them as right operand
TRANSPOSE       left, out                             out = left.T
=============== ===================================== ==========================================================

Those of images name a `shape`, too, and have buffers [blocks, pixels, lanes], see ``loops/images.py``:

====================== ============================== ==========================================================
operation              buffers and numbers            what happens
====================== ============================== ==========================================================
GATHER_IMAGES          left, out                      out = the next batch, by way of the rows `left`
CONVOLVE               left, right, start, out, other out = start + left * right, perhaps ReLU and 2 x 2 pooled;
                                                      other = bytes that say which was the largest
CONVOLUTION_GRADIENTS  left, start, result, right,    result = left where the bytes `start` say; out = the
                       other, out, inputs, units,     gradient of the input `other`; buffer `inputs` = that of the
                       code                           weights, in parts, by way of `units`; code says which of these
STEP_OF_SUMS           left, right, inputs, units,    weights `right` take a step for rows of the parts `left`
                       group, code
MAP_IMAGES             code, left, other, out         out = f(left, other)
MASK_IMAGES            out, units, number             as MASK
POOL                   left, out, other, code         out = largest or mean of each window; other = bytes
UNPOOL                 left, other, out, code         out = gradient of the windows
FLATTEN, UNFLATTEN     left, out, inputs              images as rows, rows as images
MEASURE                left, right, result, start,    start = mean and deviation of each channel; running
                       other, code                    statistics `right` and `result` move towards them
NORMALIZE              left, right, result, start,    out = left normalised, times right, plus result
                       out
MEASURE_GRADIENTS      left, other, start, out,       out = gradients of scale and shift
                       inputs
NORMALIZATION_GRADIENT left, other, start, right, out out = gradient of NORMALIZE's input
====================== ============================== ==========================================================

`panels` and `slabs` say what a team shares, and `share` how: see ``codes.py``. Buffers of inputs and gradients have
the rows of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.arguments import Images
from fastmlp.kernels.loops.pack import round_up

INSTRUCTION = np.dtype(
    [
        *((name, np.int64) for name in ("operation", "share", "panels", "slabs", "code")),
        *((name, np.int64) for name in ("out", "left", "right", "start", "other", "result")),
        *((name, np.int64) for name in ("inputs", "units", "group", "shape")),
        ("number", np.float64),
    ]
)
SHAPE = np.dtype(
    [
        # Of what is read, and of what is written: without the zeros around it, which are a halo.
        *((name, np.int64) for name in ("channels", "height", "width", "halo")),
        *((name, np.int64) for name in ("outputs", "out_height", "out_width", "out_halo")),
        # Of a convolution: its kernel; rows and columns of outputs that anybody reads, before they are pooled.
        *((name, np.int64) for name in ("kernel", "stride", "padding", "rows", "columns")),
        *((name, np.int64) for name in ("relu", "pool", "taps", "strip", "other_halo")),
    ]
)
BUFFER = np.dtype([(name, np.int64) for name in ("memory", "offset", "panels", "rows", "copy")])

# Rows of a buffer that has as many as the batch, or one for each two of them.
BATCH, PAIRS_OF_BATCH = 0, -1

# Which flat array a buffer lies in.
PARAMETERS, RIGHT, WORKSPACE, OPERANDS, RECORD = range(5)

# Sharing a layer by rows lets a thread carry its rows through several layers without a barrier, but each thread
# then reads all of W. Above this size (half of a common L2) each thread should read only its own panels.
PANELS_FROM_BYTES = 512 * 1024

# Where the first layer is shared by panels, every thread reads the whole batch, and up to four threads gather it each
# for itself where a copy is small: EXPERIMENTS.md, "Gathering".
OWN_COPIES_TO, OWN_COPY_BYTES = 4, 2 * 1024**2


class Program(NamedTuple):
    """What `run.run` executes.

    Attributes
    ----------
    code : array [instructions] of INSTRUCTION
    buffers : array [buffers] of BUFFER
    units : int
        Outputs of all hidden layers: what dropout numbers.
    images : Images or None
        Of a program with instructions of images.
    """

    code: np.ndarray
    buffers: np.ndarray
    units: int
    images: Images | None


class Buffer(NamedTuple):
    """Panels [panels, rows, lanes] from element `offset` of a flat array on.

    Attributes
    ----------
    number : int
        In the program.
    memory : int
        PARAMETERS, RIGHT, WORKSPACE, OPERANDS or RECORD.
    offset, panels, rows : int
    copy : int
        Elements from one thread's copy to the next; 0 where they share one.
    """

    number: int
    memory: int
    offset: int
    panels: int
    rows: int
    copy: int


class Signal(NamedTuple):
    """What one layer hands to another: activations on the way up, gradients on the way down.

    Attributes
    ----------
    values : Buffer
        In numbers; in bfloat16, a batch as gathered has room for a panel only.
    columns, rows : Buffer
        As left operand of a product that sums over its columns, and over its rows; `values` itself where products
        read numbers.
    width : int
        Columns in use.
    """

    values: Buffer
    columns: Buffer
    rows: Buffer
    width: int


class Kind(NamedTuple):
    """What a program's layout depends on beside the network.

    Attributes
    ----------
    lanes, item_bytes : int
        Elements in a vector, bytes in an element.
    pairs : bool
        Whether products read pairs of bfloat16.
    """

    lanes: int
    item_bytes: int
    pairs: bool

    def panels(self, width: int) -> int:
        """Return how many panels hold so many columns."""
        return round_up(width, self.lanes) // self.lanes

    def depth(self, width: int) -> int:
        """Return how many panels a left operand of so many columns has."""
        return -(-self.panels(width) // 2) if self.pairs else self.panels(width)


class Access(NamedTuple):
    """That an instruction reads or writes a buffer, each thread by itself a part that `share` says."""

    buffer: Buffer
    share: tuple[int, int]
    writes: bool


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

    def gathered(self, width: int, share: int) -> Signal:
        """Reserve the batch that a first layer takes which is shared so, in copies where that is faster."""
        panels, rows = self.kind.panels(width), self.batch * self.kind.lanes
        numbers = panels
        if self.kind.pairs:  # columns, and rows
            numbers = self.kind.depth(width) + -(-panels // 2)
        few = self.threads <= OWN_COPIES_TO
        small = numbers * rows * self.kind.item_bytes <= OWN_COPY_BYTES
        copies = self.threads if share == codes.PANELS and few and small else 1
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
        return int(codes.INSIDE if self.groups < self.threads else codes.GROUPS)

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
    ) -> None:
        """Append ``out = start + left @ right`` and ``result = f(out, other)``."""
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
        images = None
        if self.shapes:
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
