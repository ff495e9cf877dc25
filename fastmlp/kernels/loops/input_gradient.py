"""The gradient of a convolution's input: which tile comes next.

A tile is a square of four pixels, for some channels. Only taps that touch one of them are multiplied, so that no border
of zeros costs more than a row or column.
"""

from fastmlp.kernels.emit.convolution import PIXELS, input_gradient_tile
from fastmlp.kernels.jit import helper, inlined
from fastmlp.kernels.loops.convolution import tile_filters
from fastmlp.kernels.loops.spread import MARGIN, pixel_step, row_step
from fastmlp.kernels.team import first_of
from fastmlp.kernels.tiles import TILE

MANY, FEW = TILE.filters


@helper
def touching(t, count, kernel, stride, span):
    """The first tap that reaches place `t` or `t + span`, and how many do, a stride apart."""
    low = max(0, t - stride * (count - 1))
    low += (t - low) % stride
    high = min(kernel - 1, t + span)
    return low, max(0, (high - low) // stride + 1) if high >= low else 0


@helper
def pair(first, size, stride, i):
    """Place `i` of those a stride apart from `first` on, and how far the next is, if there is one."""
    count = (size - first + stride - 1) // stride
    if count == 1:
        return first, 0
    return first + stride * min(i, count - 2), stride


@inlined
def input_gradient(arrays, g, block, source_block, whose):
    """Write dX for this thread's rows of one block, whose D is number `source_block`.

    A pixel is touched by taps a stride apart: neighbours in a tile are pixels a stride apart.
    """
    from_row = first_of(g.height, whose.part, whose.parts)
    to_row = first_of(g.height, whose.part + 1, whose.parts)
    s, height = g.stride, to_row - from_row
    for top in range(min(s, height)):
        for i in range(0, (height - top + s - 1) // s, 2):
            y, y_span = pair(top, height, s, i)
            for left in range(min(s, g.width)):
                for j in range(0, (g.width - left + s - 1) // s, 2):
                    x, x_span = pair(left, g.width, s, j)
                    pixels = (from_row + y, y_span, x, x_span)
                    input_pixels(arrays, g, block, source_block, pixels)


@inlined
def input_pixels(arrays, g, block, source_block, pixels):
    """Write four pixels of dX, all channels."""
    D, W, X, dX = arrays.D, arrays.W, arrays.X, arrays.dX
    lanes, s = D.shape[2], g.stride
    y, y_span, x, x_span = pixels
    d_row, d_pixel = row_step(g, lanes), pixel_step(g, lanes)
    plane, square = g.height * g.width * lanes, g.kernel * g.kernel * lanes
    ky, rows = touching(y + g.padding, g.rows, g.kernel, s, y_span)
    kx, columns = touching(x + g.padding, g.columns, g.kernel, s, x_span)
    target = block * dX.shape[1] * lanes + (y * g.width + x) * lanes
    if rows == 0 or columns == 0:
        for c in range(g.channels):
            for p in range(PIXELS):
                pixel = (y + p // 2 * y_span) * g.width + x + p % 2 * x_span
                for m in range(lanes):
                    dX[block, c * g.height * g.width + pixel, m] = 0
        return
    source = source_block * D.shape[1] * lanes
    source += ((y + g.padding - ky) // s + MARGIN) * d_row
    source += ((x + g.padding - kx) // s + MARGIN) * d_pixel
    tap = (ky * g.kernel + kx) * lanes
    x_row = (g.width + 2 * g.halo) * lanes
    x_plane = (g.height + 2 * g.halo) * x_row
    seen = block * X.shape[1] * lanes + (y + g.halo) * x_row + (x + g.halo) * lanes
    walk = (
        -d_row,
        -d_pixel,
        d_pixel if x_span > 0 else 0,
        d_row if y_span > 0 else 0,
        s * g.kernel * lanes,
        s * lanes,
        W.shape[1] * lanes,
        square,
        x_plane,
        x_span * lanes,
        y_span * x_row,
        plane,
        x_span * lanes,
        y_span * g.width * lanes,
    )
    c = 0
    while c < g.channels:
        channels = tile_filters(g.channels - c, MANY, FEW)
        tile = (
            channels,
            g.channels - c,
            g.relu_below,
            source,
            tap + c * square,
            seen + c * x_plane,
            target + c * plane,
        )
        input_gradient_tile(D, W, X, dX, tile, (rows, columns, g.outputs), walk)
        c += channels
