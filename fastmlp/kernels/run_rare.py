"""The instructions of images that few networks have: functions of numbers, dropout, pools, batch normalisation."""

from fastmlp.kernels.codes import (
    INSIDE,
    MAP_IMAGES,
    MASK_IMAGES,
    MEASURE,
    MEASURE_GRADIENTS,
    NORMALIZATION_GRADIENT,
    NORMALIZE,
    POOL,
    UNPOOL,
)
from fastmlp.kernels.jit import inlined
from fastmlp.kernels.loops.batchnorm import (
    input_of_normalization,
    measure,
    measure_gradients,
    normalize,
    take_running,
)
from fastmlp.kernels.loops.convolution import whose_images
from fastmlp.kernels.loops.images import map_images, mask_images
from fastmlp.kernels.loops.pooling import pool, unpool
from fastmlp.kernels.view import image_view


@inlined
def execute_rare(one, tables, units, batches, model, room, now, part):
    """Execute an instruction on images.

    Parameters
    ----------
    one : record of INSTRUCTION
    tables : Tables
    units : int
        Of the program.
    batches, model, room
        As for `run.run`.
    now : Now
    part : Part
        This thread's channels, where an instruction is shared by them.
    """
    batch, rank, operation = now.batch, now.rank, one.operation
    buffers, g = tables.buffers, tables.shapes[one.shape]
    left = image_view(room.workspace, buffers, one.left, batch, rank)
    out = image_view(room.workspace, buffers, one.out, batch, rank)
    other = image_view(room.workspace, buffers, one.other, batch, rank)
    whose = whose_images(one.share == INSIDE, batch, out.shape[2], rank, now.size)
    kept = image_view(room.workspace, buffers, one.start, batch, rank)
    first = image_view(model.parameters, buffers, one.right, batch, rank)
    second = image_view(model.parameters, buffers, one.result, batch, rank)
    if operation == MAP_IMAGES:
        map_images(one.code, left, other, out, g, whose)
    elif operation == MASK_IMAGES:
        place = now.start * units + one.units
        mask_images(one.number, batches.dropout_key, place, units, out, g, whose)
    elif operation == POOL:
        pool(left, other, out, one.code, g, whose)
    elif operation == UNPOOL:
        unpool(left, other, out, one.code, g, whose)
    elif operation == MEASURE:
        if one.code > 0:
            measure(left, kept, first, second, other, batch, g, part)
        else:
            take_running(kept, first, second, g.channels)
    elif operation == NORMALIZE:
        normalize(left, kept, first, second, out, g, whose)
    elif operation == MEASURE_GRADIENTS:
        room_of_sums = image_view(room.workspace, buffers, one.inputs, batch, rank)
        measure_gradients(left, other, kept, out, room_of_sums, batch, g, part)
    elif operation == NORMALIZATION_GRADIENT:
        input_of_normalization(left, other, kept, first, out, batch, g, whose)
