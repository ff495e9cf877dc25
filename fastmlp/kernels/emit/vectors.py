"""Whole vectors: functions of them, rows of images, sums of squares."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.activations import ACTIVATIONS, gradient_code, value_code
from fastmlp.kernels.codes import ADD, EXP, IDENTITY, MULTIPLIED, SIGMOID
from fastmlp.kernels.emit.emitter import Emitter
from fastmlp.kernels.tiles import TILE


@intrinsic
def map_vectors(typingctx, code, source, other, out, offset, count):
    """``out = f(source, other)`` for `count` vectors from element `offset` of three arrays on.

    IDENTITY is source; EXP and SIGMOID are of source; ADD and MULTIPLIED take both. The codes of activations are
    theirs of source, or source times the derivative that follows from other: see ``activations.py``.
    """
    names = ("code", "source", "other", "out", "offset", "count")
    signature = types.void(code, source, other, out, offset, count)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        source_pointer = e.pointer(source, v["source"], v["offset"])
        other_pointer = e.pointer(other, v["other"], v["offset"])
        out_pointer = e.pointer(out, v["out"], v["offset"])
        functions = {
            int(IDENTITY): lambda e, x, y: x,
            int(EXP): lambda e, x, y: e.exp(x),
            int(ADD): lambda e, x, y: e.add(x, y),
            int(MULTIPLIED): lambda e, x, y: e.multiply(x, y),
            int(SIGMOID): lambda e, x, y: e.sigmoid(x),
        }
        for name, row in ACTIVATIONS.items():
            functions[value_code(name)] = lambda e, x, y, row=row: row.value(e, x)
            functions[gradient_code(name)] = lambda e, x, y, row=row: row.gradient(e, x, y)

        def body(case):
            function = functions[case]

            def over_vectors(i, _):
                place = builder.mul(i, e.index(e.lanes))
                value = function(e, e.load(source_pointer, place), e.load(other_pointer, place))
                e.store(value, out_pointer, place)
                return []

            e.loop(v["count"], [], over_vectors)

        e.switch(v["code"], functions, body)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def sum_of_squares(typingctx, array, offset, count, sums, place):
    """``sums[place + j]``: the sum over `count` vectors of `array`, from element `offset` on, of lane j's squares.

    `sums` is an array of float64; a lane's squares are added in order, in float64.
    """
    signature = types.void(array, offset, count, sums, place)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, array.dtype)
        pointer = e.pointer(array, arguments[0], arguments[1])
        doubles = ir.VectorType(ir.DoubleType(), e.lanes)

        def body(i, before):
            value = e.load(pointer, builder.mul(i, e.index(e.lanes)))
            if array.dtype == types.float32:
                value = builder.fpext(value, doubles)
            return [builder.fadd(before[0], builder.fmul(value, value))]

        (total,) = e.loop(arguments[2], [ir.Constant(doubles, [0.0] * e.lanes)], body)
        target = e.pointer(sums, arguments[3], arguments[4])
        builder.store(total, builder.bitcast(target, doubles.as_pointer()), align=8)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def convert_vectors(typingctx, source, scale, shift, out, places, count, out_step):
    """``out[o + i * out_step] = source[s + i] * scale[f + i] + shift[f + i]``, i counting `count` vectors.

    `source` is a uint8, float32 or float64 array; `scale`, `shift` and `out` have the kernel's type. `places` are
    the elements (s, f, o).
    """
    names = ("source", "scale", "shift", "out", "places", "count", "out_step")
    signature = types.void(source, scale, shift, out, places, count, out_step)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        s, f, o = e.numbers(places, v["places"])
        source_pointer = e.pointer(source, v["source"], s)
        scale_pointer = e.pointer(scale, v["scale"], f)
        shift_pointer = e.pointer(shift, v["shift"], f)
        out_pointer = e.pointer(out, v["out"], o)
        ahead = builder.mul(v["count"], e.index(e.lanes))

        def body(i, _):
            offset = builder.mul(i, e.index(e.lanes))
            e.prefetch(source_pointer, builder.add(offset, ahead))
            place = builder.mul(i, v["out_step"])
            # The row of the batch four further goes here: EXPERIMENTS.md, "Gathering".
            e.prefetch(out_pointer, builder.add(place, e.index(4 * e.lanes)), to_write=True)
            value = e.load_converted(source_pointer, offset)
            value = e.fma(value, e.load(scale_pointer, offset), e.load(shift_pointer, offset))
            e.store(value, out_pointer, place)
            return []

        e.loop(v["count"], [], body)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def multiply_add(typingctx, x, y, total):
    """``x * y + total`` of three numbers, rounded as often as in a vector.

    Numba alone would round twice, and what is left over beyond whole vectors would differ with their length.
    """
    signature = total(x, y, total)

    def codegen(context, builder, signature, arguments):
        x, y, total = (
            context.cast(builder, value, kind, signature.return_type)
            for value, kind in zip(arguments, signature.args, strict=True)
        )
        if not TILE.fma:
            return builder.fadd(builder.fmul(x, y), total)
        kind = ir.FunctionType(total.type, [total.type] * 3)
        name = f"llvm.fma.f{signature.return_type.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [x, y, total])

    return signature, codegen


# Elements that are reversed at a time: 16 bytes of an image.
REVERSED = 16


@intrinsic
def reverse(typingctx, source, s, count, out, o):
    """``out[o + j] = source[s + count - 1 - j]`` for j below `count`, at least REVERSED, of any one type."""
    signature = types.void(source, s, count, out, o)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, types.float32)
        source_pointer = e.pointer(source, arguments[0], arguments[1])
        out_pointer = e.pointer(out, arguments[3], arguments[4])
        vector = ir.VectorType(source_pointer.type.pointee, REVERSED).as_pointer()
        align = source.dtype.bitwidth // 8
        last = builder.sub(arguments[2], e.index(REVERSED))

        def body(i, _):
            place = builder.mul(i, e.index(REVERSED))
            # The last vector overlaps the one before where `count` is no multiple.
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            first = e.at(source_pointer, builder.sub(last, place))
            straight = builder.load(builder.bitcast(first, vector), align=align)
            turned = e.shuffle(straight, straight, list(range(REVERSED))[::-1])
            builder.store(turned, builder.bitcast(e.at(out_pointer, place), vector), align=align)
            return []

        vectors = builder.sdiv(builder.add(arguments[2], e.index(REVERSED - 1)), e.index(REVERSED))
        e.loop(vectors, [], body)
        return context.get_dummy_value()

    return signature, codegen
