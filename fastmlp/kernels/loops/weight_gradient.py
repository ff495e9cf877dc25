"""The gradient of a convolution's weights: which tile comes next, and the step that they take."""

from fastmlp.kernels.codes import GROUP, SUMS
from fastmlp.kernels.emit.batchnorm import sum_pixels
from fastmlp.kernels.emit.weight_gradients import TAPS, step_rows, weight_gradient_tile
from fastmlp.kernels.jit import helper, inlined, subkernel
from fastmlp.kernels.loops.spread import MARGIN, pixel_step, row_step
from fastmlp.kernels.team import first_of
from fastmlp.kernels.tiles import TILE

FILTERS = TILE.gradient_filters

# Pixels that all tiles see before they see the next: what they read of D then stays in a common L1.
STRIP_PIXELS = 64


def strip_height(rows: int, columns: int, pool: int) -> int:
    """Return how many rows of D all tiles see before they see the next, a multiple of `pool`."""
    return max(pool, min(rows, STRIP_PIXELS // columns // pool * pool))


def rooms(outputs: int, taps: int, is_one_strip: bool, lanes: int) -> int:
    """Return how many vectors of sums wait for the next strip, at most."""
    one = GROUP // lanes * FILTERS[0] * TAPS
    if is_one_strip:
        return one
    tiles = -(-outputs // min(lanes, *FILTERS)) * -(-taps // TAPS)
    return tiles * one


@helper
def tile_filters(rest):
    """Outputs of the next tile when `rest` are left of a panel."""
    for filters in FILTERS:
        if rest % filters == 0:
            return filters
    return FILTERS[0]


@inlined
def weight_gradient(arrays, g, group, blocks, strip, whose):
    """Add the pixels of a strip to the sums of one group of images, for this thread's tiles of taps.

    Parameters
    ----------
    arrays : Gradients
    g : record of SHAPE
    group : int
    blocks : (first, last, base)
        As for `spread`.
    strip : (top, rows, d_top)
        Rows of the output, and the one that D begins with.
    whose : Whose
    """
    X, D = arrays.X, arrays.D
    lanes = X.shape[2]
    top, rows, d_top = strip
    x_row = (g.width + 2 * g.halo) * lanes
    panels = (g.outputs + lanes - 1) // lanes
    d_row, d_pixel = row_step(g, lanes), pixel_step(g, lanes)
    x_first = blocks[0] * X.shape[1] * lanes + (g.halo - g.padding) * (x_row + lanes)
    x_first += top * g.stride * x_row
    d_first = (blocks[0] - blocks[2]) * D.shape[1] * lanes
    d_first += (top - d_top + MARGIN) * d_row + MARGIN * d_pixel
    steps = (
        X.shape[1] * lanes,
        g.stride * x_row,
        g.stride * lanes,
        D.shape[1] * lanes,
        d_row,
        d_pixel,
    )
    sizes = (blocks[1] - blocks[0], rows, g.columns)
    number = 0
    for o in range(0, g.outputs, lanes):
        here, f = min(lanes, g.outputs - o), 0
        first_row = (group * panels + o // lanes) * arrays.sums.shape[1]
        while f < here:
            filters = tile_filters(here - f)
            places = (x_first, d_first + (o + f) * lanes, first_row * lanes + f)
            number = tap_tiles(
                arrays, g, (filters, here - f), (top, rows, number), places, sizes, steps, whose
            )
            f += filters


@helper
def bias_gradient(G, sums, room, g, group, blocks, whose):
    """Write the sums of the gradient G itself, for this thread's outputs; pooling changes none of them."""
    lanes, area = G.shape[2], g.out_height * g.out_width
    panels = (g.outputs + lanes - 1) // lanes
    first, last, _ = blocks
    zero = G.dtype.type(0)
    for o in range(
        first_of(g.outputs, whose.part, whose.parts),
        first_of(g.outputs, whose.part + 1, whose.parts),
    ):
        for j in range(GROUP):
            room[j] = 0
        for block in range(first, last):
            place = (block * G.shape[1] + o * area) * lanes
            sum_pixels(
                SUMS, G, G, (place, place), area, (zero, zero), room, (block - first) * lanes
            )
        half = GROUP // 2
        while half > 0:
            for j in range(half):
                room[j] += room[j + half]
            half //= 2
        sums[group * panels + o // lanes, sums.shape[1] - 1, o % lanes] = room[0]


@inlined
def tap_tiles(arrays, g, filters, strip, places, sizes, steps, whose):
    """Add to the sums of some outputs, tap by tap; return how many tiles there were, with those before."""
    lanes = arrays.X.shape[2]
    top, rows, number = strip
    x, d, o = places
    count = g.channels * g.kernel * g.kernel
    tiles = (count + TAPS - 1) // TAPS
    kept = 0 if rows == g.rows else GROUP * FILTERS[0] * TAPS
    first = first_of(tiles, whose.part, whose.parts)
    for tap_tile in range(first, first_of(tiles, whose.part + 1, whose.parts)):
        k = tap_tile * TAPS
        tile = (
            filters[0],
            filters[1],
            g.taps + k,
            min(TAPS, count - k),
            1 if top == 0 else 0,
            1 if top + rows == g.rows else 0,
            x,
            d,
            o + k * lanes,
            number * kept,
        )
        weight_gradient_tile(
            arrays.X, arrays.D, arrays.taps, arrays.sums, arrays.room, tile, sizes, steps
        )
        number += 1
    return number


@subkernel
def step_of_sums(sums, weights, row, rows, parts, rule, hyper, part):
    """The optimiser's step for weights whose gradients were written down in parts.

    Parameters
    ----------
    sums : array [parts * panels, all rows, lanes]
    weights : Weights
    row, rows : int
        First row of the sums, and how many there are.
    parts : int
        Parts of the sums, which are added in order.
    rule : int
    hyper : array [COLUMNS]
    part : Part
        Panels and rows of the weights.
    """
    W, lanes = weights.W, weights.W.shape[2]
    count = min(part.row_to, rows) - part.row_from
    panels, height = W.shape[0], sums.shape[1]
    if count > 0:
        for p in range(part.panel_from, part.panel_to):
            places = (
                (p * height + row + part.row_from) * lanes,
                (p * W.shape[1] + part.row_from) * lanes,
                count,
                panels * height * lanes,
            )
            step_rows(sums, W, weights.V, weights.S, places, parts, rule, hyper)
