"""The one file that emits LLVM IR: register tiles, whole-vector loops and the barrier.

Numba has no vector type, so everything that needs explicit vectors is an ``@intrinsic`` here. All of them
share one memory layout. A *panel* is one vector wide::

    matrix [M, N]  ->  panels [ceil(N / lanes), M, lanes]        element (m, n) at (n // lanes, m, n % lanes)

Weights, activations and gradients are all stored so, with columns beyond N zero. A tile is ``rows`` x
``vectors`` accumulators held in registers while k runs, in order, over the whole contraction; what follows
(ReLU, the mask of its derivative, the optimiser's step) happens in the same registers.

In bfloat16 an element of the left and right operands is a *pair*: two bfloat16 that stand next to each other along
k, as an int32, the first in its low half. Panels of pairs are half as deep along k and otherwise the same; sums,
and all that is computed from them, are float32.

A sum over k is one chain of fused multiply-adds per output element, so its bits depend neither on the tile's
shape nor on which thread computes it. No fast-math flag is set anywhere: a NaN stays a NaN.
"""

import math
import sys

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.tiles import NATIVE_BF16, TILE

INDEX = ir.IntType(64)


# --------------------------------------------------------------------------------------------------
# Small pieces of IR
# --------------------------------------------------------------------------------------------------


