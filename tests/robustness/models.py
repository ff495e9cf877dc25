"""Models and trials as files: networks, checkpoints, estimators, stores of trials."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import random
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from fastmlp import Dataset, MLPClassifier, MLPRegressor, grid_search, load, train
from fastmlp.errors import FastMLPError
from fastmlp.estimator.export import load_model
from fastmlp.search.record import Trial
from fastmlp.search.store import FILE

from .kinds import (
    OTHER,
    SAME,
    SMALL,
    TRAIN,
    VALID,
    Mutant,
    Patching,
    believe,
    outcome,
    same_types,
)
from .mutations import container, damaged, sql, unpacked

PEOPLE = pd.DataFrame(
    {
        "age": [3, 5, None, 9, 31, 4, 7, 40, 2],
        "height": [1.0, 1.2, 1.1, 1.5, 1.9, 1.1, 1.3, 1.7, 0.9],
        "town": ["Ulm", "Bonn", "Ulm", None, "Bonn", "Ulm", "Kiel", "Kiel", "Ulm"],
        "tall": [0, 0, 0, 1, 1, 0, 0, 1, 0],
        "old": [0, 0, 0, 0, 1, 0, 0, 1, 0],
        "job": ["none", "none", "school", "school", "cook", "none", "school", "cook", "none"],
    }
)


@contextlib.contextmanager
def steady_clock() -> Iterator[None]:
    """Let every interval last a second, so that files which say how long something took have the same bytes."""
    with mock.patch("time.perf_counter", itertools.count(1.0).__next__):
        yield


class Tensors(Patching):
    """Files of tensors; a subclass makes the samples and reads them."""

    name: str
    file = "file.safetensors"

    def __init__(self) -> None:
        super().__init__()
        with tempfile.TemporaryDirectory() as folder, steady_clock():
            self.samples = list(self.make(Path(folder, self.file)))

    def make(self, path: Path) -> Iterator[bytes]:
        """Write samples to a path, and yield the bytes of each."""
        raise NotImplementedError

    def sound(self, sample: int) -> dict[str, bytes]:
        """Return the file of a sample."""
        return {self.file: self.samples[sample]}

    def mutant(self, rng: random.Random) -> Mutant:
        """Return a damaged sample: half of them blindly, half with a right checksum."""
        number = rng.randrange(len(self.samples))
        data, sealed = self.samples[number], False
        if rng.random() < 0.7:
            data, sealed = container(rng, data, self.name)
        if not sealed:
            data = damaged(rng, data, rng.choice(self.samples))
        return Mutant({self.file: data}, number, sealed)


class Networks(Tensors):
    """`fastmlp.load`."""

    name = "network"

    def make(self, path: Path) -> Iterator[bytes]:
        """Yield networks of plain, residual and mixed layers, and of images."""
        for config, part in (
            (SMALL, TRAIN),
            (
                SMALL.replace(hidden=(5, 5), residual=True, activation="tanh", dtype="float64"),
                TRAIN,
            ),
            (SMALL.replace(hidden=(6, "tanh", "batchnorm", 5)), TRAIN),
            (SMALL.replace(hidden=("conv 3 3 padding same", "maxpool 2", 4)), TRAIN),
            (SMALL, Dataset.from_table(PEOPLE, "job")),
            (
                SMALL,
                Dataset.from_table(PEOPLE.drop(columns=["age", "town"]), "height", missing="error"),
            ),
            (SMALL, Dataset.from_table(PEOPLE, ("tall", "old"))),
        ):
            train(config.replace(epochs=1), part).network.save(path)
            yield path.read_bytes()

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Load the network, and save it again."""
        path = folder / self.file
        network = load(path)
        whole = self.samples[mutant.sample]
        again = folder / "again"
        network.save(again)
        if again.read_bytes() == whole:
            return SAME
        believe(mutant.sealed, f"a network of {network.sizes}")
        header, content = unpacked(path.read_bytes())
        written, bits = unpacked(again.read_bytes())
        description, found = (
            json.loads(one["__metadata__"]["network"]) for one in (header, written)
        )
        for name in {"levels", "preparation", "task"} & set(found):
            believe(found[name] == description[name], f"{name}: {description[name]!r}")
        for name in ("classes", "dtype", "residual", "shape", "sizes"):
            believe(same_types(found[name], description[name]), f"{name}: {description[name]!r}")
        believe(sorted(bits) == sorted(content), "other numbers")
        load(again)
        if network.preparation is not None:
            with contextlib.suppress(FastMLPError):  # of columns that are no longer in the table
                network.predict(PEOPLE)
        return OTHER


