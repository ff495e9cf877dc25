"""Register tiles: sums over k in registers, and what follows in the same registers.

A tile is ``rows`` x ``vectors`` accumulators that stay in registers while k runs, in order, over the whole
contraction. A sum over k is one chain of fused multiply-adds per output element, so its bits depend neither on the
tile's shape nor on which thread computes it.

In bfloat16 an element of the left and right operands is a pair of neighbours along k. Panels of pairs are half as
deep along k and otherwise the same; sums, and all that is computed from them, are float32.
"""

import math

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.activations import gradient_code, value_code
from fastmlp.kernels.codes import PLAIN
from fastmlp.kernels.emit.emitter import INDEX, Emitter
from fastmlp.kernels.emit.steps import take_step
from fastmlp.kernels.tiles import LINE, TILE

RELU, RELU_GRADIENT = value_code("relu"), gradient_code("relu")

# From this batch on an update tile asks for its weights and velocities before its loop over the batch, which is too
# short to hide anything in smaller ones: EXPERIMENTS.md, "Updates".
PREFETCH_FROM_BATCH = 24

# Sums that do not wait for each other: as many as the largest tile keeps in registers.
CHAINS = TILE.rows * TILE.vectors


def tile_switch(e, rows, vectors, shapes, body):
    """Run ``body(rows, vectors)`` for the one of the tile `shapes` that is asked for."""
    cases = {64 * p + m: (m, p) for m, p in shapes}
    case = e.builder.add(e.builder.mul(vectors, e.index(64)), rows)
    e.switch(case, cases, lambda case: body(*cases[case]))


def outer(e, left, step, rows, operands, sums):
    """Add the outer product of `rows` scalars, `step` apart at `left`, and the vector operands."""
    result = []
    vector_of_left = e.load(left) if TILE.by_lane and step == 1 and rows == e.lanes else None
    for m in range(rows):
        scalar = (
            e.broadcast(left, m * step) if vector_of_left is None else e.lane(vector_of_left, m)
        )
        for vector in operands:
            result.append(e.multiply_add(scalar, vector, sums[len(result)]))
    return result


