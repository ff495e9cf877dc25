"""Pools that no convolution computes in its own tiles."""

from fastmlp.kernels.emit.images import pool_row, unpool_row
from fastmlp.kernels.jit import helper, subkernel
from fastmlp.kernels.loops.convolution import blocks_of
from fastmlp.kernels.team import first_of


@subkernel
def pool(X, which, out, averages, g, whose):
    """Pool this thread's images; what windows do not cover is left out.

    Parameters
    ----------
    X, out : arrays
        Images, with the halos ``g.halo`` and ``g.out_halo``.
    which : array
        Receives a byte for each lane of `out`, unless the mean is taken.
    averages : int
        Whether the mean is taken.
    g : record of SHAPE
        The size of a window is ``g.pool``.
    whose : Whose
    """
    lanes = X.shape[2]
    row = (g.width + 2 * g.halo) * lanes
    block_from, block_to = blocks_of(whose, lanes)
    first = first_of(g.out_height, whose.part, whose.parts)
    last = first_of(g.out_height, whose.part + 1, whose.parts)
    for block in range(block_from, block_to):
        for c in range(g.channels):
            for y in range(first, last):
                source = block * X.shape[1] * lanes + g.halo * lanes
                source += (c * (g.height + 2 * g.halo) + y * g.pool + g.halo) * row
                mark = ((block * g.channels + c) * g.out_height + y) * g.out_width * lanes
                target = (c * (g.out_height + 2 * g.out_halo) + y + g.out_halo) * (
                    g.out_width + 2 * g.out_halo
                ) + g.out_halo
                target = (block * out.shape[1] + target) * lanes
                pool_row(X, which, out, (source, mark, target), g.out_width, row, g.pool, averages)


@subkernel
def unpool(G, which, dX, averages, g, whose):
    """The gradient of `pool`'s images, from that of its output; neither has a halo.

    What windows do not cover becomes zero.
    """
    lanes = G.shape[2]
    row = g.width * lanes
    block_from, block_to = blocks_of(whose, lanes)
    first = first_of(g.out_height, whose.part, whose.parts)
    last = first_of(g.out_height, whose.part + 1, whose.parts)
    for block in range(block_from, block_to):
        for c in range(g.channels):
            for y in range(first, last):
                pooled = (c * g.out_height + y) * g.out_width
                source = (block * G.shape[1] + pooled) * lanes
                mark = (block * g.channels * g.out_height * g.out_width + pooled) * lanes
                target = block * dX.shape[1] * lanes + (c * g.height + y * g.pool) * row
                unpool_row(
                    G,
                    which,
                    dX,
                    (source, mark, target),
                    g.out_width,
                    (lanes, row),
                    g.pool,
                    averages,
                )
        if whose.part == 0:
            clear_rest(dX, block, g)


@helper
def clear_rest(dX, block, g):
    """Write zeros into the pixels of a block that no window covers."""
    height, width = g.out_height * g.pool, g.out_width * g.pool
    if height == g.height and width == g.width:
        return
    for c in range(g.channels):
        for y in range(g.height):
            for x in range(width if y < height else 0, g.width):
                for j in range(dX.shape[2]):
                    dX[block, (c * g.height + y) * g.width + x, j] = 0
