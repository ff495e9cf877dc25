"""Panels of float32 -> panels of pairs of bfloat16."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import INDEX, Emitter, is_pair


@intrinsic
def packing(typingctx, operand):
    """How many numbers along k an element of an operand holds: 2 in an array of pairs, else 1."""

    def codegen(context, builder, signature, arguments):
        return ir.Constant(INDEX, 2 if is_pair(operand) else 1)

    return types.intp(operand), codegen


@intrinsic
def pair_rows(typingctx, source, s, rows, out, o):
    """Pairs of consecutive rows of a panel of float32: row i of `out` holds rows 2 i and 2 i + 1 of `source`.

    The partner of an odd last row is zero. Where `out` is no array of pairs nothing is done: it is `source`.
    """
    signature = types.void(source, s, rows, out, o)

    def codegen(context, builder, signature, arguments):
        if not is_pair(out):
            return context.get_dummy_value()
        e = Emitter(context, builder, source.dtype)
        source_pointer = e.pointer(source, arguments[0], arguments[1])
        out_pointer = e.pointer(out, arguments[3], arguments[4])
        rows = arguments[2]
        last = builder.sub(rows, e.index(1))

        def body(i, _):
            first = builder.mul(i, e.index(2))
            has_partner = builder.icmp_signed("<", first, last)
            second = builder.select(has_partner, builder.add(first, e.index(1)), first)
            low, high = (
                e.load(source_pointer, builder.mul(row, e.index(e.lanes)))
                for row in (first, second)
            )
            high = builder.select(has_partner, high, e.constant(0.0))
            e.store(e.pairs(low, high), out_pointer, builder.mul(i, e.index(e.lanes)))
            return []

        pairs = builder.ashr(builder.add(rows, e.index(1)), e.index(1))
        with builder.if_then(builder.icmp_signed(">", pairs, e.index(0))):
            e.loop(pairs, [], body)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def pair_columns(typingctx, source, s, rows, out, o, fill):
    """Pairs of neighbouring columns: each row of a panel of float32 becomes half a row of a panel of pairs.

    Even panels go into the first half (`o` at its start), odd ones into the second. With `fill` the other half of
    the row becomes zero: for a last panel that has no neighbour. Nothing is done where `out` is no array of pairs.
    """
    signature = types.void(source, s, rows, out, o, fill)

    def codegen(context, builder, signature, arguments):
        if not is_pair(out):
            return context.get_dummy_value()
        e = Emitter(context, builder, source.dtype)
        source_pointer = e.pointer(source, arguments[0], arguments[1])
        out_pointer = e.pointer(out, arguments[3], arguments[4])
        short = ir.VectorType(ir.IntType(16), e.lanes)

        def body(i, _):
            place = builder.mul(i, e.index(e.lanes))
            row = e.bfloat16(e.load(source_pointer, place), e.constant(0.0))
            e.store(e.shuffle(row, row, list(range(e.lanes))), out_pointer, place)
            with builder.if_then(builder.icmp_signed("!=", arguments[5], e.index(0))):
                zeros = ir.Constant(short, [0] * e.lanes)
                e.store(zeros, e.at(out_pointer, place), e.lanes // 2)
            return []

        with builder.if_then(builder.icmp_signed(">", arguments[2], e.index(0))):
            e.loop(arguments[2], [], body)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def convert_pairs(typingctx, sources, places, which, scale, shift, columns, rows, targets):
    """Two rows of a batch as both kinds of pairs, at once: `convert_vectors`, `pair_columns`, `pair_rows`.

    Parameters
    ----------
    sources : (straight, mirrored)
        Arrays that rows are read from, of one type.
    places : (low, high, f, count)
        From which element on the two rows are read, and `scale` and `shift`; how many pairs of panels, at least 1.
    which : (low_mirrored, high_mirrored, alone) of bool
        Which of the sources each row is in; whether the second row is the first again: it is then not stored, and
        zero in pairs of rows.
    scale, shift : arrays of float32
    columns, rows : arrays of pairs
        Pairs of columns, and of rows. Where they are no arrays of pairs nothing is done.
    targets : (c, c_step, r, r_step)
        The first element in `columns` and how far the next panel's is; the same in `rows`.
    """
    names = ("sources", "places", "which", "scale", "shift", "columns", "rows", "targets")
    signature = types.void(sources, places, which, scale, shift, columns, rows, targets)

    def codegen(context, builder, signature, arguments):
        if not is_pair(columns):
            return context.get_dummy_value()
        e = Emitter(context, builder, scale.dtype)
        v = dict(zip(names, arguments, strict=True))
        low, high, f, count = e.numbers(places, v["places"])
        c, c_step, r, r_step = e.numbers(targets, v["targets"])
        low_mirrored, high_mirrored, alone = cgutils.unpack_tuple(builder, v["which"])
        arrays = list(zip(sources, cgutils.unpack_tuple(builder, v["sources"]), strict=True))

        def row_pointer(place, is_mirrored):
            straight, mirrored = (e.pointer(kind, array, place) for kind, array in arrays)
            return builder.select(is_mirrored, mirrored, straight)

        rows_read = [row_pointer(low, low_mirrored), row_pointer(high, high_mirrored)]
        scale_pointer = e.pointer(scale, v["scale"], f)
        shift_pointer = e.pointer(shift, v["shift"], f)
        # A row that is not to be stored is stored where the first one then goes.
        second = builder.select(alone, e.index(0), e.index(e.lanes))
        stored = [
            e.pointer(columns, v["columns"], builder.add(c, place))
            for place in (e.index(0), second)
        ]
        rows_pointer = e.pointer(rows, v["rows"], r)
        # What the block after the next one reads of these rows: EXPERIMENTS.md, "Gathering".
        ahead = builder.mul(count, e.index(2 * 2 * e.lanes))

        def body(i, _):
            offset = builder.mul(i, e.index(2 * e.lanes))
            values = {}
            for panel in range(2):
                place = builder.add(offset, e.index(panel * e.lanes))
                factor, summand = e.load(scale_pointer, place), e.load(shift_pointer, place)
                for row in range(2):
                    value = e.load_converted(rows_read[row], place)
                    values[row, panel] = e.fma(value, factor, summand)
            for row in (1, 0):
                e.prefetch(rows_read[row], builder.add(offset, ahead))
                place = builder.mul(i, c_step)
                e.prefetch(
                    stored[0], builder.add(place, e.index((4 + row) * e.lanes)), to_write=True
                )
                e.store(e.bfloat16(values[row, 0], values[row, 1]), stored[row], place)
            for panel in range(2):
                high = builder.select(alone, e.constant(0.0), values[1, panel])
                number = builder.add(builder.mul(i, e.index(2)), e.index(panel))
                place = builder.mul(number, r_step)
                e.prefetch(rows_pointer, builder.add(place, e.index(2 * e.lanes)), to_write=True)
                e.store(e.pairs(values[0, panel], high), rows_pointer, place)
            return []

        e.loop(count, [], body)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def transpose_block(typingctx, source, s, out, o):
    """Transpose the contiguous lanes x lanes block of `source` at `s` into that of `out` at `o`.

    In an array of pairs, pairs of the transpose's consecutive rows.
    """
    signature = types.void(source, s, out, o)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, source.dtype)
        source_pointer = e.pointer(source, arguments[0], arguments[1])
        out_pointer = e.pointer(out, arguments[2], arguments[3])
        rows = [e.load(source_pointer, i * e.lanes) for i in range(e.lanes)]
        rows = e.transposed(rows)
        if is_pair(out):
            rows = [e.pairs(low, high) for low, high in zip(rows[::2], rows[1::2], strict=True)]
        for i, row in enumerate(rows):
            e.store(row, out_pointer, i * e.lanes)
        return context.get_dummy_value()

    return signature, codegen
