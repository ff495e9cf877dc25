"""Trials: one training as a value that no error escapes from, and workers that outlive its death.

joblib runs the workers: threads of this process, processes of this machine, or a Dask cluster. A
trial does not know where it runs, and its bits do not depend on it.
"""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import takewhile
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, get_args

from joblib import Parallel, delayed
from joblib.externals.loky import BrokenProcessPool

from fastmlp import __version__
from fastmlp.config import TrainConfig
from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, FastMLPError
from fastmlp.many import models_at_once
from fastmlp.network import Network
from fastmlp.threads import usable_cores
from fastmlp.trainer import Row, train

if TYPE_CHECKING:
    from distributed import Client

Backend = Literal["threading", "loky"]
Parts = tuple[Dataset, Dataset]
Tasks = Mapping[int, TrainConfig]
Numbered = tuple[int, "Outcome"]

MOST_DEATHS = 4  # of workers while they train one trial; then it is given up
ANSWER_SECONDS = 4  # that a Dask scheduler and its first worker have to answer, each


class Outcome(NamedTuple):
    """What a trial ended with.

    Attributes
    ----------
    status : {"done", "stopped", "diverged", "failed", "pruned", "interrupted"}
        As in `fastmlp.store.Trial`; an interrupted one is not stored.
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
    history: list[Row]
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
        return Outcome("failed", _line(error), [], 0, None, seconds)
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
        Trials at once; by default as `fastmlp.train_many` decides: one a core, or one after the
        other with all cores each where their weights outgrow the cache.
    backend : {"threading", "loky"}
        Threads of this process, or processes.
    dask : str, optional
        Address of a scheduler, instead of the two.

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
        if jobs is not None and (type(jobs) is not int or jobs < 1):
            raise ConfigError(f"jobs: found {jobs!r}, expected a whole number from 1")
        if dask is not None and (jobs is not None or backend != "threading"):
            raise ConfigError(
                "dask: found with jobs or backend, which its workers decide; drop one"
            )
        self.jobs, self.backend, self.dask = jobs, backend, dask

    def run(self, tasks: Tasks, parts: Parts) -> Iterator[Numbered]:
        """Run trials in the order of `tasks` and yield the outcome of each as it ends.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C. In threads, trials end the epoch they are in first.
        """
        if not tasks:
            return
        cores = usable_cores()
        jobs = min(len(tasks), self.jobs or models_at_once([*tasks.values()], parts[0], cores))
        threads = 1 if self.dask else max(1, cores // jobs)
        tasks = {n: one.replace(threads=one.threads or threads) for n, one in tasks.items()}
        threaded = self.dask is None and self.backend == "threading"
        with _Interrupt(gently=threaded) as interrupt:
            if self.dask is not None:
                outcomes = on_cluster(tasks, parts, self.dask)
            elif self.backend == "loky":
                outcomes = in_processes(tasks, parts, jobs)
            else:
                outcomes = in_threads(tasks, parts, jobs, interrupt.asked)
            with closing(outcomes):
                while (numbered := interrupt.wait_for(outcomes)) is not None:
                    if numbered[1].status != "interrupted":
                        yield numbered
            if interrupt.asked.is_set():
                raise KeyboardInterrupt


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
        delayed(_numbered)(index, config, parts, lambda row: stop.is_set())
        for index, config in takewhile(lambda _: not stop.is_set(), tasks.items())
    )
    outcomes = _parallel(n_jobs=jobs, backend="threading")(calls)
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
    # joblib would do a single job in this process, which must not die of it. A read-only image
    # would be another type to the kernels, so memory is mapped to be copied on write.
    options = {"n_jobs": max(2, jobs), "mmap_mode": "c", "initializer": _ignore_interrupts}
    while waiting:
        running: set[int] = set()

        def calls(indices: Iterable[int], running: set[int] = running) -> Iterator[Any]:
            for index in indices:
                running.add(index)
                yield delayed(_numbered)(index, waiting[index], parts)

        parallel = _parallel(backend="loky", **options)
        try:
            with _closing(parallel(calls(suspects[:1] or list(waiting)))) as outcomes:
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
                    yield index, _given_up(codes[1] if codes else _line(error))
        suspects = [index for index in sorted({*suspects, *running}) if index in waiting]


def on_cluster(tasks: Tasks, parts: Parts, address: str) -> Generator[Numbered]:
    """Run trials on a Dask cluster, one at a time in each thread of its workers.

    Dask itself runs a trial again whose worker died. It gives up after a number of deaths (four,
    unless the scheduler is told otherwise), but blames all trials that waited in the worker, so that
    those which did not begin that often are handed in again.

    Parameters
    ----------
    tasks, parts
        As for `in_threads`. The images go to each worker once.
    address : str
        Of the scheduler, such as ``"tcp://scheduler:8786"``.

    Raises
    ------
    ConfigError
        If nobody answers there, or workers are missing or have another fastmlp.
    FastMLPError
        If the cluster is lost on the way.
    """
    with _connected(address) as client:
        from distributed import KilledWorker

        topic = f"fastmlp-{uuid.uuid4().hex}"
        begun: Counter[int] = Counter()
        client.subscribe_topic(topic, lambda event: begun.update([event[1]]))
        deaths: Counter[int] = Counter()
        waiting = dict(tasks)
        while waiting:
            backend = _cluster_backend(client, parts)
            progress, problem = False, ""
            calls = (
                delayed(_announced)(index, config, parts, topic)
                for index, config in list(waiting.items())
            )
            with _closing(_parallel(backend=backend, pre_dispatch="all")(calls)) as outcomes:
                for index, outcome in outcomes:
                    if isinstance(outcome, KilledWorker):
                        deaths[index] += 1  # at the least
                        progress = True
                        if max(begun[index], deaths[index]) >= MOST_DEATHS:
                            outcome = _given_up(f"the last was {outcome.last_worker.address}")
                    if isinstance(outcome, Outcome):
                        del waiting[index]
                        progress = True
                        yield index, outcome
                    else:
                        problem = _line(outcome)
            _check_cluster(client, backend, address, "" if progress else problem)


def _numbered(
    index: int, config: TrainConfig, parts: Parts, on_epoch: Callable[[Row], object] | None = None
) -> Numbered:
    return index, run_trial(config, parts, on_epoch)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the one that began them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _announced(index: int, config: TrainConfig, parts: Parts, topic: str) -> Numbered:
    """Run a trial on a Dask worker, and tell the client that it begins."""
    from distributed import get_worker

    get_worker().log_event(topic, index)
    return _numbered(index, config, parts)


def _parallel(**options: Any) -> Parallel:
    """Return what yields each result the moment it is there, and holds no trial back in a batch."""
    options = {"pre_dispatch": "n_jobs", **options}
    return Parallel(return_as="generator_unordered", batch_size=1, **options)


@contextmanager
def _closing(outcomes: Any) -> Iterator[Any]:
    """Close a joblib generator without its warning about what is not done."""
    try:
        yield outcomes
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes.close()


def _given_up(cause: str) -> Outcome:
    reason = f"its worker died {MOST_DEATHS} times ({cause}), perhaps for want of memory"
    return Outcome("failed", reason, [], 0, None, 0.0)


def _line(error: BaseException) -> str:
    """Return an error's type and message as one line of bearable length."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler and make sure that its workers can do the work."""
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError('dask: distributed is missing; install "fastmlp[dask]"') from None
    try:
        # A Client that finds nobody lingers for twice its time, so ask first. In a thread, as this
        # one may have a loop already: a notebook's.
        with ThreadPoolExecutor(1) as pool:
            kind = pool.submit(asyncio.run, _identity(address)).result()
        if kind != "Scheduler":
            raise ValueError(f"a {kind} answers")
        client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except Exception as error:  # strangers may answer anything
        raise ConfigError(
            f"dask: found no scheduler at {address!r} ({_line(error)}); start one with "
            "`dask scheduler`, and pass the address it prints"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=ANSWER_SECONDS)
            versions = client.run(_version)
        except TimeoutError:
            raise ConfigError(
                f"dask: found no worker at {address}; start some with "
                f"`dask worker {address} --nthreads 1`"
            ) from None
        except Exception as error:  # whatever importing fastmlp over there ran into
            raise ConfigError(f"dask: a worker cannot load fastmlp ({_line(error)})") from None
        for worker, version in versions.items():
            if version != __version__:
                raise ConfigError(
                    f"dask: the worker {worker} has fastmlp {version}, expected {__version__}"
                )
        yield client


