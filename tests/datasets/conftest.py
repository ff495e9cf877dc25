"""Where the real data lies, and sizes for small data in the official formats."""

import os
from pathlib import Path

import pytest

from fastmlp.datasets import cifar10, mnist


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder that holds the real CIFAR-10 and MNIST."""
    folder = os.environ.get("FASTMLP_DATA")
    if not folder:
        pytest.skip("FASTMLP_DATA is not set: no real data")
    return Path(folder)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a CIFAR-10 batch have 3 images, and MNIST 3 + 2."""
    monkeypatch.setattr(cifar10, "BATCH_SIZE", 3)
    monkeypatch.setattr(mnist, "TRAIN_SIZE", 3)
    monkeypatch.setattr(mnist, "TEST_SIZE", 2)
