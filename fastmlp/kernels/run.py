"""The compiled loop that executes a program: one branch an operation, one call a kernel.

Every thread of a team calls `run` with its own rank. Between two meetings a thread writes only its part of the
outputs. Each tile is compiled once, because each kernel is called in one place.
"""

import functools

from numba import types

from fastmlp.kernels.arguments import (
    Batches,
    Epilogue,
    FirstLayer,
    Marks,
    Model,
    Part,
    Record,
    Room,
    Rule,
    Samples,
    Weights,
)
from fastmlp.kernels.codes import (
    ELEMENTWISE,
    FIRST_OF_IMAGES,
    FIRST_RARE,
    GATHER,
    GATHER_MULTIPLY,
    LOGITS,
    LOSS,
    MASK,
    MEET,
    MULTIPLY,
    OPERANDS,
    SOFTMAX,
    SQUARES,
    TOTAL,
    TRANSPOSE,
    UPDATE,
)
from fastmlp.kernels.emit.denormals import flush_denormals, restore_denormals
from fastmlp.kernels.emit.views import borrowed
from fastmlp.kernels.jit import ZERO, helper, inlined, kernel
from fastmlp.kernels.loops.dropout import draw_mask
from fastmlp.kernels.loops.elementwise import elementwise
from fastmlp.kernels.loops.gather import gather
from fastmlp.kernels.loops.loss import elementwise_loss, softmax_cross_entropy
from fastmlp.kernels.loops.multiply import multiply
from fastmlp.kernels.loops.narrow import gather_multiply, left_over, update_narrow
from fastmlp.kernels.loops.operands import write_operands
from fastmlp.kernels.loops.pack import transpose
from fastmlp.kernels.loops.squares import sum_squares
from fastmlp.kernels.loops.update import update
from fastmlp.kernels.program import PARAMETERS
from fastmlp.kernels.run_images import execute_on_images
from fastmlp.kernels.run_rare import execute_rare
from fastmlp.kernels.team import first_of, meet, part_of
from fastmlp.kernels.view import Now, Tables, hyper_of, mirrored_rows, view


@inlined
def product(one, buffers, model, room, now, part):
    """Execute MULTIPLY."""
    batch, rank = now.batch, now.rank
    A = view(room.operands, buffers, one.left, batch, rank)
    W = view(model.right, buffers, one.right, batch, rank)
    if buffers[one.start].memory == PARAMETERS:
        start = view(model.parameters, buffers, one.start, batch, rank)
    else:
        start = view(room.workspace, buffers, one.start, batch, rank)
    out = view(room.workspace, buffers, one.out, batch, rank)
    other = view(room.workspace, buffers, one.other, batch, rank)
    result = view(room.workspace, buffers, one.result, batch, rank)
    rest = left_over(part, one.units)
    multiply(A, W, start, out, Epilogue(one.code, other, result), rest)


@inlined
def step_of_weights(one, buffers, model, room, rule, now, part):
    """Execute UPDATE."""
    batch, rank = now.batch, now.rank
    X = view(room.operands, buffers, one.left, batch, rank)
    D = view(room.operands, buffers, one.right, batch, rank)
    weights = Weights(
        view(model.parameters, buffers, one.out, batch, rank),
        view(model.velocity, buffers, one.out, batch, rank),
        view(model.squares, buffers, one.out, batch, rank),
        view(model.right, buffers, one.result, batch, rank),
    )
    hyper = hyper_of(one, rule, now.step)
    marks, sums = buffers[one.start], buffers[one.other]
    memory = Marks(room.workspace, marks.offset + rank * marks.copy, sums.offset + rank * sums.copy)
    first = update_narrow(X, D, weights, one.inputs, one.units, rule.code, hyper, part)
    if first < part.row_to:
        rest = Part(part.panel_from, part.panel_to, first, part.row_to)
        update(X, D, weights, one.inputs, rule.code, hyper, memory, rest)


@inlined
def batch_of(one, buffers, samples, batches, room, pairs, now, part):
    """Execute GATHER."""
    X = view(room.workspace, buffers, one.out, now.batch, now.rank)
    mirrored = mirrored_rows(room, now.rank)
    if pairs is not None:
        C = view(room.operands, buffers, one.left, now.batch, now.rank)
        R = view(room.operands, buffers, one.right, now.batch, now.rank)
        gather(samples, batches, now.start, X, C, R, mirrored, part)
    else:
        for turn in range(3 if one.inputs > 0 else 1):
            rest = gathered_in_turn(one, part, turn, now)
            gather(samples, batches, now.start, X, None, None, mirrored, rest)


