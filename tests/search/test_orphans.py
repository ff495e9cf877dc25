"""Processes of a search end with the one that started them, however that ends."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

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
