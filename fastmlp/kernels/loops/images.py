"""Images in lanes: from the samples, to rows and back, and functions of them one by one.

A buffer of images is [blocks, C * (H + 2 halo) * (W + 2 halo), lanes]: each vector one pixel of as many images as it
has lanes. Lanes and blocks beyond the batch hold numbers that nothing reads, or zeros.
"""

import numpy as np

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.codes import GROUP
from fastmlp.kernels.emit.images import transpose_vectors
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
        gather(samples, batches, start + first, rows, None, None, mirrored, part)
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


@helper
def clear_absent(images, block, first, count, batch):
    """Write zeros into those lanes of `count` pixels of a block that are beyond the batch."""
    lanes = images.shape[2]
    for j in range(max(0, batch - block * lanes), lanes):
        for pixel in range(first, first + count):
            images[block, pixel, j] = 0
