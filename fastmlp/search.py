"""grid_search(): every point of a grid -> trials in any worker -> finished trials in SQLite -> ranks."""

from __future__ import annotations

import hashlib
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from fastmlp.config import TrainConfig
from fastmlp.datasets import Dataset, Normalization
from fastmlp.errors import ConfigError
from fastmlp.experiment import Grid, Metric, Point, check_choice, expand
from fastmlp.network import Network
from fastmlp.store import Key, Trial, TrialStore, finite
from fastmlp.threads import usable_cores
from fastmlp.trainer import evaluate
from fastmlp.trials import Outcome, Parts, Tasks, in_processes, in_threads, on_cluster

Backend = Literal["threading", "loky"]

BEST = Path("best", "model.safetensors")  # in the folder of a search


@dataclass(frozen=True)
class RankedPoint:
    """A point of the grid with its trials.

    Attributes
    ----------
    rank : int
        From 1, the best. Points with a diverged trial follow those without, points with a failed
        one come last; among equals the grid's order decides.
    index : int
        Its place in the grid, from 0.
    parameters : dict
        The grid's fields and this point's values.
    config : TrainConfig
        All of its settings, with the first seed.
    trials : tuple of Trial
        One a seed.
    """

    rank: int
    index: int
    parameters: Mapping[str, Any]
    config: TrainConfig
    trials: tuple[Trial, ...]

    @property
    def sound(self) -> bool:
        """Whether every trial came to a regular end."""
        return all(trial.sound for trial in self.trials)

    def mean(self, name: str) -> float | None:
        """Return the mean over seeds of a number of `Trial`, None if a trial lacks it."""
        values = [getattr(trial, name) for trial in self.trials]
        return None if None in values else math.fsum(values) / len(values)

    def deviation(self, name: str) -> float | None:
        """Return the sample standard deviation over seeds, None for fewer than two values."""
        values = [getattr(trial, name) for trial in self.trials]
        return None if None in values or len(values) < 2 else statistics.stdev(values)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    points : tuple of RankedPoint
        The whole grid, the best first.
    metric : {"valid_accuracy", "valid_loss"}
        What they are ranked by: its mean over seeds.
    trained, skipped : int
        Trials trained by this call, and found in the store.
    network : Network or None
        Of the best point, that of its best trial; None if no point is sound.
    """

    points: tuple[RankedPoint, ...]
    metric: Metric
    trained: int
    skipped: int
    network: Network | None

    @property
    def best(self) -> RankedPoint | None:
        """The first point, unless no point is sound."""
        return self.points[0] if self.points[0].sound else None

    @property
    def best_trial(self) -> Trial | None:
        """The trial that `network` is of."""
        return self.best and self.best.trials[_best_seed(self.best.trials, self.metric)]

    def cv_results(self) -> dict[str, Any]:
        """Return the table under the names of scikit-learn's ``cv_results_``, in the grid's order.

        Seeds take the place of splits, and the validation part that of scikit-learn's test folds.
        Scores are greater for better (a loss has its sign turned); NaN where a trial diverged or
        failed.
        """
        points = sorted(self.points, key=lambda point: point.index)
        sign = _sign(self.metric)
        names = sorted({name for point in points for name in point.parameters})
        table: dict[str, Any] = {
            "mean_fit_time": [np.mean([t.seconds for t in p.trials]) for p in points],
            "std_fit_time": [np.std([t.seconds for t in p.trials]) for p in points],
        }
        for name in names:
            column = np.ma.masked_all(len(points), object)
            for row, point in enumerate(points):
                if name in point.parameters:
                    column[row] = point.parameters[name]
            table[f"param_{name}"] = column
        table["params"] = [dict(point.parameters) for point in points]
        for part, metric in (
            ("test", self.metric),
            ("train", self.metric.replace("valid", "train")),
        ):
            scores = np.array(
                [[_score(trial, metric, sign) for trial in point.trials] for point in points]
            )
            for seed in range(scores.shape[1]):
                table[f"split{seed}_{part}_score"] = scores[:, seed]
            table[f"mean_{part}_score"] = scores.mean(axis=1)
            table[f"std_{part}_score"] = scores.std(axis=1)
            if part == "test":
                means = np.nan_to_num(scores.mean(axis=1), nan=-np.inf)
                ranks = [1 + int((means > mean).sum()) for mean in means]
                table["rank_test_score"] = np.array(ranks, np.int32)
        return {
            name: column if name == "params" or isinstance(column, np.ndarray) else np.array(column)
            for name, column in table.items()
        }


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes
    ----------
    total : int
        Trials of the search, those found in the store included.
    done, skipped : int
        Trials that are finished, and those of them that were found in the store.
    diverged, failed : int
        Of those that are finished.
    best : float or None
        The metric of the best point whose trials are all finished.
    remaining : float or None
        Seconds that are left at the rate measured so far; None before the first trial.
    parameters : dict
        Of the trial that ended: the grid's fields and their values; empty before the first.
    trial : Trial or None
        None before the first.
    """

    total: int
    done: int
    skipped: int
    diverged: int = 0
    failed: int = 0
    best: float | None = None
    remaining: float | None = None
    parameters: Mapping[str, Any] | None = None
    trial: Trial | None = None


