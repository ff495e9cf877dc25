"""The threads that train one model together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from fastmlp.kernels.arguments import Team
from fastmlp.machine.cores import take_own_core
from fastmlp.machine.threads import started_pool

# Multiply-adds of one step below which a team loses more at its barriers than it gains, and which each thread of a
# team of more than two should have: beyond, `benchmarks/many_cores.py` predicts that further threads slow it down.
TEAM_FROM_WORK = 1_000_000


def team_size(weights: int, batch_size: int, cores: int) -> int:
    """Return how many threads train a network fastest: all `cores`, or fewer if a step is too small to share."""
    work = batch_size * weights
    return min(cores, max(2, work // TEAM_FROM_WORK)) if work >= TEAM_FROM_WORK else 1


# Cores' worth of a team below which one thread may be faster: each waits for the one that gets least.
BUSY = 1.2
# Seconds of steps: after which the team looks up; that show a lack of cores, and the speed of one thread; that show
# whether the team is faster, unless it has clearly less than this part of that speed.
PART, SHORT, WINDOW, CLEARLY = 0.05, 0.025, 0.2, 0.7
# Seconds until what is faster is asked again: twice as many each time that the team is slower, up to the most.
BETWEEN, MOST_BETWEEN = 2.0, 16.0
FIRST_STEPS = 2  # of a team whose pace nobody knows yet: they tell of its awakening only


class Pace:
    """Whether a team or one of its threads is faster, while other programs want the same cores.

    A member that waits for its core makes all others wait in every step. If the members of a team got too little, the
    next parts of the epoch are one thread's, those after them the team's again, and the faster way is kept for some
    time. What the team did before does not count: a moment without cores would decide over seconds. On an idle machine
    it is always the team.

    Parameters
    ----------
    size : int
        Threads of the team.

    Attributes
    ----------
    together : bool
        Whether the next part is the team's.
    steps : int
        How many steps the next part should have.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._alone_rate: float | None = None  # while the team is compared with it
        self.together, self._left, self._wait = True, 0.0, BETWEEN
        self.steps, self._is_awake = FIRST_STEPS, False
        self._steps, self._seconds, self._had = 0, 0.0, 0.0  # of this window

    def record(self, steps: int, seconds: float, share: float) -> None:
        """Take note of a part.

        Parameters
        ----------
        steps : int
        seconds : float
        share : float
            The fraction of these seconds for which the member that got least had a core.
        """
        self.steps = max(1, int(PART * steps / max(seconds, 1e-9)))
        if not self._is_awake:
            self._is_awake = True
            return
        self._left -= seconds
        self._steps, self._seconds = self._steps + steps, self._seconds + seconds
        self._had += share * seconds
        cores = self._size * self._had / max(self._seconds, 1e-9)
        rate = self._steps / max(self._seconds, 1e-9)
        enough = SHORT
        if self._alone_rate is not None:
            enough = PART if rate < CLEARLY * self._alone_rate else WINDOW
        if self._seconds < enough:
            return
        if self._alone_rate is not None:
            self.together = rate >= self._alone_rate
            self._alone_rate, self._left = None, self._wait
            self._wait = BETWEEN if self.together else min(2 * self._wait, MOST_BETWEEN)
        elif self._left <= 0 and not self.together:
            self._alone_rate, self.together = rate, True
            self.steps = max(1, self.steps // 3)  # the team may be that much slower
        elif self._left <= 0 and cores < BUSY:
            self.together = False
        self._steps, self._seconds, self._had = 0, 0.0, 0.0


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
        self._shares: list[float] = []
        self._process = os.getpid()
        if size > 1:
            pool, running = started_pool(size, "fastmlp")
            if running > 1:
                self._pool, self.size = pool, running
            elif pool is not None:
                pool.shutdown()
        self._pace = Pace(self.size)

    def parts(self, steps: int) -> Iterator[tuple[int, int]]:
        """Yield the first step of each part of an epoch, and the one after its last; one part without any step.

        A call for each part shows early whether the machine is busy.
        """
        last = min(steps, self._pace.steps)
        yield 0, last
        while last < steps:
            first, last = last, min(steps, last + self._pace.steps)
            yield first, last

    def call(self, run: Callable[[Team], Any], together: bool = True, steps: int = 0) -> None:
        """Call `run` in each thread of the team and wait for all; once, without `together` or on a busy machine.

        A call with a number of steps shows how fast the team is.

        No member of a team runs in the calling thread: Ctrl-C could stop it between two barriers, and the others would
        wait forever. An interrupt is raised here after the call.
        """
        start = time.perf_counter()
        self._shares.clear()
        is_here = os.getpid() == self._process  # a process that was forked has none of the threads
        if self._pool is not None and together and self._pace.together and is_here:
            self._call_together(run)
        else:
            run(Team(0, 1, self.barrier))
        if steps:
            share = min(self._shares, default=1.0)
            self._pace.record(steps, time.perf_counter() - start, share)

    def _call_together(self, run: Callable[[Team], Any]) -> None:
        assert self._pool is not None
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
            before = time.perf_counter(), time.thread_time()
            run(team)
            seconds, used = time.perf_counter() - before[0], time.thread_time() - before[1]
            self._shares.append(used / max(seconds, 1e-9))

        futures: list[Future[Any]] = [self._pool.submit(begin, other) for other in others]
        begin(first)
        for future in futures:
            future.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
