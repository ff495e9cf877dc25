"""Trials: one training as a value that no error escapes from, and workers that outlive its death.

joblib runs the workers: threads of this process, processes of this machine, or a Dask cluster. A
trial does not know where it runs, and its bits do not depend on it.
"""

from __future__ import annotations

import re
import signal
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import takewhile
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, get_args

from joblib import Parallel, delayed
from joblib.externals.loky import BrokenProcessPool

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, check_count
from fastmlp.training.config import TrainConfig
from fastmlp.training.history import Row
from fastmlp.training.network import Network
from fastmlp.training.side_by_side import arrange
from fastmlp.training.trainer import train

Backend = Literal["threading", "loky"]
Parts = tuple[Dataset, Dataset]
Tasks = Mapping[int, TrainConfig]
Numbered = tuple[int, "Outcome"]

MOST_DEATHS = 4  # of workers while they train one trial; then it is given up


class Outcome(NamedTuple):
    """What a trial ended with.

    Attributes
    ----------
    status : {"done", "stopped", "diverged", "failed", "pruned", "interrupted"}
        As in `fastmlp.search.store.Trial`; an interrupted one is not stored.
    reason : str
        The status in one line.
    history : list of dict
        As in `fastmlp.TrainResult`.
    epoch : int
        The one that the network is of; 0 where there is none.
    network : Network or None
        None where the training diverged, failed or was interrupted.
    seconds : float
    """

    status: Literal["done", "stopped", "diverged", "failed", "pruned", "interrupted"]
    reason: str
    history: Sequence[Mapping[str, Any]]
    epoch: int
    network: Network | None
    seconds: float


def run_trial(
    config: TrainConfig, parts: Parts, on_epoch: Callable[[Row], object] | None = None
) -> Outcome:
    """Train one network; whatever goes wrong becomes an outcome.

    Parameters
    ----------
    config : TrainConfig
    parts : (Dataset, Dataset)
        To train and to validate.
    on_epoch : callable, optional
        Called with each row of the history; when it returns True, the trial ends as "interrupted".

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    """
    start = time.perf_counter()
    interrupted = False

    def watch(row: Row) -> bool:
        nonlocal interrupted
        interrupted = on_epoch is not None and on_epoch(row) is True
        return interrupted

    try:
        result = train(config, *parts, on_epoch=watch)
    except Exception as error:  # any kind: it is this trial's alone
        seconds = time.perf_counter() - start
        return Outcome("failed", line_of(error), [], 0, None, seconds)
    if result.status == "interrupted":
        raise KeyboardInterrupt
    seconds = time.perf_counter() - start
    status = "interrupted" if interrupted else result.status
    if status not in ("done", "stopped"):
        return Outcome(status, result.reason, result.history, 0, None, seconds)
    epoch = (config.restore_best and result.best_epoch) or len(result.history)
    return Outcome(status, result.reason, result.history, epoch, result.network, seconds)


class Workers:
    """Where trials run.

    Parameters
    ----------
    jobs : int, optional
        Trials at once; by default as `fastmlp.train_many` decides: one a core, and those whose
        weights outgrow the cache one after the other with all cores each.
    backend : {"threading", "loky"}
        Threads of this process, or processes.
    dask : str, optional
        Address of a scheduler, instead of the two; see `fastmlp.search.cluster`.

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
        """Run trials in the order of `tasks` and yield the outcome of each as it ends.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C. In threads, trials end the epoch they are in first.
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
            from fastmlp.search.cluster import on_cluster

            alone = {n: one.replace(threads=one.threads or 1) for n, one in tasks.items()}
            yield from on_cluster(alone, parts, self.dask)
            return
        for jobs, group in arrange(tasks, parts[0], self.jobs):
            if self.backend == "loky":
                yield from in_processes(group, parts, jobs)
            else:
                yield from in_threads(group, parts, jobs, stop)


