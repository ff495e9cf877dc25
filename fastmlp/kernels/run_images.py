"""The instructions of images that every network with convolutions has: one branch an operation, one call a kernel."""

from fastmlp.kernels.arguments import Gradients, Weights
from fastmlp.kernels.codes import (
    CONVOLUTION_GRADIENTS,
    CONVOLVE,
    FLATTEN,
    GATHER_IMAGES,
    GROUP,
    INSIDE,
    STEP_OF_SUMS,
    UNFLATTEN,
)
from fastmlp.kernels.jit import helper, inlined
from fastmlp.kernels.loops.convolution import convolve, whose_images
from fastmlp.kernels.loops.convolution_gradients import convolution_gradients
from fastmlp.kernels.loops.images import (
    flatten,
    gather_images,
    unflatten,
)
from fastmlp.kernels.loops.weight_gradient import step_of_sums
from fastmlp.kernels.view import hyper_of, image_view, mirrored_rows


@inlined
def execute_on_images(one, tables, samples, batches, model, room, rule, now, part):
    """Execute an instruction on images.

    Parameters
    ----------
    one : record of INSTRUCTION
    tables : Tables
    samples, batches, model, room, rule
        As for `run.run`.
    now : Now
    part : Part
        This thread's, if the instruction is shared by panels or rows.
    """
    batch, rank, operation = now.batch, now.rank, one.operation
    buffers, g = tables.buffers, tables.shapes[one.shape]
    left = image_view(room.workspace, buffers, one.left, batch, rank)
    out = image_view(room.workspace, buffers, one.out, batch, rank)
    other = image_view(room.workspace, buffers, one.other, batch, rank)
    whose = whose_images(one.share == INSIDE, batch, out.shape[2], rank, now.size)
    if operation == GATHER_IMAGES:
        mirrored = mirrored_rows(room, rank)
        gather_images(samples, batches, now.start, batch, left, mirrored, out, g, whose)
    elif operation == CONVOLVE:
        W = image_view(model.parameters, buffers, one.right, batch, rank)
        bias = image_view(model.parameters, buffers, one.start, batch, rank)
        convolve(left, W, bias, out, other, g, whose)
    elif operation == CONVOLUTION_GRADIENTS:
        arrays = arrays_of_gradients(one, tables, model, room, now, left, other, out)
        convolution_gradients(arrays, g, one.code, whose)
    elif operation == STEP_OF_SUMS:
        step_of_images(one, tables, model, left, rule, now, part)
    elif operation == FLATTEN:
        flatten(left, one.inputs, out, whose)
    elif operation == UNFLATTEN:
        unflatten(left, one.inputs, out, g, whose)


@helper
def arrays_of_gradients(one, tables, model, room, now, left, other, out):
    """What CONVOLUTION_GRADIENTS reads and writes."""
    buffers, batch, rank = tables.buffers, now.batch, now.rank
    return Gradients(
        left,
        image_view(room.workspace, buffers, one.start, batch, rank),
        image_view(room.workspace, buffers, one.result, batch, rank),
        other,
        image_view(model.parameters, buffers, one.right, batch, rank),
        tables.taps,
        out,
        image_view(room.workspace, buffers, one.inputs, batch, rank),
        image_view(room.workspace, buffers, one.units, batch, rank).reshape(-1),
    )


@inlined
def step_of_images(one, tables, model, sums, rule, now, part):
    """Execute STEP_OF_SUMS."""
    buffers, batch, rank = tables.buffers, now.batch, now.rank
    weights = Weights(
        image_view(model.parameters, buffers, one.right, batch, rank),
        image_view(model.velocity, buffers, one.right, batch, rank),
        image_view(model.squares, buffers, one.right, batch, rank),
        image_view(model.parameters, buffers, one.right, batch, rank),
    )
    hyper = hyper_of(one, rule, now.step)
    parts = (batch + GROUP - 1) // GROUP if one.code > 0 else 1
    step_of_sums(sums, weights, one.inputs, one.units, parts, rule.code, hyper, part)
