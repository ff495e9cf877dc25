"""Threads that are known to run before they are needed."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

# The system's function without arguments that lets another thread run on this core.
GIVE_WAY = "SwitchToThread" if sys.platform == "win32" else "sched_yield"


def started_pool(size: int, name: str) -> tuple[ThreadPoolExecutor | None, int]:
    """Return a pool whose threads have all started: as many of `size` as the system allows.

    A thread that cannot start must be known before others wait for it in compiled code, which nothing can interrupt.

    Parameters
    ----------
    size : int
        Threads that are wanted.
    name : str
        What their names begin with.

    Returns
    -------
    pool : ThreadPoolExecutor or None
        None if no thread can start: then the caller does the work. That is also so where all threads are one to the
        system, as under gevent, so that one which waits in compiled code would stop the others.
    size : int
        The number of its threads, 0 without a pool.
    """
    while size > 0:
        pool = ThreadPoolExecutor(size, name)
        running = _start(pool, size)
        if running == size:
            return pool, size
        pool.shutdown()
        size = running
    return None, 0


def _start(pool: ThreadPoolExecutor, size: int) -> int:
    """Start the threads of a pool, and return how many of them the system runs beside this one."""
    threads: set[int] = set()
    everybody_came = threading.Event()

    def arrive() -> None:
        threads.add(threading.get_native_id())
        everybody_came.wait()

    arrivals = []
    try:
        for _ in range(size):  # nobody is idle, so each call starts a thread
            arrivals.append(pool.submit(arrive))
    except RuntimeError:  # the system allows no more threads
        pass
    finally:
        everybody_came.set()
    for arrival in arrivals:
        arrival.result()
    return len(threads - {threading.get_native_id()})
