"""Where a team of threads meets."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import INDEX, Emitter
from fastmlp.machine.threads import GIVE_WAY

# Few, since the thread that is waited for may need this core: EXPERIMENTS.md, "Teams and barriers".
SPINS = 100

# 128 bytes: a line of Apple's processors, and two that Intel's fetch together.
OTHER_LINE = 16
WORDS = 2 * OTHER_LINE


def pause(builder):
    """Tell the core that this thread is spinning."""
    triple = builder.module.triple
    if triple.startswith(("x86_64", "i")):
        signature, name, arguments = [], "llvm.x86.sse2.pause", []
    elif triple.startswith(("aarch64", "arm64")):
        # The hint "yield" does nothing on most cores; this waits until what was begun has ended.
        i32 = ir.IntType(32)
        signature, name, arguments = [i32], "llvm.aarch64.isb", [ir.Constant(i32, 15)]
    else:
        return
    kind = ir.FunctionType(ir.VoidType(), signature)
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def give_way(builder):
    """Let the operating system run another thread on this core."""
    kind = ir.FunctionType(ir.IntType(32), [])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, GIVE_WAY), [])


@intrinsic
def barrier_wait(typingctx, state, size):
    """Wait until `size` threads have called this with the same `state`, an int64 array [WORDS] of zeros.

    ``state[0]`` counts arrivals and ``state[OTHER_LINE]``, a cache line further, the barriers passed. A waiting thread
    spins on the latter (0.4 us between two free cores), then gives its core away, since with more threads
    than cores the one it waits for may need that very core.
    """
    signature = types.void(state, size)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, types.float64)
        arrivals = e.pointer(state, arguments[0], e.index(0))
        passed = e.pointer(state, arguments[0], e.index(OTHER_LINE))
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
                pause(builder)
                more = builder.add(tries, e.index(1))
                tries.add_incoming(more, again)
                tries.add_incoming(more, rest)
                builder.cbranch(builder.icmp_signed("<", more, e.index(SPINS)), spin, rest)
                builder.position_at_end(rest)
                give_way(builder)
                builder.branch(spin)
                builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen
