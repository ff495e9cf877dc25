"""One thread and a team beside other busy processes: ``python benchmarks/busy_machine.py``, on an idle machine.

Each thread of a team waits for the others in every step, so that a machine with other work slows a team more than one
thread. Both take turns while the other processes compute, and the median of each is printed.
"""

import argparse
import multiprocessing
import statistics
import time

import numpy as np

from fastmlp import Dataset, TrainConfig, train
from fastmlp.machine.cores import usable_cores


def compute() -> None:
    """Keep a core busy until the process is ended."""
    while True:
        pass


def images_a_second(threads: int, data: Dataset) -> float:
    """Return the speed of a training of network A."""
    config = TrainConfig(hidden=(512, 128, 32), batch_size=100, epochs=3, threads=threads)
    start = time.perf_counter()
    train(config, data)
    return config.epochs * len(data) / (time.perf_counter() - start)


def main() -> None:
    """Print a line for each number of busy processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="*", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    data = Dataset(
        rng.integers(0, 256, (5000, 3072), dtype=np.uint8),
        rng.integers(0, 2, 5000),
        (3, 32, 32),
        ("a", "b"),
        "noise",
    )
    for threads in (1, options.threads):
        images_a_second(threads, data)  # compiles
    for count in options.processes:
        others = [multiprocessing.Process(target=compute, daemon=True) for _ in range(count)]
        for other in others:
            other.start()
        try:
            speeds = [
                [images_a_second(threads, data) for threads in (1, options.threads)]
                for _ in range(options.rounds)
            ]
        finally:
            for other in others:
                other.kill()
                other.join()
        alone, team = (statistics.median(one) for one in zip(*speeds, strict=True))
        print(
            f"{count} busy processes: 1 thread {alone:,.0f} images/s, {options.threads} threads "
            f"{team:,.0f}, {team / alone:.2f} of it",
            flush=True,
        )


if __name__ == "__main__":
    main()
