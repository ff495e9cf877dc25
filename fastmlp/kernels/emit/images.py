"""Images in lanes: from rows and back, from a pool's gradient to the gradient of what was pooled."""

import math

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.emit.convolution import (
    byte_pointer,
    load_bytes,
    pixel_pointers,
    replace_smaller,
    store_bytes,
)
from fastmlp.kernels.emit.emitter import Emitter


@intrinsic
def transpose_vectors(typingctx, source, out, places, steps, counts):
    """Transpose lanes x lanes numbers; vectors that are not there are zero, or not stored.

    Parameters
    ----------
    source, out : arrays
    places : (s, o)
    steps : (source, out)
        From a vector to the next.
    counts : (source, out)
        Vectors of each that are there.
    """
    names = ("source", "out", "places", "steps", "counts")
    signature = types.void(source, out, places, steps, counts)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, source.dtype)
        v = dict(zip(names, arguments, strict=True))
        s, o = e.numbers(places, v["places"])
        s_step, o_step = e.numbers(steps, v["steps"])
        s_count, o_count = e.numbers(counts, v["counts"])
        source_pointer = e.pointer(source, v["source"], s)
        out_pointer = e.pointer(out, v["out"], o)
        last = builder.sub(s_count, e.index(1))
        rows = []
        for i in range(e.lanes):
            is_there = builder.icmp_signed("<", e.index(i), s_count)
            place = builder.select(is_there, e.index(i), last)
            value = e.load(source_pointer, builder.mul(place, s_step))
            rows.append(builder.select(is_there, value, e.constant(0.0)))
        for i, row in enumerate(e.transposed(rows)):
            with builder.if_then(builder.icmp_signed("<", e.index(i), o_count)):
                e.store(row, out_pointer, builder.mul(o_step, e.index(i)))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def pool_row(typingctx, X, which, out, places, count, row_step, size, averages):
    """Pool a row of windows, one beside the other: their largest value, or their mean.

    Parameters
    ----------
    X, out : arrays
        Images.
    which : array
        Room for a byte a lane: which number of the window, row by row, is the first largest.
    places : (x, q, o)
        First elements in X and out; first byte in which.
    count : int
        Windows.
    row_step : int
        From a row of X to the next.
    size : int
        Rows and columns of a window.
    averages : int
        Whether the mean is taken.
    """
    names = ("X", "which", "out", "places", "count", "row_step", "size", "averages")
    signature = types.void(X, which, out, places, count, row_step, size, averages)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        x, q, o = e.numbers(places, v["places"])
        source, target = e.pointer(X, v["X"], x), e.pointer(out, v["out"], o)
        marks = byte_pointer(e, which, v["which"], q)
        integers = ir.VectorType(ir.IntType(e.bits), e.lanes)
        step = builder.mul(v["size"], e.index(e.lanes))

        def pool(start, body):
            """Let ``body(value, m, state)`` see all numbers of each window; store what is left."""

            def over_windows(i, _):
                corner = e.at(source, builder.mul(i, step))

                def over_rows(ky, state):
                    def over_columns(kx, state):
                        place = builder.add(
                            builder.mul(ky, v["row_step"]), builder.mul(kx, e.index(e.lanes))
                        )
                        number = builder.add(builder.mul(ky, v["size"]), kx)
                        return body(e.load(corner, place), number, state)

                    return e.loop(v["size"], state, over_columns)

                value, *number = e.loop(v["size"], start, over_rows)
                place = builder.mul(i, e.index(e.lanes))
                if number:
                    store_bytes(e, number[0], builder.gep(marks, [place]))
                else:
                    value = builder.fdiv(value, window_size(e, v["size"]))
                e.store(value, target, place)
                return []

            e.loop(v["count"], [], over_windows)

        def largest(value, m, state):
            number = builder.trunc(m, integers.element) if e.bits < 64 else m
            return replace_smaller(e, *state, value, e.splat(number))

        with builder.if_else(builder.icmp_signed("!=", v["averages"], e.index(0))) as (
            mean,
            maximum,
        ):
            with mean:
                pool([e.constant(0.0)], lambda value, _, state: [e.add(state[0], value)])
            with maximum:
                none = ir.Constant(integers, [0] * e.lanes)
                pool([e.constant(-math.inf), none], largest)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def unpool_row(typingctx, G, which, out, places, count, steps, size, averages):
    """Write the gradient of a row of windows, one beside the other, from the gradient of what was pooled.

    Parameters
    ----------
    G : array
        A vector for each window.
    which : array
        As `pool_row` writes it; not read for means.
    out : array
    places : (g, q, o)
        First elements in G and out; first byte in which.
    count : int
        Windows.
    steps : (column, row)
        From a number of a window to the next, in out.
    size, averages : int
        As for `pool_row`. The mean of a window of one number is that number.
    """
    names = ("G", "which", "out", "places", "count", "steps", "size", "averages")
    signature = types.void(G, which, out, places, count, steps, size, averages)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        g, q, o = e.numbers(places, v["places"])
        column, row = e.numbers(steps, v["steps"])
        source, target = e.pointer(G, v["G"], g), e.pointer(out, v["out"], o)
        marks = byte_pointer(e, which, v["which"], q)
        integer = ir.IntType(e.bits)
        step = builder.mul(v["size"], column)

        def unpool(prepare, share):
            """Store ``share(m, *prepare(window))`` for all numbers m of each window."""

            def over_windows(i, _):
                seen = prepare(builder.mul(i, e.index(e.lanes)))
                corner = e.at(target, builder.mul(i, step))

                def over_rows(ky, _):
                    def over_columns(kx, _):
                        number = builder.add(builder.mul(ky, v["size"]), kx)
                        place = builder.add(builder.mul(ky, row), builder.mul(kx, column))
                        e.store(share(number, *seen), corner, place)
                        return []

                    return e.loop(v["size"], [], over_columns)

                return e.loop(v["size"], [], over_rows)

            e.loop(v["count"], [], over_windows)

        def own(m, value, number):
            m = e.splat(builder.trunc(m, integer) if e.bits < 64 else m)
            return builder.select(builder.icmp_signed("==", number, m), value, e.constant(0.0))

        def look(place):
            return e.load(source, place), load_bytes(e, builder.gep(marks, [place]))

        def spread(i, _):
            # The commonest window, two by two, without loops.
            seen = look(builder.mul(i, e.index(e.lanes)))
            corner = e.at(target, builder.mul(i, step))
            for m, pixel in enumerate(pixel_pointers(e, corner, (column, row))):
                e.store(own(e.index(m), *seen), pixel)
            return []

        takes_means = builder.icmp_signed("!=", v["averages"], e.index(0))
        is_square = builder.icmp_signed("==", v["size"], e.index(2))
        with builder.if_else(takes_means) as (mean, maximum):
            with mean:
                numbers = window_size(e, v["size"])
                unpool(
                    lambda place: [builder.fdiv(e.load(source, place), numbers)],
                    lambda m, value: value,
                )
            with maximum, builder.if_else(is_square) as (square, other):
                with square:
                    e.loop(v["count"], [], spread)
                with other:
                    unpool(look, own)
        return context.get_dummy_value()

    return signature, codegen


def window_size(e, size):
    """How many numbers a window has, as a vector."""
    return e.splat(e.builder.sitofp(e.builder.mul(size, size), e.scalar))
