"""Denormal numbers as zero, while a thread trains.

A product or sum with a number below about 1e-38 takes a CPU some hundred cycles. What an optimiser remembers of a
weight without gradient shrinks to the least such number and stays there: 0.9 times it is rounded to it again. Networks
with units that never fire would then train at a quarter of their speed.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Flush results to zero, and take operands as zero, in MXCSR; the bit FZ of ARM's FPCR does both.
MXCSR_BITS, FPCR_BIT = 0x8040, 1 << 24


def _call(builder, name, result, *arguments):
    kind = ir.FunctionType(result, [one.type for one in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def _state(builder, write=None):
    """Return the thread's floating-point control register, or set it; on other machines there is none."""
    i32, i64 = ir.IntType(32), ir.IntType(64)
    triple = builder.module.triple
    if triple.startswith(("aarch64", "arm64")):
        if write is None:
            return _call(builder, "llvm.aarch64.get.fpcr", i64)
        return _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), write)
    if not triple.startswith(("x86_64", "i")):
        return ir.Constant(i64, 0)
    place = cgutils.alloca_once(builder, i32)
    pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
    if write is None:
        _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), pointer)
        return builder.zext(builder.load(place), i64)
    builder.store(builder.trunc(write, i32), place)
    return _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), pointer)


@intrinsic
def flush_denormals(typingctx):
    """Let this thread take denormal numbers as zero; return what `restore_denormals` wants."""
    signature = types.int64()

    def codegen(context, builder, signature, arguments):
        before = _state(builder)
        is_arm = builder.module.triple.startswith(("aarch64", "arm64"))
        bits = ir.Constant(before.type, FPCR_BIT if is_arm else MXCSR_BITS)
        _state(builder, builder.or_(before, bits))
        return before

    return signature, codegen


@intrinsic
def restore_denormals(typingctx, state):
    """Undo `flush_denormals`."""
    signature = types.void(state)

    def codegen(context, builder, signature, arguments):
        _state(builder, arguments[0])
        return context.get_dummy_value()

    return signature, codegen
