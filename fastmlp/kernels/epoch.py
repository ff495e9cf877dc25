"""A whole epoch in one call: the order in which the kernels run, and what a team waits for.

Every thread of a team calls the same function with its own `rank`. Between the barriers a thread writes only
its share of the outputs. Consecutive layers that are shared by rows need no barrier between them: a thread
carries its own rows through all of them.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels.backward import input_gradient
from fastmlp.kernels.dropout import draw_mask
from fastmlp.kernels.elementwise import elementwise
from fastmlp.kernels.forward import affine
from fastmlp.kernels.gather import gather
from fastmlp.kernels.jit import ONE, ZERO, helper, inlined, kernel
from fastmlp.kernels.loss import SOFTMAX, elementwise_loss, softmax_cross_entropy
from fastmlp.kernels.operands import write_operands, write_right_operand
from fastmlp.kernels.pack import transpose
from fastmlp.kernels.plan import (
    ACTIVATION,
    BACK_SPLIT,
    BIAS,
    BLOCKS,
    COLUMNS,
    GATHERED,
    GRADIENT,
    GRADIENT_COLUMNS,
    GRADIENT_ROWS,
    HANDED_ON,
    INPUT,
    INPUT_COLUMNS,
    INPUT_COLUMNS_COPY,
    INPUT_COPY,
    INPUT_DEPTH,
    INPUT_PANELS,
    INPUT_ROWS,
    INPUT_ROWS_COPY,
    INPUTS,
    MARKS,
    MASK,
    OUTPUT,
    OUTPUT_DEPTH,
    OUTPUT_PANELS,
    OUTPUTS,
    RESIDUAL,
    RIGHT,
    ROOM,
    ROWS,
    SPLIT,
    SUM_GRADIENT,
    SUMS,
    TRANSPOSED,
    UNITS,
    WEIGHTS,
    ZEROS,
)
from fastmlp.kernels.simd import (
    ADD,
    IDENTITY,
    MULTIPLY,
    RELU,
    RELU_GRADIENT,
    SIGMOID,
    SIGMOID_GRADIENT,
    TANH,
    TANH_GRADIENT,
    packing,
    panels,
)
from fastmlp.kernels.team import first_of, meet
from fastmlp.kernels.update import update


class Samples(NamedTuple):
    """What batches are gathered from.

    Attributes
    ----------
    images : array [N, D] of uint8, float32 or float64
    labels : array [N] of int64
        For the loss SOFTMAX.
    targets : array [N, outputs]
        For the other losses.
    scale, shift : arrays [D]
        A feature enters the network as ``image * scale + shift``.
    columns : int
        Width of an image, for flipping.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    columns: int


class Model(NamedTuple):
    """The flat buffers of one network; `table` is that of its plan.

    `right` holds the weights as products read them: the parameters themselves, or pairs.
    """

    table: np.ndarray
    parameters: np.ndarray
    right: np.ndarray
    velocity: np.ndarray
    squares: np.ndarray


class Dropout(NamedTuple):
    """Which outputs of hidden layers a step goes without, where the plan has room for their factors.

    Attributes
    ----------
    rate : float
        The probability of an output to become zero.
    key : uint64
        Of the epoch's random numbers.
    """

    rate: float
    key: np.uint64


NO_DROPOUT = Dropout(0.0, np.uint64(0))


class Team(NamedTuple):
    """This thread's place among those that share the call.

    Attributes
    ----------
    rank, size : int
    barrier : array [16] of int64
        Zeros at first, shared by the team.
    """

    rank: int
    size: int
    barrier: np.ndarray


