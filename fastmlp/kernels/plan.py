"""Where everything of one network lies in its flat buffers: parameters, velocity and workspace.

A plan is an int64 table, one row a layer, that the compiled epoch reads; its columns are the names below. One
flat buffer each instead of a list of arrays: a single compiled epoch then serves every depth.
"""

from dataclasses import dataclass

import numpy as np

from fastmlp.kernels import sparse
from fastmlp.kernels.pack import round_up
from fastmlp.kernels.simd import IDENTITY, RELU

# Columns of the table. Offsets count elements.
INPUTS = 0  # width of the layer's input, without padding
OUTPUTS = 1
INPUT_PANELS = 2
OUTPUT_PANELS = 3
WEIGHTS = 4  # offset of W panels in `parameters`
BIAS = 5  # offset of b panels in `parameters`
INPUT = 6  # offset of the layer's input in the workspace
OUTPUT = 7  # offset of its output
GRADIENT = 8  # offset of the gradient before the activation
TRANSPOSED = 9  # offset of W.T panels in the operands
SPLIT = 10  # how a team shares the layer: ROWS or COLUMNS
BACK_SPLIT = 11  # the same for the gradient of its input
ACTIVATION = 12  # code of simd.py: IDENTITY, RELU, SIGMOID, TANH
RESIDUAL = 13  # 1 where the layer's input is added to its activation
HANDED_ON = 14  # offset of the next layer's input: the output, but for dropout and residual layers
SUM_GRADIENT = 15  # offset of the gradient of a residual layer's sum
BLOCKS = 16  # first of the layer's lanes x lanes blocks of weights, when blocks are numbered
# What products read. In float32 and float64 the operands are the workspace and the parameters themselves; in
# bfloat16 they are arrays of pairs beside them.
INPUT_COLUMNS = 17  # offset of the input as left operand of the forward product
INPUT_ROWS = 18  # offset of the input as left operand of the weight gradient
GRADIENT_COLUMNS = 19  # offset of the gradient as left operand of the input gradient
GRADIENT_ROWS = 20  # offset of the gradient as right operand of the weight gradient
RIGHT = 21  # offset of the weights as right operand
INPUT_DEPTH = 22  # panels of the input as left operand
OUTPUT_DEPTH = 23  # panels of the gradient as left operand
GATHERED = 24  # panels of the first layer's input that the workspace holds at a time
# Elements between two threads' copies of the first layer's input at the three offsets; 0 where they share one.
INPUT_COPY = 25
INPUT_COLUMNS_COPY = 26
INPUT_ROWS_COPY = 27
MASK = 28  # offset of dropout's factors; 0 where there is none
UNITS = 29  # first of the layer's units, when those of hidden layers are numbered
# Offsets of a thread's room for sparse.py, and elements between two threads' room; 0 where there is none.
MARKS = 30
SUMS = 31
ROOM = 32
FIELDS = 33

ROWS, COLUMNS = 0, 1

# Offset in the workspace of a vector of zeros; a batch of ones, the biases' input, stands after it.
ZEROS = 0

# Where the first layer is shared by columns, every thread reads the whole batch, and gathers it for itself. When each
# gathered half, the rest came out of the other core's cache: with two cores that share no L3 (the host of a virtual
# machine moves them about), network A took 1.25 times as long at batch 100 and 256; with a common L3 it is the same.
# To gather all of it takes 2 to 4 % of a step of two threads, and a larger share of that of more: each then gathers
# its rows for all. So do two where a copy is large and pushes the weights out of L3: network A is then 5 % faster at
# batch 256 in bfloat16, where it would be 5 % slower at 100, and 7 % at 512; 0 and 9 % in float32.
OWN_COPIES_TO, OWN_COPY_BYTES = 4, 2 * 1024**2

# Sharing a layer by rows lets a thread carry its rows through several layers without a barrier, but each thread
# then reads all of W. Above this size (half of a common L2) each thread should read only its own columns.
COLUMNS_FROM_BYTES = 512 * 1024


@dataclass(frozen=True)
class Plan:
    """Sizes of the flat buffers and the table of offsets into them.

    Attributes
    ----------
    table : array [layers, FIELDS] of int64
    parameters, workspace : int
        Elements in the buffer of weights and biases (velocity has the same) and in that of activations.
    operands, right : int
        Elements in the arrays of pairs: activations and transposed weights, and weights. 0 where there are none.
    blocks : int
        lanes x lanes blocks of weights.
    batch : int
        Most rows of a batch.
    lanes : int
        Elements in a vector.
    """

    table: np.ndarray
    parameters: int
    workspace: int
    operands: int
    right: int
    blocks: int
    batch: int
    lanes: int


