"""The threads that train one model together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from fastmlp.kernels.arguments import Team
from fastmlp.machine.cores import take_own_core
from fastmlp.machine.threads import started_pool

# Multiply-adds of one step below which a team loses more at its barriers than it gains.
TEAM_FROM_WORK = 1_000_000


def team_size(weights: int, batch_size: int, cores: int) -> int:
    """Return how many threads train a network fastest: all `cores`, or 1 if a step is too small to share."""
    return cores if batch_size * weights >= TEAM_FROM_WORK else 1


class Threads:
    """A team of threads that waits for work.

    All of them run before any enters compiled code: the others would wait at a barrier for ever for one that could
    not start.

    Parameters
    ----------
    size : int
        Threads that are wanted.
    barrier : array [WORDS] of int64, of ``kernels/emit/barrier.py``
        Zeros, aligned to a cache line.

    Attributes
    ----------
    size : int
        Threads that the system allows; 1 is the calling thread.
    """

    def __init__(self, size: int, barrier: np.ndarray) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self.size, self.barrier = 1, barrier
        if size > 1:
            pool, running = started_pool(size, "fastmlp")
            if running > 1:
                self._pool, self.size = pool, running
            elif pool is not None:
                pool.shutdown()

    def call(self, run: Callable[[Team], Any], together: bool = True) -> None:
        """Call `run` in every thread of the team and wait for all; without `together`, call it once, alone.

        No member of a team runs in the calling thread: Ctrl-C could stop it between two barriers, and the others would
        wait forever. An interrupt is raised here after the epoch.
        """
        if self._pool is None or not together:
            run(Team(0, 1, self.barrier))
            return
        leader = self._pool.submit(self._lead, run)
        try:
            leader.result()
        except KeyboardInterrupt:
            leader.result()
            raise

    def _lead(self, run: Callable[[Team], Any]) -> None:
        assert self._pool is not None
        first, *others = [Team(rank, self.size, self.barrier) for rank in range(self.size)]

        def begin(team: Team) -> None:
            take_own_core(team.rank, team.size)
            run(team)

        futures: list[Future[Any]] = [self._pool.submit(begin, other) for other in others]
        begin(first)
        for future in futures:
            future.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