class Emitter:
    """An IRBuilder together with an element type and its vector length."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder, self.dtype = context, builder, dtype
        self.scalar = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}[dtype]
        self.bits, self.bytes = dtype.bitwidth, dtype.bitwidth // 8
        self.lanes = TILE.lanes(self.bytes)
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def index(self, value):
        return ir.Constant(INDEX, value)

    def pointer(self, array_type, array, offset):
        """Address of element `offset` of a contiguous array."""
        data = cgutils.create_struct_proxy(array_type)(self.context, self.builder, array).data
        return self.builder.gep(data, [offset])

    def at(self, pointer, offset):
        if isinstance(offset, int):
            offset = self.index(offset)
        return self.builder.gep(pointer, [offset])

    def words(self, pointer):
        """The same address as one of 64-bit integers."""
        return self.builder.bitcast(pointer, INDEX.as_pointer())

    def load(self, pointer, offset=0):
        """A vector of what `pointer` points to: numbers, or pairs."""
        kind = ir.VectorType(pointer.type.pointee, self.lanes)
        p = self.builder.bitcast(self.at(pointer, offset), kind.as_pointer())
        return self.builder.load(p, align=self.bytes)

    def load_converted(self, pointer, offset):
        """A vector of this type, of what `pointer` points to: bytes, or numbers of either type."""
        b, kind = self.builder, pointer.type.pointee
        raw = ir.VectorType(kind, self.lanes)
        p = b.bitcast(self.at(pointer, offset), raw.as_pointer())
        if isinstance(kind, ir.IntType):
            return b.uitofp(b.load(p, align=1), self.vector)
        value = b.load(p, align=min(self.bytes, 4))  # float64 kernels read float32, too
        if kind == self.scalar:
            return value
        return b.fptrunc(value, self.vector) if self.bits == 32 else b.fpext(value, self.vector)

    def store(self, value, pointer, offset=0):
        p = self.builder.bitcast(self.at(pointer, offset), value.type.as_pointer())
        self.builder.store(value, p, align=self.bytes)

    def splat(self, scalar):
        """A vector whose lanes all hold `scalar`."""
        nothing = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        one = self.builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
        return self.shuffle(one, nothing, [0] * self.lanes)

    def broadcast(self, pointer, offset=0):
        return self.splat(self.builder.load(self.at(pointer, offset), align=self.bytes))

    def constant(self, value):
        return ir.Constant(self.vector, [value] * self.lanes)

    def call(self, name, *arguments):
        """Call an LLVM vector intrinsic such as ``llvm.fma``."""
        kind = f"v{self.lanes}f{self.bits}"
        signature = ir.FunctionType(self.vector, [self.vector] * len(arguments))
        function = cgutils.get_or_insert_function(self.builder.module, signature, f"{name}.{kind}")
        return self.builder.call(function, arguments)

    def fma(self, a, b, c):
        """a * b + c, rounded once where the CPU can; without FMA LLVM would call libm for every lane."""
        if TILE.fma:
            return self.call("llvm.fma", a, b, c)
        return self.builder.fadd(self.builder.fmul(a, b), c)

    def prefetch(self, pointer, offset, to_write=False):
        """Ask for the cache line of element `offset`."""
        b = self.builder
        i8, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [i8, i32, i32, i32])
        function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
        write, keep, data = (ir.Constant(i32, number) for number in (int(to_write), 3, 1))
        b.call(function, [b.bitcast(self.at(pointer, offset), i8), write, keep, data])

    def loop(self, count, state, body):
        """``for i in range(count): state = body(i, state)``, the state in registers, `count` at least 1."""
        b = self.builder
        entry = b.block
        head = b.append_basic_block("loop")
        done = b.append_basic_block("done")
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(INDEX)
        phis = [b.phi(value.type) for value in state]
        after = body(i, phis)
        following = b.add(i, self.index(1))
        b.cbranch(b.icmp_signed("<", following, count), head, done)
        i.add_incoming(self.index(0), entry)
        i.add_incoming(following, b.block)
        for phi, start, end in zip(phis, state, after, strict=True):
            phi.add_incoming(start, entry)
            phi.add_incoming(end, b.block)
        b.position_at_end(done)
        return after

    def while_not_zero(self, state, body):
        """``while state[0] != 0: state = body(state)``, the state in registers."""
        b = self.builder
        entry = b.block
        head = b.append_basic_block("while")
        done = b.append_basic_block("done")
        zero = ir.Constant(state[0].type, 0)
        b.cbranch(b.icmp_signed("!=", state[0], zero), head, done)
        b.position_at_end(head)
        phis = [b.phi(value.type) for value in state]
        after = body(phis)
        b.cbranch(b.icmp_signed("!=", after[0], zero), head, done)
        last = b.block
        b.position_at_end(done)
        result = [b.phi(value.type) for value in state]
        for phi, out, start, end in zip(phis, result, state, after, strict=True):
            phi.add_incoming(start, entry)
            phi.add_incoming(end, last)
            out.add_incoming(start, entry)
            out.add_incoming(end, last)
        return result

    def switch(self, value, cases, body):
        """Run ``body(case)`` for the one case that equals `value`; any other value does nothing."""
        b = self.builder
        done = b.append_basic_block("end")
        choice = b.switch(value, done)
        for case in cases:
            block = b.append_basic_block(f"case{case}")
            choice.add_case(self.index(case), block)
            b.position_at_end(block)
            body(case)
            b.branch(done)
        b.position_at_end(done)

    def shape(self, array_type, array):
        """The array's dimensions."""
        view = cgutils.create_struct_proxy(array_type)(self.context, self.builder, array)
        return cgutils.unpack_tuple(self.builder, view.shape, array_type.ndim)

    def negative(self, x):
        return self.builder.fneg(x)

    def at_least(self, floor, x):
        """x where it is above `floor` or NaN, else `floor`."""
        return self.builder.select(self.builder.fcmp_ordered("<=", x, floor), floor, x)

    def where_positive(self, condition, x):
        zero = self.constant(0.0)
        return self.builder.select(self.builder.fcmp_ordered(">", condition, zero), x, zero)

    def shuffle(self, low, high, lanes):
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
        return self.builder.shuffle_vector(low, high, mask)

    def transposed(self, rows):
        """The transpose of as many vectors as a vector has lanes."""
        # Exchange off-diagonal halves of 2 x 2 blocks of width lanes/2, then lanes/4, ... : log2(lanes) rounds.
        rows = list(rows)
        width = self.lanes // 2
        while width:
            pick_low = [i if not i & width else i - width + self.lanes for i in range(self.lanes)]
            pick_high = [i + width if not i & width else i + self.lanes for i in range(self.lanes)]
            for i in range(self.lanes):
                if not i & width:
                    low, high = rows[i], rows[i + width]
                    rows[i] = self.shuffle(low, high, pick_low)
                    rows[i + width] = self.shuffle(low, high, pick_high)
            width //= 2
        return rows

    def outer(self, left, step, rows, operands, sums):
        """Add the outer product of `rows` scalars, `step` apart at `left`, and the vector operands."""
        result = []
        for m in range(rows):
            scalar = self.broadcast(left, m * step)
            for vector in operands:
                result.append(self.multiply_add(scalar, vector, sums[len(result)]))
        return result

    def multiply_add(self, x, y, total):
        """total + x * y, for numbers or for pairs of bfloat16."""
        if x.type == self.vector:
            return self.fma(x, y, total)
        if NATIVE_BF16:
            # llvmlite has no bfloat16 type; LLVM accepts the pairs as the integers they were declared as.
            name = "llvm.x86.avx512bf16.dpbf16ps.512"
            kind = ir.FunctionType(self.vector, [self.vector, x.type, y.type])
            function = cgutils.get_or_insert_function(self.builder.module, kind, name)
            return self.builder.call(function, [total, x, y])
        # What the instruction does: the second of each pair first, each step rounded and denormals zero.
        total = self.without_denormals(total)
        for half in (self.high_half, self.low_half):
            total = self.without_denormals(self.fma(half(x), half(y), total))
        return total

    def high_half(self, pairs):
        mask = ir.Constant(pairs.type, [0xFFFF0000] * self.lanes)
        return self.builder.bitcast(self.builder.and_(pairs, mask), self.vector)

    def low_half(self, pairs):
        shift = ir.Constant(pairs.type, [16] * self.lanes)
        return self.builder.bitcast(self.builder.shl(pairs, shift), self.vector)

    def without_denormals(self, x):
        """x, or a zero of its sign where it is denormal."""
        b = self.builder
        integer = ir.VectorType(ir.IntType(32), self.lanes)
        bits = b.bitcast(x, integer)
        exponent = b.and_(bits, ir.Constant(integer, [0x7F800000] * self.lanes))
        is_tiny = b.icmp_unsigned("==", exponent, ir.Constant(integer, [0] * self.lanes))
        sign = b.and_(bits, ir.Constant(integer, [0x80000000] * self.lanes))
        return b.bitcast(b.select(is_tiny, sign, bits), self.vector)

    def bfloat16(self, first, second):
        """Two vectors of float32, one after the other, rounded to bfloat16: to nearest, ties to even, as integers.

        Denormals become zero, since the instructions take them so; NaN stays NaN.
        """
        b = self.builder
        short = ir.VectorType(ir.IntType(16), 2 * self.lanes)
        if NATIVE_BF16:  # a twentieth of network A's step
            kind = ir.FunctionType(short, [self.vector, self.vector])
            name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
            function = cgutils.get_or_insert_function(b.module, kind, name)
            return b.call(function, [second, first])  # its first operand goes into the high half
        lanes = list(range(2 * self.lanes))
        return b.trunc(self.shuffle(self.rounded(first), self.rounded(second), lanes), short)

    def rounded(self, x):
        """What `bfloat16` makes of one vector, as integers below 2**16: the emulation."""
        b = self.builder
        integer = ir.VectorType(ir.IntType(32), self.lanes)
        splat = lambda value: ir.Constant(integer, [value] * self.lanes)  # noqa: E731
        bits = b.bitcast(self.without_denormals(x), integer)
        odd = b.and_(b.lshr(bits, splat(16)), splat(1))
        rounded = b.lshr(b.add(bits, b.add(odd, splat(0x7FFF))), splat(16))
        quiet = b.or_(b.lshr(bits, splat(16)), splat(0x40))
        return b.select(b.fcmp_unordered("uno", x, x), quiet, rounded)

    def pairs(self, low, high):
        """Two vectors of float32 as one of pairs of bfloat16."""
        both = self.bfloat16(low, high)
        lanes = [lane + half for lane in range(self.lanes) for half in (0, self.lanes)]
        mixed = self.shuffle(both, both, lanes)
        return self.builder.bitcast(mixed, ir.VectorType(ir.IntType(32), self.lanes))

    def exp(self, x):
        """Within 1 ulp below the overflow threshold; 0 where it would be subnormal; NaN stays NaN."""
        b = self.builder
        low, high = {32: (-87.33654, 88.72283), 64: (-708.396418532264, 709.782712893384)}[
            self.bits
        ]
        kept = self.clamped(x, low, high)
        n, q = self.exp_parts(kept)
        # 2**n in two factors: n reaches one more than an exponent field can hold.
        half = b.ashr(n, ir.Constant(n.type, [1] * self.lanes))
        result = b.fmul(b.fadd(q, self.constant(1.0)), self.power_of_two(half))
        result = b.fmul(result, self.power_of_two(b.sub(n, half)))
        return b.select(b.fcmp_ordered("<", x, self.constant(low)), self.constant(0.0), result)

    def sigmoid(self, x):
        one = self.constant(1.0)
        return self.builder.fdiv(one, self.builder.fadd(one, self.exp(self.negative(x))))

    def tanh(self, x):
        """e / (e + 2) with e = exp(2 x) - 1, which keeps its digits near 0."""
        b = self.builder
        n, q = self.exp_parts(self.clamped(b.fadd(x, x), -44.0, 44.0))
        power = self.power_of_two(n)
        e = self.fma(power, q, b.fsub(power, self.constant(1.0)))
        return b.fdiv(e, b.fadd(e, self.constant(2.0)))

    def clamped(self, x, low, high):
        """x within [low, high]; NaN stays NaN."""
        b = self.builder
        x = b.select(b.fcmp_ordered("<", x, self.constant(low)), self.constant(low), x)
        return b.select(b.fcmp_ordered(">", x, self.constant(high)), self.constant(high), x)

    def exp_parts(self, x):
        """Integers n and q with exp(x) = 2**n * (1 + q).

        Cody and Waite's reduction to [-ln 2 / 2, ln 2 / 2], then Taylor's polynomial.
        """
        b = self.builder
        degree, ln2_high, ln2_low = {
            32: (7, 0.693359375, -2.12194440e-4),
            64: (13, 6.93147180369123816490e-01, 1.90821492927058770002e-10),
        }[self.bits]
        n = self.call("llvm.rint", b.fmul(x, self.constant(math.log2(math.e))))
        r = self.fma(n, self.constant(-ln2_high), x)
        r = self.fma(n, self.constant(-ln2_low), r)
        p = self.constant(1.0 / math.factorial(degree))
        for i in range(degree - 1, 0, -1):
            p = self.fma(p, r, self.constant(1.0 / math.factorial(i)))
        integer = ir.VectorType(ir.IntType(self.bits), self.lanes)
        # A NaN converts to nothing defined; q carries it into the result.
        n = b.select(b.fcmp_unordered("uno", n, n), self.constant(0.0), n)
        return b.fptosi(n, integer), b.fmul(p, r)

    def power_of_two(self, n):
        """2**n for integers n within the range of exponents."""
        b = self.builder
        fraction = {32: 23, 64: 52}[self.bits]
        bias = (1 << (self.bits - fraction - 2)) - 1
        splat = lambda value: ir.Constant(n.type, [value] * self.lanes)  # noqa: E731
        return b.bitcast(b.shl(b.add(n, splat(bias)), splat(fraction)), self.vector)

    def pause(self):
        """Tell the core that this thread is spinning."""
        triple = self.builder.module.triple
        if triple.startswith(("x86_64", "i")):
            signature, name, arguments = [], "llvm.x86.sse2.pause", []
        elif triple.startswith(("aarch64", "arm64")):
            i32 = ir.IntType(32)
            signature, name, arguments = [i32], "llvm.aarch64.hint", [ir.Constant(i32, 1)]
        else:
            return
        kind = ir.FunctionType(ir.VoidType(), signature)
        self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, kind, name), arguments
        )

    def give_way(self):
        """Let the operating system run another thread on this core."""
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        kind = ir.FunctionType(ir.IntType(32), [])
        self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [])

    def tile_switch(self, rows, vectors, shapes, body):
        """Run ``body(rows, vectors)`` for the one of the tile `shapes` that is asked for."""
        cases = {64 * p + m: (m, p) for m, p in shapes}
        case = self.builder.add(self.builder.mul(vectors, self.index(64)), rows)
        self.switch(case, cases, lambda case: body(*cases[case]))


