"""on_cluster(): trials on a Dask cluster, with the images on every worker and with workers that die.

Needs the extra ``dask``: ``pip install "fastmlp[dask]"``, here and on every worker.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from joblib import delayed

from fastmlp._version import __version__
from fastmlp.errors import ConfigError, FastMLPError, line_of
from fastmlp.search.calls import (
    MOST_DEATHS,
    Numbered,
    Tasks,
    closing_quietly,
    given_up,
    parallel_calls,
    run_numbered,
)
from fastmlp.search.trial import Outcome, Parts
from fastmlp.training.config import TrainConfig

if TYPE_CHECKING:
    from distributed import Client

ANSWER_SECONDS = 4  # that the scheduler may take to answer, and then its first worker


def on_cluster(tasks: Tasks, parts: Parts, address: str) -> Generator[Numbered]:
    """Run trials on a Dask cluster, one at a time in each thread of its workers.

    If a worker dies, Dask runs its trials again. It gives up after a number of deaths (four, unless
    the scheduler says otherwise) but blames all trials that waited in the worker. Those that did not
    begin that often are therefore submitted again.

    Parameters
    ----------
    tasks : mapping of int to TrainConfig
    parts : (Dataset, Dataset)
        The images, which go to each worker once, not with every trial.
    address : str
        Address of the scheduler, such as ``"tcp://scheduler:8786"``.

    Raises
    ------
    ConfigError
        If no scheduler answers, or workers are missing or have another version of fastmlp.
    FastMLPError
        If the cluster is lost during the search.
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
                delayed(announced)(index, config, parts, topic)
                for index, config in list(waiting.items())
            )
            with closing_quietly(
                parallel_calls(backend=backend, pre_dispatch="all")(calls)
            ) as outcomes:
                for index, outcome in outcomes:
                    if isinstance(outcome, KilledWorker):
                        deaths[index] += 1  # or more
                        progress = True
                        if max(begun[index], deaths[index]) >= MOST_DEATHS:
                            outcome = given_up(f"the last was {outcome.last_worker.address}")
                    if isinstance(outcome, Outcome):
                        del waiting[index]
                        progress = True
                        yield index, outcome
                    else:
                        problem = line_of(outcome)
            _check_cluster(client, backend, address, "" if progress else problem)


def announced(index: int, config: TrainConfig, parts: Parts, topic: str) -> Numbered:
    """Run a trial on a Dask worker, after an event that tells the client about its beginning."""
    from distributed import get_worker

    get_worker().log_event(topic, index)
    return run_numbered(index, config, parts)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler, and check that its workers can train."""
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError('dask: distributed is missing; install "fastmlp[dask]"') from None
    try:
        # A Client that finds nobody waits for twice its timeout, so the scheduler is asked first. It
        # is asked in a thread because this one may already run an event loop, as in a notebook.
        with ThreadPoolExecutor(1) as pool:
            kind = pool.submit(asyncio.run, _identity(address)).result()
        if kind != "Scheduler":
            raise ValueError(f"a {kind} answers")
        client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except Exception as error:  # another server may answer anything
        raise ConfigError(
            f"dask: found no scheduler at {address!r} ({line_of(error)}); start one with "
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
        except Exception as error:  # whatever went wrong when the worker imported fastmlp
            raise ConfigError(f"dask: a worker cannot load fastmlp ({line_of(error)})") from None
        for worker, version in versions.items():
            if version != __version__:
                raise ConfigError(
                    f"dask: the worker {worker} has fastmlp {version}, expected {__version__}"
                )
        yield client


async def _identity(address: str) -> str:
    """Return the type that a Dask server reports for itself."""
    from distributed.core import rpc
    from distributed.security import Security

    security = Security().get_connection_args("client")
    async with rpc(address, timeout=ANSWER_SECONDS, connection_args=security) as server:
        answer = await asyncio.wait_for(server.identity(), ANSWER_SECONDS)
        return str(answer["type"])


def _version() -> str:
    return __version__


def _cluster_backend(client: Client, parts: Parts) -> Any:
    """Return joblib's Dask backend, with errors as results and images that outlive a worker."""
    import dask
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            # With one job, joblib would train in this process instead of on the only worker.
            return max(2, int(super().effective_n_jobs(n_jobs)))

        def submit(self, func: Any, callback: Any = None) -> Any:
            # joblib (1.6) waits for ever for a task that Dask gave up, and takes the error of a
            # cancelled task for the list of its results. Here both errors become results.
            ((_, (index, *_), _),) = func.items

            def deliver(out: Any) -> None:
                callback([(index, out)] if isinstance(out, BaseException) else out)

            def deliver_error(done: Any) -> None:
                if done.exception() is not None:
                    deliver(done.exception())

            future = super().submit(func, deliver)
            future.add_done_callback(deliver_error)
            return future

    backend = Backend(client=client)
    # The images are a task, not scattered: scattered data is lost with the workers that hold it,
    # while a task is run again from the copy in the scheduler.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "64GiB"}):
        backend.data_futures = {id(parts): client.submit(tuple, parts, pure=False)}
    return backend


def _check_cluster(client: Client, backend: Any, address: str, problem: str) -> None:
    """Raise a FastMLPError if the cluster cannot run what is left, or `problem` is not empty."""
    (images,) = backend.data_futures.values()
    if client.status != "running":
        problem = "the scheduler went away"
    elif images.status == "error":
        problem = f"the images cannot be loaded ({line_of(images.exception())})"
    elif not problem:
        return
    raise FastMLPError(
        f"dask: lost the cluster at {address}: {problem}; run this again: finished trials are kept"
    )
