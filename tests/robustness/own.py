"""What people bring of their own: arrays in NumPy's files."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fastmlp.datasets import arrays, numpy_files
from fastmlp.datasets.options import OwnOptions

from .kinds import OTHER, SAME, Mutant, Patching
from .mutations import damaged

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 2, 3)).astype(np.uint8)
Y = np.arange(12) % 3


def saved(write: Any, *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    file = io.BytesIO()
    write(file, *arrays, **named)
    return file.getvalue()


class Arrays(Patching):
    """NPZ archives and NPY files, read and mapped."""

    name = "arrays"

    def __init__(self) -> None:
        super().__init__()
        self.samples = [
            {"a.npz": saved(np.savez, images=X, labels=Y)},
            {"a.npz": saved(np.savez_compressed, x_train=X / 7, y_train=Y, x_test=X, y_test=Y)},
            {"x.npy": saved(np.save, X.astype(np.float32)), "y.npy": saved(np.save, Y)},
        ]

    def __enter__(self) -> Any:
        """Let small arrays be mapped, too."""
        self.patches.enter_context(mock.patch.object(numpy_files, "LARGE", 100))
        return super().__enter__()

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage a file."""
        number = rng.randrange(len(self.samples))
        files = dict(self.samples[number])
        name = rng.choice(list(files))
        other = rng.choice(list(rng.choice(self.samples).values()))
        files[name] = damaged(rng, files[name], other)
        return Mutant(files, number, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Read the parts, and look at all values."""
        parts = arrays.read(folder / next(iter(mutant.files)), OwnOptions())
        found = [part.checksum for part in parts if part is not None]
        sound = folder / "sound"
        sound.mkdir(exist_ok=True)
        for name, data in self.samples[mutant.sample].items():
            (sound / name).write_bytes(data)
        expected = arrays.read(sound / next(iter(mutant.files)), OwnOptions())
        same = found == [part.checksum for part in expected if part is not None]
        return SAME if same else OTHER