# --------------------------------------------------------------------------------------------------
# Views
# --------------------------------------------------------------------------------------------------


@intrinsic
def panels(typingctx, buffer, offset, count, rows):
    """``buffer[offset:].reshape(count, rows, lanes)`` of a flat array, without a reference count.

    Reference counts are atomic additions on one cache line: two threads that slice the same buffer in every
    step of a small network spend longer there than in its arithmetic.
    """
    lanes = TILE.lanes(buffer.dtype.bitwidth // 8)
    result = types.Array(buffer.dtype, 3, "C")

    def codegen(context, builder, signature, arguments):
        buffer_type = signature.args[0]
        source = cgutils.create_struct_proxy(buffer_type)(context, builder, arguments[0])
        item = buffer_type.dtype.bitwidth // 8
        count, rows = arguments[2], arguments[3]
        constant = lambda value: ir.Constant(INDEX, value)  # noqa: E731
        view = cgutils.create_struct_proxy(result)(context, builder)
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        view.nitems = builder.mul(builder.mul(count, rows), constant(lanes))
        view.itemsize = constant(item)
        view.data = builder.gep(source.data, [arguments[1]])
        view.shape = cgutils.pack_array(builder, [count, rows, constant(lanes)])
        row_bytes = constant(lanes * item)
        view.strides = cgutils.pack_array(
            builder, [builder.mul(rows, row_bytes), row_bytes, constant(item)]
        )
        return view._getvalue()

    return result(buffer, offset, count, rows), codegen


# --------------------------------------------------------------------------------------------------
# Register tiles
# --------------------------------------------------------------------------------------------------

IDENTITY, RELU, RELU_GRADIENT = np.int64(0), np.int64(1), np.int64(2)


@intrinsic
def multiply_tile(
    typingctx, rows, vectors, A, a, W, w, start, s, start_row, start_panel, out, o, epilogue, mask
):
    """One tile of ``out = epilogue(start + A @ W)``, `rows` x `vectors` panels of it.

    Parameters
    ----------
    rows, vectors : int
        One of ``TILE.shapes``.
    A : array [K / lanes, M, lanes]
        Left operand; `a` is the element of the tile's first row in panel 0.
    W : array [N / lanes, K, lanes]
        Right operand; `w` is the first element of the tile's first panel.
    start : array
        Where sums begin: the vector of row m, panel v is at ``s + m * start_row + v * start_panel``.
    out, mask : arrays [N / lanes, M, lanes]
        Result and, for RELU_GRADIENT, the activations whose zeros let nothing through; both at `o`. `mask`
        may be `out` when it is not used; `out` may be `start`.
    epilogue : int
        IDENTITY, RELU or RELU_GRADIENT.
    """
    names = (
        "rows",
        "vectors",
        "A",
        "a",
        "W",
        "w",
        "start",
        "s",
        "start_row",
        "start_panel",
        "out",
        "o",
        "epilogue",
        "mask",
    )
    signature = types.void(
        rows, vectors, A, a, W, w, start, s, start_row, start_panel, out, o, epilogue, mask
    )

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        panel_count, height, _ = e.shape(A, v["A"])
        slab = builder.mul(height, e.index(e.lanes))
        shift = e.lanes.bit_length() - 1
        weight_panel = builder.mul(e.shape(W, v["W"])[1], e.index(e.lanes))
        out_panel = builder.mul(e.shape(out, v["out"])[1], e.index(e.lanes))
        a_pointer = e.pointer(A, v["A"], v["a"])
        w_pointer = e.pointer(W, v["W"], v["w"])
        start_pointer = e.pointer(start, v["start"], v["s"])
        out_pointer = e.pointer(out, v["out"], v["o"])
        mask_pointer = e.pointer(mask, v["mask"], v["o"])

        def body(tile_rows, tile_vectors):
            tile = [(m, p) for m in range(tile_rows) for p in range(tile_vectors)]
            panel = [builder.mul(weight_panel, e.index(p)) for p in range(tile_vectors)]
            target = [
                e.at(out_pointer, builder.mul(out_panel, e.index(p))) for p in range(tile_vectors)
            ]

            def starting_value(m, p):
                row = builder.mul(v["start_row"], e.index(m))
                return e.load(
                    start_pointer, builder.add(row, builder.mul(v["start_panel"], e.index(p)))
                )

            sources = [e.at(w_pointer, offset) for offset in panel]

            def over_k(k, sums):
                panel_of_k = builder.mul(builder.lshr(k, e.index(shift)), slab)
                lane = builder.and_(k, e.index(e.lanes - 1))
                row = builder.mul(k, e.index(e.lanes))
                # A tile reads a few rows of a panel of A, far from those of the next: no prefetcher of the CPU's finds
                # them. Asked for two panels ahead, a row at a time: network A took 2 to 10 % less at batch 256, the
                # more the slower L3 was, and as long at batch 10.
                ahead = builder.add(panel_of_k, builder.mul(slab, e.index(2)))
                e.prefetch(a_pointer, builder.add(ahead, builder.mul(lane, e.index(e.lanes))))
                operands = [e.load(source, row) for source in sources]
                left = e.at(a_pointer, builder.add(panel_of_k, lane))
                return e.outer(left, e.lanes, tile_rows, operands, sums)

            depth = builder.mul(panel_count, e.index(e.lanes))
            sums = e.loop(depth, [starting_value(m, p) for m, p in tile], over_k)

            # One code path for IDENTITY and RELU: clamping at minus infinity changes nothing.
            is_relu = builder.icmp_signed("==", v["epilogue"], e.index(int(RELU)))
            floor = builder.select(is_relu, e.constant(0.0), e.constant(-math.inf))
            is_gradient = builder.icmp_signed("==", v["epilogue"], e.index(int(RELU_GRADIENT)))
            with builder.if_else(is_gradient) as (gradient, activation):
                with gradient:
                    for (m, p), value in zip(tile, sums, strict=True):
                        source = e.at(mask_pointer, builder.mul(out_panel, e.index(p)))
                        value = e.where_positive(e.load(source, m * e.lanes), value)
                        e.store(value, target[p], m * e.lanes)
                with activation:
                    for (m, p), value in zip(tile, sums, strict=True):
                        e.store(e.at_least(floor, value), target[p], m * e.lanes)

        e.tile_switch(v["rows"], v["vectors"], TILE.shapes, body)
        return context.get_dummy_value()

    return signature, codegen


PLAIN, HEAVY_BALL, VELOCITY, ADAM, RMSPROP = map(np.int64, range(5))

# Columns of `hyper`; the rules that use them are in update.py.
COLUMNS = 9
DECAY, MOMENTUM, GAIN, STEP, GRADIENT_STEP = range(5)
SQUARE_DECAY, SQUARE_GAIN, ROOT_SCALE, EPSILON = range(5, COLUMNS)

# From this batch on an update tile asks for its weights and velocities before its loop over the batch: 84 to 90 % of
# the FMA ceiling at batch 100 and 256 (3072 x 512, Zen 5). At batch 10 the loop is too short to hide anything, and
# plain SGD lost 10 %. Asking for the next tile's, or for ownership of the lines, won less.
PREFETCH_FROM_BATCH = 24


def take_step(e, hyper, rule, sums, rows, weights, velocities, squares):
    """Emit the step of a tile of weights, given the sums over the batch that are its gradient without decay.

    `sums` are the `rows` rows, panel by panel side by side; the last three are a pointer for each panel.
    """
    builder = e.builder
    tile = [(m, p) for m in range(rows) for p in range(len(weights))]
    is_rule = {
        code: builder.icmp_signed("==", rule, e.index(int(code)))
        for code in (PLAIN, HEAVY_BALL, VELOCITY, ADAM)
    }
    scratch = cgutils.alloca_once(builder, e.scalar, size=len(tile) * e.lanes)
    column = [e.broadcast(hyper, number) for number in range(COLUMNS)]
    decay, momentum, gain, step, gradient_step = column[:SQUARE_DECAY]
    square_decay, square_gain, root_scale, epsilon = column[SQUARE_DECAY:]

    def plain():
        for (m, p), gradient in zip(tile, sums, strict=True):
            old = e.load(weights[p], m * e.lanes)
            gradient = e.fma(decay, old, gradient)
            e.store(e.fma(e.negative(gradient_step), gradient, old), weights[p], m * e.lanes)

    def heavy_ball():
        # Two operations less than VELOCITY, of the 15 to a weight at batch 10.
        for (m, p), gradient in zip(tile, sums, strict=True):
            old = e.load(weights[p], m * e.lanes)
            gradient = e.fma(decay, old, gradient)
            moment = e.fma(momentum, e.load(velocities[p], m * e.lanes), gradient)
            e.store(moment, velocities[p], m * e.lanes)
            e.store(e.fma(e.negative(step), moment, old), weights[p], m * e.lanes)

    def velocity():
        for (m, p), gradient in zip(tile, sums, strict=True):
            old = e.load(weights[p], m * e.lanes)
            gradient = e.fma(decay, old, gradient)
            moment = e.load(velocities[p], m * e.lanes)
            moment = e.fma(momentum, moment, builder.fmul(gain, gradient))
            e.store(moment, velocities[p], m * e.lanes)
            new = e.fma(e.negative(gradient_step), gradient, old)
            e.store(e.fma(e.negative(step), moment, new), weights[p], m * e.lanes)

    def adaptive():
        # Roots and divisions outweigh a trip through L1: a loop, instead of one copy per register.
        for i, gradient in enumerate(sums):
            m, p = tile[i]
            e.store(gradient, scratch, (p * rows + m) * e.lanes)
        for p in range(len(weights)):

            def over_rows(m, _, p=p):
                place = builder.mul(m, e.index(e.lanes))
                gradient = e.load(e.at(scratch, p * rows * e.lanes), place)
                old = e.load(weights[p], place)
                gradient = e.fma(decay, old, gradient)
                square = builder.fmul(square_gain, builder.fmul(gradient, gradient))
                square = e.fma(square_decay, e.load(squares[p], place), square)
                e.store(square, squares[p], place)
                root = e.fma(e.call("llvm.sqrt", square), root_scale, epsilon)
                before = builder.block
                with builder.if_then(is_rule[ADAM]):
                    moment = e.load(velocities[p], place)
                    moment = e.fma(momentum, moment, builder.fmul(gain, gradient))
                    e.store(moment, velocities[p], place)
                    inside = builder.block
                direction = builder.phi(e.vector)
                direction.add_incoming(gradient, before)
                direction.add_incoming(moment, inside)
                ratio = builder.fdiv(direction, root)
                e.store(e.fma(e.negative(step), ratio, old), weights[p], place)
                return []

            e.loop(e.index(rows), [], over_rows)

    def one_of(emitters, otherwise):
        """Code that takes the first step whose rule it is. With a switch A took 5 % longer at batch 10."""
        if not emitters:
            otherwise()
            return
        (code, emit), *rest = emitters
        with builder.if_else(is_rule[code]) as (this, other):
            with this:
                emit()
            with other:
                one_of(rest, otherwise)

    one_of([(HEAVY_BALL, heavy_ball), (PLAIN, plain), (VELOCITY, velocity)], adaptive)


@intrinsic
def update_tile(typingctx, rows, vectors, X, x, D, d, W, V, S, w, rule, hyper):
    """One tile of ``dW = X.T @ D`` and, in the same registers, the step that it makes W take.

    Parameters
    ----------
    rows, vectors : int
        One of ``TILE.update_shapes``; all rows of W within one panel of X.
    X : array [K / lanes, batch, lanes]
        The layer's input; `x` is the element of the tile's first row, sample 0.
    D : array [N / lanes, batch, lanes]
        Gradient of its output; `d` is the first element of the tile's first panel.
    W, V, S : arrays [N / lanes, K, lanes]
        Weights, velocity and mean squares, changed from element `w` on. A rule that needs no V or S does not
        touch it.
    rule : int
        PLAIN, HEAVY_BALL, VELOCITY, ADAM or RMSPROP.
    hyper : array [COLUMNS]
        The columns named above.
    """
    names = ("rows", "vectors", "X", "x", "D", "d", "W", "V", "S", "w", "rule", "hyper")
    signature = types.void(rows, vectors, X, x, D, d, W, V, S, w, rule, hyper)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, W.dtype)
        v = dict(zip(names, arguments, strict=True))
        batch = e.shape(X, v["X"])[1]
        weight_panel = builder.mul(e.shape(W, v["W"])[1], e.index(e.lanes))
        delta_panel = builder.mul(batch, e.index(e.lanes))
        x_pointer = e.pointer(X, v["X"], v["x"])
        d_pointer = e.pointer(D, v["D"], v["d"])
        w_pointer = e.pointer(W, v["W"], v["w"])
        v_pointer = e.pointer(V, v["V"], v["w"])
        s_pointer = e.pointer(S, v["S"], v["w"])
        hyper_pointer = e.pointer(hyper, v["hyper"], e.index(0))

        def body(tile_rows, tile_vectors):
            tile = [(m, p) for m in range(tile_rows) for p in range(tile_vectors)]
            sources = [
                e.at(d_pointer, builder.mul(delta_panel, e.index(p))) for p in range(tile_vectors)
            ]

            def over_batch(k, sums):
                row = builder.mul(k, e.index(e.lanes))
                operands = [e.load(source, row) for source in sources]
                return e.outer(e.at(x_pointer, row), 1, tile_rows, operands, sums)

            weights, velocities, squares = (
                [e.at(base, builder.mul(weight_panel, e.index(p))) for p in range(tile_vectors)]
                for base in (w_pointer, v_pointer, s_pointer)
            )
            with builder.if_then(builder.icmp_signed(">=", batch, e.index(PREFETCH_FROM_BATCH))):
                for m, p in tile:
                    e.prefetch(weights[p], m * e.lanes)
                    e.prefetch(velocities[p], m * e.lanes)
            sums = e.loop(batch, [e.constant(0.0)] * len(tile), over_batch)
            take_step(e, hyper_pointer, v["rule"], sums, tile_rows, weights, velocities, squares)

        e.tile_switch(v["rows"], v["vectors"], TILE.update_shapes, body)
        return context.get_dummy_value()

    return signature, codegen


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
        if D.dtype == types.int32:
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
def sum_marked(typingctx, X, x, D, d, room, marks, m, sums, is_first, is_last, W, V, w):
    """Add what the marked rows of a batch give to the gradient of one unit's weights from `TILE.slabs` panels of X.

    The lanes are the unit's inputs here, not units: what a row with a zero would add can then be left out. It takes a
    load for each multiply-add, where `update_tile` needs one for two.

    Parameters
    ----------
    X : array [K / lanes, batch, lanes]
        The layer's input; `x` is the first element of the first panel's first row.
    D : array [N / lanes, batch, lanes]
        Gradient of its output; `d` is the unit's element in the first row.
    room : array
        Of X's type. Word m of those from element `marks` on tells which of the next `WORD` rows to add; at `sums` is
        the unit's vector for the first panel, the next panels' each lanes x lanes elements further.
    is_first : bool
        Whether sums begin with zero, not with what is there.
    is_last : bool
        Whether these are the last rows of the batch: the step comes next.
    W, V : arrays
        What it will change: before the last rows, `TILE.slabs` vectors of each from element `w` on are asked for.
    """
    names = ("X", "x", "D", "d", "room", "marks", "m", "sums", "is_first", "is_last", "W", "V", "w")
    signature = types.void(X, x, D, d, room, marks, m, sums, is_first, is_last, W, V, w)

    def codegen(context, builder, signature, arguments):
        if X.dtype == types.int32:
            return context.get_dummy_value()
        e = Emitter(context, builder, X.dtype)
        v = dict(zip(names, arguments, strict=True))
        slab = builder.mul(e.shape(X, v["X"])[1], e.index(e.lanes))
        x_pointer = e.pointer(X, v["X"], v["x"])
        d_pointer = e.pointer(D, v["D"], v["d"])
        sums_pointer = e.pointer(room, v["room"], v["sums"])
        sources = [e.at(x_pointer, builder.mul(slab, e.index(f))) for f in range(TILE.slabs)]
        places = [f * e.lanes * e.lanes for f in range(TILE.slabs)]
        with builder.if_then(v["is_last"]):
            for name, kind in (("W", W), ("V", V)):
                ahead = e.pointer(kind, v[name], v["w"])
                for f in range(TILE.slabs):
                    e.prefetch(ahead, f * e.lanes)

        with builder.if_else(v["is_first"]) as (then, otherwise):
            with then:
                begin = builder.block
            with otherwise:
                held = [e.load(sums_pointer, place) for place in places]
                go_on = builder.block
        state = [builder.phi(e.vector) for _ in places]
        for phi, value in zip(state, held, strict=True):
            phi.add_incoming(e.constant(0.0), begin)
            phi.add_incoming(value, go_on)

        words = e.words(e.pointer(room, v["room"], v["marks"]))
        word = builder.load(e.at(words, v["m"]), align=e.bytes)
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
        for place, total in zip(places, totals, strict=True):
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


