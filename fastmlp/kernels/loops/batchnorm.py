"""Batch normalisation: each channel to mean 0 and variance 1 over a batch, then a scale and shift of its own.

    m = mean of x    v = mean of (x - m)**2    h = (x - m) / sqrt(v + EPSILON)    y = weight * h + bias

    d bias = sum of dy    d weight = sum of dy * h
    dx = weight / sqrt(v + EPSILON) * (dy - d bias / n - h * d weight / n)

n counts images and pixels. Running statistics move towards those of a batch by MOMENTUM, the variance with n - 1
instead of n; an evaluation takes them instead. These are PyTorch's definitions. A sum over pixels is in the order of
rows and columns, a sum over images in float64 in the order of the batch, so that bits depend on nothing else.
"""

import math

from fastmlp.kernels.codes import PRODUCTS, SQUARES_OF, SUMS
from fastmlp.kernels.emit.batchnorm import normalization_gradient, normalize_pixels, sum_pixels
from fastmlp.kernels.jit import helper, subkernel
from fastmlp.kernels.loops.convolution import blocks_of
from fastmlp.kernels.loops.images import clear_absent
from fastmlp.kernels.team import first_of

EPSILON, MOMENTUM = 1e-5, 0.1

# What a batch leaves to its gradients: panels of one row, for each number a channel. Mean, 1 / sqrt(variance +
# EPSILON), d bias / n and d weight / n.
KEPT = 4
MEAN, INVERSE, MEAN_BIAS, MEAN_WEIGHT = range(KEPT)


