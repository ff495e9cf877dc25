"""Data of your own at its largest: how fast mapped arrays train beside data in memory, and how folders load.

    python benchmarks/own_data.py --gigabytes 0.5 --pictures 50000

It trains on random pictures of 3 x 32 x 32 in a file, which is mapped, and on the same in memory, in turn, and prints
images a second (medians of epochs), their ratio, and the most memory that the process had resident, mapped files
included (VmRSS of Linux). The file should fit into the system's cache of files. Then it decodes JPEG files of 32 x 32,
and loads them again. Two minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import math
import os
import re
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

import fastmlp

SHAPE = (3, 32, 32)
EPOCHS = 3


class Memory:
    """The largest resident memory of this process, in MB, while a block runs."""

    def __enter__(self) -> Memory:
        self.peak, self._ended = 0, threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            status = Path("/proc/self/status").read_text()
            self.peak = max(self.peak, int(re.search(r"VmRSS:\s+(\d+)", status)[1]) >> 10)


def mapped_beside_memory(folder: Path, gigabytes: float) -> None:
    """Train on one and the other, in turn."""
    count = int(gigabytes * 2**30) // math.prod(SHAPE)
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, *SHAPE))
    for start in range(0, count, 4096):
        block = images[start : start + 4096]
        block[:] = rng.integers(0, 256, block.shape, np.uint8)
    size = images.nbytes >> 20
    del images, block  # what was written through this mapping is resident
    labels = rng.integers(0, 10, count)
    config = fastmlp.TrainConfig(hidden=(512, 128), epochs=EPOCHS, flip=True)
    with Memory() as memory:
        mapped = np.load(folder / "images.npy", mmap_mode="r")
        parts = fastmlp.Dataset.from_arrays(mapped, labels).split((0.9, 0.1), 0)
        first = fastmlp.train(config, *parts)
    print(f"mapped: {memory.peak} MB resident for {size} MB of images")
    copies = [dataclasses.replace(part, images=np.array(part.images)) for part in parts]
    rates: dict[str, list[float]] = {"mapped": [], "memory": []}
    for _ in range(2):
        for name, given in (("mapped", parts), ("memory", copies)):
            result = fastmlp.train(config, *given)
            rates[name].append(result.samples_per_second)
    for one, other in zip(first.network.weights, result.network.weights, strict=True):
        assert np.array_equal(one, other)
    speeds = {name: max(values) for name, values in rates.items()}
    print(", ".join(f"{name} {speed:,.0f} images a second" for name, speed in speeds.items()))
    print(f"mapped / memory: {speeds['mapped'] / speeds['memory']:.1%}; the weights are equal")


def folder_of_pictures(folder: Path, count: int) -> None:
    """Decode a folder, and load it again."""
    rng = np.random.default_rng(0)
    kinds = []
    for _ in range(100):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, SHAPE[::-1], np.uint8)).save(file, "JPEG")
        kinds.append(file.getvalue())
    for number in range(count):
        path = folder / "pictures" / str(number % 10) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kinds[number % len(kinds)])
    for turn in ("first", "second"):
        start = time.perf_counter()
        with Memory() as memory:
            data = fastmlp.Dataset.from_folder(folder / "pictures", data_home=folder)
        print(
            f"{turn} time: {time.perf_counter() - start:.2f} s for {len(data):,} pictures, {memory.peak} MB "
            f"resident for {data.images.nbytes >> 20} MB"
        )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=0.5)
    parser.add_argument("--pictures", type=int, default=50_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("FASTMLP_DATA")) as name:
        mapped_beside_memory(Path(name), given.gigabytes)
        folder_of_pictures(Path(name), given.pictures)


if __name__ == "__main__":
    main()
