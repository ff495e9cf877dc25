"""A network as a program: the instructions of one batch, the buffers they use, and where the team must meet.

Python writes a program once, with a `builder.Builder`; `run.run` executes it for every batch. Layers are in
``layers/``. A program knows no data type: in bfloat16 it has buffers of pairs beside those of numbers, and instructions
that fill them.

A buffer is a stretch of one flat array, seen as panels [panels, rows, lanes]. An instruction names buffers by number:

=============== ===================================== ==========================================================
operation       buffers and numbers                   what happens
=============== ===================================== ==========================================================
MEET                                                  the team waits for all its threads
GATHER          out, left, right, units, inputs       out = the next batch; left and right its operands of pairs;
                                                      `units` as said of GATHER_MULTIPLY; if `inputs` are its panels,
                                                      also the other threads' rows in those that UPDATE will see
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
                units, result, other, start           gradient `right`; result = them as right operand; `units` says
                                                      which tile, see ``loops/narrow.py``
TRANSPOSE       left, out                             out = left.T
GATHER_MULTIPLY left, right, start, out, code, other, GATHER and MULTIPLY of whole vectors of rows, `inputs` outputs
                result, inputs                        a tile; those two have `units` rows in a vector and do the rest
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

from typing import NamedTuple

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
        *(
            (name, np.int64)
            for name in ("relu", "relu_below", "pool", "taps", "strip", "other_halo")
        ),
    ]
)
BUFFER = np.dtype([(name, np.int64) for name in ("memory", "offset", "panels", "rows", "copy")])

# Rows of a buffer that has as many as the batch, or one for each two of them.
BATCH, PAIRS_OF_BATCH = 0, -1

# Which flat array a buffer lies in.
PARAMETERS, RIGHT, WORKSPACE, OPERANDS, RECORD = range(5)


class Program(NamedTuple):
    """What `run.run` executes.

    Attributes
    ----------
    code : array [instructions] of INSTRUCTION
    buffers : array [buffers] of BUFFER
    units : int
        Outputs of all hidden layers: what dropout numbers.
    images : Images
        Without shapes where there are no instructions of images.
    """

    code: np.ndarray
    buffers: np.ndarray
    units: int
    images: Images


class Needs(NamedTuple):
    """What a network needs of `run.run`, which is compiled without the rest: each 1, or None.

    Attributes
    ----------
    rows : int or None
        GATHER: a batch as rows, which networks that begin with images do without.
    narrow : int or None
        GATHER_MULTIPLY.
    targets : int or None
        A loss beside SOFTMAX.
    pairs : int or None
        OPERANDS, and a batch as operands of pairs.
    images, rare : int or None
        Instructions of images, and those that few networks have.
    """

    rows: int | None
    narrow: int | None
    targets: int | None
    pairs: int | None
    images: int | None
    rare: int | None


def needs_of(*programs: Program) -> Needs:
    """Return what the programs of a network need together: a loop for each would be compiled each by itself."""
    code = np.concatenate([program.code for program in programs])
    operations = code["operation"]
    losses = code["code"][operations == codes.LOSS]
    needs = (
        operations == codes.GATHER,
        operations == codes.GATHER_MULTIPLY,
        losses != codes.SOFTMAX,
        operations == codes.OPERANDS,
        operations >= codes.FIRST_OF_IMAGES,
        operations >= codes.FIRST_RARE,
    )
    return Needs(*(1 if need.any() else None for need in needs))


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
