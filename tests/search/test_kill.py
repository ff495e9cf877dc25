"""SIGKILL at random instants of a search: nothing lost, nothing twice, the same table and model."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from search_helpers import CONFIG, rows, table

from fastmlp.search.grid import grid_search
from fastmlp.search.state import BEST
from fastmlp.search.store import FILE

GRID = {"learning_rate": [0.3, 0.1, 0.03, 0.01], "momentum": [0.0, 0.5, 0.9]}
MANY = pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])
SEEDS = 2  # times 12 points: 24 models
SETTINGS = CONFIG.replace(epochs=25, hidden=(32, 16))

PROGRAM = """
import sys
from pathlib import Path
from fastmlp import TrainConfig, train
from fastmlp.datasets import load_digits
from fastmlp.search.grid import grid_search

folder, settings, grid, seeds, address = sys.argv[1:]
config, digits = TrainConfig(**eval(settings)), load_digits()
parts = (*digits.train.split([0.9, 0.1], 0), digits.test)
train(config.replace(epochs=1), *parts[:2])

def say(progress):
    print(progress.done, flush=True)

options = {"seeds": int(seeds), "dask": address or None, "on_trial": say}
grid_search(config, eval(grid), *parts, store=folder, **options)
"""


def killed(folder: Path, address: str, trials: int, seconds: float) -> None:
    """Run a search in a process of its own, and kill it so long after so many trials."""
    arguments = [str(folder), repr(SETTINGS.as_dict()), repr(GRID), str(SEEDS), address]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(1 + trials):  # the first line comes before the first trial
            process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL)


def finished(folder: Path) -> dict[Any, Any]:
    """Return what must never change in the rows of a store, whose integrity is checked."""
    changing = {"network", "test_data", "test_loss", "test_accuracy", "checksum"}
    if not (folder / FILE).exists() or not (folder / FILE).stat().st_size:
        return {}
    return {
        key: {name: value for name, value in row.items() if name not in changing}
        for key, row in rows(folder).items()
    }


def kill_and_resume(parts: Any, tmp_path: Path, kills: int, address: str = "") -> None:
    """Kill as often as told; whenever a search was through, compare it and begin another."""
    undisturbed = grid_search(SETTINGS, GRID, *parts, store=tmp_path / "undisturbed", seeds=SEEDS)
    model = (tmp_path / "undisturbed" / BEST).read_bytes()
    instants = random.Random(0)
    number, before, partial = 0, {}, 0
    for _ in range(kills):
        folder = tmp_path / str(number)
        killed(folder, address, instants.randrange(8), instants.uniform(0, 0.1))
        after = finished(folder)
        for key, row in before.items():
            assert after[key] == row, "a finished trial was lost or trained again"
        partial += 0 < len(after) < 24
        before = after
        if len(after) == 24:
            compare(parts, folder, after, table(undisturbed), model)
            number, before = number + 1, {}
    compare(parts, tmp_path / str(number), before, table(undisturbed), model)
    assert partial, "no search was killed half-way"


def compare(
    parts: Any, folder: Path, before: dict[Any, Any], undisturbed: Any, model: bytes
) -> None:
    resumed = grid_search(SETTINGS, GRID, *parts, store=folder, seeds=SEEDS)
    assert (resumed.skipped, resumed.trained) == (len(before), 24 - len(before))
    assert table(resumed) == undisturbed
    assert (folder / BEST).read_bytes() == model
    after = finished(folder)
    assert all(after[key] == row for key, row in before.items())


@pytest.mark.parametrize("kills", [5, MANY])
def test_a_search_in_threads_survives_being_killed(parts, tmp_path, kills):
    kill_and_resume(parts, tmp_path, kills)


@pytest.mark.parametrize("kills", [2, MANY])
def test_a_search_on_a_cluster_survives_being_killed(parts, tmp_path, kills, cluster):
    kill_and_resume(parts, tmp_path, kills, cluster)
