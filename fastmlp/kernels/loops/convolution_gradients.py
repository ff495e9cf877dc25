"""The gradients of a convolution's input and weights.

They read the gradient of the convolution's output as D [blocks, rows, columns + 2, O | 1, lanes]: the outputs of a
pixel side by side, a column of zeros at either end, and one vector between pixels where O is even, because pixels
whose distance is a power of two would share the same few sets of the cache.
"""

from fastmlp.kernels.codes import GROUP, INPUT_GRADIENT, SPREAD, WEIGHT_GRADIENT
from fastmlp.kernels.emit.convolution import input_gradient_tile
from fastmlp.kernels.emit.images import unpool_row
from fastmlp.kernels.emit.weight_gradients import TAPS, step_rows, weight_gradient_tile
from fastmlp.kernels.jit import helper, subkernel
from fastmlp.kernels.loops.convolution import tile_filters
from fastmlp.kernels.team import first_of
from fastmlp.kernels.tiles import CHANNELS, TILE

MARGIN = 1  # columns of zeros at either end of a row of D
MANY, FEW = CHANNELS
GRADIENT_FILTERS = TILE.gradient_filters


@helper
def pixel_step(g, lanes):
    """Elements from a pixel of D to the next."""
    return (g.outputs | 1) * lanes


@helper
def row_step(g, lanes):
    """Elements from a row of D to the next."""
    return (g.columns + 2 * MARGIN) * pixel_step(g, lanes)


@subkernel
def convolution_gradients(G, which, D, X, W, taps, dX, sums, g, what, whose):
    """Some of the three steps from a convolution's gradient to those of its input and weights.

    Parameters
    ----------
    G : array [blocks, O * rows * columns, lanes]
        The gradient of the output, or of what was pooled from it.
    which : array
        Bytes that say what was pooled.
    D : array
        Receives the gradient of the output as tiles read it; of one group, if `what` is all three.
    X : array
        The input.
    W : array [O / lanes, C * K * K, lanes]
    taps : array of int64
        The place of each tap in X.
    dX : array [blocks, C * H * W, lanes]
        Receives the gradient of the input.
    sums : array [groups * O / lanes, C * K * K + 1, lanes]
        Receives the gradients of weights and, in the last row, biases.
    g : record of SHAPE
    what : int
        SPREAD + INPUT_GRADIENT + WEIGHT_GRADIENT, or some of them.
    whose : Whose
    """
    lanes = G.shape[2]
    each = GROUP // lanes
    of_group = what & SPREAD and what & WEIGHT_GRADIENT
    for group in range(whose.group_from, whose.group_to):
        first, last = group * each, min((group + 1) * each, whose.blocks)
        base = first if of_group else 0
        if what & SPREAD:
            spread(G, which, D, g, (first, last, base), whose)
        if what & INPUT_GRADIENT:
            for block in range(first, last):
                input_gradient(D, W, dX, g, block, block - base, whose)
        if what & WEIGHT_GRADIENT:
            weight_gradient(X, D, taps, sums, g, group, base, whose)


@helper
def clear(D, block):
    """Write zeros."""
    for row in range(D.shape[1]):
        for j in range(D.shape[2]):
            D[block, row, j] = 0


