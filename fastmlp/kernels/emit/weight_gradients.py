"""The gradient of a convolution's weights: sums over pixels and images, and the step that follows from them.

Each image has its own sum over pixels, in a lane. The sums of a group of images are added as a tree (i and i + 8, then
i and i + 4, ...) and written down; the step adds the groups in order. So sums are cut only where the batch says.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.codes import GROUP
from fastmlp.kernels.emit.convolution import only_valid
from fastmlp.kernels.emit.emitter import Emitter
from fastmlp.kernels.emit.products import tile_switch
from fastmlp.kernels.emit.steps import take_step
from fastmlp.kernels.tiles import TILE

# Taps of a tile: as many as most rows of kernels have.
TAPS = 5


@intrinsic
def weight_gradient_tile(typingctx, X, D, taps, out, room, tile, counts, steps):
    """Sums over pixels of a group of images, for some outputs: of D times X at five taps.

    Pixels may come in several calls, whose sums wait in `room`.

    Parameters
    ----------
    X : array
        Images: the convolution's input.
    D : array
        The gradient of its output, with outputs next to each other.
    taps : array of int64
        The place of each tap in X, from that of the first.
    out : array
        Row k, column f of the sums at tap k and output f.
    room : array
        GROUP / lanes times outputs times taps of vectors.
    tile : (filters, valid, k, valid taps, begins, ends, x, d, o, r)
        Outputs side by side, one of ``TILE.gradient_filters``; how many of them there are; number of the first tap and
        how many there are; whether these are the first pixels, and the last; first elements in X, D,
        out and room.
    counts : (blocks, rows, columns)
        Blocks of the group that are there, and pixels. D is zero for the others, and X is not read of them.
    steps : (x block, x row, x column, d block, d row, d column)
    """
    names = ("X", "D", "taps", "out", "room", "tile", "counts", "steps")
    signature = types.void(X, D, taps, out, room, tile, counts, steps)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        filters, valid, first, valid_taps, *others = e.numbers(tile, v["tile"])
        begins, ends = (builder.icmp_signed("!=", flag, e.index(0)) for flag in others[:2])
        x, d, o, r = others[2:]
        x_block, x_row, x_column, d_block, d_row, d_column = e.numbers(steps, v["steps"])
        present, rows, columns = e.numbers(counts, v["counts"])
        last_block = builder.sub(present, e.index(1))
        x_pointer, d_pointer = e.pointer(X, v["X"], x), e.pointer(D, v["D"], d)
        target, table = e.pointer(out, v["out"], o), e.pointer(taps, v["taps"], first)
        blocks = GROUP // e.lanes

        def tile_of(count, tap_places):
            """Sums [block][tap][filter] of vectors."""
            scratch = e.pointer(room, v["room"], r)

            def over_blocks(block, _):
                is_there = builder.icmp_signed("<", block, last_block)
                seen = builder.select(is_there, block, last_block)
                origin = e.at(x_pointer, builder.mul(seen, x_block))
                sources = [e.at(origin, place) for place in tap_places]
                gradients = e.at(d_pointer, builder.mul(block, d_block))

                def over_rows(_, state):
                    def over_columns(_, inner):
                        px, pd, *sums = inner
                        values = [
                            e.load(gradients, builder.add(pd, e.index(f * e.lanes)))
                            for f in range(count)
                        ]
                        result = []
                        for t, source in enumerate(sources):
                            vector = e.load(source, px)
                            result += [
                                e.fma(value, vector, sums[t * count + f])
                                for f, value in enumerate(values)
                            ]
                        return [builder.add(px, x_column), builder.add(pd, d_column), *result]

                    px, pd, *sums = state
                    _, _, *sums = e.loop(columns, [px, pd, *sums], over_columns)
                    return [builder.add(px, x_row), builder.add(pd, d_row), *sums]

                here = e.at(scratch, builder.mul(block, e.index(TAPS * count * e.lanes)))
                zero = e.constant(0.0)
                start = [
                    builder.select(begins, zero, e.load(here, i * e.lanes))
                    for i in range(TAPS * count)
                ]
                start = [e.index(0), e.index(0), *start]
                _, _, *sums = e.loop(rows, start, over_rows)
                for i, value in enumerate(sums):
                    e.store(value, here, i * e.lanes)
                return []

            e.loop(e.index(blocks), [], over_blocks)
            with builder.if_then(ends):
                for t in range(TAPS):
                    items = [
                        tree(
                            [
                                e.load(scratch, ((b * TAPS + t) * count + f) * e.lanes)
                                for b in range(blocks)
                            ],
                            e.add,
                        )
                        for f in range(count)
                    ]
                    write(t, items)

        def write(t, items):
            def store(f):
                builder.store(scalars[f], e.at(target, t * e.lanes + f))

            scalars = lane_sums(e, items)
            with builder.if_then(builder.icmp_signed("<", e.index(t), valid_taps)):
                only_valid(e, len(items), valid, store)

        def body(count, _):
            last = builder.sub(valid_taps, e.index(1))
            places = []
            for t in range(TAPS):
                is_there = builder.icmp_signed("<", e.index(t), valid_taps)
                number = builder.select(is_there, e.index(t), last)
                places.append(builder.load(e.at(table, number)))
            tile_of(count, places)

        shapes = [(count, 1) for count in TILE.gradient_filters]
        tile_switch(e, filters, e.index(1), shapes, body)
        return context.get_dummy_value()

    return signature, codegen


def tree(items, add):
    """The sum of a power of two of items: i and i + half, then again."""
    while len(items) > 1:
        half = len(items) // 2
        items = [add(low, high) for low, high in zip(items[:half], items[half:], strict=True)]
    return items[0]


def lane_sums(e, vectors):
    """The sums over the lanes of some vectors, as scalars, each added up as a tree.

    Two vectors at a time are merged into one with half as many terms of each.
    """
    scalars = []
    for first in range(0, len(vectors), min(4, e.lanes)):
        chosen = vectors[first : first + min(4, e.lanes)]
        count = 1 << (len(chosen) - 1).bit_length()
        items = chosen + [chosen[-1]] * (count - len(chosen))
        places = [[0] for _ in items]  # where in its vector the sum of each item will be
        numbers = [[i] for i in range(count)]
        half = e.lanes // 2
        while half:
            pairs = [(i, i + len(items) // 2) for i in range(len(items) // 2)] or [(0, 0)]
            low = [lane if not lane & half else lane - half + e.lanes for lane in range(e.lanes)]
            high = [lane + half if not lane & half else lane + e.lanes for lane in range(e.lanes)]
            merged = []
            for i, j in pairs:
                merged.append(
                    e.add(e.shuffle(items[i], items[j], low), e.shuffle(items[i], items[j], high))
                )
            if pairs != [(0, 0)]:
                places = [places[i] + [place + half for place in places[j]] for i, j in pairs]
                numbers = [numbers[i] + numbers[j] for i, j in pairs]
            items, half = merged, half // 2
        where = dict(zip(numbers[0], places[0], strict=True))
        i32 = ir.IntType(32)
        scalars += [
            e.builder.extract_element(items[0], ir.Constant(i32, where[i]))
            for i in range(len(chosen))
        ]
    return scalars


@intrinsic
def step_rows(typingctx, sums, W, V, S, places, count, rule, hyper):
    """The optimiser's step of some rows of weights, of one vector each.

    Parameters
    ----------
    sums : array
        The gradient in parts, which are added in order.
    W, V, S : arrays
    places : (g, w, rows, part)
        First elements in sums and in W; how many vectors; from one part to the next.
    count : int
        Parts.
    rule : int
    hyper : array [COLUMNS]
    """
    names = ("sums", "W", "V", "S", "places", "count", "rule", "hyper")
    signature = types.void(sums, W, V, S, places, count, rule, hyper)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, W.dtype)
        v = dict(zip(names, arguments, strict=True))
        g, w, rows, part = e.numbers(places, v["places"])
        source = e.pointer(sums, v["sums"], g)
        numbers = e.pointer(hyper, v["hyper"], e.index(0))
        bases = [e.pointer(kind, v[name], w) for name, kind in (("W", W), ("V", V), ("S", S))]

        def over_rows(row, _):
            place = builder.mul(row, e.index(e.lanes))

            def over_parts(i, total):
                return [e.add(total[0], e.load(source, builder.add(place, builder.mul(i, part))))]

            total = e.loop(v["count"], [e.constant(0.0)], over_parts)
            weights, velocities, squares = ([e.at(base, place)] for base in bases)
            take_step(e, numbers, v["rule"], total, 1, weights, velocities, squares)
            return []

        e.loop(rows, [], over_rows)
        return context.get_dummy_value()

    return signature, codegen
