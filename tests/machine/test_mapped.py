"""Mapped files that are given back: the process stays small, and values stay as they were."""

import gc
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastmlp import Dataset
from fastmlp.machine import mapped

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux's /proc")
SIZE = 48 << 20


def held() -> int:
    """Bytes of files in this process, counted exactly, unlike statm's."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("RssFile")).split()[1]) << 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (SIZE >> 10, 1 << 10), np.uint8))
    return tmp_path / "images.npy"


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "LARGE", SIZE // 2)
    monkeypatch.setattr(mapped, "MOST", SIZE // 8)


def given_back(before: int) -> bool:
    """Return whether the process soon is as small as before."""
    end = time.monotonic() + 30
    while held() > before + SIZE // 2:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.usefixtures("small_limits")
def test_a_process_that_read_a_mapped_file_is_small_again_and_reads_the_same(path: Path) -> None:
    images = np.load(path, mmap_mode="r")
    data = Dataset.from_arrays(images, np.arange(len(images)) % 2)
    expected = np.load(path).sum()
    assert given_back(before := held())
    for _ in range(3):
        assert data.images.sum() == expected
        assert given_back(before)
    watcher = mapped._watcher
    assert watcher is not None
    assert watcher.is_alive()
    del images, data
    gc.collect()
    watcher.join(30)
    assert not watcher.is_alive()


@pytest.mark.usefixtures("small_limits")
def test_what_was_written_to_a_private_mapping_is_not_lost(path: Path) -> None:
    images = np.load(path, mmap_mode="c")
    images[:] = 7
    assert mapped.mapping_of(images) is None
    data = Dataset.from_arrays(images, np.arange(len(images)) % 2)
    mapped.give_back()
    assert (data.images == 7).all()


@pytest.mark.usefixtures("small_limits")
def test_a_closed_mapping_and_a_forked_child_disturb_nothing(path: Path) -> None:
    images = np.load(path, mmap_mode="r+")
    mapping = mapped.mapping_of(images[3:].reshape(-1))
    mapped.stay_small(mapping)
    images[0] = 9
    mapped.give_back()
    assert (np.load(path)[0] == 9).all()  # a shared mapping keeps what was written
    child = os.fork()
    if child == 0:
        mapped.stay_small(mapping)
        os._exit(0 if mapped._watcher is not None and mapped._watcher.is_alive() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_small_files_are_not_watched(path: Path) -> None:
    mapped.stay_small(mapping := mapped.mapping_of(np.load(path, mmap_mode="r")))
    assert mapping not in mapped._watched
