"""Layers with few outputs: loops around the tiles of ``emit/narrow.py``, and what is left to others.

Each sum has the terms and the order of that in the ordinary tile, so its bits are the same.
"""

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.codes import IDENTITY
from fastmlp.kernels.emit.narrow import ROW_VECTORS, gather_multiply_tile, narrow_update_tile
from fastmlp.kernels.emit.products import RELU
from fastmlp.kernels.jit import helper, inlined
from fastmlp.kernels.loops.elementwise import elementwise
from fastmlp.kernels.loops.gather import alter_row

# Smaller batches do not pay for the transposes: EXPERIMENTS.md, "Narrow layers".
FROM_BATCH = 20


@inlined
def update_narrow(X, D, weights, inputs, columns, rule, hyper, part):
    """`update` of whole groups of rows of a narrow layer; return the first group of rows that is left to it.

    Parameters
    ----------
    columns : int
        What `narrow_columns` says of the layer; where that is 0, as in bfloat16, or batches are small,
        nothing is done.
    X, D, weights, inputs, rule, hyper, part
        As for `update`.
    """
    W = weights.W
    first = part.row_from
    enough = columns > 0 and X.shape[1] >= FROM_BATCH
    if enough and part.panel_to - part.panel_from == W.shape[0]:
        lanes = W.shape[2]
        for s in range(first, min(part.row_to, inputs // lanes)):
            tile = (columns, s * X.shape[1] * lanes, s * lanes * lanes)
            narrow_update_tile(X, D, W, weights.V, weights.S, tile, rule, hyper)
            first = s + 1
    return first


@inlined
def gather_multiply(samples, batches, start, layer, columns, epilogue, part):
    """`gather` and `multiply` of a narrow first layer, for all rows of a part that fill whole vectors.

    Parameters
    ----------
    samples, batches, start
        As for `gather`; the number of features is a multiple of the lanes.
    layer : FirstLayer
    columns : int
        What `narrow_columns` says, not 0.
    epilogue : Epilogue
        As for `multiply`; no derivative.
    part : Part
        Rows of the batch; all panels.
    """
    X, out = layer.X, layer.out
    block = ROW_VECTORS * X.shape[2]
    last = left_over(part, block).row_from
    for next_row in range(part.row_from, last, block):
        # The last block begins among rows that are done, if it has to: they come out the same.
        m = min(next_row, last - block)
        for row in range(m, m + block):
            if batches.flips[start + row]:
                alter_row(samples, batches, batches.moves, start + row, layer.mirrored, row)
        gather_multiply_tile(
            (samples.images, layer.mirrored),
            (batches.order, batches.flips),
            (samples.scale, samples.shift),
            X,
            (layer.W, layer.bias),
            out,
            (columns, m, start + m, layer.slab_from, layer.slab_to),
            epilogue.code == RELU,
        )
        if epilogue.code != RELU and epilogue.code != IDENTITY:
            done = Part(part.panel_from, part.panel_to, m, m + block)
            elementwise(epilogue.code, out, epilogue.other, epilogue.result, done)


@helper
def left_over(part, block):
    """The rows of a part that blocks of so many rows leave; all of it where that is 0.

    They leave less than half a block, or all where there is no whole one.
    """
    rows = part.row_to - part.row_from
    done = rows // block * block if block > 0 else 0
    if done > 0 and 2 * (rows - done) >= block:
        done = rows
    return Part(part.panel_from, part.panel_to, part.row_from + done, part.row_to)