@inlined
def gather_batch(samples, indices, flips, table, workspace, operands, scratch, team):
    """The batch ``images[indices]`` as the first layer's input: this thread's rows, or all where it has its own."""
    row, batch = table[0], indices.shape[0]
    X = panels(workspace, row[INPUT] + team.rank * row[INPUT_COPY], row[GATHERED], batch)
    C, R = input_operands(row, operands, batch, team)
    row_from, row_to = ZERO, batch
    if not row[INPUT_COPY]:
        row_from = rows_from(batch, team.rank, team.size)
        row_to = rows_from(batch, team.rank + 1, team.size)
    gather(
        samples.images,
        indices,
        flips,
        samples.columns,
        samples.scale,
        samples.shift,
        X,
        C,
        R,
        scratch[team.rank],
        row_from,
        row_to,
    )


@helper
def rows_from(batch, rank, size):
    """Where a thread's rows of a batch begin: even, so that no pair of rows belongs to two threads."""
    return min(batch, 2 * first_of((batch + 1) // 2, rank, size))


@helper
def rectangle(split, panels, batch, team):
    """This thread's share of a layer's outputs: panels, or rows of the batch."""
    if split == COLUMNS:
        first = first_of(panels, team.rank, team.size)
        last = first_of(panels, team.rank + 1, team.size)
        return first, last, ZERO, batch
    first = rows_from(batch, team.rank, team.size)
    last = rows_from(batch, team.rank + 1, team.size)
    return ZERO, panels, first, last


@inlined
def left_operands(operands, columns, rows, depth, panel_count, batch):
    """Views of a batch's activations or gradients as left operands: over their columns, over their rows."""
    pairs = (batch + packing(operands) - 1) // packing(operands)
    return panels(operands, columns, depth, batch), panels(operands, rows, panel_count, pairs)


@inlined
def input_operands(row, operands, batch, team):
    """A layer's input as left operands: that of the batch, or this thread's copy of it."""
    columns = row[INPUT_COLUMNS] + team.rank * row[INPUT_COLUMNS_COPY]
    rows = row[INPUT_ROWS] + team.rank * row[INPUT_ROWS_COPY]
    return left_operands(operands, columns, rows, row[INPUT_DEPTH], row[INPUT_PANELS], batch)


@inlined
def forward_layer(table, layer, model, workspace, operands, dropout, start, batch, team):
    """One layer for this thread's share of the batch, and its output as the next products read it.

    The batch begins with the epoch's row `start`.
    """
    row = table[layer]
    X, _ = input_operands(row, operands, batch, team)
    H = panels(workspace, row[OUTPUT], row[OUTPUT_PANELS], batch)
    W = panels(model.right, row[RIGHT], row[OUTPUT_PANELS], row[INPUT_DEPTH] * H.shape[2])
    b = panels(model.parameters, row[BIAS], row[OUTPUT_PANELS], 1)
    p0, p1, m0, m1 = rectangle(row[SPLIT], row[OUTPUT_PANELS], batch, team)
    affine(X, W, b, H, row[ACTIVATION], p0, p1, m0, m1)
    Y = panels(workspace, row[HANDED_ON], row[OUTPUT_PANELS], batch)
    if row[MASK]:
        mask = panels(workspace, row[MASK], row[OUTPUT_PANELS], batch)
        units = table[table.shape[0] - 1, UNITS]
        first = start * units + row[UNITS]
        draw_mask(dropout.rate, dropout.key, first, units, mask, p0, p1, m0, m1)
        elementwise(MULTIPLY, H, mask, Y, p0, p1, m0, m1)
    if row[RESIDUAL]:
        before = panels(workspace, row[INPUT], row[INPUT_PANELS], batch)
        elementwise(ADD, Y if row[MASK] else H, before, Y, p0, p1, m0, m1)
    if layer < table.shape[0] - 1:
        above = table[layer + 1]
        C, R = left_operands(
            operands,
            above[INPUT_COLUMNS],
            above[INPUT_ROWS],
            above[INPUT_DEPTH],
            above[INPUT_PANELS],
            batch,
        )
        write_operands(Y, p0, C, R, p0, p1, m0, m1)


@inlined
def backward_layer(table, layer, workspace, operands, batch, team):
    """The gradient that layer `layer` hands down, for this thread's share of the batch."""
    row, below = table[layer], table[layer - 1]
    D = panels(operands, row[GRADIENT_COLUMNS], row[OUTPUT_DEPTH], batch)
    T = panels(operands, row[TRANSPOSED], row[INPUT_PANELS], row[OUTPUT_DEPTH] * D.shape[2])
    H = panels(workspace, below[OUTPUT], row[INPUT_PANELS], batch)
    G = panels(workspace, below[GRADIENT], row[INPUT_PANELS], batch)
    start, start_row, start_panel = panels(workspace, ZEROS, 1, 1), ZERO, ZERO
    if row[RESIDUAL]:
        start = panels(workspace, row[SUM_GRADIENT], row[OUTPUT_PANELS], batch)
        start_row, start_panel = D.shape[2], batch * D.shape[2]
    derivative = derivative_of(below[ACTIVATION])
    p0, p1, m0, m1 = rectangle(row[BACK_SPLIT], row[INPUT_PANELS], batch, team)
    out, at_once = G, not (below[RESIDUAL] or below[MASK])
    if below[RESIDUAL]:
        # The layer below also passes on the gradient of its sum, before dropout and activation.
        out = panels(workspace, below[SUM_GRADIENT], row[INPUT_PANELS], batch)
    epilogue = derivative if at_once else IDENTITY
    input_gradient(D, T, start, start_row, start_panel, H, out, epilogue, p0, p1, m0, m1)
    if below[MASK]:
        mask = panels(workspace, below[MASK], row[INPUT_PANELS], batch)
        elementwise(MULTIPLY, out, mask, G, p0, p1, m0, m1)
        out = G
    if not at_once:
        elementwise(derivative, out, H, G, p0, p1, m0, m1)
    C, R = left_operands(
        operands,
        below[GRADIENT_COLUMNS],
        below[GRADIENT_ROWS],
        below[OUTPUT_DEPTH],
        below[OUTPUT_PANELS],
        batch,
    )
    write_operands(G, p0, C, R, p0, p1, m0, m1)


@helper
def derivative_of(activation):
    """The code that multiplies a gradient by the derivative of an activation, given its value."""
    if activation == RELU:
        return RELU_GRADIENT
    if activation == SIGMOID:
        return SIGMOID_GRADIENT
    if activation == TANH:
        return TANH_GRADIENT
    return IDENTITY


@helper
def weights_share(row, team):
    """This thread's rectangle of a layer's weights: panels, or groups of rows where panels are few.

    Also groups of rows where they multiply the units that this thread computes: inputs, weights and their
    transpose then stay in its cache.
    """
    follows = row[TRANSPOSED] > 0 and row[BACK_SPLIT] == COLUMNS
    by_panels = row[OUTPUT_PANELS] >= 2 * team.size and not follows
    count = row[OUTPUT_PANELS] if by_panels else row[INPUT_PANELS]
    first = first_of(count, team.rank, team.size)
    last = first_of(count, team.rank + 1, team.size)
    if by_panels:
        return first, last, ZERO, row[INPUT_PANELS]
    return ZERO, row[OUTPUT_PANELS], first, last


@inlined
def transpose_layer(table, layer, parameters, operands, team):
    """Write this thread's share of W.T; the first layer needs none."""
    row = table[layer]
    lanes = panels(operands, ZEROS, 1, 1).shape[2]
    W = panels(parameters, row[WEIGHTS], row[OUTPUT_PANELS], row[INPUT_PANELS] * lanes)
    T = panels(operands, row[TRANSPOSED], row[INPUT_PANELS], row[OUTPUT_DEPTH] * lanes)
    p0, p1, s0, s1 = weights_share(row, team)
    transpose(W, T, p0, p1, s0, s1)


@inlined
def update_layer(table, layer, model, workspace, operands, batch, rule, hyper, squares, team):
    """One step of this thread's share of a layer's weights, and of its biases."""
    row = table[layer]
    pairs = (batch + packing(operands) - 1) // packing(operands)
    _, X = input_operands(row, operands, batch, team)
    D = panels(operands, row[GRADIENT_ROWS], row[OUTPUT_PANELS], pairs)
    lanes = X.shape[2]
    rows = row[INPUT_PANELS] * lanes
    W = panels(model.parameters, row[WEIGHTS], row[OUTPUT_PANELS], rows)
    V = panels(model.velocity, row[WEIGHTS], row[OUTPUT_PANELS], rows)
    S = panels(model.squares, row[WEIGHTS], row[OUTPUT_PANELS], rows)
    right = panels(model.right, row[RIGHT], row[OUTPUT_PANELS], row[INPUT_DEPTH] * lanes)
    p0, p1, s0, s1 = weights_share(row, team)
    inputs, numbers = row[INPUTS], hyper[0]
    blocks = squares[:0].reshape(0, 0)
    if squares.size > 0:
        first = row[BLOCKS]
        count = row[OUTPUT_PANELS] * row[INPUT_PANELS]
        blocks = squares[first : first + count].reshape(row[OUTPUT_PANELS], row[INPUT_PANELS])
    for part in range(2 if s0 == 0 and s1 > 0 else 1):
        if part == 1:
            # Biases: one row of weights, of an input that is always one. The same call, since Numba would
            # compile a second one into the epoch once more.
            X = panels(operands, lanes, 1, pairs)
            W = panels(model.parameters, row[BIAS], row[OUTPUT_PANELS], 1)
            V = panels(model.velocity, row[BIAS], row[OUTPUT_PANELS], 1)
            S = panels(model.squares, row[BIAS], row[OUTPUT_PANELS], 1)
            inputs, numbers, s1 = ONE, hyper[1], ONE
            blocks = squares[:0].reshape(0, 0)
            right = panels(model.right, ZEROS, 0, 0)
        update(
            X,
            D,
            W,
            V,
            S,
            right,
            inputs,
            rule,
            numbers,
            blocks,
            workspace,
            row[MARKS] + team.rank * row[ROOM],
            row[SUMS] + team.rank * row[ROOM],
            p0,
            p1,
            s0,
            s1,
        )


@kernel
def run_epoch(
    samples,
    order,
    flips,
    factors,
    model,
    workspace,
    operands,
    scratch,
    batch_size,
    loss,
    rule,
    hyper,
    losses,
    correct,
    penalties,
    squares,
    logits,
    dropout,
    team,
):
    """Take one optimiser step per batch of ``order``, the last of which may be smaller; or only evaluate.

    Both in one function, because its machine code contains every tile: a second one took 4 s more to compile.

    Parameters
    ----------
    samples : Samples
    order : array [n] of int64
        Rows of the data set, in the order they are seen.
    flips : array [n] of bool
        Which of them are mirrored.
    factors : array [n] of the parameters' type
        What each sample's gradient is multiplied by: 1 / batch for a mean loss, 1 for a sum.
    model : Model
        Changed in place.
    workspace : array
        The plan's workspace, shared by the team; its first vector is zeros, the next `batch_size` ones.
    operands : array
        What products read: the workspace itself, or the plan's pairs, which begin like it.
    scratch : array [size, batch_size, D] like images
        Room for each thread's mirrored images.
    batch_size : int
    loss : int
        SOFTMAX, LOGISTIC or SQUARED of ``loss.py``.
    rule : int
        PLAIN, HEAVY_BALL, VELOCITY, ADAM or RMSPROP of ``simd.py``.
    hyper : array [steps, 2, COLUMNS]
        Numbers of the rule for each step; for weights, for biases. The columns are named in ``simd.py``.
    losses : array [n] of float64
    correct : array [n] of bool
        Per sample in order, before its batch's step; `correct` only with SOFTMAX.
    penalties : array [steps] of float64
        Receives the sum of squares of all weights before each step, if it is not empty.
    squares : array [blocks] of float64
        Room for its parts; empty like `penalties`.
    logits : array [n, outputs]
        Empty to train. Else it receives the logits per sample in order, and nothing changes; a team of one.
    dropout : Dropout
    team : Team
    """
    table = model.table
    trains = logits.size == 0
    layers = table.shape[0]
    count = order.shape[0]
    outputs = table[layers - 1, OUTPUTS]
    for layer in range(1, layers if trains else 1):
        transpose_layer(table, layer, model.parameters, operands, team)
    for start in range(0, count, batch_size):
        step = start // batch_size
        batch = min(batch_size, count - start)
        stop = start + batch
        first = rows_from(batch, team.rank, team.size)
        last = rows_from(batch, team.rank + 1, team.size)
        if not table[0, INPUT_COPY]:  # others may still read the batch before
            meet(team.barrier, team.size)
        gather_batch(
            samples,
            order[start:stop],
            flips[start:stop],
            table,
            workspace,
            operands,
            scratch,
            team,
        )
        by_rows = True
        for layer in range(layers):
            if not by_rows or table[layer, SPLIT] == COLUMNS:
                meet(team.barrier, team.size)
            forward_layer(table, layer, model, workspace, operands, dropout, start, batch, team)
            by_rows = table[layer, SPLIT] == ROWS
        if not by_rows:
            meet(team.barrier, team.size)
        if penalties.size > 0 and step > 0 and team.rank == 0:
            penalties[step - 1] = squares.sum()
        Z = panels(workspace, table[layers - 1, OUTPUT], table[layers - 1, OUTPUT_PANELS], batch)
        if not trains:
            for m in range(batch):
                for j in range(outputs):
                    logits[start + m, j] = Z[j // Z.shape[2], m, j % Z.shape[2]]
            continue
        D = panels(workspace, table[layers - 1, GRADIENT], table[layers - 1, OUTPUT_PANELS], batch)
        if loss == SOFTMAX:
            softmax_cross_entropy(
                Z,
                samples.labels,
                order[start:stop],
                outputs,
                factors[start:stop],
                D,
                losses[start:stop],
                correct[start:stop],
                first,
                last,
            )
        else:
            elementwise_loss(
                Z,
                samples.targets,
                order[start:stop],
                outputs,
                loss,
                factors[start:stop],
                D,
                losses[start:stop],
                first,
                last,
            )
        C, R = left_operands(
            operands,
            table[layers - 1, GRADIENT_COLUMNS],
            table[layers - 1, GRADIENT_ROWS],
            table[layers - 1, OUTPUT_DEPTH],
            table[layers - 1, OUTPUT_PANELS],
            batch,
        )
        write_operands(D, ZERO, C, R, ZERO, table[layers - 1, OUTPUT_PANELS], first, last)
        by_rows = True
        for layer in range(layers - 1, 0, -1):
            if not by_rows or table[layer, BACK_SPLIT] == COLUMNS:
                meet(team.barrier, team.size)
            backward_layer(table, layer, workspace, operands, batch, team)
            by_rows = table[layer, BACK_SPLIT] == ROWS
        meet(team.barrier, team.size)
        for layer in range(layers):
            update_layer(
                table, layer, model, workspace, operands, batch, rule, hyper[step], squares, team
            )
            if layer > 0:
                transpose_layer(table, layer, model.parameters, operands, team)

    meet(team.barrier, team.size)
    if penalties.size > 0 and team.rank == 0:
        penalties[-1] = squares.sum()


@kernel
def write_right(table, parameters, right):
    """Write all weights as products read them; nothing where they read the parameters."""
    for layer in range(table.shape[0]):
        row = table[layer]
        lanes = panels(parameters, ZEROS, 1, 1).shape[2]
        W = panels(parameters, row[WEIGHTS], row[OUTPUT_PANELS], row[INPUT_PANELS] * lanes)
        R = panels(right, row[RIGHT], row[OUTPUT_PANELS], row[INPUT_DEPTH] * lanes)
        write_right_operand(W, R, 0, row[OUTPUT_PANELS], 0, row[INPUT_PANELS])
