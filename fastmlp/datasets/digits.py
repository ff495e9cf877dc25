"""Digits: 1,797 handwritten digits of 8 x 8 pixels, read from scikit-learn's package without a network.

They are the test part of UCI's "Optical recognition of handwritten digits". Their grey levels, 0..16
in the file, are scaled to 0..255 like those of all pictures, so that a network trained on them also
takes ordinary pictures; ``round(image * 16 / 255)`` gives the levels of the file. There is no
official split: the loader shuffles the rows, always in the same way, and the first 1,437 (80 %) are
the training part.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
from pathlib import Path

import numpy as np

from fastmlp.datasets.dataset import Dataset, permutation
from fastmlp.datasets.download import DataHome, reading
from fastmlp.errors import DataError

IMAGES = 1797
TRAIN_SIZE = 1437
SHAPE = (1, 8, 8)
CLASSES = tuple("0123456789")
LARGEST_LEVEL = 16
TEXT_LIMIT = 1 << 20  # bytes; the table takes 0.3 MB


def find(data_home: DataHome = None) -> tuple[Path, str] | None:
    """Return the table in scikit-learn's package, which is not imported: that would take a second."""
    package = importlib.util.find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if os.path.isfile(path):
            return path, "embedded in scikit-learn"
    return None


def download(data_home: DataHome = None) -> Path:
    """Raise a DataError: there is nothing to download."""
    raise DataError(
        "digits: sklearn/datasets/data/digits.csv.gz is missing; install scikit-learn again"
    )


def read(path: Path) -> Dataset:
    """Read the table: 64 grey levels and a label on each line."""
    expected = f"{IMAGES} lines of 64 grey levels 0..{LARGEST_LEVEL} and a digit"
    with reading(path, expected), gzip.open(path) as file:
        text = file.read(TEXT_LIMIT).decode("ascii")
        table = np.loadtxt(text.splitlines(), delimiter=",", dtype=np.uint8, ndmin=2)
        if (
            table.shape != (IMAGES, 65)
            or table[:, :64].max() > LARGEST_LEVEL
            or table[:, 64].max() > 9
        ):
            raise DataError(
                f"{path}: found {list(table.shape)} numbers up to {table.max(initial=0)}, "
                f"expected {expected}"
            )
    table = table[permutation(IMAGES, seed=0)]
    images = np.rint(table[:, :64] * (255 / LARGEST_LEVEL)).astype(np.uint8)
    return Dataset(images, table[:, 64].astype(np.int64), SHAPE, CLASSES, "digits", TRAIN_SIZE)
