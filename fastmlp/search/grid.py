"""grid_search(): points of a grid -> trials in any worker -> finished trials in SQLite -> ranks."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from fastmlp.datasets import Dataset, Normalization
from fastmlp.errors import DataError, StoreError
from fastmlp.search.experiment import Grid, Metric, Point, check_choice, expand
from fastmlp.search.ranking import SearchResult, best_of, merit_of, rank
from fastmlp.search.store import Key, Trial, TrialStore, finite
from fastmlp.search.trials import Backend, Outcome, Parts, Workers
from fastmlp.training.config import TrainConfig
from fastmlp.training.evaluation import evaluate
from fastmlp.training.network import Network

BEST = Path("best", "model.safetensors")  # in the folder of a search


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
        Of the trial that just ended: the grid's fields and its values.
    trial : Trial or None
        None before the first.
    """

    total: int
    done: int
    skipped: int
    diverged: int
    failed: int
    best: float | None
    remaining: float | None
    parameters: Mapping[str, Any]
    trial: Trial | None


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
        Seen once, by the networks of the best point.
    store : path
        A folder for ``trials.sqlite`` and ``best/model.safetensors``.
    jobs : int, optional
        Trials at once. By default one a core; those whose weights outgrow the cache come after the
        others, one at a time with all cores. Cores that are left over help with the trials.
    seeds : int
        Trainings of each point, with seeds ``config.seed``, ``config.seed + 1``, ...
    metric : {"valid_accuracy", "valid_loss"}
        The best point has the highest mean accuracy, or the lowest mean loss, over its seeds.
    backend : {"threading", "loky"}
        Threads of this process, or processes.
    dask : str, optional
        Address of a Dask scheduler, whose workers train then; see `fastmlp.search.cluster`.
    on_trial : callable, optional
        Called with a Progress before the first trial and after each.

    Returns
    -------
    SearchResult
        `fastmlp.search.report.write_report` writes tables and figures of it.

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
    check_choice(seeds, metric)
    points = expand(config, grid)
    workers = Workers(jobs, backend, dask)
    check_parts(train, valid, test)
    with TrialStore(store, checksum_of((train, valid))) as kept:
        search = Search(seeds, metric, (train, valid), kept, on_trial)
        for point in points:
            search.include(point)
        search.report()
        with closing(workers.run(search.missing(), (train, valid))) as outcomes:
            for number, outcome in outcomes:
                search.finish(number, outcome)
        return search.settle(workers, test, Path(store) / BEST)


def check_parts(train: Dataset, valid: Dataset, test: Dataset | None) -> None:
    """Refuse parts of different images or classes."""
    for name, part in (("valid", valid), ("test", test)):
        if part is not None and (part.shape, part.classes) != (train.shape, train.classes):
            raise DataError(
                f"{name}: found {part.shape} images of {part.classes}, expected {train.shape} of "
                f"{train.classes} as in the training part"
            )


def checksum_of(parts: Parts) -> str:
    """Return the hex sha256 that tells a store's data from other data."""
    return hashlib.sha256(" ".join(part.checksum for part in parts).encode()).hexdigest()


def trial_of(seed: int, outcome: Outcome) -> Trial:
    """Return what is stored of an outcome."""
    assert outcome.status != "interrupted"
    history = [{name: finite(value) for name, value in row.items()} for row in outcome.history]
    row = history[outcome.epoch - 1] if outcome.epoch else {}
    return Trial(
        seed=seed,
        status=outcome.status,
        reason=outcome.reason,
        epochs=len(history),
        epoch=outcome.epoch,
        train_loss=row.get("train_loss"),
        train_accuracy=row.get("train_accuracy"),
        valid_loss=row.get("valid_loss"),
        valid_accuracy=row.get("valid_accuracy"),
        seconds=outcome.seconds,
        history=history,
    )


def to_bytes(network: Network) -> bytes:
    """Return the tensors of a network as the store keeps them: safetensors."""
    scaling = network.normalization
    return to_safetensors(
        network.state_dict()
        | {"normalization.mean": scaling.mean, "normalization.std": scaling.std}
    )


def from_bytes(data: bytes, config: TrainConfig, part: Dataset) -> Network:
    """Return the network that `to_bytes` was given, trained with `config` on `part`."""
    tensors = from_safetensors(data)
    scaling = [tensors.pop(f"normalization.{name}") for name in ("mean", "std")]
    return Network.from_state_dict(
        tensors,
        activation=config.activation,
        residual=config.residual,
        normalization=Normalization(*scaling),
        classes=part.classes,
        shape=part.shape,
    )