def grid_search(
    config: TrainConfig,
    grid: Grid | Sequence[Grid],
    train: Dataset,
    valid: Dataset,
    test: Dataset | None = None,
    *,
    store: str | Path,
    jobs: int | None = None,
    seeds: int = 1,
    metric: Metric = "valid_accuracy",
    backend: Backend = "threading",
    dask: str | None = None,
    on_trial: Callable[[Progress], object] | None = None,
) -> SearchResult:
    """Train every point of a grid, and keep what is finished whatever happens.

    Each trial is stored the moment it ends. The same call again trains only what is missing, so
    that a search that was killed goes on where it was; its result then is, bit for bit, that of one
    that was not, whatever the workers.

    Parameters
    ----------
    config : TrainConfig
        What the grid does not vary.
    grid : mapping, or sequence of mappings
        Fields of TrainConfig, each with a list of values: every combination is a point, as in
        scikit-learn's ParameterGrid.
    train, valid : Dataset
        To train, and to choose the best point.
    test : Dataset, optional
        Seen once: by the networks of the best point.
    store : path
        A folder for ``trials.sqlite`` and ``best/model.safetensors``.
    jobs : int, optional
        Trials at once. By default as many as there are usable cores, divided by
        ``config.threads`` where that is set; threads that are left over go into the trials.
    seeds : int
        Trainings of each point, with seeds ``config.seed``, ``config.seed + 1``, ...
    metric : {"valid_accuracy", "valid_loss"}
        The best point has the highest mean accuracy, or the lowest mean loss, over its seeds.
    backend : {"threading", "loky"}
        Threads of this process, or processes.
    dask : str, optional
        Address of a Dask scheduler, whose workers train then; see `fastmlp.trials.on_cluster`.
    on_trial : callable, optional
        Called with a Progress before the first trial and after each.

    Returns
    -------
    SearchResult

    Raises
    ------
    ConfigError
        If the grid has an unknown name, a wrong value or a point that cannot be trained, or a Dask
        cluster does not answer. Nothing has been trained then.
    DataError
        If the parts do not fit each other.
    StoreError
        If the store cannot be read or written, belongs to other data or is in use.
    KeyboardInterrupt
        On Ctrl-C. Threads end the epoch they are in first; finished trials are kept.
    """
    check_choice(seeds, metric)
    points = expand(config, grid)
    plan = [
        [point.config.replace(seed=point.config.seed + number) for number in range(seeds)]
        for point in points
    ]
    workers = _Workers(jobs, backend, dask, config.threads)
    parts = (train, valid)
    for name, part in (("valid", valid), ("test", test)):
        if part is not None:
            _check_part(name, part, train)
    checksum = hashlib.sha256(f"{train.checksum} {valid.checksum}".encode()).hexdigest()
    with TrialStore(store, checksum) as kept:
        search = _Search(points, plan, metric, kept, parts)
        progress = _Meter(search, on_trial)
        for number, outcome in workers.run(search.missing(), parts):
            progress.show(*search.finish(number, outcome))
        network = search.settle(workers, test, Path(store) / BEST)
        return SearchResult(
            search.ranked(), metric, search.trained, progress.skipped, network
        )


class _Workers:
    """Where trials run."""

    def __init__(
        self, jobs: int | None, backend: str, address: str | None, threads: int | None
    ) -> None:
        if backend not in get_args(Backend):
            raise ConfigError(
                f"backend: found {backend!r}, expected {' or '.join(get_args(Backend))}"
            )
        if jobs is not None and (type(jobs) is not int or jobs < 1):
            raise ConfigError(f"jobs: found {jobs!r}, expected a whole number from 1")
        if address is not None and (jobs is not None or backend != "threading"):
            raise ConfigError("dask: found with jobs or a backend, expected neither: its workers decide")
        self.cores = usable_cores()
        self.jobs = jobs or max(1, self.cores // (threads or 1))
        self.backend, self.address = backend, address

    def run(self, tasks: Tasks, parts: Parts) -> Iterator[tuple[int, Outcome]]:
        """Run trials in the order given and yield each that ends, until Ctrl-C."""
        if not tasks:
            return
        jobs = min(self.jobs, len(tasks))
        threads = 1 if self.address else max(1, self.cores // jobs)
        tasks = {
            number: config.replace(threads=config.threads or threads)
            for number, config in tasks.items()
        }
        with _interruptible(gently=self.address is None and self.backend == "threading") as stop:
            if self.address is not None:
                outcomes = on_cluster(tasks, parts, self.address)
            elif self.backend == "loky":
                outcomes = in_processes(tasks, parts, jobs)
            else:
                outcomes = in_threads(tasks, parts, jobs, stop)
            with closing(outcomes):  # type: ignore[type-var]
                for number, outcome in outcomes:
                    if outcome.status != "interrupted":
                        yield number, outcome
            if stop.is_set():
                raise KeyboardInterrupt


@contextmanager
def _interruptible(*, gently: bool) -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C sets; the second interrupts as ever.

    Without `gently`, and where signals are somebody else's business, the first interrupts, too.
    """
    stop = threading.Event()
    usual = signal.getsignal(signal.SIGINT)
    in_charge = (
        gently
        and threading.current_thread() is threading.main_thread()
        and usual is signal.default_int_handler
    )

    def handle(number: int, frame: Any) -> None:
        signal.signal(number, usual)
        stop.set()

    if in_charge:
        signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        if in_charge:
            signal.signal(signal.SIGINT, usual)
