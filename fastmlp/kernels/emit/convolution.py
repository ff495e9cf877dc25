"""Tiles of convolutions: sums over taps in registers, vectors of images.

A vector holds one value of as many images as it has lanes, so every lane does the same and no layout depends on the
number of channels. Of an image buffer [blocks, C, H, W, lanes] the vector of channel c, row y, column x of a block is
at ``(c * H + y) * W + x``. Weights [O / lanes, C * K * K, lanes] are broadcast, the taps of an output in the order
c, ky, kx. A sum is one chain of multiply-adds, so its bits depend neither on the tile's shape nor on who computes it.
"""

import math

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import Emitter
from fastmlp.kernels.emit.products import tile_switch
from fastmlp.kernels.tiles import TILE

# Pixels of a tile: a square, or a stretch of a row. A pixel beyond those that are needed is one of them again.
PIXELS = 4


def nested(e, counts, steps, places, state, body):
    """``for each of counts, one inside the other: state = body(places, state)``, the state in registers.

    Parameters
    ----------
    counts : list of integers
        At least 1.
    steps : list of lists
        What each loop adds to each of the places.
    places, state : lists
    body : callable
    """
    if not counts:
        return body(places, state)

    def once(_, inner):
        here, values = inner[: len(places)], inner[len(places) :]
        values = nested(e, counts[1:], steps[1:], here, values, body)
        following = [e.builder.add(*pair) for pair in zip(here, steps[0], strict=True)]
        return [*following, *values]

    return e.loop(counts[0], [*places, *state], once)[len(places) :]


def outer(e, pixels, weights, sums):
    """Add the outer product of vectors, which pointers to pixels point to, and scalars, to sums pixel by pixel."""
    vectors = [e.load(pointer) for pointer in pixels]
    result = list(sums)
    for f, pointer in enumerate(weights):
        scalar = e.broadcast(pointer)
        for p, vector in enumerate(vectors):
            place = p * len(weights) + f
            result[place] = e.fma(vector, scalar, result[place])
    return result


def pixel_pointers(e, base, steps):
    """Addresses of the four corners 0, a, b, a + b."""
    a, b = steps
    first = [base, e.at(base, a)]
    return [*first, *(e.at(one, b) for one in first)]


def clamped_pointers(e, base, step, count, valid):
    """Addresses of `count` outputs `step` apart; those beyond `valid` are the last again."""
    b = e.builder
    last = b.sub(valid, e.index(1))
    places = (
        b.select(b.icmp_signed("<", e.index(m), valid), e.index(m), last) for m in range(count)
    )
    return [e.at(base, b.mul(place, step)) for place in places]


def only_valid(e, count, valid, body):
    """Run ``body(m)`` for the first `valid` of `count` outputs."""
    for m in range(count):
        with e.builder.if_then(e.builder.icmp_signed("<", e.index(m), valid)):
            body(m)


@intrinsic
def convolve_tile(typingctx, X, W, bias, out, which, tile, counts, steps):
    """One tile of ``out = floor(bias + X * W)``: four pixels, or their maximum, for some outputs.

    Parameters
    ----------
    X : array
        Images.
    W, bias : arrays
    out : array
        Images.
    which : array
        Room for a byte a lane: which of the four pixels, in the order of ``pixel_pointers``, is the first largest.
    tile : (filters, valid, pools, relu, x, w, b, o, q)
        Outputs side by side, one of ``TILE.filters``; how many of them there are; whether the maximum is taken, and
        the floor zero; first elements in X, W, bias and out, and first byte in which.
    counts : (channels, kernel)
    steps : (x channel, x row, pixel a, pixel b, o channel, o a, o b, q channel)
        From one to the next, in elements. In a pool, o a and o b are not used.
    """
    names = ("X", "W", "bias", "out", "which", "tile", "counts", "steps")
    signature = types.void(X, W, bias, out, which, tile, counts, steps)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        filters, valid, pools, relu, x, w, b, o, q = e.numbers(tile, v["tile"])
        channels, kernel = e.numbers(counts, v["counts"])
        plane, row, a, below, out_plane, out_a, out_below, mark_plane = e.numbers(steps, v["steps"])
        pixels = pixel_pointers(e, e.pointer(X, v["X"], x), (a, below))
        weights = e.pointer(W, v["W"], w)
        biases = e.pointer(bias, v["bias"], b)
        target = e.pointer(out, v["out"], o)
        marks = byte_pointer(e, which, v["which"], q)
        lanes = e.index(e.lanes)
        w_row = builder.mul(kernel, lanes)
        walk = [(plane, builder.mul(kernel, w_row)), (row, w_row), (lanes, lanes)]

        def body(count, _):
            pointers = [e.at(weights, f) for f in range(count)]
            start = [e.broadcast(biases, f) for f in range(count)] * PIXELS

            def over_taps(places, sums):
                x_place, w_place = places
                return outer(
                    e,
                    [e.at(one, x_place) for one in pixels],
                    [e.at(one, w_place) for one in pointers],
                    sums,
                )

            sums = nested(
                e, (channels, kernel, kernel), walk, (e.index(0), e.index(0)), start, over_taps
            )
            is_relu = builder.icmp_signed("!=", relu, e.index(0))
            floor = builder.select(is_relu, e.constant(0.0), e.constant(-math.inf))
            with builder.if_else(builder.icmp_signed("!=", pools, e.index(0))) as (one, all_four):
                with one:

                    def store_largest(f):
                        values = sums[f::count]
                        largest, number = first_largest(e, values)
                        e.store(
                            e.at_least(floor, largest),
                            e.at(target, builder.mul(out_plane, e.index(f))),
                        )
                        place = builder.mul(mark_plane, e.index(f))
                        store_bytes(e, number, builder.gep(marks, [place]))

                    only_valid(e, count, valid, store_largest)
                with all_four:

                    def store_all(f):
                        first = e.at(target, builder.mul(out_plane, e.index(f)))
                        places = pixel_pointers(e, first, (out_a, out_below))
                        for value, place in zip(sums[f::count], places, strict=True):
                            e.store(e.at_least(floor, value), place)

                    only_valid(e, count, valid, store_all)

        tile_switch(e, filters, e.index(1), [(count, 1) for count in TILE.filters], body)
        return context.get_dummy_value()

    return signature, codegen


