"""The softmax of rows of outputs with the rows in lanes: classes follow each other as vectors."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import Emitter

# Vectors of what is known of rows so far: the largest logit, its class, and the sum of exponentials.
LARGEST, BEST, SUM = range(3)


@intrinsic
def see_largest(typingctx, logits, known, first, count):
    """Let the largest logit of each row, and its class, have seen `count` more classes; the first largest counts.

    Parameters
    ----------
    logits : array [classes, lanes]
    known : array [3 or more, lanes]
        Its vectors LARGEST and BEST change; what they hold does not matter where `first` is 0.
    first : int
        The number of the first of these classes.
    count : int
    """
    signature = types.void(logits, known, first, count)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, logits.dtype)
        source = e.pointer(logits, arguments[0], e.index(0))
        target = e.pointer(known, arguments[1], e.index(0))

        def over_classes(c, state):
            largest, best = state
            z = e.load(source, builder.mul(c, e.index(e.lanes)))
            number = builder.add(c, arguments[2])
            # A first NaN stays: nothing is larger.
            is_first = e.splat(builder.icmp_signed("==", number, e.index(0)))
            is_larger = builder.or_(builder.fcmp_ordered(">", z, largest), is_first)
            number = e.splat(builder.sitofp(number, e.scalar))
            return [builder.select(is_larger, z, largest), builder.select(is_larger, number, best)]

        places = [(target, row * e.lanes) for row in (LARGEST, BEST)]
        state = e.loop(arguments[3], [e.load(*place) for place in places], over_classes)
        for value, place in zip(state, places, strict=True):
            e.store(value, *place)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def add_exponentials(typingctx, logits, known, first, count):
    """Replace `count` logits of each row by exp(logit - largest), and add these in order to their sum so far.

    The parameters are those of `see_largest`; of the vectors of `known`, SUM changes.
    """
    signature = types.void(logits, known, first, count)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, logits.dtype)
        source = e.pointer(logits, arguments[0], e.index(0))
        target = e.pointer(known, arguments[1], e.index(0))
        largest = e.load(target, LARGEST * e.lanes)

        def over_classes(c, state):
            place = builder.mul(c, e.index(e.lanes))
            value = e.exp(e.subtract(e.load(source, place), largest))
            e.store(value, source, place)
            return [e.add(state[0], value)]

        is_first = builder.icmp_signed("==", arguments[2], e.index(0))
        start = builder.select(is_first, e.constant(0.0), e.load(target, SUM * e.lanes))
        (total,) = e.loop(arguments[3], [start], over_classes)
        e.store(total, target, SUM * e.lanes)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def scale_row(typingctx, D, place, step, panels, outputs, factor):
    """Multiply a row of D, whose vectors are `step` apart from element `place` on; beyond `outputs` it becomes zero."""
    signature = types.void(D, place, step, panels, outputs, factor)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, D.dtype)
        _, place, step, panels, outputs, factor = arguments
        pointer = e.pointer(D, arguments[0], place)
        factor = e.splat(context.cast(builder, factor, signature.args[5], D.dtype))
        last = builder.sub(panels, e.index(1))

        def over_panels(p, _):
            target = e.at(pointer, builder.mul(p, step))
            e.store(e.multiply(e.load(target), factor), target)
            return []

        e.loop(panels, [], over_panels)
        target = e.at(pointer, builder.mul(last, step))
        used = builder.sub(outputs, builder.mul(last, e.index(e.lanes)))
        integer = ir.IntType(32)
        lanes = ir.Constant(ir.VectorType(integer, e.lanes), list(range(e.lanes)))
        is_used = builder.icmp_signed("<", lanes, e.splat(builder.trunc(used, integer)))
        e.store(builder.select(is_used, e.load(target), e.constant(0.0)), target)
        return context.get_dummy_value()

    return signature, codegen
