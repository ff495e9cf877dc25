"""Images in lanes: from the samples, to rows and back, and functions of them one by one.

A buffer of images is [blocks, C * (H + 2 halo) * (W + 2 halo), lanes]: each vector one pixel of as many images as it
has lanes. Lanes and blocks beyond the batch hold numbers that nothing reads, or zeros.
"""

import numpy as np

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.codes import GROUP
from fastmlp.kernels.emit.images import pool_row, transpose_vectors, unpool_row
from fastmlp.kernels.emit.vectors import map_vectors
from fastmlp.kernels.emit.views import row_at
from fastmlp.kernels.jit import helper, subkernel
from fastmlp.kernels.loops.convolution import blocks_of
from fastmlp.kernels.loops.dropout import draw
from fastmlp.kernels.loops.gather import gather
from fastmlp.kernels.team import first_of


@helper
def rows_to_images(rows, first, present, columns, out, block, g):
    """Write a block of images from rows, from row `first` on.

    Parameters
    ----------
    rows : array [columns / lanes, M, lanes]
    first, present : int
        `present` of the rows are there; images for which there is none become zero.
    columns : int
        Numbers of an image.
    out : array
        Images.
    block : int
    g : record of SHAPE
        The halo of `out` is ``g.out_halo``.
    """
    lanes = out.shape[2]
    step = rows.shape[1] * lanes
    start = block * out.shape[1] * lanes
    for p in range((columns + lanes - 1) // lanes):
        here = min(lanes, columns - p * lanes)
        places = (p * step + first * lanes, start + p * lanes * lanes)
        if g.out_halo == 0:
            transpose_vectors(rows, out, places, (lanes, lanes), (present, here))
            continue
        # Vector by vector, since a row of an image may end anywhere.
        for j in range(here):
            pixel = p * lanes + j
            c, rest = pixel // (g.height * g.width), pixel % (g.height * g.width)
            y, x = rest // g.width, rest % g.width
            place = (c * (g.height + 2 * g.out_halo) + y + g.out_halo) * (g.width + 2 * g.out_halo)
            place += x + g.out_halo
            for m in range(lanes):
                out[block, place, m] = rows[p, first + m, j] if m < present else 0


@subkernel
def gather_images(samples, batches, start, batch, rows, mirrored, out, g, whose):
    """Gather this thread's images of a batch.

    Parameters
    ----------
    samples, batches, start, mirrored
        As for `gather`.
    batch : int
        Images of the batch.
    rows : array [D / lanes, GROUP, lanes]
        Room for one group of images as rows.
    out : array
        Images.
    g, whose
        As for `convolve`.
    """
    lanes, columns = out.shape[2], samples.images.shape[1]
    # Few images are gathered by one thread.
    for group in range(whose.group_from, whose.group_to if whose.part == 0 else 0):
        first = group * GROUP
        count = min(GROUP, batch - first)
        part = Part(np.int64(0), rows.shape[0], np.int64(0), count)
        gather(samples, batches, start + first, rows, rows, rows, mirrored, part)
        for m in range(0, count, lanes):
            block = (first + m) // lanes
            rows_to_images(rows, m, min(lanes, count - m), columns, out, block, g)


@subkernel
def unflatten(rows, columns, out, g, whose):
    """Write this thread's images from the rows [columns / lanes, batch, lanes] of a batch."""
    lanes, batch = out.shape[2], rows.shape[1]
    block_from, block_to = blocks_of(whose, lanes)
    for block in range(block_from, block_to):
        if whose.part == 0:
            present = min(lanes, batch - block * lanes)
            rows_to_images(rows, block * lanes, present, columns, out, block, g)


@subkernel
def flatten(images, columns, rows, whose):
    """Write this thread's images, without a halo, as rows; columns beyond `columns` become zero."""
    lanes, batch = images.shape[2], rows.shape[1]
    block_from, block_to = blocks_of(whose, lanes)
    panels = rows.shape[0]
    for block in range(block_from, block_to):
        for p in range(
            first_of(panels, whose.part, whose.parts),
            first_of(panels, whose.part + 1, whose.parts),
        ):
            places = (
                (block * images.shape[1] + p * lanes) * lanes,
                (p * batch + block * lanes) * lanes,
            )
            counts = (min(lanes, columns - p * lanes), min(lanes, batch - block * lanes))
            transpose_vectors(images, rows, places, (lanes, lanes), counts)


@helper
def row_of(images, block, c, y, height, width, halo):
    """A row of pixels, without its halo."""
    row = (c * (height + 2 * halo) + y + halo) * (width + 2 * halo) + halo
    lanes = images.shape[2]
    return row_at(images, (block * images.shape[1] + row) * lanes, width * lanes)


@subkernel
def map_images(code, left, other, out, g, whose):
    """``out = f(left, other)`` for this thread's images.

    Their halos are ``g.halo``, ``g.other_halo`` and ``g.out_halo``.

    `code` names f as in ``emit/vectors.map_vectors``.
    """
    block_from, block_to = blocks_of(whose, out.shape[2])
    first = first_of(g.height, whose.part, whose.parts)
    last = first_of(g.height, whose.part + 1, whose.parts)
    for block in range(block_from, block_to):
        for c in range(g.channels):
            for y in range(first, last):
                map_vectors(
                    code,
                    row_of(left, block, c, y, g.height, g.width, g.halo),
                    row_of(other, block, c, y, g.height, g.width, g.other_halo),
                    row_of(out, block, c, y, g.height, g.width, g.out_halo),
                    0,
                    g.width,
                )


@subkernel
def mask_images(rate, key, start, stride, mask, g, whose):
    """Write what this thread's images are multiplied by: 0, or 1 / (1 - rate); see ``dropout.draw_mask``."""
    lanes = mask.shape[2]
    block_from, block_to = blocks_of(whose, lanes)
    kept = 1 / (1 - rate)
    area = g.height * g.width
    first = first_of(g.height, whose.part, whose.parts) * g.width
    last = first_of(g.height, whose.part + 1, whose.parts) * g.width
    for block in range(block_from, block_to):
        for c in range(g.channels):
            for pixel in range(c * area + first, c * area + last):
                for j in range(lanes):
                    place = np.uint64(start + (block * lanes + j) * stride + pixel)
                    mask[block, pixel, j] = kept if draw(key, place) >= rate else 0.0


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


@helper
def clear_absent(images, block, first, count, batch):
    """Write zeros into those lanes of `count` pixels of a block that are beyond the batch."""
    lanes = images.shape[2]
    for j in range(max(0, batch - block * lanes), lanes):
        for pixel in range(first, first + count):
            images[block, pixel, j] = 0