@intrinsic
def multiply_tile(typingctx, A, W, start, out, mask, tile, steps, epilogue):
    """One tile of ``out = epilogue(start + A @ W)``, `rows` x `vectors` panels of it.

    Parameters
    ----------
    A : array [K / lanes, M, lanes]
    W : array [N / lanes, K, lanes]
    start : array
        Where sums begin.
    out, mask : arrays [N / lanes, M, lanes]
        Result and, for RELU_GRADIENT, the activations whose zeros let nothing through. `mask` may be `out` when it
        is not used; `out` may be `start`.
    tile : (rows, vectors, a, w, s, o)
        Its shape, one of ``TILE.shapes``, and its first element in A, W, start, and out and mask.
    steps : (row, panel)
        The vector of row m and panel v in start is at ``s + m * row + v * panel``.
    epilogue : int
        IDENTITY, RELU or RELU_GRADIENT.
    """
    names = ("A", "W", "start", "out", "mask", "tile", "steps", "epilogue")
    signature = types.void(A, W, start, out, mask, tile, steps, epilogue)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        rows, vectors, a, w, s, o = e.numbers(tile, v["tile"])
        start_row, start_panel = e.numbers(steps, v["steps"])
        panel_count, height, _ = e.shape(A, v["A"])
        slab = builder.mul(height, e.index(e.lanes))
        shift = e.lanes.bit_length() - 1
        weight_panel = builder.mul(e.shape(W, v["W"])[1], e.index(e.lanes))
        out_panel = builder.mul(e.shape(out, v["out"])[1], e.index(e.lanes))
        a_pointer = e.pointer(A, v["A"], a)
        w_pointer = e.pointer(W, v["W"], w)
        start_pointer = e.pointer(start, v["start"], s)
        out_pointer = e.pointer(out, v["out"], o)
        mask_pointer = e.pointer(mask, v["mask"], o)

        def body(tile_rows, tile_vectors):
            vectors_of_tile = [(m, p) for m in range(tile_rows) for p in range(tile_vectors)]
            panel = [builder.mul(weight_panel, e.index(p)) for p in range(tile_vectors)]
            target = [
                e.at(out_pointer, builder.mul(out_panel, e.index(p))) for p in range(tile_vectors)
            ]

            def starting_value(m, p):
                row = builder.mul(start_row, e.index(m))
                return e.load(start_pointer, builder.add(row, builder.mul(start_panel, e.index(p))))

            sources = [e.at(w_pointer, offset) for offset in panel]

            def over_k(k, sums):
                panel_of_k = builder.mul(builder.lshr(k, e.index(shift)), slab)
                lane = builder.and_(k, e.index(e.lanes - 1))
                row = builder.mul(k, e.index(e.lanes))
                # No prefetcher of the CPU finds a few rows of panel after panel: EXPERIMENTS.md, "Products".
                ahead = builder.add(panel_of_k, builder.mul(slab, e.index(2)))
                rows = -(-tile_rows // e.lanes)  # in as many steps all of them are asked for
                e.prefetch(
                    a_pointer, builder.add(ahead, builder.mul(lane, e.index(rows * e.lanes)))
                )
                operands = [e.load(source, row) for source in sources]
                left = e.at(a_pointer, builder.add(panel_of_k, lane))
                return outer(e, left, e.lanes, tile_rows, operands, sums)

            depth = builder.mul(panel_count, e.index(e.lanes))
            sums = e.loop(depth, [starting_value(*one) for one in vectors_of_tile], over_k)

            # One code path for IDENTITY and RELU: clamping at minus infinity changes nothing.
            is_relu = builder.icmp_signed("==", v["epilogue"], e.index(RELU))
            floor = builder.select(is_relu, e.constant(0.0), e.constant(-math.inf))
            is_gradient = builder.icmp_signed("==", v["epilogue"], e.index(RELU_GRADIENT))
            with builder.if_else(is_gradient) as (gradient, activation):
                with gradient:
                    for (m, p), value in zip(vectors_of_tile, sums, strict=True):
                        source = e.at(mask_pointer, builder.mul(out_panel, e.index(p)))
                        value = e.where_positive(e.load(source, m * e.lanes), value)
                        e.store(value, target[p], m * e.lanes)
                with activation:
                    for (m, p), value in zip(vectors_of_tile, sums, strict=True):
                        e.store(e.at_least(floor, value), target[p], m * e.lanes)

        tile_switch(e, rows, vectors, TILE.shapes, body)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def largest_update(typingctx, W):
    """(rows, vectors) of a full tile of `update_tile`, of W's type."""
    signature = types.UniTuple(types.int64, 2)(W)

    def codegen(context, builder, signature, arguments):
        sizes = TILE.largest_update(W.dtype.bitwidth // 8)
        values = [ir.Constant(INDEX, size) for size in sizes]
        return context.make_tuple(builder, signature.return_type, values)

    return signature, codegen


@intrinsic
def update_tile(typingctx, X, D, W, V, S, tile, rule, hyper):
    """One tile of ``dW = X.T @ D`` and, in the same registers, the step that it makes W take.

    Parameters
    ----------
    X : array [K / lanes, batch, lanes]
        The layer's input.
    D : array [N / lanes, batch, lanes]
        Gradient of its output.
    W, V, S : arrays [N / lanes, K, lanes]
        Weights, velocity and mean squares. A rule that needs no V or S does not touch it.
    tile : (rows, vectors, x, d, w)
        Its shape, one of ``TILE.update_shapes``, with all rows of W within one panel of X; element of its first row,
        sample 0, in X; first element of its first panel in D; its first element in W, V and S.
    rule : int
        PLAIN, HEAVY_BALL, VELOCITY, ADAM or RMSPROP.
    hyper : array [COLUMNS]
    """
    names = ("X", "D", "W", "V", "S", "tile", "rule", "hyper")
    signature = types.void(X, D, W, V, S, tile, rule, hyper)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, W.dtype)
        v = dict(zip(names, arguments, strict=True))
        rows, vectors, x, d, w = e.numbers(tile, v["tile"])
        batch = e.shape(X, v["X"])[1]
        weight_panel = builder.mul(e.shape(W, v["W"])[1], e.index(e.lanes))
        delta_panel = builder.mul(batch, e.index(e.lanes))
        x_pointer = e.pointer(X, v["X"], x)
        d_pointer = e.pointer(D, v["D"], d)
        numbers = e.pointer(hyper, v["hyper"], e.index(0))
        bases = [e.pointer(kind, v[name], w) for name, kind in (("W", W), ("V", V), ("S", S))]
        rows_of_line = LINE // TILE.bytes

        def body(tile_rows, tile_vectors):
            vectors_of_tile = [(m, p) for m in range(tile_rows) for p in range(tile_vectors)]
            sources = [
                e.at(d_pointer, builder.mul(delta_panel, e.index(p))) for p in range(tile_vectors)
            ]

            def over_batch(k, sums):
                row = builder.mul(k, e.index(e.lanes))
                operands = [e.load(source, row) for source in sources]
                return outer(e, e.at(x_pointer, row), 1, tile_rows, operands, sums)

            weights, velocities, squares = (
                [e.at(base, builder.mul(weight_panel, e.index(p))) for p in range(tile_vectors)]
                for base in bases
            )
            with builder.if_then(builder.icmp_signed(">=", batch, e.index(PREFETCH_FROM_BATCH))):
                lines = [(m, p) for m, p in vectors_of_tile if m % rows_of_line == 0]
                for m, p in lines:
                    e.prefetch(weights[p], m * e.lanes)
                with builder.if_then(builder.icmp_signed("!=", v["rule"], e.index(int(PLAIN)))):
                    for m, p in lines:
                        e.prefetch(velocities[p], m * e.lanes)
            sums = e.loop(batch, [e.constant(0.0)] * len(vectors_of_tile), over_batch)
            take_step(e, numbers, v["rule"], sums, tile_rows, weights, velocities, squares)

        tile_switch(e, rows, vectors, TILE.update_shapes(e.bytes), body)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def fma_chain(typingctx, times, values):
    """``values += values[0] * values[1]``, `times` times: nothing but multiply-adds, all in registers.

    Parameters
    ----------
    times : int
        At least 1.
    values : array [CHAINS * lanes]
        A vector for each chain; the first two are also what every chain multiplies.
    """
    signature = types.void(times, values)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, values.dtype)
        pointer = e.pointer(values, arguments[1], e.index(0))
        sums = [e.load(pointer, chain * e.lanes) for chain in range(CHAINS)]
        x, y = sums[:2]
        sums = e.loop(arguments[0], sums, lambda i, before: [e.fma(x, y, one) for one in before])
        for chain, value in enumerate(sums):
            e.store(value, pointer, chain * e.lanes)
        return context.get_dummy_value()

    return signature, codegen