# --------------------------------------------------------------------------------------------------
# Whole vectors
# --------------------------------------------------------------------------------------------------


@intrinsic
def convert_vectors(typingctx, source, s, count, scale, shift, f, out, o, out_step):
    """``out[o + i * out_step] = source[s + i] * scale[f + i] + shift[f + i]``, i counting `count` vectors.

    `source` is a uint8, float32 or float64 array; `scale`, `shift` and `out` have the kernel's type.
    """
    names = ("source", "s", "count", "scale", "shift", "f", "out", "o", "out_step")
    signature = types.void(source, s, count, scale, shift, f, out, o, out_step)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        source_pointer = e.pointer(source, v["source"], v["s"])
        scale_pointer = e.pointer(scale, v["scale"], v["f"])
        shift_pointer = e.pointer(shift, v["shift"], v["f"])
        out_pointer = e.pointer(out, v["out"], v["o"])
        ahead = builder.mul(v["count"], e.index(e.lanes))

        def body(i, _):
            offset = builder.mul(i, e.index(e.lanes))
            e.prefetch(source_pointer, builder.add(offset, ahead))
            place = builder.mul(i, v["out_step"])
            # The row of the batch four further goes here: network A took 2 % less at batch 10, and as long at 256.
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


@intrinsic
def packing(typingctx, operand):
    """How many numbers along k an element of an operand holds: 2 in an array of pairs, else 1."""

    def codegen(context, builder, signature, arguments):
        return ir.Constant(INDEX, 2 if operand.dtype == types.int32 else 1)

    return types.intp(operand), codegen


