"""Random images in the shape of CIFAR-10 and MNIST, so that studies run without the real ones."""

import numpy as np
import pytest

from fastmlp import datasets
from fastmlp.datasets import Dataset
from fastmlp.studies import record, study

FILLED = 2000  # images that are not black


def _random(name: str, shape: tuple[int, int, int], count: int, train_size: int) -> Dataset:
    rng = np.random.default_rng(0)
    images = np.zeros((count, int(np.prod(shape))), np.uint8)
    images[:FILLED] = rng.integers(0, 256, (FILLED, images.shape[1]), dtype=np.uint8)
    images[-FILLED:] = images[:FILLED]
    labels = rng.integers(0, 10, count)
    classes = datasets.cifar10.CLASSES if name == "cifar10" else tuple(map(str, range(10)))
    return Dataset(images, labels, shape, tuple(classes), name, train_size)


@pytest.fixture(scope="session")
def random_images() -> dict[str, Dataset]:
    return {
        "cifar10": _random("cifar10", (3, 32, 32), 60_000, 50_000),
        "mnist": _random("mnist", (1, 28, 28), 70_000, 60_000),
    }


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, random_images: dict[str, Dataset]) -> None:
    """Use random images, and very few of them in a quick study; a new process would not see them."""
    monkeypatch.setattr(datasets, "load", lambda name, home=None: random_images[name])
    monkeypatch.setattr(study, "QUICK_IMAGES", (64, 32, 32))
    monkeypatch.setattr(study, "QUICK_EPOCHS", 1)
    monkeypatch.setattr(record, "_new_process", lambda *_: {"process_seconds": 2.5})
