"""SIGKILL at random instants of a search: nothing lost, nothing twice, the same table and model."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
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


PROCESSES = """
import sys
from fastmlp import TrainConfig
from fastmlp.datasets import load_digits
from fastmlp.search.grid import grid_search

if __name__ == "__main__":
    training, valid = (part.resize(32) for part in load_digits().train.split([0.9, 0.1], 0))
    config, grid = TrainConfig(epochs=1_000_000), {"learning_rate": [0.1, 0.2]}
    grid_search(config, grid, training, valid, store=sys.argv[1], backend="loky", jobs=2)
"""


def processes_of(marker: str) -> dict[str, str]:
    """Return the processes that have a variable in their environment and have not ended, and their commands."""
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdecimal() and marker.encode() in (folder / "environ").read_bytes():
                found[folder.name] = (folder / "cmdline").read_text().replace("\0", " ")
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at Linux's processes")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_processes_end_with_the_one_that_started_them(tmp_path: Path, name: str) -> None:
    program = tmp_path / "search.py"
    program.write_text(PROCESSES)
    marker = f"MARKER={tmp_path}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "MARKER": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, program, str(tmp_path)], env=environment, stderr=subprocess.PIPE
    ) as process:
        shared = Path("/dev/shm")
        deadline = time.monotonic() + 60
        # Two of them train: the images have been shared, and both have begun.
        while sum("LokyProcess" in one for one in processes_of(marker).values()) < 2 or not list(
            shared.glob(f"joblib_memmapping_folder_{process.pid}_*/*")
        ):
            assert time.monotonic() < deadline, processes_of(marker)
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.Signals[name])
        begun = time.monotonic()
        assert process.stderr is not None
        process.stderr.read()  # until the last of them has let go of it
        assert time.monotonic() - begun < 2
    assert processes_of(marker) == {}
    assert [one for one in shared.iterdir() if f"_{process.pid}_" in one.name] == []
    assert list(shared.glob(f"sem.loky-{process.pid}-*")) == []