@intrinsic
def pair_rows(typingctx, source, s, rows, out, o):
    """Pairs of consecutive rows of a panel of float32: row i of `out` holds rows 2 i and 2 i + 1 of `source`.

    The partner of an odd last row is zero. Where `out` is no array of pairs nothing is done: it is `source`.
    """
    signature = types.void(source, s, rows, out, o)

    def codegen(context, builder, signature, arguments):
        if out.dtype != types.int32:
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
        if out.dtype != types.int32:
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
def convert_pairs(
    typingctx,
    source,
    mirrored,
    low_mirrored,
    low_place,
    high_mirrored,
    high_place,
    alone,
    count,
    scale,
    shift,
    f,
    columns,
    c,
    c_step,
    rows,
    r,
    r_step,
):
    """Two rows of a batch as both kinds of pairs, at once: `convert_vectors`, `pair_columns`, `pair_rows`.

    Parameters
    ----------
    source, mirrored : arrays
        What rows are read from, of one type.
    low_mirrored, high_mirrored : bool
        Which of the two, for each row.
    low_place, high_place : int
        From which element on.
    alone : bool
        Whether the second row is the first again: it is not stored, and zero in pairs of rows.
    count : int
        Pairs of panels, at least 1.
    scale, shift : arrays of float32
        From element `f` on.
    columns, rows : arrays of int32
        Pairs of columns from `c` on, `c_step` elements from one panel to the next; pairs of rows. Where they are
        no arrays of pairs nothing is done.
    """
    given = {
        "source": source,
        "mirrored": mirrored,
        "low_mirrored": low_mirrored,
        "low_place": low_place,
        "high_mirrored": high_mirrored,
        "high_place": high_place,
        "alone": alone,
        "count": count,
        "scale": scale,
        "shift": shift,
        "f": f,
        "columns": columns,
        "c": c,
        "c_step": c_step,
        "rows": rows,
        "r": r,
        "r_step": r_step,
    }
    signature = types.void(*given.values())

    def codegen(context, builder, signature, arguments):
        if columns.dtype != types.int32:
            return context.get_dummy_value()
        e = Emitter(context, builder, scale.dtype)
        v = dict(zip(given, arguments, strict=True))

        def row_pointer(name):
            straight, turned = (
                e.pointer(given[kind], v[kind], v[f"{name}_place"])
                for kind in ("source", "mirrored")
            )
            return builder.select(v[f"{name}_mirrored"], turned, straight)

        sources = [row_pointer("low"), row_pointer("high")]
        scale_pointer = e.pointer(scale, v["scale"], v["f"])
        shift_pointer = e.pointer(shift, v["shift"], v["f"])
        # A row that is not to be stored is stored where the first one then goes.
        second = builder.select(v["alone"], e.index(0), e.index(e.lanes))
        targets = [
            e.pointer(columns, v["columns"], builder.add(v["c"], place))
            for place in (e.index(0), second)
        ]
        rows_pointer = e.pointer(rows, v["rows"], v["r"])
        # What the block after the next one reads of these rows. Asked for one block ahead, a batch of 100 or 256 took
        # 1.2 to 1.3 times as long to gather, twice as long while memory was slow; in float32 as long.
        ahead = builder.mul(v["count"], e.index(2 * 2 * e.lanes))

        def body(i, _):
            offset = builder.mul(i, e.index(2 * e.lanes))
            values = {}
            for panel in range(2):
                place = builder.add(offset, e.index(panel * e.lanes))
                factor, summand = e.load(scale_pointer, place), e.load(shift_pointer, place)
                for row in range(2):
                    value = e.load_converted(sources[row], place)
                    values[row, panel] = e.fma(value, factor, summand)
            for row in (1, 0):
                e.prefetch(sources[row], builder.add(offset, ahead))
                place = builder.mul(i, v["c_step"])
                e.prefetch(
                    targets[0], builder.add(place, e.index((4 + row) * e.lanes)), to_write=True
                )
                e.store(e.bfloat16(values[row, 0], values[row, 1]), targets[row], place)
            for panel in range(2):
                high = builder.select(v["alone"], e.constant(0.0), values[1, panel])
                number = builder.add(builder.mul(i, e.index(2)), e.index(panel))
                place = builder.mul(number, v["r_step"])
                e.prefetch(rows_pointer, builder.add(place, e.index(2 * e.lanes)), to_write=True)
                e.store(e.pairs(values[0, panel], high), rows_pointer, place)
            return []

        e.loop(v["count"], [], body)
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
        if out.dtype == types.int32:
            rows = [e.pairs(low, high) for low, high in zip(rows[::2], rows[1::2], strict=True)]
        for i, row in enumerate(rows):
            e.store(row, out_pointer, i * e.lanes)
        return context.get_dummy_value()

    return signature, codegen


