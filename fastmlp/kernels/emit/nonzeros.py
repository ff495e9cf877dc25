"""Sums over just the rows of a batch whose gradient is not zero; ``loops/nonzeros.py`` says why."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import INDEX, Emitter, is_pair
from fastmlp.kernels.emit.steps import take_step
from fastmlp.kernels.tiles import TILE

# Rows of a batch that one word marks.
WORD = 64


@intrinsic
def mark_nonzeros(typingctx, D, d, rows, room, marks, m):
    """For each lane of a panel of up to `WORD` rows from element `d` of D on, mark the rows where it is not zero.

    Marks are words of 64 bits from element `marks` of `room` on: bit i of word m + lane becomes 1 where row i is not
    zero, or NaN. Returns how many bits are 1.
    """
    signature = types.int64(D, d, rows, room, marks, m)

    def codegen(context, builder, signature, arguments):
        if is_pair(D):
            return ir.Constant(INDEX, 0)
        e = Emitter(context, builder, D.dtype)
        pointer = e.pointer(D, arguments[0], arguments[1])
        words = ir.VectorType(INDEX, e.lanes)

        def over_rows(i, before):
            value = e.load(pointer, builder.mul(i, e.index(e.lanes)))
            is_there = builder.fcmp_unordered("une", value, e.constant(0.0))
            return [builder.or_(before[0], builder.shl(builder.zext(is_there, words), e.splat(i)))]

        (word,) = e.loop(arguments[2], [ir.Constant(words, [0] * e.lanes)], over_rows)
        e.store(word, e.words(e.pointer(room, arguments[3], arguments[4])), arguments[5])
        kind = ir.FunctionType(words, [words])
        count = cgutils.get_or_insert_function(builder.module, kind, f"llvm.ctpop.v{e.lanes}i64")
        kind = ir.FunctionType(INDEX, [words])
        name = f"llvm.vector.reduce.add.v{e.lanes}i64"
        total = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(total, [builder.call(count, [word])])

    return signature, codegen


@intrinsic
def sum_marked(typingctx, X, D, room, W, V, places, is_first, is_last):
    """Add what the marked rows of a batch give to the gradient of one unit's weights from `TILE.slabs` panels of X.

    The lanes are the unit's inputs here, not units: what a row with a zero would add can then be left out. It takes a
    load for each multiply-add, where `update_tile` needs one for two.

    Parameters
    ----------
    X : array [K / lanes, batch, lanes]
        The layer's input.
    D : array [N / lanes, batch, lanes]
        Gradient of its output.
    room : array
        Of X's type, where words and sums are.
    W, V : arrays
        What the step will change: before the last rows, `TILE.slabs` vectors of each are asked for.
    places : (x, d, marks, word, sums, w)
        The first element of the first panel's first row in X; the unit's element in the first row of D; the element
        of `room` where words begin, and the number of the one that tells which of the next `WORD` rows to add; the
        unit's vector of sums for the first panel, the next panels' each lanes x lanes elements further; and the
        first element in W and V.
    is_first : bool
        Whether sums begin with zero, not with what is there.
    is_last : bool
        Whether these are the last rows of the batch: the step comes next.
    """
    names = ("X", "D", "room", "W", "V", "places", "is_first", "is_last")
    signature = types.void(X, D, room, W, V, places, is_first, is_last)

    def codegen(context, builder, signature, arguments):
        if is_pair(X):
            return context.get_dummy_value()
        e = Emitter(context, builder, X.dtype)
        v = dict(zip(names, arguments, strict=True))
        x, d, marks, word, sums, w = e.numbers(places, v["places"])
        slab = builder.mul(e.shape(X, v["X"])[1], e.index(e.lanes))
        x_pointer = e.pointer(X, v["X"], x)
        d_pointer = e.pointer(D, v["D"], d)
        sums_pointer = e.pointer(room, v["room"], sums)
        sources = [e.at(x_pointer, builder.mul(slab, e.index(f))) for f in range(TILE.slabs)]
        offsets = [f * e.lanes * e.lanes for f in range(TILE.slabs)]
        with builder.if_then(v["is_last"]):
            for name, kind in (("W", W), ("V", V)):
                ahead = e.pointer(kind, v[name], w)
                for f in range(TILE.slabs):
                    e.prefetch(ahead, f * e.lanes)

        with builder.if_else(v["is_first"]) as (then, otherwise):
            with then:
                begin = builder.block
            with otherwise:
                held = [e.load(sums_pointer, place) for place in offsets]
                go_on = builder.block
        state = [builder.phi(e.vector) for _ in offsets]
        for phi, value in zip(state, held, strict=True):
            phi.add_incoming(e.constant(0.0), begin)
            phi.add_incoming(value, go_on)

        words = e.words(e.pointer(room, v["room"], marks))
        word = builder.load(e.at(words, word), align=e.bytes)
        kind = ir.FunctionType(INDEX, [INDEX, ir.IntType(1)])
        zeros_below = cgutils.get_or_insert_function(builder.module, kind, "llvm.cttz.i64")

        def over_marks(before):
            left, *totals = before
            row = builder.call(zeros_below, [left, ir.Constant(ir.IntType(1), 1)])
            place = builder.mul(row, e.index(e.lanes))
            scalar = e.broadcast(d_pointer, place)
            left = builder.and_(left, builder.sub(left, e.index(1)))
            return [left] + [
                e.fma(scalar, e.load(source, place), total)
                for source, total in zip(sources, totals, strict=True)
            ]

        _, *totals = e.while_not_zero([word, *state], over_marks)
        for place, total in zip(offsets, totals, strict=True):
            e.store(total, sums_pointer, place)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def update_blocks(typingctx, room, sums, W, V, S, w, rule, hyper):
    """The step of `TILE.slabs` blocks of W, lanes x lanes each, from element `w` on, given sums of `sum_marked`.

    ``room[sums:]`` holds a block for each, whose rows are units and whose lanes are inputs; the other arguments are
    those of `update_tile`.
    """
    names = ("room", "sums", "W", "V", "S", "w", "rule", "hyper")
    signature = types.void(room, sums, W, V, S, w, rule, hyper)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, W.dtype)
        v = dict(zip(names, arguments, strict=True))
        sums_pointer = e.pointer(room, v["room"], v["sums"])
        bases = [e.pointer(kind, v[name], v["w"]) for name, kind in (("W", W), ("V", V), ("S", S))]
        hyper_pointer = e.pointer(hyper, v["hyper"], e.index(0))

        def over_blocks(i, _):
            block = builder.mul(i, e.index(e.lanes * e.lanes))
            here = e.at(sums_pointer, block)
            units = [e.load(here, unit * e.lanes) for unit in range(e.lanes)]
            gradients = e.transposed(units)
            pointers = ([e.at(base, block)] for base in bases)
            take_step(e, hyper_pointer, v["rule"], gradients, e.lanes, *pointers)
            return []

        e.loop(e.index(TILE.slabs), [], over_blocks)
        return context.get_dummy_value()

    return signature, codegen