async def _identity(address: str) -> str:
    """Return what a Dask server says that it is."""
    from distributed.core import rpc
    from distributed.security import Security

    security = Security().get_connection_args("client")
    async with rpc(address, timeout=ANSWER_SECONDS, connection_args=security) as server:
        answer = await asyncio.wait_for(server.identity(n_workers=0), ANSWER_SECONDS)
        return str(answer["type"])


def _version() -> str:
    return __version__


def _cluster_backend(client: Client, parts: Parts) -> Any:
    """Return joblib's Dask backend, with errors reported and images that survive a worker."""
    import dask
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            # With one, joblib would train in this process instead of on the one worker.
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, func: Any, callback: Any = None) -> Any:
            # joblib (1.6) never hears of a task that Dask gave up, and waits for it for ever; of a
            # cancelled one it takes the error for the list of results. Both become a result here.
            ((_, (index, *_), _),) = func.items

            def deliver(out: Any) -> None:
                callback([(index, out)] if isinstance(out, BaseException) else out)

            def report(done: Any) -> None:
                if done.exception() is not None:
                    deliver(done.exception())

            future = super().submit(func, deliver)
            future.add_done_callback(report)
            return future

    backend = Backend(client=client)
    # As a task, not by scatter: scattered data is gone when the workers that hold it die; this is
    # made again from the copy in the scheduler.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "64GiB"}):
        backend.data_futures = {id(parts): client.submit(tuple, parts, pure=False)}
    return backend


def _check_cluster(client: Client, backend: Any, address: str, problem: str) -> None:
    """Raise unless it makes sense to hand in what is left: there is no problem, of ours or its."""
    (images,) = backend.data_futures.values()
    if client.status != "running":
        problem = "the scheduler went away"
    elif images.status == "error":
        problem = f"the images cannot be loaded ({_line(images.exception())})"
    elif not problem:
        return
    raise FastMLPError(
        f"dask: lost the cluster at {address}: {problem}; run this again: finished trials are kept"
    )
