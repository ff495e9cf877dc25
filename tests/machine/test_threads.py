"""Pools whose threads run before they are needed."""

import os
import threading
import time

import pytest

from fastmlp.machine.threads import started_pool


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_thread_runs(size: int) -> None:
    pool, running = started_pool(size, "name")
    assert pool is not None
    with pool:
        assert running == size
        together = threading.Barrier(size)
        waits = [pool.submit(together.wait, 10) for _ in range(size)]
        assert sorted(wait.result() for wait in waits) == list(range(size))
        assert sum(one.name.startswith("name") for one in threading.enumerate()) == size


@pytest.mark.parametrize(("allowed", "expected"), [(0, 0), (1, 1), (2, 2), (3, 3)])
def test_as_many_as_can_start(allowed: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, before = threading.Thread.start, threading.active_count()

    def start(self: threading.Thread) -> None:
        if threading.active_count() >= before + allowed:
            raise RuntimeError("can't start new thread")
        usual(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    pool, running = started_pool(4, "name")
    assert running == expected
    if pool is not None:
        # No further one is started, however many calls wait.
        for _ in range(20):
            pool.submit(time.sleep, 0.001)
        pool.shutdown()
    assert threading.active_count() == before


def test_threads_that_are_one_to_the_system_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "get_native_id", os.getpid)
    assert started_pool(3, "name") == (None, 0)