class Checkpoints(Tensors):
    """`fastmlp.train` with a checkpoint, which goes on for one more epoch."""

    name = "checkpoint"
    configs = (
        SMALL.replace(momentum=0.9, patience=9, restore_best=True),
        SMALL.replace(optimizer="adam", schedule="cosine", hidden=(4, "dropout 0.5")),
    )

    def make(self, path: Path) -> Iterator[bytes]:
        """Yield checkpoints of two optimisers, each an epoch before the end."""
        self.expected = []

        class Killed(Exception):
            pass

        def stop(row: Any) -> None:
            if row["epoch"] == 2:
                raise Killed

        for config in self.configs:
            path.unlink(missing_ok=True)
            with contextlib.suppress(Killed):
                train(config, TRAIN, VALID, checkpoint=path, on_epoch=stop)
            yield path.read_bytes()
            self.expected.append(outcome(train(config, TRAIN, VALID)))

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Go on from the checkpoint."""
        config = self.configs[mutant.sample]
        result = train(config, TRAIN, VALID, checkpoint=folder / self.file)
        if outcome(result) == self.expected[mutant.sample]:
            return SAME
        believe(mutant.sealed, f"a training that ended as {result.status}: {result.reason}")
        epochs = [row["epoch"] for row in result.history]
        believe(epochs == list(range(1, len(epochs) + 1)), f"a history of the epochs {epochs}")
        json.dumps(result.history)
        return OTHER


class Estimators(Tensors):
    """`load` of the estimators."""

    name = "estimator"

    def make(self, path: Path) -> Iterator[bytes]:
        """Yield classifiers of each kind of labels, a regressor, and an estimator of layers."""
        X, y = TRAIN.images / 255, TRAIN.labels
        options = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
        words = np.array(["no", "yes", "perhaps"])
        several = np.stack([y == 0, y > 0, y == 2], axis=1).astype(int)
        layers = options | {"hidden_layer_sizes": ("conv 2 3", 4), "image_shape": (1, 4, 5)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for model, labels in (
                (MLPClassifier(**options), words[y]),
                (MLPClassifier(**options), y > 0),
                (MLPClassifier(**layers), y - 100),
                (MLPRegressor(**options, activation="logistic"), y / 3),
                (MLPClassifier(**options), several),
            ):
                model.fit(X, labels).save(path)
                yield path.read_bytes()

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Load the estimator, save it again and let it predict."""
        path = folder / self.file
        model = load_model(path)
        again = folder / "again"
        model.save(again)
        if again.read_bytes() == self.samples[mutant.sample]:
            return SAME
        believe(mutant.sealed, f"{type(model).__name__}")
        header, content = unpacked(path.read_bytes())
        written, bits = unpacked(again.read_bytes())
        description, found = (
            json.loads(one["__metadata__"]["estimator"]) for one in (header, written)
        )
        for name in found:
            believe(
                same_types(found[name], description.get(name)), f"{name}: {description.get(name)!r}"
            )
        believe(sorted(bits) == sorted(content), "other numbers")
        return OTHER


class Stores(Patching):
    """`fastmlp.grid_search` in a folder that holds all trials of the grid already."""

    name = "store"
    config = SMALL.replace(epochs=2)

    def __init__(self) -> None:
        super().__init__()
        self.grid = {"momentum": [0.0, 0.9], "hidden": [[4], [5]]}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)

            def copy(progress: Any) -> None:
                if progress.done == progress.total:
                    shutil.copytree(folder / "whole", folder / "running")

            with steady_clock():
                grid_search(
                    self.config,
                    self.grid,
                    TRAIN,
                    VALID,
                    store=folder / "whole",
                    jobs=1,
                    on_trial=copy,
                )
            for part in ("whole", "running"):
                with contextlib.closing(sqlite3.connect(folder / part / FILE)) as database:
                    if part == "whole":
                        database.execute("UPDATE trials SET finished = '2000-01-01 00:00:00'")
                        database.commit()
            self.samples = [files_of(folder / part) for part in ("whole", "running")]
            self.expected = self.table(folder / "whole")

    def table(self, folder: Path) -> Any:
        """Return what a search finds in a folder, and how many trials it had to train."""
        result = grid_search(self.config, self.grid, TRAIN, VALID, store=folder, jobs=1)
        points = [
            (point.rank, point.parameters, [vars(one) for one in point.trials])
            for point in result.points
        ]
        network = [] if result.network is None else list(result.network.state_dict().values())
        return (
            result.trained,
            json.dumps(points, default=str),
            [array.tobytes() for array in network],
        )

    def mutant(self, rng: random.Random) -> Mutant:
        """Return a damaged store: pages, the files beside it, or cells with a right checksum of their row."""
        number = rng.randrange(len(self.samples))
        files, sealed = dict(self.samples[number]), False
        if rng.random() < 0.5:
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder), files)
                sealed = rng.random() < 0.8
                sql(rng, str(Path(folder, FILE)), row_checksum if sealed else None)
                files = files_of(Path(folder))
        else:
            name = rng.choice([name for name, data in files.items() if data and "best" not in name])
            if name != FILE and rng.random() < 0.05:
                del files[name]
            else:
                files[name] = damaged(rng, files[name])
        return Mutant(files, number, sealed)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Search once more."""
        found = self.table(folder)
        if found == self.expected:
            return SAME
        if not mutant.files[FILE]:
            return OTHER  # nothing was ever written, as far as anyone can tell
        believe(mutant.sealed, f"{found[0]} trials were trained again")
        return OTHER


def row_checksum(row: Mapping[str, Any]) -> str:
    """Return the checksum of a row of a store."""
    fields = list(Trial.__dataclass_fields__)
    values = [row["parameters"], row["data"], row["version"], *(row[name] for name in fields)]
    text = json.dumps(values, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder, by their paths in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files to a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
