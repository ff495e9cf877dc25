"""How the threads of a team share one model: who computes which part, and where they wait for each other.

Threads split outputs, never sums, so the result's bits do not depend on their number.
"""

from fastmlp.kernels.jit import helper
from fastmlp.kernels.simd import barrier_wait


@helper
def first_of(count, rank, size):
    """Where the share of thread `rank` of `size` in ``range(count)`` begins; it ends where the next begins."""
    return count * rank // size


@helper
def meet(barrier, size):
    """Wait for the whole team; `barrier` is an int64 array [16] that began as zeros."""
    if size > 1:
        barrier_wait(barrier, size)
