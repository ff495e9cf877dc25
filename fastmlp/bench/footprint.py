"""Time to start, and memory, measured in processes that do nothing else.

Each trains network A (3072-512-128-32-2, see `fastmlp.bench.problem.NETWORKS`) through
`fastmlp.train`, as a user's script does, on images of CIFAR's size. ``python -m
fastmlp.bench.footprint ROWS`` is such a process: when the training is over, it prints the most
memory it has had resident, in bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from fastmlp.bench.measurements import Footprint
from fastmlp.bench.problem import NETWORKS
from fastmlp.machine.memory import peak_bytes

BATCH = 100
IMAGES = 50_000  # as many as CIFAR-10 has for training


def measure() -> Footprint:
    """Measure starts and memory; takes about 40 seconds.

    Raises
    ------
    subprocess.CalledProcessError
        If a training failed; its traceback is on standard error.
    """
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as filled:
        cold, _ = _spawn(BATCH, filled)
        warm = min(_spawn(BATCH, filled)[0] for _ in range(3))
        _, peak = _spawn(IMAGES, filled)
        _, compiling_peak = _spawn(IMAGES, empty)
    return Footprint(
        images=IMAGES,
        cold_seconds=cold,
        warm_seconds=warm,
        peak_bytes=peak,
        compiling_peak_bytes=compiling_peak,
    )


def train_once(rows: int) -> None:
    """Train network A for an epoch on `rows` images of noise."""
    import numpy as np

    import fastmlp

    sizes: Any = NETWORKS["A"].sizes
    random = np.random.default_rng(0)
    data = fastmlp.Dataset(
        images=random.integers(0, 256, (rows, sizes[0]), dtype=np.uint8),
        labels=random.integers(0, sizes[-1], rows),
        shape=(3, 32, 32),
        classes=tuple(str(label) for label in range(sizes[-1])),
        name="noise",
    )
    config = fastmlp.TrainConfig(
        hidden=sizes[1:-1],
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=1e-3,
        batch_size=BATCH,
        epochs=1,
    )
    result = fastmlp.train(config, data)
    assert result.status == "done", result.reason


def _spawn(rows: int, cache: str) -> tuple[float, int | None]:
    """Train in a new process; return the seconds until it was done, and its peak memory."""
    command = [sys.executable, "-m", __name__, str(rows)]
    start = time.perf_counter()
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
        except BaseException:
            # The process gets no Ctrl-C if this one was interrupted by another signal.
            process.kill()
            raise
        seconds = time.perf_counter() - start
    if process.returncode != 0 or not line:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, None if line == "None" else int(line)


if __name__ == "__main__":
    train_once(int(sys.argv[1]))
    print(peak_bytes(), flush=True)
