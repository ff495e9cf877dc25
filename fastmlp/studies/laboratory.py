"""The laboratory: where a study is trained and tested, and what was finished is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from fastmlp.datasets import Dataset
from fastmlp.errors import FastMLPError
from fastmlp.search.experiment import load_parts, points_of
from fastmlp.search.record import Key, Trial, checksum_of, finite, from_bytes, to_bytes
from fastmlp.search.state import BEST, Progress, Search
from fastmlp.search.store import TrialStore
from fastmlp.search.trial import trial_of
from fastmlp.search.watching import settings_of
from fastmlp.search.workers import Workers
from fastmlp.studies import claims
from fastmlp.studies.kinds import goes_on, is_available, train_as
from fastmlp.studies.results import IMAGES, ROWS, Setting, StudyResults, StudyTrial
from fastmlp.studies.study import Study, StudyPart
from fastmlp.training.config import TrainConfig
from fastmlp.training.evaluation import evaluate
from fastmlp.training.network import Network
from fastmlp.training.shapes import parameter_shapes

# Bytes of the networks of a part up to which all are kept: others are trained again if they are tested.
MOST_KEPT = 1 << 26
Images = tuple[Dataset, Dataset, Dataset]  # to train, to validate, to test


class Laboratory:
    """A study while it runs: its data, its stores and what they hold so far.

    Parameters
    ----------
    study : Study
    stores : Path
        Folder of the stores, one a data set.
    data_home : Path, optional
        The data folder, as for `fastmlp.datasets.load`.
    say : callable
        Told in a line what happens.

    Attributes
    ----------
    results : StudyResults
    """

    def __init__(
        self, study: Study, stores: Path, data_home: Path | None, say: Callable[[str], object]
    ) -> None:
        self.results = StudyResults(study, [])
        self.stores, self.data_home, self.say = stores, data_home, say
        self._data: dict[Any, Images] = {}

    def data(self, part: str) -> Images:
        """Return the training, validation and test images of a part."""
        found = self.results.study.parts[part]
        key = found.data, found.quick
        if key not in self._data:
            self._data[key] = found.cut(load_parts(found.data, self.data_home))  # type: ignore[assignment]
        return self._data[key]

    def train(self) -> None:
        """Train what is not in a store yet."""
        trials: list[StudyTrial] = []
        images, rows = {}, {}
        for part in self.results.study.parts.values():
            if not is_available(part.kind):
                self.say(f"{part.name}: skipped, {part.kind} is not installed")
                continue
            trials += self._train_kind(part) if part.kind else self._search(part)
            counts = [len(one) for one in self.data(part.name)]
            images[part.name] = counts[0]
            rows[part.name] = dict(zip(("train", "valid", "test"), counts, strict=True))
        self.results = replace(self.results, trials=trials, measured={IMAGES: images, ROWS: rows})

    def test(self) -> None:
        """Test the settings that the report asks for in rows and claims, and no other."""
        for section in self.results.study.sections:
            if "test_accuracy" in section.get("columns", ["test_accuracy"]):
                for row in section.get("row", []):
                    self.networks(row)
            for claim in section.get("claim", []):
                if claim["metric"].startswith("test"):
                    for setting in claims.settings(self.results, claim):
                        self.test_setting(setting)

    def test_setting(self, setting: Setting) -> None:
        """Test the networks of a setting, one a seed, unless they are tested already."""
        list(self._networks(setting))

    def keep_measured(self, name: str, taken: Any) -> None:
        """Keep what was measured under a name of `fastmlp.studies.measures.MEASURES`."""
        self.results = replace(self.results, measured={**self.results.measured, name: taken})

    def networks(self, entry: Mapping[str, Any]) -> list[Network]:
        """Return the networks of the setting that an entry means, one a seed, each tested once."""
        setting = self.results.select(entry)
        return [] if setting is None else list(self._networks(setting))

    def _networks(self, setting: Setting) -> Iterator[Network]:
        part = self.results.study.parts[setting.part]
        train, _, test = self.data(part.name)
        with self._store(part) as store:
            for one in setting.trials:
                if not one.trial.sound:
                    continue
                key = _key(part, one.config)
                data = store.network(key)
                if data is None:
                    network = self._train_again(part, one)
                    store.set_network(key, to_bytes(network))
                else:
                    network = from_bytes(data, one.config, train)
                if one.trial.test_data != test.checksum:
                    tested = _tested(one.trial, network, test)
                    store.set_test(key, tested)
                    self._replace(one, tested)
                yield network

    def _replace(self, old: StudyTrial, trial: Trial) -> None:
        """Put what is now known of a trial in the place of what was known."""
        trials = [replace(one, trial=trial) if one is old else one for one in self.results.trials]
        self.results = replace(self.results, trials=trials)

    def _train_again(self, part: StudyPart, one: StudyTrial) -> Network:
        """Train a network that was not kept: the same to the bit."""
        before = _before(part, one.config)
        outcome = train_as(part.kind, one.config, self.data(part.name)[:2], before)
        if outcome.network is None:
            raise FastMLPError(f"{part.name}: a {one.trial.status} trial now is {outcome.status}")
        return outcome.network

    def _folder(self, part: StudyPart) -> Path:
        return self.stores / checksum_of(self.data(part.name)[:2])[:12]

    @contextmanager
    def _store(self, part: StudyPart) -> Iterator[TrialStore]:
        with TrialStore(self._folder(part), checksum_of(self.data(part.name)[:2])) as store:
            yield store

    def _search(self, part: StudyPart) -> list[StudyTrial]:
        """Train a part as `fastmlp.grid_search` does, but keep more networks, since the study tests more of them."""
        train, valid, _ = self.data(part.name)

        def show(progress: Progress) -> None:
            if progress.trial is None:
                self.say(f"{part.name}: {progress.done} of {progress.total} trials are there")
                return
            left = "" if progress.remaining is None else f", {progress.remaining:.0f} s left"
            self.say(f"{part.name}: {progress.done}/{progress.total}{left}: {_told(progress)}")

        points, metric = points_of(part.config, part.grid, part.seeds, self.results.study.metric)
        with self._store(part) as store:
            keep_all = self._bytes_of_networks(part) <= MOST_KEPT
            search = Search(part.seeds, metric, (train, valid), store, show, keep_all)
            search.include_all(points)
            workers = Workers(self.results.study.jobs)
            search.train(workers)
            found = search.settle(workers, None, self._folder(part) / BEST)
        return [
            StudyTrial(part.name, point.config.replace(seed=trial.seed), trial)
            for point in sorted(found.points, key=lambda point: point.index)
            for trial in point.trials
        ]

    def _bytes_of_networks(self, part: StudyPart) -> int:
        """Return the memory of the parameters of all trials of a part."""
        train = self.data(part.name)[0]
        layers = [point.config.layers(len(train.classes)) for point in part.points]
        pairs = [pair for one in layers for pair in parameter_shapes(one, train.shape)]
        return 4 * part.seeds * sum(math.prod(shape) for pair in pairs for shape in pair)

    def _train_kind(self, part: StudyPart) -> list[StudyTrial]:
        """Train a part of another kind, in the file's order."""
        trials = []
        for point in part.points:
            for seed in range(part.seeds):
                config = point.config.replace(seed=point.config.seed + seed)
                with self._store(part) as store:
                    trial = store.trials().get(_key(part, config))
                    if trial is None:
                        trial = self._train_one(part, config, store)
                        told = f"{dict(point.parameters)}, seed {seed}: {trial.reason}"
                        self.say(f"{part.name}: {told}")
                trials.append(StudyTrial(part.name, config, trial))
        return trials

    def _train_one(self, part: StudyPart, config: TrainConfig, store: TrialStore) -> Trial:
        before = _before(part, config)
        outcome = train_as(part.kind, config, self.data(part.name)[:2], before)
        trial, network = trial_of(config.seed, outcome), outcome.network
        store.add(_key(part, config), trial, None if network is None else to_bytes(network))
        return trial