class _Interrupt:
    """Ctrl-C while trials run: never in the midst of storing one.

    Parameters
    ----------
    gently : bool
        Whether the first Ctrl-C only sets `asked`, for others to come to an end; the second
        interrupts them as ever.
    """

    def __init__(self, *, gently: bool) -> None:
        self.gently = gently
        self.asked = threading.Event()
        self.waiting = False
        self.usual = signal.getsignal(signal.SIGINT)
        # Signals may be somebody else's business, and reach the main thread alone.
        in_main = threading.current_thread() is threading.main_thread()
        self.handles = in_main and self.usual is signal.default_int_handler

    def __enter__(self) -> Self:
        if self.handles:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.handles:
            signal.signal(signal.SIGINT, self.usual)

    def wait_for(self, outcomes: Generator[Numbered]) -> Numbered | None:
        """Return the next of them, None after the last or, unless gently, when asked to end."""
        if self.asked.is_set() and not self.gently:
            return None
        self.waiting = True
        try:
            return next(outcomes, None)
        finally:
            self.waiting = False

    def _handle(self, number: int, frame: object) -> None:
        again = self.asked.is_set()
        self.asked.set()
        if self.waiting and (again or not self.gently):
            self.waiting = False  # raised once: what it ends must not be interrupted while it ends
            raise KeyboardInterrupt


def in_threads(tasks: Tasks, parts: Parts, jobs: int, stop: threading.Event) -> Generator[Numbered]:
    """Run trials in threads of this process, in the order of `tasks`; yield each as it ends.

    Parameters
    ----------
    tasks : mapping of int to TrainConfig
    parts : (Dataset, Dataset)
    jobs : int
        Trials at once.
    stop : threading.Event
        When it is set, trials end after the epoch they are in, and no other begins.
    """
    calls = (
        delayed(run_numbered)(index, config, parts, lambda row: stop.is_set())
        for index, config in takewhile(lambda _: not stop.is_set(), tasks.items())
    )
    outcomes = parallel_calls(n_jobs=jobs, backend="threading")(calls)
    try:
        while (numbered := next(outcomes, None)) is not None:  # `yield from` would close it first
            yield numbered
    except BaseException:
        stop.set()
        raise
    finally:
        # A thread cannot be killed, and must not outlive the search: wait for its epoch to end.
        for _ in outcomes:
            pass


def in_processes(tasks: Tasks, parts: Parts, jobs: int) -> Generator[Numbered]:
    """Run trials in processes of this machine, which read the images from one shared file.

    When a worker dies, all others are lost with it. The trials that were running are suspects: each
    has this death counted against it and is tried again alone, where a further death is its own. At
    the fourth it has failed, and the others go on.

    Parameters
    ----------
    tasks, parts, jobs
        As for `in_threads`.
    """
    waiting = dict(tasks)
    suspects: list[int] = []
    deaths: Counter[int] = Counter()
    # joblib would do a single job in this process, which must not die of it: of two processes one
    # then waits. A read-only image would be another type to the kernels, so memory is mapped to be
    # copied on write.
    options = {
        "n_jobs": max(2, jobs),
        "pre_dispatch": jobs,
        "mmap_mode": "c",
        "initializer": _ignore_interrupts,
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
        suspects = [index for index in sorted({*suspects, *running}) if index in waiting]


def run_numbered(
    index: int, config: TrainConfig, parts: Parts, on_epoch: Callable[[Row], object] | None = None
) -> Numbered:
    """Run a trial, and say which it was."""
    return index, run_trial(config, parts, on_epoch)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the one that began them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def parallel_calls(**options: Any) -> Parallel:
    """Return what yields each result the moment it is there, and holds no trial back in a batch."""
    options = {"pre_dispatch": "n_jobs", **options}
    return Parallel(return_as="generator_unordered", batch_size=1, **options)


@contextmanager
def closing_quietly(outcomes: Any) -> Iterator[Any]:
    """Close a joblib generator without its warning about what is not done."""
    try:
        yield outcomes
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes.close()


def given_up(cause: str) -> Outcome:
    """Return the outcome of a trial that no worker survives."""
    reason = f"its worker died {MOST_DEATHS} times ({cause}), perhaps for want of memory"
    return Outcome("failed", reason, [], 0, None, 0.0)


def line_of(error: BaseException) -> str:
    """Return an error's type and message as one line of bearable length."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
