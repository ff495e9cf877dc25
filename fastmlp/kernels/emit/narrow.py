"""Tiles of layers with few outputs, which would fill a vector only in part: inputs are in lanes instead."""

import itertools
import math

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import Emitter, is_pair
from fastmlp.kernels.emit.steps import take_step
from fastmlp.kernels.tiles import TILE

# Outputs of a tile: as many accumulators. A layer with fewer has the next larger tile, see `narrow_columns`.
COLUMNS_OF_TILES = (4, 10)

# Rows of weights that take a step together.
ROWS_OF_STEP = 4


def narrow_columns(outputs: int, lanes: int) -> int:
    """Return how many outputs a tile has for a layer of so many, or 0 where vectors of outputs are full enough."""
    columns = -(-outputs // lanes) * lanes
    for count in COLUMNS_OF_TILES:
        if outputs <= count <= columns:
            # From here on it is fewer multiply-adds, and pays for the transposes.
            return count if 5 * columns >= 7 * count else 0
    return 0


@intrinsic
def narrow_update_tile(typingctx, X, D, W, V, S, tile, rule, hyper):
    """As ``products.update_tile``, for as many inputs as a vector has lanes and all outputs.

    Parameters
    ----------
    tile : (columns, x, w)
        What `narrow_columns` says; the first element of a panel in X; of its first row in W, V and S.
    X, D, W, V, S, rule, hyper
        As for `update_tile`.
    """
    names = ("X", "D", "W", "V", "S", "tile", "rule", "hyper")
    signature = types.void(X, D, W, V, S, tile, rule, hyper)

    def codegen(context, builder, signature, arguments):
        if is_pair(X):  # a network in bfloat16 has no such tile
            return context.get_dummy_value()
        e = Emitter(context, builder, W.dtype)
        v = dict(zip(names, arguments, strict=True))
        columns, x, w = e.numbers(tile, v["tile"])
        panels, height, _ = e.shape(W, v["W"])
        batch = e.shape(X, v["X"])[1]
        weight_panel = builder.mul(height, e.index(e.lanes))
        delta_panel = builder.mul(batch, e.index(e.lanes))
        x_pointer, d_pointer = e.pointer(X, v["X"], x), e.pointer(D, v["D"], e.index(0))
        numbers = e.pointer(hyper, v["hyper"], e.index(0))
        bases = [e.pointer(kind, v[name], w) for name, kind in (("W", W), ("V", V), ("S", S))]
        counts = [count for count in COLUMNS_OF_TILES if narrow_columns(count, e.lanes)]
        most = max((-(-count // e.lanes) for count in counts), default=1)
        gradient = cgutils.alloca_once(builder, e.scalar, size=most * e.lanes**2)

        def sum_up(count):
            """Write the gradient as rows of weights, panel by panel."""

            def over_batch(k, sums):
                row = builder.mul(k, e.index(e.lanes))
                vector = e.load(x_pointer, row)
                sources = [
                    e.at(e.at(d_pointer, builder.mul(delta_panel, e.index(p))), row)
                    for p in range(-(-count // e.lanes))
                ]
                return [
                    e.fma(vector, e.broadcast(sources[j // e.lanes], j % e.lanes), total)
                    for j, total in enumerate(sums)
                ]

            sums = e.loop(batch, [e.constant(0.0)] * count, over_batch)
            for first in range(0, count, e.lanes):
                vectors = sums[first : first + e.lanes]
                vectors += [e.constant(0.0)] * (e.lanes - len(vectors))
                for i, vector in enumerate(e.transposed(vectors)):
                    e.store(vector, gradient, (first + i) * e.lanes)

        def over_panels(p, _):
            source = e.at(gradient, builder.mul(p, e.index(e.lanes**2)))
            targets = [e.at(base, builder.mul(p, weight_panel)) for base in bases]

            def over_rows(i, _):
                place = builder.mul(i, e.index(ROWS_OF_STEP * e.lanes))
                here = e.at(source, place)
                rows = [e.load(here, m * e.lanes) for m in range(ROWS_OF_STEP)]
                states = ([e.at(target, place)] for target in targets)
                take_step(e, numbers, v["rule"], rows, ROWS_OF_STEP, *states)
                return []

            return e.loop(e.index(e.lanes // ROWS_OF_STEP), [], over_rows)

        if counts:
            e.switch(columns, counts, sum_up)
            e.loop(panels, [], over_panels)
        return context.get_dummy_value()

    return signature, codegen


# Vectors of rows that are gathered and multiplied together, and share what is broadcast.
ROW_VECTORS = 2 if TILE.bytes == 64 else 1

# Vectors of an image that are asked for ahead: a few lines of bytes.
AHEAD = 16


@intrinsic
def gather_multiply_tile(typingctx, sources, chosen, scaling, X, weights, out, places, is_relu):
    """Gather ROW_VECTORS vectors of rows of a batch, and multiply them: ``out = bias + X @ W``, perhaps ReLU.

    Parameters
    ----------
    sources : (images, mirrored)
        Arrays [N, D] and [batch, D], D a multiple of the lanes.
    chosen : (order, flips)
        Of each row of the epoch its number in images, and whether it is that of the batch in mirrored instead.
    scaling : (scale, shift)
        A feature enters the network as ``image * scale + shift``.
    X, out : arrays [D / lanes, batch, lanes] and [N / lanes, batch, lanes]
    weights : (W, bias)
        Arrays [N / lanes, D, lanes] and [N / lanes, 1, lanes].
    places : (columns, m, n, s, t)
        What `narrow_columns` says; the first row in the batch, and in the epoch; the panels of X that are written,
        from s to before t.
    is_relu : int
    """
    names = ("sources", "chosen", "scaling", "X", "weights", "out", "places", "is_relu")
    signature = types.void(sources, chosen, scaling, X, weights, out, places, is_relu)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, X.dtype)
        v = dict(zip(names, arguments, strict=True))
        columns, m, n, own_from, own_to = e.numbers(places, v["places"])

        def pointers(kinds, value):
            arrays = cgutils.unpack_tuple(builder, value)
            return [e.pointer(*one, e.index(0)) for one in zip(kinds, arrays, strict=True)]

        images, mirrored = pointers(sources, v["sources"])
        order, flips = pointers(chosen, v["chosen"])
        scale, shift = pointers(scaling, v["scaling"])
        w_pointer, bias = pointers(weights, v["weights"])
        width = e.shape(sources[0], cgutils.unpack_tuple(builder, v["sources"])[0])[1]
        slabs, batch, _ = e.shape(X, v["X"])
        weight_panel = builder.mul(builder.mul(slabs, e.index(e.lanes)), e.index(e.lanes))
        first = builder.mul(m, e.index(e.lanes))
        x_pointer, out_pointer = e.pointer(X, v["X"], first), e.pointer(out, v["out"], first)
        panel = builder.mul(batch, e.index(e.lanes))
        rows = cgutils.alloca_once(builder, images.type, size=ROW_VECTORS * e.lanes)
        block = cgutils.alloca_once(builder, e.scalar, size=ROW_VECTORS * e.lanes**2)

        def find(i, _):
            here = builder.add(n, i)
            of_batch = builder.mul(builder.add(m, i), width)
            of_images = builder.mul(builder.load(e.at(order, here)), width)
            flag = builder.load(e.at(flips, here))
            is_flipped = builder.icmp_unsigned("!=", flag, flag.type(0))
            row = builder.select(is_flipped, e.at(mirrored, of_batch), e.at(images, of_images))
            builder.store(row, e.at(rows, i))
            return []

        e.loop(e.index(ROW_VECTORS * e.lanes), [], find)

        def is_own(s):
            """Whether a panel of X is written."""
            from_there = builder.icmp_signed(">=", s, own_from)
            return builder.and_(from_there, builder.icmp_signed("<", s, own_to))

        def gather(s, r):
            """Write a panel of the vector r of rows transposed into `block`, and perhaps into X."""
            place = builder.mul(s, e.index(e.lanes))
            target = e.at(x_pointer, builder.mul(s, panel))
            factor, term = e.load(scale, place), e.load(shift, place)
            first = builder.mul(r, e.index(e.lanes))
            own = e.at(rows, first)
            here = builder.mul(first, e.index(e.lanes))
            target, transposed = e.at(target, here), e.at(block, here)
            vectors = []
            for i in range(e.lanes):
                row = builder.load(e.at(own, i))
                vectors.append(e.fma(e.load_converted(row, place), factor, term))
            with builder.if_then(is_own(s)):
                for i, vector in enumerate(vectors):
                    e.store(vector, target, i * e.lanes)
            for i, vector in enumerate(e.transposed(vectors)):
                e.store(vector, transposed, i * e.lanes)

        def multiply(count):
            panels = range(-(-count // e.lanes))

            def over_slabs(s, sums):
                e.loop(e.index(ROW_VECTORS), [], lambda r, _: gather(s, r) or [])
                here = e.at(w_pointer, builder.mul(s, e.index(e.lanes**2)))
                following = builder.add(s, e.index(1))
                next_panel = e.at(x_pointer, builder.mul(following, panel))
                next_panel = builder.select(is_own(following), next_panel, block)
                ahead = builder.mul(builder.add(s, e.index(AHEAD)), e.index(e.lanes))

                def over_k(k, sums):
                    row = builder.mul(k, e.index(e.lanes))
                    vectors = []
                    for r in range(ROW_VECTORS):
                        place = builder.add(row, e.index(r * e.lanes**2))
                        vectors.append(e.load(block, place))
                        # While multiply-adds are under way.
                        e.prefetch(next_panel, place, to_write=True)
                        image = builder.load(e.at(rows, builder.add(k, e.index(r * e.lanes))))
                        e.prefetch(image, ahead)
                    operands = [
                        e.at(e.at(here, builder.mul(weight_panel, e.index(p))), row) for p in panels
                    ]
                    result = []
                    for j in range(count):
                        weight = e.broadcast(operands[j // e.lanes], j % e.lanes)
                        for vector in vectors:
                            result.append(e.fma(vector, weight, sums[len(result)]))
                    return result

                return e.loop(e.index(e.lanes), sums, over_k)

            start = [e.broadcast(bias, j) for j in range(count) for _ in range(ROW_VECTORS)]
            sums = e.loop(slabs, start, over_slabs)
            applies = builder.icmp_signed("!=", v["is_relu"], e.index(0))
            floor = builder.select(applies, e.constant(0.0), e.constant(-math.inf))
            for p, r in itertools.product(panels, range(ROW_VECTORS)):
                vectors = sums[r::ROW_VECTORS][p * e.lanes : (p + 1) * e.lanes]
                vectors += [e.constant(0.0)] * (e.lanes - len(vectors))
                target = e.at(out_pointer, builder.mul(panel, e.index(p)))
                for i, vector in enumerate(e.transposed(vectors)):
                    e.store(e.at_least(floor, vector), target, (r * e.lanes + i) * e.lanes)

        # Only the larger tile: each costs half a second of compilation.
        counts = [count for count in COLUMNS_OF_TILES[-1:] if narrow_columns(count, e.lanes)]
        if counts:
            e.switch(columns, counts, multiply)
        return context.get_dummy_value()

    return signature, codegen