class Search:
    """The trials of one search: which are missing, which may be the best, and how they rank.

    Trials are numbered through: the first point with all seeds, the second with all seeds, ... The
    network of a trial is stored while its point is the best of those whose trials are all finished,
    or has trials to come. All this follows from the rows in the store, so that a resumed search goes
    on alike.
    """

    def __init__(
        self,
        seeds: int,
        metric: Metric,
        parts: Parts,
        store: TrialStore,
        on_trial: Callable[[Progress], object] | None = None,
    ) -> None:
        self.seeds, self.metric = seeds, metric
        self.parts, self.store, self.on_trial = parts, store, on_trial
        self.stored = store.trials()
        self.points: list[Point] = []
        self.configs: list[TrainConfig] = []
        self.keys: list[Key] = []
        self.costs: list[int] = []
        self.trials: dict[int, Trial] = {}
        self.counts: Counter[str] = Counter()
        self.leader: int | None = None
        self.skipped = self.work_left = self.work_done = 0
        self.start = 0.0

    def include(self, point: Point) -> int:
        """Add a point, with what the store has of it, and return the number of its first trial."""
        first = len(self.configs)
        for number in range(first, first + self.seeds):
            config = point.config.replace(seed=point.config.seed + number - first)
            self.configs.append(config)
            self.keys.append(Key.of(config))
            self.costs.append(self._cost(config))
            self.work_left += self.costs[-1]
            trial = self.stored.get(self.keys[-1])
            if trial is not None and trial.status != "pruned":
                self.take(number, trial)
        self.points.append(point)
        if self._leads(len(self.points) - 1):
            self.leader = len(self.points) - 1
        return first

    def take(self, number: int, trial: Trial) -> None:
        """Count a trial of the store as finished."""
        self.trials[number] = trial
        self.counts[trial.status] += 1
        self.skipped += 1
        self.work_left -= self.costs[number]

    def missing(self) -> dict[int, TrainConfig]:
        """Return what is to be trained, the longest first, so that none begins when others end."""
        numbers = [number for number in range(len(self.keys)) if number not in self.trials]
        numbers.sort(key=lambda number: -self.costs[number])
        self.start = time.perf_counter()
        return {number: self.configs[number] for number in numbers}

    def finish(self, number: int, outcome: Outcome) -> None:
        """Store a finished trial, and its network if it may be the best."""
        trial = trial_of(self.configs[number].seed, outcome)
        self.trials[number] = trial
        self.counts[trial.status] += 1
        index = number // self.seeds
        loser: int | None = None
        if self._complete(index):
            loser = index
            if self._leads(index):
                loser, self.leader = self.leader, index
        elif not all(one.sound for one in self._trials(index)):
            loser = index
        network = None
        if loser != index:
            assert outcome.network is not None
            network = to_bytes(outcome.network)
        superseded = [] if loser is None else [self.keys[n] for n in self._numbers(loser)]
        self.store.add(self.keys[number], trial, network, superseded)
        self.work_done += self.costs[number]
        self.work_left -= self.costs[number]
        self.report(number)

    def settle(self, workers: Workers, test: Dataset | None, path: Path) -> SearchResult:
        """Test the best point's networks, save the best of them, and return the ranks."""
        network = self._best_network(workers, test)
        if network is not None:
            path.parent.mkdir(exist_ok=True)
            network.save(path)
        trials = [self._trials(index) for index in range(len(self.points))]
        return SearchResult(
            rank(self.points, trials, self.metric),
            self.metric,
            trained=len(self.trials) - self.skipped,
            skipped=self.skipped,
            network=network,
        )

    def _best_network(self, workers: Workers, test: Dataset | None) -> Network | None:
        if self.leader is None:
            return None
        numbers = self._numbers(self.leader)
        self._restore(workers, [n for n in numbers if self.store.network(self.keys[n]) is None])
        networks = [self._network(number) for number in numbers]
        for number, network in zip(numbers, networks, strict=True):
            if test is not None and self.trials[number].test_data != test.checksum:
                scores = evaluate(network, test)
                tested = replace(
                    self.trials[number],
                    test_data=test.checksum,
                    test_loss=finite(scores["loss"]),
                    test_accuracy=scores["accuracy"],
                )
                self.store.set_test(self.keys[number], tested)
                self.trials[number] = tested
        return networks[best_of(self._trials(self.leader), self.metric)]

    def _restore(self, workers: Workers, numbers: Sequence[int]) -> None:
        """Train again what lost its network to a better trial of a wider search."""
        tasks = {number: self.configs[number] for number in numbers}
        with closing(workers.run(tasks, self.parts)) as outcomes:
            for number, outcome in outcomes:
                if outcome.network is None:
                    raise StoreError(
                        f"{self.store.path}: found a {self.trials[number].status} trial that now "
                        f"is {outcome.status} ({outcome.reason}); use another folder"
                    )
                self.store.set_network(self.keys[number], to_bytes(outcome.network))

    def _network(self, number: int) -> Network:
        data = self.store.network(self.keys[number])
        assert data is not None
        return from_bytes(data, self.configs[number], self.parts[0])

    def report(self, number: int | None = None) -> None:
        """Tell how far the search is, after the trial with this number."""
        if self.on_trial is None:
            return
        elapsed = time.perf_counter() - self.start
        merit = None if self.leader is None else merit_of(self._trials(self.leader), self.metric)
        progress = Progress(
            total=len(self.keys),
            done=len(self.trials),
            skipped=self.skipped,
            diverged=self.counts["diverged"],
            failed=self.counts["failed"],
            best=merit if merit is None else abs(merit),
            remaining=elapsed * self.work_left / self.work_done if self.work_done else None,
            parameters={} if number is None else self.points[number // self.seeds].parameters,
            trial=None if number is None else self.trials[number],
        )
        self.on_trial(progress)

    def _numbers(self, index: int) -> range:
        return range(index * self.seeds, (index + 1) * self.seeds)

    def _trials(self, index: int) -> list[Trial]:
        return [self.trials[n] for n in self._numbers(index) if n in self.trials]

    def _complete(self, index: int) -> bool:
        return len(self._trials(index)) == self.seeds

    def _leads(self, index: int) -> bool:
        """Tell whether a point is complete, sound and better than the leader, or as good and before it."""
        if not self._complete(index):
            return False
        merit = merit_of(self._trials(index), self.metric)
        if merit is None or self.leader is None:
            return merit is not None
        best = merit_of(self._trials(self.leader), self.metric)
        assert best is not None
        return (merit, -index) > (best, -self.leader)

    def _cost(self, config: TrainConfig) -> int:
        """Return the multiplications of a full training, but for a factor that all share."""
        sizes = (self.parts[0].images.shape[1], *config.hidden, len(self.parts[0].classes))
        return config.epochs * int(np.dot(sizes[:-1], sizes[1:]))