EXP, SIGMOID, TANH, ADD = np.int64(10), np.int64(11), np.int64(12), np.int64(13)
SIGMOID_GRADIENT, TANH_GRADIENT, MULTIPLY = np.int64(14), np.int64(15), np.int64(16)


@intrinsic
def map_vectors(typingctx, code, source, other, out, offset, count):
    """``out = f(source, other)`` for `count` vectors from element `offset` of three arrays on.

    ======================= ==================================================
    IDENTITY                source
    EXP, SIGMOID, TANH      of source
    ADD, MULTIPLY           source + other, source * other
    RELU_GRADIENT           source where other > 0, else 0
    SIGMOID_GRADIENT        source * other * (1 - other)
    TANH_GRADIENT           source * (1 - other**2)
    ======================= ==================================================

    The exponentials are ours: the same bits on every CPU with FMA, which libm's do not promise.
    """
    names = ("code", "source", "other", "out", "offset", "count")
    signature = types.void(code, source, other, out, offset, count)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, out.dtype)
        v = dict(zip(names, arguments, strict=True))
        source_pointer = e.pointer(source, v["source"], v["offset"])
        other_pointer = e.pointer(other, v["other"], v["offset"])
        out_pointer = e.pointer(out, v["out"], v["offset"])
        one = e.constant(1.0)
        functions = {
            IDENTITY: lambda x, y: x,
            EXP: lambda x, y: e.exp(x),
            SIGMOID: lambda x, y: e.sigmoid(x),
            TANH: lambda x, y: e.tanh(x),
            ADD: builder.fadd,
            MULTIPLY: builder.fmul,
            RELU_GRADIENT: lambda x, y: e.where_positive(y, x),
            SIGMOID_GRADIENT: lambda x, y: builder.fmul(x, builder.fmul(y, builder.fsub(one, y))),
            TANH_GRADIENT: lambda x, y: builder.fmul(x, e.fma(e.negative(y), y, one)),
        }

        def body(case):
            function = functions[case]

            def over_vectors(i, _):
                place = builder.mul(i, e.index(e.lanes))
                value = function(e.load(source_pointer, place), e.load(other_pointer, place))
                e.store(value, out_pointer, place)
                return []

            e.loop(v["count"], [], over_vectors)

        e.switch(v["code"], map(int, functions), body)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def sum_of_squares(typingctx, array, offset, count):
    """The sum of squares of `count` vectors of `array` from element `offset` on, as float64.

    Each lane sums its own column; the lanes are added in order.
    """
    signature = types.float64(array, offset, count)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, array.dtype)
        pointer = e.pointer(array, arguments[0], arguments[1])

        def body(i, sums):
            value = e.load(pointer, builder.mul(i, e.index(e.lanes)))
            return [e.fma(value, value, sums[0])]

        (sums,) = e.loop(arguments[2], [e.constant(0.0)], body)
        total = ir.Constant(ir.DoubleType(), 0.0)
        for lane in range(e.lanes):
            value = builder.extract_element(sums, ir.Constant(ir.IntType(32), lane))
            if array.dtype == types.float32:
                value = builder.fpext(value, ir.DoubleType())
            total = builder.fadd(total, value)
        return total

    return signature, codegen