def _tested(trial: Trial, network: Network, test: Dataset) -> Trial:
    scores = evaluate(network, test)
    return replace(
        trial,
        test_data=test.checksum,
        test_loss=finite(scores["loss"]),
        test_accuracy=scores["accuracy"],
    )


def _before(part: StudyPart, config: TrainConfig) -> list[TrainConfig]:
    """Return the settings that come before one in its part, with its seed, where it goes on from them."""
    if not goes_on(part.kind):
        return []
    configs = (point.config.replace(seed=config.seed) for point in part.points)
    return list(takewhile(lambda one: one != config, configs))


def _key(part: StudyPart, config: TrainConfig) -> Key:
    """Return a trial's key; unless `fastmlp.train` trained it, how and after what is part of it."""
    key = Key.of(config)
    before = "".join(f" after {Key.of(one).parameters}" for one in _before(part, config))
    return key._replace(parameters=f"{part.kind} {key.parameters}{before}") if part.kind else key


def _told(progress: Progress) -> str:
    trial: Trial | None = progress.trial
    assert trial is not None
    accuracy = trial.valid_accuracy
    score = "" if accuracy is None else f", validation accuracy {accuracy:.4f}"
    return f"{settings_of(progress.parameters)}, seed {trial.seed}: {trial.status}{score}"
