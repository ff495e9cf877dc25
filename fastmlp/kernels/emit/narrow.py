"""Tiles of layers with few outputs, which would fill a vector only in part: inputs are in lanes instead."""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import Emitter, is_pair
from fastmlp.kernels.emit.steps import take_step

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