@helper
def spread(G, which, D, g, blocks, whose):
    """Write D for this thread's rows of some blocks; blocks of the last group that are not there become zero."""
    lanes = G.shape[2]
    first, last, base = blocks
    d_row, d_pixel = row_step(g, lanes), pixel_step(g, lanes)
    from_row = first_of(g.out_height, whose.index, whose.count)
    to_row = first_of(g.out_height, whose.index + 1, whose.count)
    averages = 1 if g.pool == 1 else 0
    for block in range(first, first + GROUP // lanes):
        start = (block - base) * D.shape[1] * lanes
        if block >= last:
            clear(D, block - base)
            continue
        for o in range(g.outputs):
            for y in range(from_row, to_row):
                row = (o * g.out_height + y) * g.out_width * lanes
                place = block * g.outputs * g.out_height * g.out_width * lanes + row
                source = block * G.shape[1] * lanes + row
                target = start + y * g.pool * d_row + MARGIN * d_pixel + o * lanes
                unpool_row(
                    G,
                    which,
                    D,
                    (source, place, target),
                    g.out_width,
                    (d_pixel, d_row),
                    g.pool,
                    averages,
                )


@helper
def touching(t, count, kernel, stride, span):
    """The first tap that reaches place `t` or `t + span`, and how many do, a stride apart."""
    low = max(0, t - stride * (count - 1))
    low += (t - low) % stride
    high = min(kernel - 1, t + span)
    return low, max(0, (high - low) // stride + 1) if high >= low else 0


@helper
def input_gradient(D, W, dX, g, block, source_block, whose):
    """Write dX for this thread's rows of one block.

    A pixel is touched by taps a stride apart: neighbours in a tile are pixels a stride apart.
    """
    lanes = D.shape[2]
    s = g.stride
    d_row, d_pixel = row_step(g, lanes), pixel_step(g, lanes)
    plane = g.height * g.width * lanes
    for y in range(
        first_of(g.height, whose.index, whose.count),
        first_of(g.height, whose.index + 1, whose.count),
    ):
        ky, rows = touching(y + g.padding, g.rows, g.kernel, s, 0)
        d_y = (y + g.padding - ky) // s
        for first in range(min(s, g.width)):
            count = (g.width - first + s - 1) // s
            span = s if count > 1 else 0
            for i in range(0, count, 2):
                x = first + s * (min(i, count - 2) if count > 1 else 0)
                kx, columns = touching(x + g.padding, g.columns, g.kernel, s, span)
                d_x = (x + g.padding - kx) // s + MARGIN
                source = source_block * D.shape[1] * lanes + d_y * d_row + d_x * d_pixel
                target = block * dX.shape[1] * lanes + (y * g.width + x) * lanes
                place = (source, (ky * g.kernel + kx) * lanes, target, rows, columns, span)
                if rows == 0 or columns == 0:
                    for c in range(g.channels):
                        for p in range(2):
                            pixel = y * g.width + x + p * span
                            dX[block, c * g.height * g.width + pixel] = 0
                else:
                    input_pixels(D, W, dX, g, place, (plane, d_row, d_pixel))


@helper
def input_pixels(D, W, dX, g, place, steps):
    """Write two pixels of dX, all channels."""
    lanes = D.shape[2]
    source, tap, target, rows, columns, span = place
    plane, d_row, d_pixel = steps
    s, square = g.stride, g.kernel * g.kernel * lanes
    apart = d_pixel if span > 0 else 0
    walk = (
        lanes,
        -d_row,
        -d_pixel,
        apart,
        1,
        s * g.kernel * lanes,
        s * lanes,
        square,
        plane,
        span * lanes,
    )
    c = 0
    while c < g.channels:
        channels = tile_filters(g.channels - c, MANY, FEW)
        for o in range(0, g.outputs, lanes):
            tile = (
                channels,
                g.channels - c,
                source + o * lanes,
                o * W.shape[1] + tap + c * square,
                target + c * plane,
            )
            counts = (min(lanes, g.outputs - o), rows, columns)
            input_gradient_tile(D, W, dX, tile, counts, walk, o)
        c += channels


@helper
def gradient_filters(rest):
    """Outputs of the next tile of the weights' gradient when `rest` are left of a panel."""
    for filters in GRADIENT_FILTERS:
        if rest % filters == 0:
            return filters
    return GRADIENT_FILTERS[0]


@helper
def weight_gradient(X, D, taps, sums, g, group, base, whose):
    """Write the sums of one group of images, for this thread's tiles of taps."""
    lanes = X.shape[2]
    count = g.channels * g.kernel * g.kernel
    x_row = (g.width + 2 * g.halo) * lanes
    panels = (g.outputs + lanes - 1) // lanes
    block = group * (GROUP // lanes)
    border = (g.halo - g.padding) * (x_row + lanes)
    steps = (
        X.shape[1] * lanes,
        g.stride * x_row,
        g.stride * lanes,
        D.shape[1] * lanes,
        row_step(g, lanes),
        pixel_step(g, lanes),
    )
    d_start = (block - base) * D.shape[1] * lanes + MARGIN * pixel_step(g, lanes)
    tiles = (count + TAPS - 1) // TAPS
    for o in range(0, g.outputs, lanes):
        here, f = min(lanes, g.outputs - o), 0
        first_row = (group * panels + o // lanes) * sums.shape[1]
        while f < here:
            filters = gradient_filters(here - f)
            for number in range(
                first_of(tiles + 1, whose.index, whose.count),
                first_of(tiles + 1, whose.index + 1, whose.count),
            ):
                # After the tiles of taps, one of biases.
                k = min(number * TAPS, count)
                tile = (
                    filters,
                    here - f,
                    g.taps + k,
                    min(TAPS, count - k),
                    block * X.shape[1] * lanes + border,
                    d_start + (o + f) * lanes,
                    (first_row + k) * lanes + f,
                )
                weight_gradient_tile(X, D, taps, sums, tile, (g.rows, g.columns), steps)
            f += filters


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
