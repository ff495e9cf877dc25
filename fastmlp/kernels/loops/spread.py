"""The gradient of a convolution's output, as the tiles of its input's and weights' gradients read it.

    D [blocks, rows + 2, columns + 2, O | 1, lanes]

The outputs of a pixel stand side by side, with a border of zeros around the pixels. Where O is even a vector lies
between two pixels: pixels whose distance is a power of two would share the same few sets of the cache.
"""

from fastmlp.kernels.codes import GROUP
from fastmlp.kernels.emit.images import unpool_row
from fastmlp.kernels.jit import helper, inlined
from fastmlp.kernels.team import first_of

MARGIN = 1  # rows and columns of the border


@helper
def pixel_step(g, lanes):
    """Elements from a pixel of D to the next."""
    return (g.outputs | 1) * lanes


@helper
def row_step(g, lanes):
    """Elements from a row of D to the next."""
    return (g.columns + 2 * MARGIN) * pixel_step(g, lanes)


@inlined
def spread(arrays, g, blocks, top, rows, whose):
    """Write this thread's part of some rows of D, from the gradient of what was pooled, or of all outputs.

    Parameters
    ----------
    arrays : Gradients
    g : record of SHAPE
    blocks : (first, last, base)
        The blocks of a group, and the one that D begins with. Of the last group, blocks that are not there become
        zero.
    top, rows : int
        Of the convolution's output; row `top` becomes the first of D.
    whose : Whose
    """
    G, D = arrays.G, arrays.D
    lanes = G.shape[2]
    first, last, base = blocks
    d_row, d_pixel = row_step(g, lanes), pixel_step(g, lanes)
    pooled = rows // g.pool
    from_row = top // g.pool + first_of(pooled, whose.part, whose.parts)
    to_row = top // g.pool + first_of(pooled, whose.part + 1, whose.parts)
    averages = 1 if g.pool == 1 else 0
    for block in range(first, first + GROUP // lanes):
        if block >= last:
            if whose.part == 0:
                clear(D, block - base)
            continue
        for o in range(g.outputs):
            for y in range(from_row, to_row):
                row = (o * g.out_height + y) * g.out_width * lanes
                mark = block * g.outputs * g.out_height * g.out_width * lanes + row
                source = block * G.shape[1] * lanes + row
                target = (block - base) * D.shape[1] * lanes + MARGIN * d_pixel + o * lanes
                target += (y * g.pool - top + MARGIN) * d_row
                unpool_row(
                    G,
                    arrays.which,
                    D,
                    (source, mark, target),
                    g.out_width,
                    (d_pixel, d_row),
                    g.pool,
                    averages,
                )


@inlined
def clear(D, block):
    """Write zeros."""
    for row in range(D.shape[1]):
        for j in range(D.shape[2]):
            D[block, row, j] = 0