# --------------------------------------------------------------------------------------------------
# Threads
# --------------------------------------------------------------------------------------------------

# Few: with four threads on two cores 2000 cost 20 % of network A at batch 100, 100 cost 9 %, and to give way on a core
# that nobody else wants costs nothing.
SPINS = 100


@intrinsic
def barrier_wait(typingctx, state, size):
    """Wait until `size` threads have called this with the same `state`, an int64 array [16] of zeros.

    ``state[0]`` counts arrivals and ``state[8]``, a cache line further, the barriers passed. A waiting thread
    spins on the latter (0.4 us between two free cores), then gives its core away, since with more threads
    than cores the one it waits for may need that very core.
    """
    signature = types.void(state, size)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, types.float64)
        arrivals = e.pointer(state, arguments[0], e.index(0))
        passed = e.pointer(state, arguments[0], e.index(8))
        generation = builder.load_atomic(passed, "acquire", 8)
        before = builder.atomic_rmw("add", arrivals, e.index(1), "acq_rel")
        is_last = builder.icmp_signed("==", builder.add(before, e.index(1)), arguments[1])
        with builder.if_else(is_last) as (last, waiting):
            with last:
                builder.store_atomic(e.index(0), arrivals, "monotonic", 8)
                builder.store_atomic(builder.add(generation, e.index(1)), passed, "release", 8)
            with waiting:
                entry = builder.block
                spin = builder.append_basic_block("spin")
                again = builder.append_basic_block("again")
                rest = builder.append_basic_block("rest")
                done = builder.append_basic_block("released")
                builder.branch(spin)
                builder.position_at_end(spin)
                tries = builder.phi(INDEX)
                tries.add_incoming(e.index(0), entry)
                now = builder.load_atomic(passed, "acquire", 8)
                builder.cbranch(builder.icmp_signed("!=", now, generation), done, again)
                builder.position_at_end(again)
                e.pause()
                more = builder.add(tries, e.index(1))
                tries.add_incoming(more, again)
                tries.add_incoming(more, rest)
                builder.cbranch(builder.icmp_signed("<", more, e.index(SPINS)), spin, rest)
                builder.position_at_end(rest)
                e.give_way()
                builder.branch(spin)
                builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------------
# Measuring
# --------------------------------------------------------------------------------------------------

# Sums that do not wait for each other: as many as the largest tile keeps in registers.
CHAINS = TILE.rows * TILE.vectors


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
