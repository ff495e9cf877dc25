"""Batch normalisation: each channel to mean 0 and variance 1 over a batch, then a scale and shift of its own.

    m = mean of x    v = mean of (x - m)**2    h = (x - m) / sqrt(v + EPSILON)    y = weight * h + bias

    d bias = sum of dy    d weight = sum of dy * h
    dx = weight / sqrt(v + EPSILON) * (dy - d bias / n - h * d weight / n)

n counts images and pixels. Running statistics move towards those of a batch by MOMENTUM, the variance with n - 1
instead of n; an evaluation takes them instead. These are PyTorch's definitions. A sum over pixels is in the order of
rows and columns, a sum over images in float64 in the order of the batch, so that bits depend on nothing else.
"""

import math

import numpy as np

from fastmlp.kernels.codes import PRODUCTS, SQUARES_OF, SUMS
from fastmlp.kernels.emit.batchnorm import normalization_gradient, normalize_pixels, sum_pixels
from fastmlp.kernels.emit.images import transpose_vectors
from fastmlp.kernels.emit.views import stack_vectors
from fastmlp.kernels.jit import helper, inlined, subkernel
from fastmlp.kernels.loops.convolution import blocks_of
from fastmlp.kernels.loops.images import clear_absent
from fastmlp.kernels.team import first_of
from fastmlp.kernels.tiles import TILE

EPSILON, MOMENTUM = 1e-5, 0.1
ROOM = 2 * TILE.lanes(
    4
)  # vectors for two sums of as many channels as there are lanes, of either type

# What a batch leaves to its gradients: panels of one row, for each number a channel. Mean, 1 / sqrt(variance +
# EPSILON), d bias / n and d weight / n.
KEPT = 4
MEAN, INVERSE, MEAN_BIAS, MEAN_WEIGHT = range(KEPT)


@helper
def channel_sums(code, X, G, c, count, batch, kept, sums, g):
    """Two sums of each of `count` channels from `c` on, at most as many as a vector has lanes: see `sum_pixels`.

    Parameters
    ----------
    sums : float64 array [2, lanes]
        Receives them, the second only of PRODUCTS. Images are added one by one, those of several channels side by side:
        otherwise each addition would wait for the one before.
    """
    lanes, area, panels = X.shape[2], g.height * g.width, kept.shape[0] // KEPT
    rows, columns = stack_vectors(X, ROOM), stack_vectors(X, ROOM)
    flat = rows.reshape(-1)
    sums[:] = 0
    for block in range((batch + lanes - 1) // lanes):
        images = min(lanes, batch - block * lanes)
        for k in range(count):
            p, j = (c + k) // lanes, (c + k) % lanes
            x = (block * X.shape[1] + (c + k) * area) * lanes
            other = (block * G.shape[1] + (c + k) * area) * lanes
            numbers = kept[MEAN * panels + p, 0, j], kept[INVERSE * panels + p, 0, j]
            sum_pixels(code, X, G, (x, other), area, numbers, flat, 2 * k * lanes)
        for i in range(2 if code == PRODUCTS else 1):
            if count == 1:
                total = sums[i, 0]
                for m in range(images):
                    total += rows[i, m]
                sums[i, 0] = total
                continue
            places = i * lanes, i * lanes * lanes
            transpose_vectors(rows, columns, places, (2 * lanes, lanes), (count, images))
            for m in range(images):
                for k in range(lanes):
                    sums[i, k] += columns[i * lanes + m, k]


@inlined
def at_once(lanes, g):
    """How many channels are measured side by side: of large images one, which stays in the cache."""
    return max(1, lanes // (g.height * g.width))


@inlined
def float64_sums(room, lanes):
    """This thread's room as float64 numbers [2, lanes]."""
    return room.reshape(-1).view(np.float64)[: 2 * lanes].reshape(2, lanes)


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
    room : array [1, 4, lanes]
        This thread's.
    batch : int
        Images.
    g : record of SHAPE
    part : Part
        Its panels are channels.
    """
    lanes, panels = X.shape[2], means.shape[0]
    count = batch * g.height * g.width
    sums = float64_sums(room, lanes)
    step = at_once(lanes, g)
    for first in range(part.panel_from, part.panel_to, step):
        last = min(first + step, part.panel_to)
        channel_sums(SUMS, X, X, first, last - first, batch, kept, sums, g)
        for c in range(first, last):
            kept[MEAN * panels + c // lanes, 0, c % lanes] = sums[0, c - first] / count
        channel_sums(SQUARES_OF, X, X, first, last - first, batch, kept, sums, g)
        for c in range(first, last):
            p, j = c // lanes, c % lanes
            mean, squares = kept[MEAN * panels + p, 0, j], sums[0, c - first]
            kept[INVERSE * panels + p, 0, j] = 1 / math.sqrt(squares / count + EPSILON)
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
    both = float64_sums(room, lanes)
    step = at_once(lanes, g)
    for first in range(part.panel_from, part.panel_to, step):
        last = min(first + step, part.panel_to)
        channel_sums(PRODUCTS, X, G, first, last - first, batch, kept, both, g)
        for c in range(first, last):
            p, j = c // lanes, c % lanes
            bias, weight = both[0, c - first], both[1, c - first]
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
