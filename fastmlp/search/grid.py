"""grid_search(): the points of a grid, trained by any workers, stored as they end, and ranked.

The same call again trains only what is not stored yet. So a search that was killed goes on where it
was, and its result is, bit for bit, that of an undisturbed one, whatever the workers.

Examples
--------
>>> from tempfile import mkdtemp
>>> from fastmlp import TrainConfig, grid_search, load_digits
>>> digits = load_digits()
>>> train, valid = digits.train.split([0.9, 0.1], seed=0)
>>> grid = {"learning_rate": [0.3, 0.0003], "momentum": [0.0]}
>>> config = TrainConfig(hidden=(32,), epochs=5)
>>> result = grid_search(config, grid, train, valid, digits.test, store=mkdtemp())
>>> result.best.parameters
{'learning_rate': 0.3, 'momentum': 0.0}
>>> result.best.mean("test_accuracy") > 0.8
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fastmlp.datasets import Dataset, check_parts
from fastmlp.search.experiment import Grid, Metric, check_metric, points_of
from fastmlp.search.ranking import SearchResult
from fastmlp.search.record import checksum_of
from fastmlp.search.state import BEST, Progress, Search
from fastmlp.search.store import TrialStore
from fastmlp.search.watching import watched_search
from fastmlp.search.workers import Backend, Workers
from fastmlp.training.config import TrainConfig


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
    metric: Metric | None = None,
    backend: Backend = "threading",
    dask: str | None = None,
    on_trial: Callable[[Progress], object] | None = None,
    verbose: bool = False,
) -> SearchResult:
    """Return the points of a grid by rank, after training those that are not stored yet.

    Each trial is stored the moment it ends. For tables and figures, see `fastmlp.search.report.write_report`.

    Parameters
    ----------
    config : TrainConfig
        What the grid does not vary.
    grid : mapping, or sequence of mappings
        Fields of TrainConfig, each with its values. Points are combinations as in scikit-learn's ParameterGrid.
    train, valid, test : Dataset
        To train, to choose the best point and, if given, to test that point's networks once.
    store : path
        A folder for ``trials.sqlite`` and ``best/model.safetensors``.
    jobs : int, optional
        Trials at once.
    seeds : int
        Trainings of each point, with seeds ``config.seed``, ``config.seed + 1``, ...
    metric : str, optional
        The best point has the best mean of it over its seeds: see `fastmlp.search.experiment.metric_for`.
    backend, dask : str, optional
        Where trials run: see `fastmlp.search.workers.Workers`.
    on_trial : callable, optional
        Called with a Progress before the first trial and after each.
    verbose : bool
        Whether to show trials: a bar on a terminal and in a notebook, elsewhere lines.

    Raises
    ------
    ConfigError, DataError, StoreError, KeyboardInterrupt
        If something that is given is wrong, before anything is trained; on Ctrl-C. Finished trials are kept.
    """
    points, metric = points_of(config, grid, seeds, metric)
    workers = Workers(jobs, backend, dask)
    check_parts(train, valid, test)
    check_metric(metric, valid)
    with (
        TrialStore(store, checksum_of((train, valid))) as kept,
        watched_search(store, metric, on_trial, verbose) as watch,
    ):
        search = Search(seeds, metric, (train, valid), kept, watch)
        search.include_all(points)
        search.train(workers)
        return search.settle(workers, test, Path(store) / BEST)
