"""Search: which trials are missing, which point leads, and how far the search is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastmlp.datasets import Dataset
from fastmlp.errors import FastMLPError, StoreError
from fastmlp.search.experiment import Metric, Point
from fastmlp.search.ranking import SearchResult, best_of, merit_of, rank
from fastmlp.search.record import Key, Trial, finite, from_bytes, score_in, to_bytes
from fastmlp.search.store import TrialStore
from fastmlp.search.trial import Outcome, Parts, trial_of
from fastmlp.search.workers import Workers
from fastmlp.training.config import TrainConfig
from fastmlp.training.evaluation import evaluate
from fastmlp.training.metrics import lower_is_better
from fastmlp.training.network import Network
from fastmlp.training.shapes import multiply_adds

BEST = Path("best", "model.safetensors")  # in the folder of a search


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Parameters
    ----------
    total : int
        All trials of the search, those found in the store included.
    done, skipped : int
        Finished trials, and how many of them were found in the store.
    diverged, failed : int
        How many of the finished trials diverged or failed.
    best : float or None
        The metric of the best point whose trials are all finished.
    remaining : float or None
        Seconds left at the rate measured so far; None before the first trial.
    parameters : dict
        The grid's fields and their values, for the trial that just ended.
    trial : Trial or None
        The trial that just ended; None before the first.
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


class Search:
    """The trials of one search: which are missing, which point leads, and which networks are kept.

    Trials are numbered: the first point with all its seeds, then the second, and so on. A network is
    stored as long as its point leads, or has trials to come. A point leads if it is the best of those
    whose trials are all finished. All this follows from the rows in the store, so a resumed search
    goes on as an undisturbed one would.

    Parameters
    ----------
    seeds : int
        Trials of each point.
    metric : {"valid_accuracy", "valid_loss"}
    parts : (Dataset, Dataset)
    store : TrialStore
        Open, and of these parts.
    on_trial : callable, optional
        As for `fastmlp.grid_search`.
    keep_all : bool
        Whether the networks of all sound trials are stored.
    """

    def __init__(
        self,
        seeds: int,
        metric: Metric,
        parts: Parts,
        store: TrialStore,
        on_trial: Callable[[Progress], object] | None = None,
        keep_all: bool = False,
    ) -> None:
        self.seeds, self.metric = seeds, metric
        self.parts, self.store, self.on_trial = parts, store, on_trial
        self.keep_all = keep_all
        self.stored = store.trials()
        self.points: list[Point] = []
        self.keys: list[Key] = []
        self.costs: list[int] = []
        self.trials: dict[int, Trial] = {}
        self.counts: Counter[str] = Counter()
        self.leader: int | None = None
        self.skipped = self.work_left = self.work_done = 0
        self.start = 0.0

    def include(self, point: Point) -> int:
        """Add a point and its stored trials, and return the number of its first trial.

        Raises
        ------
        ConfigError
            If a layer cannot take the shape that reaches it.
        """
        first = len(self.keys)
        self.points.append(point)
        key, cost = Key.of(self.config(first + self.seeds - 1)), self._cost(point.config)
        for number in range(first, first + self.seeds):
            self.keys.append(key._replace(seed=point.config.seed + number - first))
            self.costs.append(cost)
            self.work_left += cost
            trial = self.stored.get(self.keys[-1])
            if trial is not None and trial.status != "pruned":
                self.take(number, trial)
        if self._leads(len(self.points) - 1):
            self.leader = len(self.points) - 1
        return first

    def include_all(self, points: Iterable[Point]) -> None:
        """Add points as `include` does."""
        for point in points:
            self.include(point)

    def config(self, number: int) -> TrainConfig:
        """Return the settings of a trial."""
        index, later = divmod(number, self.seeds)
        config = self.points[index].config
        return config.replace(seed=config.seed + later) if later else config

    def take(self, number: int, trial: Trial) -> None:
        """Count a stored trial as finished."""
        self.trials[number] = trial
        self.counts[trial.status] += 1
        self.skipped += 1
        self.work_left -= self.costs[number]

    def train(self, workers: Workers) -> None:
        """Train what is missing, the longest first, so that no long trial begins last."""
        self.tell()
        numbers = [number for number in range(len(self.keys)) if number not in self.trials]
        numbers.sort(key=lambda number: -self.costs[number])
        tasks = {number: self.config(number) for number in numbers}
        self.start = time.perf_counter()
        with closing(workers.run(tasks, self.parts)) as outcomes:
            for number, outcome in outcomes:
                self.finish(number, outcome)

    def finish(self, number: int, outcome: Outcome) -> None:
        """Store a finished trial, and its network if it may be the best."""
        trial = trial_of(self.keys[number].seed, outcome)
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
        if loser != index or (self.keep_all and trial.sound):
            assert outcome.network is not None
            network = to_bytes(outcome.network)
        lost = [] if loser is None or self.keep_all else self._numbers(loser)
        superseded = [self.keys[n] for n in lost]
        self.store.add(self.keys[number], trial, network, superseded)
        self.work_done += self.costs[number]
        self.work_left -= self.costs[number]
        self.tell(number)

    def settle(self, workers: Workers, test: Dataset | None, path: Path) -> SearchResult:
        """Test the networks of the best point, save the best of them, and return the ranks."""
        network = self._best_network(workers, test)
        if network is not None:
            path.parent.mkdir(exist_ok=True)
            network.save(path)
        self.store.make_view()
        trials = [self._trials(index) for index in range(len(self.points))]
        return SearchResult(
            rank(self.points, trials, self.metric),
            self.metric,
            trained=len(self.trials) - self.skipped,
            skipped=self.skipped,
            network=network,
            others=self._others(),
        )

    def _others(self) -> tuple[tuple[TrainConfig, Trial], ...]:
        """Return the stored trials that are no part of this search, with their settings."""
        left = self.stored.keys() - set(self.keys)
        found = ((key.config(), trial) for key, trial in self.stored.items() if key in left)
        return tuple((config, trial) for config, trial in found if config is not None)

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
                    test_accuracy=score_in(scores),
                )
                self.store.set_test(self.keys[number], tested)
                self.trials[number] = tested
        return networks[best_of(self._trials(self.leader), self.metric)]

    def _restore(self, workers: Workers, numbers: Sequence[int]) -> None:
        """Train trials again whose networks were deleted because a wider search had a better point."""
        tasks = {number: self.config(number) for number in numbers}
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
        try:
            return from_bytes(data, self.config(number), self.parts[0])
        except FastMLPError as error:
            raise StoreError(
                f"{self.store.path}: a network of trial {number + 1}: {error}"
            ) from error

    def tell(self, number: int | None = None) -> None:
        """Call `on_trial`, after the trial with this number or before the first."""
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
            best=-merit if merit is not None and lower_is_better(self.metric) else merit,
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
        """Return whether a point is complete, sound and better than the leader, or as good and before it."""
        if not self._complete(index):
            return False
        merit = merit_of(self._trials(index), self.metric)
        if merit is None or self.leader is None:
            return merit is not None
        best = merit_of(self._trials(self.leader), self.metric)
        assert best is not None
        return (merit, -index) > (best, -self.leader)

    def _cost(self, config: TrainConfig) -> int:
        """Return the multiplications of a full training, up to a factor that all trials share."""
        part = self.parts[0]
        return config.epochs * sum(multiply_adds(config.layers(len(part.classes)), part.shape))
