"""Pairs of bfloat16: multiplied by the CPU's instruction, or by what gives its bits."""

from llvmlite import ir
from numba.core import cgutils

from fastmlp.kernels.tiles import NATIVE_BF16


class Bfloat16:
    """What an Emitter does with vectors of pairs, as integers of 32 bits."""

    def multiply_add(self, x, y, total):
        """total + x * y, for numbers or for pairs."""
        if x.type == self.vector:
            return self.fma(x, y, total)
        if NATIVE_BF16:
            # llvmlite has no bfloat16 type; LLVM accepts the pairs as the integers they were declared as.
            name = "llvm.x86.avx512bf16.dpbf16ps.512"
            kind = ir.FunctionType(self.vector, [self.vector, x.type, y.type])
            function = cgutils.get_or_insert_function(self.builder.module, kind, name)
            return self.builder.call(function, [total, x, y])
        # What the instruction does: the second of each pair first, each step rounded and denormals zero.
        total = self._without_denormals(total)
        for half in (self._high_half, self._low_half):
            total = self._without_denormals(self.fma(half(x), half(y), total))
        return total

    def bfloat16(self, first, second):
        """Two vectors of float32, one after the other, rounded to bfloat16: to nearest, ties to even, as integers.

        Denormals become zero, since the instructions take them so; NaN stays NaN.
        """
        b = self.builder
        short = ir.VectorType(ir.IntType(16), 2 * self.lanes)
        if NATIVE_BF16:
            kind = ir.FunctionType(short, [self.vector, self.vector])
            name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
            function = cgutils.get_or_insert_function(b.module, kind, name)
            return b.call(function, [second, first])  # its first operand goes into the high half
        lanes = list(range(2 * self.lanes))
        return b.trunc(self.shuffle(self._rounded(first), self._rounded(second), lanes), short)

    def pairs(self, low, high):
        """Two vectors of float32 as one of pairs."""
        both = self.bfloat16(low, high)
        lanes = [lane + half for lane in range(self.lanes) for half in (0, self.lanes)]
        mixed = self.shuffle(both, both, lanes)
        return self.builder.bitcast(mixed, ir.VectorType(ir.IntType(32), self.lanes))

    def _high_half(self, pairs):
        mask = ir.Constant(pairs.type, [0xFFFF0000] * self.lanes)
        return self.builder.bitcast(self.builder.and_(pairs, mask), self.vector)

    def _low_half(self, pairs):
        shift = ir.Constant(pairs.type, [16] * self.lanes)
        return self.builder.bitcast(self.builder.shl(pairs, shift), self.vector)

    def _without_denormals(self, x):
        """x, or a zero of its sign where it is denormal."""
        b = self.builder
        integer = ir.VectorType(ir.IntType(32), self.lanes)
        bits = b.bitcast(x, integer)
        exponent = b.and_(bits, ir.Constant(integer, [0x7F800000] * self.lanes))
        is_tiny = b.icmp_unsigned("==", exponent, ir.Constant(integer, [0] * self.lanes))
        sign = b.and_(bits, ir.Constant(integer, [0x80000000] * self.lanes))
        return b.bitcast(b.select(is_tiny, sign, bits), self.vector)

    def _rounded(self, x):
        """What `bfloat16` makes of one vector, as integers below 2**16: the emulation."""
        b = self.builder
        integer = ir.VectorType(ir.IntType(32), self.lanes)
        splat = lambda value: ir.Constant(integer, [value] * self.lanes)  # noqa: E731
        bits = b.bitcast(self._without_denormals(x), integer)
        odd = b.and_(b.lshr(bits, splat(16)), splat(1))
        rounded = b.lshr(b.add(bits, b.add(odd, splat(0x7FFF))), splat(16))
        quiet = b.or_(b.lshr(bits, splat(16)), splat(0x40))
        return b.select(b.fcmp_unordered("uno", x, x), quiet, rounded)