@helper
def channel_sums(code, X, G, c, batch, numbers, room, g):
    """Two sums of channel `c`, see `sum_pixels`, in float64; the second only of PRODUCTS."""
    lanes, area = X.shape[2], g.height * g.width
    first, second = 0.0, 0.0
    flat = room.reshape(-1)
    for block in range((batch + lanes - 1) // lanes):
        x = (block * X.shape[1] + c * area) * lanes
        other = (block * G.shape[1] + c * area) * lanes
        sum_pixels(code, X, G, (x, other), area, numbers, flat, 0)
        for j in range(min(lanes, batch - block * lanes)):
            first += flat[j]
            second += flat[lanes + j]
    return first, second


@subkernel
def measure(X, kept, means, variances, room, batch, g, part):
    """Mean and variance of some channels of a batch, kept and moved into the running statistics.

    Parameters
    ----------
    X : array
        Images without a halo.
    kept : array [4 * C / lanes, 1, lanes]
    means, variances : arrays [C / lanes, 1 or more, lanes]
        The running statistics, in their first rows.
    room : array [1, 2, lanes]
        This thread's.
    batch : int
        Images.
    g : record of SHAPE
    part : Part
        Its panels are channels.
    """
    lanes, kind = X.shape[2], X.dtype.type
    count = batch * g.height * g.width
    panels, zero = means.shape[0], kind(0)
    for c in range(part.panel_from, part.panel_to):
        p, j = c // lanes, c % lanes
        total, _ = channel_sums(SUMS, X, X, c, batch, (zero, zero), room, g)
        mean = kind(total / count)
        squares, _ = channel_sums(SQUARES_OF, X, X, c, batch, (mean, zero), room, g)
        variance = squares / count
        kept[MEAN * panels + p, 0, j] = mean
        kept[INVERSE * panels + p, 0, j] = 1 / math.sqrt(variance + EPSILON)
        unbiased = squares / max(1, count - 1)
        means[p, 0, j] = (1 - MOMENTUM) * means[p, 0, j] + MOMENTUM * mean
        variances[p, 0, j] = (1 - MOMENTUM) * variances[p, 0, j] + MOMENTUM * unbiased


@subkernel
def take_running(kept, means, variances, channels):
    """Keep the running statistics, as an evaluation wants them."""
    lanes, panels = kept.shape[2], means.shape[0]
    for c in range(channels):
        p, j = c // lanes, c % lanes
        kept[MEAN * panels + p, 0, j] = means[p, 0, j]
        kept[INVERSE * panels + p, 0, j] = 1 / math.sqrt(variances[p, 0, j] + EPSILON)


@subkernel
def normalize(X, kept, weight, bias, out, g, whose):
    """Normalise this thread's images.

    Parameters
    ----------
    X, out : arrays
        Images, with the halos 0 and ``g.out_halo``.
    kept : array [4 * C / lanes, 1, lanes]
    weight, bias : arrays [C / lanes, 1 or more, lanes]
        In their first rows.
    g, whose
        As for `convolve`.
    """
    lanes, panels = X.shape[2], weight.shape[0]
    block_from, block_to = blocks_of(whose, lanes)
    first = first_of(g.height, whose.part, whose.parts)
    last = first_of(g.height, whose.part + 1, whose.parts)
    for c in range(g.channels):
        p, j = c // lanes, c % lanes
        numbers = (
            kept[MEAN * panels + p, 0, j],
            kept[INVERSE * panels + p, 0, j],
            weight[p, 0, j],
            bias[p, 0, j],
        )
        for block in range(block_from, block_to):
            for y in range(first, last):
                source = block * X.shape[1] + (c * g.height + y) * g.width
                row = c * (g.height + 2 * g.out_halo) + y + g.out_halo
                target = block * out.shape[1] + row * (g.width + 2 * g.out_halo) + g.out_halo
                normalize_pixels(X, out, (source * lanes, target * lanes), g.width, numbers)


@subkernel
def measure_gradients(X, G, kept, sums, room, batch, g, part):
    """The gradients of weight and bias of some channels, and what they leave to the gradient of X.

    Parameters
    ----------
    X, G : arrays
        Images without a halo: the input, and the gradient of the output.
    kept : array [4 * C / lanes, 1, lanes]
    sums : array [C / lanes, 2, lanes]
        Receives the gradients of weights and biases.
    room, batch, g, part
        As for `measure`.
    """
    lanes = X.shape[2]
    count, panels = batch * g.height * g.width, sums.shape[0]
    for c in range(part.panel_from, part.panel_to):
        p, j = c // lanes, c % lanes
        numbers = (kept[MEAN * panels + p, 0, j], kept[INVERSE * panels + p, 0, j])
        bias, weight = channel_sums(PRODUCTS, X, G, c, batch, numbers, room, g)
        sums[p, 0, j] = weight
        sums[p, 1, j] = bias
        kept[MEAN_BIAS * panels + p, 0, j] = bias / count
        kept[MEAN_WEIGHT * panels + p, 0, j] = weight / count


@subkernel
def input_of_normalization(X, G, kept, weight, dX, batch, g, whose):
    """Write the gradient of `normalize`'s input, for this thread's images without a halo.

    It is zero for lanes beyond the batch, as every gradient is.
    """
    lanes, panels = X.shape[2], weight.shape[0]
    block_from, block_to = blocks_of(whose, lanes)
    first = first_of(g.height, whose.part, whose.parts)
    last = first_of(g.height, whose.part + 1, whose.parts)
    for c in range(g.channels):
        p, j = c // lanes, c % lanes
        inverse = kept[INVERSE * panels + p, 0, j]
        numbers = (
            kept[MEAN * panels + p, 0, j],
            inverse,
            kept[MEAN_BIAS * panels + p, 0, j],
            kept[MEAN_WEIGHT * panels + p, 0, j],
            weight[p, 0, j] * inverse,
        )
        for block in range(block_from, block_to):
            for y in range(first, last):
                row = (c * g.height + y) * g.width
                places = (
                    (block * X.shape[1] + row) * lanes,
                    (block * G.shape[1] + row) * lanes,
                    (block * dX.shape[1] + row) * lanes,
                )
                normalization_gradient(X, G, dX, places, g.width, numbers)
                clear_absent(dX, block, row, g.width, batch)
