"""Small data, a small configuration, and what tests of trainings compare."""

import hashlib
import json

import numpy as np

from fastmlp import Dataset, TrainConfig
from fastmlp.training.loop import TrainResult
from fastmlp.training.network import Network

TIMES = ("seconds", "samples_per_second")


def dataset(count: int, *, classes: int = 3, seed: int = 0, noise: float = 0.3) -> Dataset:
    """Draw images [2, 3, 4] whose class shows, more or less."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    patterns = np.random.default_rng(99).integers(0, 256, (classes, 24))
    grey = (1 - noise) * patterns[labels] + noise * rng.integers(0, 256, (count, 24))
    names = tuple("abcdefgh"[:classes])
    return Dataset(grey.astype(np.uint8), labels, (2, 3, 4), names, f"drawn {seed}")


TRAIN, VALID = dataset(45), dataset(30, seed=1, noise=0.6)
SMALL = TrainConfig(
    hidden=(10, 10), epochs=4, batch_size=8, learning_rate=0.1, momentum=0.9, seed=5
)


def parameters(network: Network) -> list[np.ndarray]:
    return list(network.state_dict().values())


def fingerprint(result: TrainResult) -> str:
    """Return a digest of every bit that training decided: all but what it took in time."""
    digest = hashlib.sha256()
    for array in parameters(result.network):
        digest.update(array.tobytes())
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in result.history]
    ending = [result.status, result.reason, result.best_epoch]
    digest.update(json.dumps([rows, ending], sort_keys=True).encode())
    return digest.hexdigest()
