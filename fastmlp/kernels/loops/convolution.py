"""Convolution, forward: which tile comes next.

A tile is four pixels of a block of images for some outputs: a square that is pooled at once, or a stretch of a row.
All outputs of one tile of pixels are computed before the next, so that what they read of the images stays in L1.
EXPERIMENTS.md, "Convolution", tells what did not help.
"""

from fastmlp.kernels.arguments import Whose
from fastmlp.kernels.codes import GROUP
from fastmlp.kernels.emit.convolution import convolve_tile
from fastmlp.kernels.jit import helper, inlined, subkernel
from fastmlp.kernels.team import first_of
from fastmlp.kernels.tiles import TILE

MANY, FEW = TILE.filters


@helper
def whose_images(is_inside, batch, lanes, rank, size):
    """The blocks of images that are this thread's: its groups of GROUP images, or a part of every block.

    Parameters
    ----------
    is_inside : bool
        Whether a team shares each block, because there are too few groups.
    batch : int
        Images.
    lanes, rank, size : int

    Returns
    -------
    Whose
    """
    groups, blocks = (batch + GROUP - 1) // GROUP, (batch + lanes - 1) // lanes
    if is_inside:
        return Whose(0, groups, blocks, rank, size)
    return Whose(first_of(groups, rank, size), first_of(groups, rank + 1, size), blocks, 0, 1)


@helper
def blocks_of(whose, lanes):
    """The first of a thread's blocks, and the one after its last."""
    each = GROUP // lanes
    return whose.group_from * each, min(whose.blocks, whose.group_to * each)


@helper
def tile_filters(rest, many, few):
    """Outputs of the next tile when `rest` are left of a panel: `many` or `few`."""
    return few if rest <= few or rest == 2 * few else many


@helper
def stretch(width):
    """How a tile covers a row of `width` pixels: pixels from its first to its second, to its third, and in all."""
    if width >= 4:
        return 1, 2, 4
    if width >= 2:
        return 1, 0, 2
    return 0, 0, 1


@subkernel
def convolve(X, W, bias, out, which, g, whose):
    """``out = relu(bias + X * W)``, or the largest of each 2 x 2 of it, for this thread's images.

    Parameters
    ----------
    X : array [blocks, C * (H + 2 halo) * (W + 2 halo), lanes]
        Images with a border of zeros, at least as wide as the padding.
    W : array [O / lanes, C * K * K, lanes]
    bias : array [O / lanes, 1, lanes]
    out : array like X
    which : array
        Receives a byte for each lane of a pooled `out`.
    g : record of SHAPE
    whose : Whose
    """
    lanes = X.shape[2]
    x_row = (g.width + 2 * g.halo) * lanes
    x_plane = (g.height + 2 * g.halo) * x_row
    out_row = (g.out_width + 2 * g.out_halo) * lanes
    out_plane = (g.out_height + 2 * g.out_halo) * out_row
    mark_plane = g.out_height * g.out_width * lanes
    across, below, span = stretch(g.out_width)
    if g.pool == 2:
        across, below, span = 1, 0, 1
    a = across * g.stride * lanes
    b = g.stride * x_row if g.pool == 2 else below * g.stride * lanes
    border = g.halo - g.padding
    steps = (x_plane, x_row, a, b, out_plane, across * lanes, below * lanes, mark_plane)
    first = first_of(g.out_height, whose.part, whose.parts)
    last = first_of(g.out_height, whose.part + 1, whose.parts)
    block_from, block_to = blocks_of(whose, lanes)
    for block in range(block_from, block_to):
        for y in range(first, last):
            x = 0
            while x < g.out_width:
                x = min(x, g.out_width - span)
                source = (y * g.pool * g.stride + border) * x_row
                source += (x * g.pool * g.stride + border) * lanes + block * X.shape[1] * lanes
                target = (y + g.out_halo) * out_row + (x + g.out_halo) * lanes
                target += block * out.shape[1] * lanes
                mark = (y * g.out_width + x) * lanes + block * g.outputs * mark_plane
                convolve_pixels(X, W, bias, out, which, g, (source, target, mark), steps)
                x += span


@inlined
def convolve_pixels(X, W, bias, out, which, g, places, steps):
    """One tile of pixels, all outputs."""
    lanes = X.shape[2]
    source, target, mark = places
    out_plane, mark_plane = steps[4], steps[7]
    for o in range(0, g.outputs, lanes):
        here, f = min(lanes, g.outputs - o), 0
        while f < here:
            filters = tile_filters(here - f, MANY, FEW)
            tile = (
                filters,
                here - f,
                g.pool - 1,
                g.relu,
                source,
                o * W.shape[1] + f,
                o + f,
                target + (o + f) * out_plane,
                mark + (o + f) * mark_plane,
            )
            convolve_tile(X, W, bias, out, which, tile, (g.channels, g.kernel), steps)
            f += filters
