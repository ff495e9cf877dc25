"""Emitter: an IRBuilder together with an element type, its vector length and what kernels do with vectors.

Numba has no vector type, so everything that needs explicit vectors is an ``@intrinsic`` of this folder. All of them
share one memory layout. A *panel* is one vector wide::

    matrix [M, N]  ->  panels [ceil(N / lanes), M, lanes]        element (m, n) at (n // lanes, m, n % lanes)

Weights, activations and gradients are all stored so, with columns beyond N zero. No fast-math flag is set anywhere: a
NaN stays a NaN.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastmlp.kernels.emit.bfloat16 import Bfloat16
from fastmlp.kernels.emit.functions import Functions
from fastmlp.kernels.tiles import TILE

INDEX = ir.IntType(64)


def is_pair(array_type):
    """Return whether an array's elements are pairs of bfloat16."""
    return isinstance(array_type.dtype, types.Record)


def item_bytes(array_type):
    """Bytes of an array's element."""
    return array_type.dtype.size if is_pair(array_type) else array_type.dtype.bitwidth // 8


class Emitter(Functions, Bfloat16):
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
        """Address of element `offset` of a contiguous array; pairs are seen as integers of 32 bits."""
        data = cgutils.create_struct_proxy(array_type)(self.context, self.builder, array).data
        if is_pair(array_type):
            data = self.builder.bitcast(data, ir.IntType(32).as_pointer())
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

    def lane(self, vector, number):
        """A vector whose lanes all hold one lane of another."""
        return self.shuffle(vector, vector, [number] * self.lanes)

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
        if isinstance(value, ir.Constant):  # the other cases would be emitted to be thrown away
            body(value.constant)
            return
        done = b.append_basic_block("end")
        choice = b.switch(value, done)
        for case in cases:
            block = b.append_basic_block(f"case{case}")
            choice.add_case(self.index(case), block)
            b.position_at_end(block)
            body(case)
            b.branch(done)
        b.position_at_end(done)

    def numbers(self, tuple_type, value):
        """The 64-bit integers of a tuple."""
        return [
            self.context.cast(self.builder, number, kind, types.int64)
            for number, kind in zip(
                cgutils.unpack_tuple(self.builder, value), tuple_type, strict=True
            )
        ]

    def splats(self, tuple_type, value):
        """The numbers of a tuple, each as a vector."""
        return [
            self.splat(self.context.cast(self.builder, number, kind, self.dtype))
            for number, kind in zip(
                cgutils.unpack_tuple(self.builder, value), tuple_type, strict=True
            )
        ]

    def shape(self, array_type, array):
        """The array's dimensions."""
        view = cgutils.create_struct_proxy(array_type)(self.context, self.builder, array)
        return cgutils.unpack_tuple(self.builder, view.shape, array_type.ndim)

    def add(self, x, y):
        return self.builder.fadd(x, y)

    def subtract(self, x, y):
        return self.builder.fsub(x, y)

    def multiply(self, x, y):
        return self.builder.fmul(x, y)

    def negative(self, x):
        return self.builder.fneg(x)

    def at_least(self, floor, x):
        """x where it is above `floor` or NaN, else `floor`."""
        return self.builder.select(self.builder.fcmp_ordered("<=", x, floor), floor, x)

    def if_positive(self, condition, x, y):
        """x where `condition` is above 0, else y."""
        b = self.builder
        return b.select(b.fcmp_ordered(">", condition, self.constant(0.0)), x, y)

    def where_positive(self, condition, x):
        return self.if_positive(condition, x, self.constant(0.0))

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