def make_plan(
    sizes: tuple[int, ...],
    batch: int,
    lanes: int,
    item_bytes: int,
    activation: int = int(RELU),
    residual: bool = False,
    pairs: bool = False,
    threads: int = 1,
    dropout: bool = False,
) -> Plan:
    """Lay out a network.

    Parameters
    ----------
    sizes : tuple of int
        Widths, input first.
    batch : int
        Most rows of a batch.
    lanes, item_bytes : int
        Elements in a vector, bytes in an element.
    activation : int
        Code of ``simd.py``, of all layers but the last.
    residual : bool
        Whether a hidden layer's input is added to its output where that is as wide, and itself hidden.
    pairs : bool
        Whether products read pairs of bfloat16.
    threads : int
        Size of the team that shares the workspace.
    dropout : bool
        Whether hidden layers hand on only some of their outputs.
    """
    layers = len(sizes) - 1
    table = np.zeros((layers, FIELDS), np.int64)
    ones = lanes  # where the biases' input begins, in the workspace and in the operands
    parameters, right, blocks, units = 0, 0, 0, 0
    workspace = ones + batch * lanes
    operands = workspace if pairs else 0

    def reserve(count: int) -> int:
        nonlocal workspace
        offset = workspace
        workspace += count
        return offset

    def reserve_operand(count: int) -> int:
        nonlocal operands
        offset = operands
        operands += count
        return offset

    def columns_and_rows(panels: int, offset: int, copies: int = 1) -> tuple[int, int]:
        """Room for both operands made of an array [panels, batch, lanes] at `offset`."""
        if not pairs:
            return offset, offset
        columns, rows = sizes_of_pairs(panels)
        return reserve_operand(copies * columns), reserve_operand(copies * rows)

    def sizes_of_pairs(panels: int) -> tuple[int, int]:
        return -(-panels // 2) * batch * lanes, panels * -(-batch // 2) * lanes

    def split(inputs: int, outputs: int) -> int:
        """How a team shares the product of a layer with so many inputs and outputs."""
        height, width = round_up(inputs, lanes), round_up(outputs, lanes)
        wide = height * width * item_bytes > COLUMNS_FROM_BYTES
        return COLUMNS if wide and width >= 8 * lanes else ROWS

    first_panels = round_up(sizes[0], lanes) // lanes
    gathered = 1 if pairs else first_panels
    room = gathered * batch * lanes
    copies = 1
    # In float32 and float64 the three offsets are those of one array.
    columns, rows = sizes_of_pairs(first_panels) if pairs else (room, room)
    copy_bytes = item_bytes * (columns + rows if pairs else room)
    may_copy = threads <= OWN_COPIES_TO and copy_bytes <= OWN_COPY_BYTES
    if split(*sizes[:2]) == COLUMNS and may_copy:
        copies = threads
        table[0, INPUT_COPY : INPUT_ROWS_COPY + 1] = room, columns, rows
    handed_on = reserve(copies * room)
    for layer in range(layers):
        row = table[layer]
        inputs, outputs = sizes[layer], sizes[layer + 1]
        height, width = round_up(inputs, lanes), round_up(outputs, lanes)
        input_panels, output_panels = height // lanes, width // lanes
        hidden = layer < layers - 1
        row[INPUTS], row[OUTPUTS] = inputs, outputs
        row[INPUT_PANELS], row[OUTPUT_PANELS] = input_panels, output_panels
        row[GATHERED] = gathered
        row[INPUT_DEPTH] = -(-input_panels // 2) if pairs else input_panels
        row[OUTPUT_DEPTH] = -(-output_panels // 2) if pairs else output_panels
        row[WEIGHTS], parameters = parameters, parameters + height * width
        row[BIAS], parameters = parameters, parameters + width
        row[RIGHT] = row[WEIGHTS]
        if pairs:
            row[RIGHT], right = right, right + row[INPUT_DEPTH] * lanes * width
        row[BLOCKS], blocks = blocks, blocks + input_panels * output_panels
        row[ACTIVATION] = activation if hidden else IDENTITY
        row[INPUT] = handed_on
        row[INPUT_COLUMNS], row[INPUT_ROWS] = columns_and_rows(
            input_panels, handed_on, 1 if layer else copies
        )
        row[UNITS], units = units, units + outputs
        row[OUTPUT] = handed_on = reserve(width * batch)
        if dropout and hidden:
            row[MASK] = reserve(width * batch)
        if residual and hidden and layer > 0 and inputs == outputs:
            row[RESIDUAL] = 1
            row[SUM_GRADIENT] = reserve(width * batch)
        if row[MASK] or row[RESIDUAL]:
            handed_on = reserve(width * batch)
        row[HANDED_ON] = handed_on
        row[GRADIENT] = reserve(width * batch)
        row[GRADIENT_COLUMNS], row[GRADIENT_ROWS] = columns_and_rows(output_panels, row[GRADIENT])
        if layer:
            transposed = row[OUTPUT_DEPTH] * lanes * height
            row[TRANSPOSED] = reserve_operand(transposed) if pairs else reserve(transposed)
        row[SPLIT], row[BACK_SPLIT] = split(inputs, outputs), split(outputs, inputs)
        if layer and table[layer - 1, SPLIT] == COLUMNS:
            # A thread then writes the gradient of just those units whose weights it changes.
            row[BACK_SPLIT] = COLUMNS
    if not pairs:
        marks, sums = sparse.room(int(table[:, OUTPUT_PANELS].max()), lanes, batch, item_bytes)
        table[:, MARKS] = reserve(threads * (marks + sums))
        table[:, SUMS] = table[:, MARKS] + marks
        table[:, ROOM] = marks + sums
    return Plan(table, parameters, workspace, operands, right, blocks, batch, lanes)