@helper
def gathered_in_turn(one, part, turn, now):
    """What GATHER gathers first, of its own rows, and then of those before and behind them."""
    if turn == 0:
        return left_over(part, one.units)
    first = first_of(one.inputs, now.rank, now.size)
    last = first_of(one.inputs, now.rank + 1, now.size)
    if turn == 1:
        return Part(first, last, ZERO, part.row_from)
    return Part(first, last, part.row_to, now.batch)


@inlined
def operands_of(one, buffers, room, now, part):
    """Execute OPERANDS."""
    source = view(room.workspace, buffers, one.left, now.batch, now.rank)
    C = view(room.operands, buffers, one.out, now.batch, now.rank)
    R = view(room.operands, buffers, one.other, now.batch, now.rank)
    write_operands(source, part.panel_from, C, R, part)


@inlined
def first_layer(one, buffers, samples, batches, model, room, now, part):
    """Execute GATHER_MULTIPLY."""
    batch, rank = now.batch, now.rank
    other = view(room.workspace, buffers, one.other, batch, rank)
    result = view(room.workspace, buffers, one.result, batch, rank)
    # Of a copy of the batch, only what this thread's weights see.
    X = view(room.workspace, buffers, one.left, batch, rank)
    is_copy = buffers[one.left].copy > 0
    layer = FirstLayer(
        X,
        view(model.parameters, buffers, one.right, batch, rank),
        view(model.parameters, buffers, one.start, batch, rank),
        view(room.workspace, buffers, one.out, batch, rank),
        mirrored_rows(room, rank),
        first_of(X.shape[0], rank, now.size) if is_copy else ZERO,
        first_of(X.shape[0], rank + 1, now.size) if is_copy else X.shape[0],
    )
    epilogue = Epilogue(one.code, other, result)
    gather_multiply(samples, batches, now.start, layer, one.inputs, epilogue, part)


@inlined
def losses_of(one, buffers, samples, batches, room, record, targets, now, part):
    """Execute LOSS."""
    Z = view(room.workspace, buffers, one.left, now.batch, now.rank)
    D = view(room.workspace, buffers, one.out, now.batch, now.rank)
    if one.code == SOFTMAX:
        softmax_cross_entropy(
            Z, D, one.inputs, one.number, samples, batches, record, now.start, part
        )
    elif targets is not None:
        elementwise_loss(Z, D, one.inputs, one.code, samples, batches, record, now.start, part)


