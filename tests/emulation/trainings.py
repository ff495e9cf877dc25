"""Short trainings whose bits must not depend on the CPU: ``python trainings.py`` prints a digest of each.

Widths run over everything that fills no vector, one or several, of every tile. Activations, optimisers, data and
batches take turns from width to width, so that each meets several widths in every element type. Two networks of
images have between them every layer that images can have.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

import numpy as np

from fastmlp import Dataset, TrainConfig, train
from fastmlp.training.config import Dtype
from fastmlp.training.layers import ACTIVATIONS
from fastmlp.training.optimizers import OPTIMIZERS

WIDEST = 70
FEW = (1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 30, 33, 48, 63, 70)
KINDS = (np.uint8, np.float32, np.float64)
CLASSES = tuple("abc")
# Among them are numbers that the rows of no tile divide, and one row.
BATCHES = (24, 7, 33, 64, 1)
PICTURE = (3, 9, 11)
SAME = "conv 9 3 padding same"
IMAGES: dict[str, dict[str, Any]] = {
    "maxpool, batchnorm": {
        "hidden": (SAME, "batchnorm", "maxpool 2", "conv 17 3", "batchnorm", 20),
        "optimizer": "adam",
        "batch_size": 24,
        "flip": True,
    },
    "avgpool, stride, residual": {
        "hidden": (SAME, SAME, "avgpool 3", "conv 7 2 stride 2 padding 1", 9),
        "activation": "silu",
        "momentum": 0.9,
        "residual": True,
        "dropout": 0.2,
        "batch_size": 7,
    },
}


def data(shape: tuple[int, int, int], kind: Any) -> Dataset:
    """Return 64 images of noise, uint8 or with a fraction."""
    features = math.prod(shape)
    rng = np.random.default_rng(features)
    images = rng.integers(0, 256, (64, features)) / (1 if kind is np.uint8 else 7)
    labels = rng.integers(len(CLASSES), size=len(images))
    return Dataset(images.astype(kind), labels.astype(np.int64), shape, CLASSES, "noise")


def settings(all_of_them: bool) -> Iterator[tuple[str, tuple[int, int, int], Any, dict[str, Any]]]:
    """Yield a name, the shape of an image, its type and the settings of each training."""
    pairs = list(product(sorted(ACTIVATIONS), sorted(OPTIMIZERS)))
    widths = range(1, WIDEST + 1) if all_of_them else FEW
    for dtype in get_args(Dtype):
        # The step has no factor in common with the number of pairs: each has its turn.
        turns = list(enumerate(widths))
        turns += [(turn, 19) for turn in range(len(turns), len(pairs))]
        for turn, width in turns:
            activation, optimizer = pairs[turn * 7 % len(pairs)]
            kind = KINDS[turn % len(KINDS)]
            chosen = {
                "hidden": (width, width),
                "activation": activation,
                "optimizer": optimizer,
                "momentum": 0.9 if optimizer == "sgd" and turn % 2 else 0.0,
                "batch_size": BATCHES[turn % len(BATCHES)],
                "flip": turn % 4 == 3,
                "dropout": 0.2 if turn % 5 == 4 else 0.0,
                "residual": turn % 3 == 2,
            }
            name = f"{dtype}, width {width}, {activation}, {optimizer}, {kind.__name__}, {turn}"
            yield name, (1, 1, width), kind, chosen | {"dtype": dtype}
        for name, chosen in IMAGES.items():
            yield f"{dtype}, images, {name}", PICTURE, np.uint8, chosen | {"dtype": dtype}


def digests(all_of_them: bool) -> dict[str, str]:
    """Return the start of the SHA-256 of each training's weights, by its name."""
    found = {}
    for name, shape, kind, chosen in settings(all_of_them):
        config = TrainConfig(**chosen, epochs=2, learning_rate=0.01, seed=3, threads=1)
        total = hashlib.sha256()
        for array in train(config, data(shape, kind)).network.state_dict().values():
            total.update(np.ascontiguousarray(array).tobytes())
        found[name] = total.hexdigest()[:32]
    return found


if __name__ == "__main__":
    print(json.dumps(digests("all" in sys.argv[1:])))
