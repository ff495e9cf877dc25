"""Workers: where trials run, and how a search outlives their death and Ctrl-C.

joblib runs the workers: threads of this process, processes of this machine, or a Dask cluster. A
trial does not know where it runs, and its bits do not depend on it.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import closing
from itertools import islice
from types import FrameType, TracebackType
from typing import Any, Literal, Self, get_args

from joblib import delayed
from joblib.externals.loky import BrokenProcessPool

from fastmlp.errors import ConfigError, check_count, line_of
from fastmlp.machine.interrupts import USUAL, begin_child, interrupting_signals
from fastmlp.machine.threads import started_pool
from fastmlp.search.calls import (
    MOST_DEATHS,
    Numbered,
    Tasks,
    closing_quietly,
    given_up,
    parallel_calls,
    run_numbered,
)
from fastmlp.search.cluster import on_cluster
from fastmlp.search.trial import Parts
from fastmlp.training.config import TrainConfig
from fastmlp.training.side_by_side import arrange

Backend = Literal["threading", "loky"]


class Workers:
    """Where trials run.

    Parameters
    ----------
    jobs : int, optional
        Trials at once. The default is that of `fastmlp.train_many`: one on each core, and then those
        whose weights outgrow the cache, one at a time with all cores.
    backend : {"threading", "loky"}
        Threads of this process, or processes.
    dask : str, optional
        Address of a scheduler whose workers run the trials, instead of jobs and backend; see `fastmlp.search.cluster`.

    Raises
    ------
    ConfigError
        If a value is wrong or contradicts another.
    """

    def __init__(
        self,
        jobs: int | None = None,
        backend: Backend = "threading",
        dask: str | None = None,
    ) -> None:
        if backend not in get_args(Backend):
            names = " or ".join(get_args(Backend))
            raise ConfigError(f"backend: found {backend!r}, expected {names}")
        if jobs is not None:
            check_count("jobs", jobs)
        if dask is not None and (jobs is not None or backend != "threading"):
            raise ConfigError(
                "dask: found with jobs or backend, which its workers decide; drop one"
            )
        self.jobs, self.backend, self.dask = jobs, backend, dask

    def run(self, tasks: Tasks, parts: Parts) -> Generator[Numbered]:
        """Run trials in the order of `tasks`, and yield the outcome of each as it ends.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C. Trials in threads first end their epoch.
        """
        if not tasks:
            return
        threaded = self.dask is None and self.backend == "threading"
        with _Interrupt(gently=threaded) as interrupt:
            with closing(self._outcomes(tasks, parts, interrupt.asked)) as outcomes:
                while (numbered := interrupt.wait_for(outcomes)) is not None:
                    if numbered[1].status != "interrupted":
                        yield numbered
            if interrupt.asked.is_set():
                raise KeyboardInterrupt

    def _outcomes(self, tasks: Tasks, parts: Parts, stop: threading.Event) -> Generator[Numbered]:
        if self.dask is not None:
            alone = {n: one.replace(threads=one.threads or 1) for n, one in tasks.items()}
            yield from on_cluster(alone, parts, self.dask)
            return
        for jobs, group in arrange(tasks, parts[0], self.jobs):
            if self.backend == "loky":
                yield from in_processes(group, parts, jobs)
            else:
                yield from in_threads(group, parts, jobs, stop)


class _Interrupt:
    """Ctrl-C while trials run, which never interrupts the storing of one.

    Parameters
    ----------
    gently : bool
        Whether the first Ctrl-C only sets `asked`, so that the trials can end their epochs; the
        second one interrupts as usual.
    """

    def __init__(self, *, gently: bool) -> None:
        self.gently = gently
        self.asked = threading.Event()
        self.waiting = False
        self.signals = interrupting_signals()

    def __enter__(self) -> Self:
        for number in self.signals:
            signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number in self.signals:
            signal.signal(number, USUAL)

    def wait_for(self, outcomes: Generator[Numbered]) -> Numbered | None:
        """Return the next outcome; None after the last one or, unless gently, after Ctrl-C."""
        if self.asked.is_set() and not self.gently:
            return None
        self.waiting = True
        try:
            return next(outcomes, None)
        finally:
            self.waiting = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.asked.is_set()
        self.asked.set()
        if self.waiting and (again or not self.gently):
            self.waiting = False  # raised only once: the ending of the trials is not interrupted
            raise KeyboardInterrupt


def in_threads(tasks: Tasks, parts: Parts, jobs: int, stop: threading.Event) -> Generator[Numbered]:
    """Run trials in threads of this process, in the order of `tasks`, and yield each as it ends.

    Parameters
    ----------
    tasks : mapping of int to TrainConfig
    parts : (Dataset, Dataset)
    jobs : int
        Trials at once.
    stop : threading.Event
        Once it is set, trials end after their current epoch, and no other begins.

    Where fewer threads can start, fewer trials run at once.
    """

    def run(task: tuple[int, TrainConfig]) -> Numbered | None:
        return None if stop.is_set() else run_numbered(*task, parts, lambda row: stop.is_set())

    pool, size = started_pool(jobs, "fastmlp-trial") if jobs > 1 else (None, 0)
    if pool is None:  # one at a time is wanted, or no thread can start
        yield from filter(None, map(run, tasks.items()))
        return
    waiting = iter(tasks.items())
    # A thread cannot be killed and must not outlive the search: at the end of `with` its epoch is waited for.
    with pool:
        try:
            # Each thread has a second trial waiting for it while the outcome of its first is stored.
            running = {pool.submit(run, task) for task in islice(waiting, 2 * size)}
            while running:
                ended, running = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                running |= {pool.submit(run, task) for task in islice(waiting, len(ended))}
                yield from filter(None, (future.result() for future in ended))
        except BaseException:
            stop.set()
            raise


def in_processes(tasks: Tasks, parts: Parts, jobs: int) -> Generator[Numbered]:
    """Run trials in processes of this machine, which read the images from one shared file.

    If a worker dies, all others are lost with it. Every trial that was running is a suspect: the
    death is counted for it, and it is tried again alone, where further deaths are its own. After
    the fourth one it has failed, and the others go on.

    Parameters
    ----------
    tasks, parts, jobs
        As for `in_threads`.

    Raises
    ------
    ConfigError
        If the system starts no processes, or has no room for the shared file.
    """
    waiting = dict(tasks)
    suspects: list[int] = []
    deaths: Counter[int] = Counter()
    # joblib would run a single job in this process, which must not die of it: so there are two
    # processes, one of which waits. Memory is mapped as copy-on-write because kernels would be
    # compiled again for read-only images.
    options = {
        "n_jobs": max(2, jobs),
        "pre_dispatch": jobs,
        "mmap_mode": "c",
        "initializer": begin_child,
        "initargs": (os.getpid(),),
    }
    while waiting:
        running: set[int] = set()

        def calls(indices: Iterable[int], running: set[int] = running) -> Iterator[Any]:
            for index in indices:
                running.add(index)
                yield delayed(run_numbered)(index, waiting[index], parts)

        parallel = parallel_calls(backend="loky", **options)
        try:
            with closing_quietly(parallel(calls(suspects[:1] or list(waiting)))) as outcomes:
                for index, outcome in outcomes:
                    running.discard(index)
                    del waiting[index]
                    yield index, outcome
        except BrokenProcessPool as error:
            for index in sorted(running):
                deaths[index] += 1
                if deaths[index] >= MOST_DEATHS:
                    codes = re.search(r"exit codes of the workers are \{(.*?)\}", str(error))
                    del waiting[index]
                    yield index, given_up(codes[1] if codes else line_of(error))
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"backend: found 'loky' where no processes can be started or given images ({line_of(error)}), "
                "expected room for them; take fewer jobs, or backend 'threading'"
            ) from error
        suspects = [index for index in sorted({*suspects, *running}) if index in waiting]