@helper
def write_logits(Z, outputs, logits, start, part):
    """Write the outputs of a batch down, row by row."""
    for m in range(part.row_from, part.row_to):
        for j in range(outputs):
            logits[start + m, j] = Z[j // Z.shape[2], m, j % Z.shape[2]]


@helper
def total_of(squares):
    """The sum of an array, in order."""
    total = 0.0
    for value in squares:
        total += value
    return total


@helper
def part_of_instruction(one, batch, team):
    """This thread's part: of the weights where the instruction has slabs, else of the batch's rows."""
    return part_of(one.share, one.panels, one.slabs if one.slabs > 0 else batch, team)


@inlined
def lent_samples(samples):
    """The same samples, of whose arrays nobody counts the users."""
    return Samples(
        borrowed(samples.images),
        borrowed(samples.labels),
        borrowed(samples.targets),
        borrowed(samples.scale),
        borrowed(samples.shift),
        samples.columns,
        borrowed(samples.fill),
    )


@inlined
def lent_batches(batches):
    """The same batches, of whose arrays nobody counts the users."""
    return Batches(
        borrowed(batches.order),
        borrowed(batches.flips),
        borrowed(batches.factors),
        batches.size,
        batches.first,
        batches.last,
        batches.dropout_key,
        borrowed(batches.moves),
        borrowed(batches.mixes),
    )


@inlined
def lent_model(model):
    """The same model, of whose arrays nobody counts the users."""
    return Model(
        borrowed(model.parameters),
        borrowed(model.right),
        borrowed(model.velocity),
        borrowed(model.squares),
    )


@inlined
def lent_record(record):
    """The same record, of whose arrays nobody counts the users."""
    return Record(
        borrowed(record.losses),
        borrowed(record.correct),
        borrowed(record.squares),
        borrowed(record.penalties),
        borrowed(record.logits),
    )


@inlined
def lent_room(room):
    """The same room, of whose arrays nobody counts the users."""
    return Room(borrowed(room.workspace), borrowed(room.operands), borrowed(room.mirrored))


@inlined
def lent_rule(rule):
    """The same rule, of whose array nobody counts the users."""
    return Rule(rule.code, borrowed(rule.hyper))


def seconds_of(signature):
    """Seconds that compiling `run` takes on a Xeon with AVX-512 (27 November 2026), by its arguments' types."""
    images, rare = (signature[place] != types.none for place in (7, 8))
    return 7.5 + 2.5 * images + 2.0 * rare


@functools.partial(kernel, seconds_of=seconds_of)
def run(program, world, team, rows, narrow=None, targets=None, pairs=None, images=None, rare=None):
    """Execute a program for some batches of ``batches.order``, the last of which may be smaller.

    Parameters
    ----------
    program : Program
    world : World
        Its model changes in place where the program says so. The workspace of its room begins with a vector of zeros
        and a batch of ones; so do operands of pairs, in pairs.
    team : Team
    rows, narrow, targets, pairs, images, rare : int or None
        The network's `Needs`: Numba leaves out what only follows if an argument of its own is not None.
    """
    code, buffers = borrowed(program.code), borrowed(program.buffers)
    tables = Tables(buffers, borrowed(program.images.shapes), borrowed(program.images.taps))
    samples, batches = lent_samples(world.samples), lent_batches(world.batches)
    model, record = lent_model(world.model), lent_record(world.record)
    room, rule = lent_room(world.room), lent_rule(world.rule)
    size, count = batches.size, batches.order.shape[0]
    control = flush_denormals()
    for step in range(batches.first, batches.last):
        start = step * size
        now = Now(min(size, count - start), start, step, team.rank, team.size)
        for i in range(code.shape[0]):
            one = code[i]
            operation = one.operation
            if operation == MEET:
                meet(team.barrier, team.size)
                continue
            part = part_of_instruction(one, now.batch, team)
            if operation == MULTIPLY:
                product(one, buffers, model, room, now, part)
            elif operation == UPDATE:
                step_of_weights(one, buffers, model, room, rule, now, part)
            elif operation == LOSS:
                losses_of(one, buffers, samples, batches, room, record, targets, now, part)
            elif operation == GATHER:
                if rows is not None:
                    batch_of(one, buffers, samples, batches, room, pairs, now, part)
            elif operation == GATHER_MULTIPLY:
                if narrow is not None:
                    first_layer(one, buffers, samples, batches, model, room, now, part)
            elif operation == OPERANDS:
                if pairs is not None:
                    operands_of(one, buffers, room, now, part)
            elif operation < FIRST_OF_IMAGES:
                lesser(one, buffers, program, batches, model, room, record, now, part)
            elif operation < FIRST_RARE:
                if images is not None:
                    execute_on_images(one, tables, samples, batches, model, room, rule, now, part)
            elif rare is not None:
                execute_rare(one, tables, program.units, batches, model, room, now, part)
    restore_denormals(control)


@inlined
def lesser(one, buffers, program, batches, model, room, record, now, part):
    """Execute what moves numbers, or what few networks need."""
    batch, rank, operation = now.batch, now.rank, one.operation
    if operation == TRANSPOSE:
        W = view(model.parameters, buffers, one.left, batch, rank)
        transpose(W, view(model.right, buffers, one.out, batch, rank), part)
    elif operation == ELEMENTWISE:
        source = view(room.workspace, buffers, one.left, batch, rank)
        other = view(room.workspace, buffers, one.other, batch, rank)
        out = view(room.workspace, buffers, one.out, batch, rank)
        elementwise(one.code, source, other, out, part)
    elif operation == MASK:
        mask = view(room.workspace, buffers, one.out, batch, rank)
        first = now.start * program.units + one.units
        draw_mask(one.number, batches.dropout_key, first, program.units, mask, part)
    elif operation == LOGITS:
        Z = view(room.workspace, buffers, one.left, batch, rank)
        write_logits(Z, one.inputs, record.logits, now.start, part)
    elif operation == SQUARES:
        W = view(model.parameters, buffers, one.left, batch, rank)
        sum_squares(W, record.squares, one.units, part)
    elif operation == TOTAL and rank == 0:
        record.penalties[now.step] = total_of(record.squares)
