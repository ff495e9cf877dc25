"""A small grid, and tables to compare bit for bit."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from fastmlp.datasets import Dataset
from fastmlp.search.ranking import SearchResult
from fastmlp.training.config import TrainConfig

CONFIG = TrainConfig(hidden=(16,), epochs=3, batch_size=32, learning_rate=0.1, momentum=0.9)
GRID = {"learning_rate": [0.3, 0.1, 0.03], "momentum": [0.0, 0.9]}


def table(result: SearchResult) -> list[Any]:
    """Return all of a result that must not depend on where, when and how fast it was made."""

    def without_time(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if "second" not in name}

    return [
        (
            point.rank,
            point.index,
            point.parameters,
            [
                without_time(vars(trial)) | {"history": list(map(without_time, trial.history))}
                for trial in point.trials
            ],
        )
        for point in result.points
    ]


def rows(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows of a store, read with plain SQL, by parameters and seed."""
    with closing(sqlite3.connect(folder / "trials.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.row_factory = sqlite3.Row
        found = map(dict, database.execute("SELECT * FROM trials ORDER BY id"))
        return {(row["parameters"], row["seed"]): row for row in found}


def values(parameters: str, *names: str) -> tuple[Any, ...]:
    """Return some of the settings in a row's `parameters`."""
    settings = json.loads(parameters)
    return tuple(settings[name] for name in names)


class Counted(Dataset):
    """Images that leave a line in a file, their name, wherever they arrive in a process."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        with open(self.name, "a") as file:
            file.write(f"{os.getpid()}\n")
