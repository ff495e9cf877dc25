"""The instructions of images: one branch an operation, one call a kernel. Only programs with convolutions have them."""

from fastmlp.kernels.arguments import Gradients, Weights
from fastmlp.kernels.codes import (
    COLUMNS,
    CONVOLUTION_GRADIENTS,
    CONVOLVE,
    FLATTEN,
    GATHER_IMAGES,
    GROUP,
    INSIDE,
    MAP_IMAGES,
    MASK_IMAGES,
    MEASURE,
    MEASURE_GRADIENTS,
    NORMALIZATION_GRADIENT,
    NORMALIZE,
    POOL,
    STEP_OF_SUMS,
    UNFLATTEN,
    UNPOOL,
)
from fastmlp.kernels.emit.views import row_at
from fastmlp.kernels.jit import inlined
from fastmlp.kernels.loops.batchnorm import (
    input_of_normalization,
    measure,
    measure_gradients,
    normalize,
    take_running,
)
from fastmlp.kernels.loops.convolution import convolve, whose_images
from fastmlp.kernels.loops.convolution_gradients import convolution_gradients
from fastmlp.kernels.loops.images import (
    flatten,
    gather_images,
    map_images,
    mask_images,
    pool,
    unflatten,
    unpool,
)
from fastmlp.kernels.loops.weight_gradient import step_of_sums
from fastmlp.kernels.view import mirrored_rows, view


@inlined
def execute_on_images(one, program, samples, batches, model, room, rule, now, part):
    """Execute an instruction on images.

    Parameters
    ----------
    one : record of INSTRUCTION
    program : Program
        With images; nobody counts the users of its arrays.
    samples, batches, model, room, rule
        As for `run.run`.
    now : Now
    part : Part
        This thread's, if the instruction is shared by panels or rows.
    """
    batch, rank, operation = now.batch, now.rank, one.operation
    buffers, images = program.buffers, program.images
    g = images.shapes[one.shape]
    left = view(room.workspace, buffers, one.left, batch, rank)
    out = view(room.workspace, buffers, one.out, batch, rank)
    other = view(room.workspace, buffers, one.other, batch, rank)
    whose = whose_images(one.share == INSIDE, batch, out.shape[2], rank, now.size)
    if operation == GATHER_IMAGES:
        mirrored = mirrored_rows(room, rank)
        gather_images(samples, batches, now.start, batch, left, mirrored, out, g, whose)
    elif operation == CONVOLVE:
        W = view(model.parameters, buffers, one.right, batch, rank)
        bias = view(model.parameters, buffers, one.start, batch, rank)
        convolve(left, W, bias, out, other, g, whose)
    elif operation == CONVOLUTION_GRADIENTS:
        arrays = arrays_of_gradients(one, program, model, room, now, left, other, out)
        convolution_gradients(arrays, g, one.code, whose)
    elif operation == STEP_OF_SUMS:
        step_of_images(one, program, model, left, rule, now, part)
    elif operation == MAP_IMAGES:
        map_images(one.code, left, other, out, g, whose)
    elif operation == MASK_IMAGES:
        first = now.start * program.units + one.units
        mask_images(one.number, batches.dropout_key, first, program.units, out, g, whose)
    elif operation == POOL:
        pool(left, other, out, one.code, g, whose)
    elif operation == UNPOOL:
        unpool(left, other, out, one.code, g, whose)
    elif operation == FLATTEN:
        flatten(left, one.inputs, out, whose)
    elif operation == UNFLATTEN:
        unflatten(left, one.inputs, out, g, whose)
    else:
        normalize_images(one, buffers, model, room, now, g, whose, part)


@inlined
def arrays_of_gradients(one, program, model, room, now, left, other, out):
    """What CONVOLUTION_GRADIENTS reads and writes."""
    buffers, batch, rank = program.buffers, now.batch, now.rank
    return Gradients(
        left,
        view(room.workspace, buffers, one.start, batch, rank),
        view(room.workspace, buffers, one.result, batch, rank),
        other,
        view(model.parameters, buffers, one.right, batch, rank),
        program.images.taps,
        out,
        view(room.workspace, buffers, one.inputs, batch, rank),
        view(room.workspace, buffers, one.units, batch, rank).reshape(-1),
    )


@inlined
def step_of_images(one, program, model, sums, rule, now, part):
    """Execute STEP_OF_SUMS."""
    buffers, batch, rank = program.buffers, now.batch, now.rank
    weights = Weights(
        view(model.parameters, buffers, one.right, batch, rank),
        view(model.velocity, buffers, one.right, batch, rank),
        view(model.squares, buffers, one.right, batch, rank),
        view(model.parameters, buffers, one.right, batch, rank),
    )
    place = (now.step * rule.hyper.shape[1] + one.group) * COLUMNS
    hyper = row_at(rule.hyper, place, COLUMNS)
    parts = (batch + GROUP - 1) // GROUP if one.code > 0 else 1
    step_of_sums(sums, weights, one.inputs, one.units, parts, rule.code, hyper, part)


@inlined
def normalize_images(one, buffers, model, room, now, g, whose, part):
    """Execute an instruction of batch normalisation."""
    batch, rank, operation = now.batch, now.rank, one.operation
    left = view(room.workspace, buffers, one.left, batch, rank)
    out = view(room.workspace, buffers, one.out, batch, rank)
    other = view(room.workspace, buffers, one.other, batch, rank)
    kept = view(room.workspace, buffers, one.start, batch, rank)
    first = view(model.parameters, buffers, one.right, batch, rank)
    second = view(model.parameters, buffers, one.result, batch, rank)
    if operation == MEASURE:
        if one.code > 0:
            measure(left, kept, first, second, other, batch, g, part)
        else:
            take_running(kept, first, second, g.channels)
    elif operation == NORMALIZE:
        normalize(left, kept, first, second, out, g, whose)
    elif operation == MEASURE_GRADIENTS:
        room_of_sums = view(room.workspace, buffers, one.inputs, batch, rank)
        measure_gradients(left, other, kept, out, room_of_sums, batch, g, part)
    elif operation == NORMALIZATION_GRADIENT:
        input_of_normalization(left, other, kept, first, out, batch, g, whose)