def first_largest(e, values):
    """The largest of some vectors and its number, as integers: of equals the first; a NaN is larger than all."""
    integers = ir.VectorType(ir.IntType(e.bits), e.lanes)
    state = [values[0], ir.Constant(integers, [0] * e.lanes)]
    for m, value in enumerate(values[1:], 1):
        state = replace_smaller(e, *state, value, ir.Constant(integers, [m] * e.lanes))
    return state


def replace_smaller(e, largest, number, value, m):
    """The larger of two vectors, and its number."""
    b = e.builder
    is_larger = b.or_(b.fcmp_ordered(">", value, largest), b.fcmp_unordered("uno", value, value))
    return [b.select(is_larger, value, largest), b.select(is_larger, m, number)]


def byte_pointer(e, array_type, array, offset):
    """The address of a byte of an array of numbers."""
    b = e.builder
    start = b.bitcast(e.pointer(array_type, array, e.index(0)), ir.IntType(8).as_pointer())
    return b.gep(start, [offset])


def store_bytes(e, number, pointer):
    """Store a vector of small integers as a byte a lane."""
    short = ir.VectorType(ir.IntType(8), e.lanes)
    value = e.builder.trunc(number, short)
    e.builder.store(value, e.builder.bitcast(pointer, short.as_pointer()), align=1)


def load_bytes(e, pointer):
    """What `store_bytes` stored."""
    b = e.builder
    short = ir.VectorType(ir.IntType(8), e.lanes)
    value = b.load(b.bitcast(pointer, short.as_pointer()), align=1)
    return b.zext(value, ir.VectorType(ir.IntType(e.bits), e.lanes))


@intrinsic
def input_gradient_tile(typingctx, D, W, X, out, tile, counts, steps):
    """One tile of the gradient of a convolution's input: four pixels, for some channels.

    Sums are in the order of ky, kx and the outputs: the longest loop is the inner one.

    Parameters
    ----------
    D : array
        The gradient of the convolution's output, see ``loops/spread.py``.
    W : array
    X, out : arrays
        Images: the convolution's input, and its gradient.
    tile : (channels, valid, relu, d, w, x, o)
        Channels side by side, one of ``TILE.filters``; how many of them there are; whether the gradient is
        multiplied by the derivative of the ReLU that X comes from; first elements in D, W, X and out.
    counts : (rows, columns, outputs)
        Of the taps that touch these pixels; of W.
    steps : (d row, d column, d a, d b, w row, w column, w panel, w channel, x channel, x a, x b, o channel, o a, o b)
    """
    names = ("D", "W", "X", "out", "tile", "counts", "steps")
    signature = types.void(D, W, X, out, tile, counts, steps)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        channels, valid, relu, d, w, x, o = e.numbers(tile, v["tile"])
        rows, columns, outputs = e.numbers(counts, v["counts"])
        places = e.numbers(steps, v["steps"])
        d_row, d_column, d_a, d_b, w_row, w_column, w_panel, w_channel = places[:8]
        x_channel, x_a, x_b, o_channel, o_a, o_b = places[8:]
        pixels = pixel_pointers(e, e.pointer(D, v["D"], d), (d_a, d_b))
        weights = e.pointer(W, v["W"], w)
        images, target = e.pointer(X, v["X"], x), e.pointer(out, v["out"], o)
        is_relu = builder.icmp_signed("!=", relu, e.index(0))
        shift, mask = e.index(e.lanes.bit_length() - 1), e.index(e.lanes - 1)

        def body(count, _):
            pointers = clamped_pointers(e, weights, w_channel, count, valid)

            def over_taps(places, sums):
                d_place, w_place = places
                return outer(
                    e,
                    [e.at(one, d_place) for one in pixels],
                    [e.at(one, w_place) for one in pointers],
                    sums,
                )

            def over_outputs(number, sums):
                panel = builder.mul(builder.lshr(number, shift), w_panel)
                w_place = builder.add(panel, builder.and_(number, mask))
                origin = (builder.mul(number, e.index(e.lanes)), w_place)
                return nested(e, (rows, columns), walk, origin, sums, over_taps)

            walk = [(d_row, w_row), (d_column, w_column)]
            start = [e.constant(0.0)] * (PIXELS * count)
            sums = e.loop(outputs, start, over_outputs)

            def store(m):
                seen = e.at(images, builder.mul(x_channel, e.index(m)))
                first = e.at(target, builder.mul(o_channel, e.index(m)))
                for value, x_pointer, o_pointer in zip(
                    sums[m::count],
                    pixel_pointers(e, seen, (x_a, x_b)),
                    pixel_pointers(e, first, (o_a, o_b)),
                    strict=True,
                ):
                    let_through = e.where_positive(e.load(x_pointer), value)
                    e.store(builder.select(is_relu, let_through, value), o_pointer)

            only_valid(e, count, valid, store)

        tile_switch(e, channels, e.index(1), [(count, 1) for count in TILE.filters], body)
        return context.get_dummy_value()

    return signature, codegen
