"""How the threads of a team share one model: who computes which part, and where they wait for each other.

Threads split outputs, never sums, so the result's bits do not depend on their number.
"""

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.codes import FIRST, GROUP, GROUPS, PANELS, ROWS, SLABS
from fastmlp.kernels.emit.barrier import barrier_wait
from fastmlp.kernels.jit import ONE, ZERO, helper


@helper
def first_of(count, rank, size):
    """Where the share of thread `rank` of `size` in ``range(count)`` begins; it ends where the next begins."""
    return count * rank // size


@helper
def rows_from(batch, rank, size):
    """Where a thread's rows of a batch begin: even, so that no pair of rows belongs to two threads."""
    return min(batch, 2 * first_of((batch + 1) // 2, rank, size))


@helper
def groups_from(batch, rank, size):
    """Where a thread's rows of a batch begin, if it takes whole groups of images."""
    return min(batch, GROUP * first_of((batch + GROUP - 1) // GROUP, rank, size))


@helper
def part_of(share, panels, rows, team):
    """This thread's part of panels [panels, rows]: some panels, some rows or groups of rows, or all."""
    if share == PANELS:
        first = first_of(panels, team.rank, team.size)
        return Part(first, first_of(panels, team.rank + 1, team.size), ZERO, rows)
    if share == ROWS:
        first = rows_from(rows, team.rank, team.size)
        return Part(ZERO, panels, first, rows_from(rows, team.rank + 1, team.size))
    if share == GROUPS:
        first = groups_from(rows, team.rank, team.size)
        return Part(ZERO, panels, first, groups_from(rows, team.rank + 1, team.size))
    if share == SLABS:
        first = first_of(rows, team.rank, team.size)
        return Part(ZERO, panels, first, first_of(rows, team.rank + 1, team.size))
    if share == FIRST and team.rank > 0:
        return Part(ZERO, ZERO, ZERO, ZERO)
    return Part(ZERO, panels, ZERO, rows)


@helper
def meet(barrier, size):
    """Wait for the whole team; `barrier` is an int64 array [WORDS] that began as zeros, see ``emit/barrier.py``."""
    if size > ONE:
        barrier_wait(barrier, size)
