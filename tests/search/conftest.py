"""Small data, a small disk, a small cluster."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastmlp.datasets import Dataset, load_digits


@pytest.fixture(scope="session")
def parts() -> tuple[Dataset, Dataset, Dataset]:
    """Return digits to train, to validate and to test."""
    digits = load_digits()
    return (*digits.train.split([0.9, 0.1], 0), digits.test)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return an empty disk of 8 MB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or subprocess.run(["mount", *options], capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """Return the address of a Dask scheduler with two worker processes, over TCP."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as running:
        yield running.scheduler_address
