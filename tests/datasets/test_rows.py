"""Data that stays on disk: split, measured, checked and trained on with the bits of data in memory."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp import Dataset, TrainConfig
from fastmlp.datasets import rows
from fastmlp.datasets.arrays import read
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.rows import Rows, is_mapped
from fastmlp.errors import DataError

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.integers(0, 256, (120, 3, 6, 5)).astype(np.uint8)
LABELS = (IMAGES[:, 0].mean(axis=(1, 2)) > 127).astype(np.int64)


def mapped(path: Path, array: np.ndarray) -> np.ndarray:
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def in_memory(data: Dataset) -> Dataset:
    return dataclasses.replace(data, images=np.array(data.images))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_trained_on_with_the_same_bits(tmp_path: Path, dtype: Any, task: str) -> None:
    labels = {
        "classification": LABELS,
        "multilabel": np.stack([LABELS, 1 - LABELS], axis=1),
        "regression": IMAGES[:, 0, 0, :2] / 7.0,
    }[task]
    data = Dataset.from_arrays(mapped(tmp_path / "x.npy", IMAGES.astype(dtype)), labels, task=task)
    assert is_mapped(data.images)
    parts = data.split((0.6, 0.3, 0.1), seed=1)
    assert all(isinstance(one.images, Rows) for one in parts)
    same = [in_memory(one) for one in parts]
    config = TrainConfig(hidden=(7,), epochs=2, batch_size=16, flip=True, shift=1)
    found, expected = (fastmlp.train(config, *ones[:2]) for ones in (parts, same))
    for a, b in zip(found.network.weights, expected.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    scores = [[row["valid_loss"] for row in one.history] for one in (found, expected)]
    assert scores[0] == scores[1]
    for one, other in zip(parts, same, strict=True):
        assert (one.checksum, one.levels) == (other.checksum, other.levels)
        assert fastmlp.evaluate(found.network, one) == fastmlp.evaluate(found.network, other)
        np.testing.assert_array_equal(found.network.predict(one), found.network.predict(other))


def test_parts_of_parts_and_what_is_chosen(tmp_path: Path) -> None:
    data = Dataset.from_arrays(mapped(tmp_path / "x.npy", IMAGES), LABELS)
    same = in_memory(data)
    for change in (
        lambda one: one.split((0.5, 0.5), 3)[1].split((0.4, 0.6), 1)[0],
        lambda one: one.take([5, 3, 5, 80]),
        lambda one: one.take(np.arange(30, dtype=np.uint8)).pick(["1"]),
        lambda one: one.take([9, 8]).resize(4),
    ):
        assert change(data).checksum == change(same).checksum
    chosen = data.take(np.arange(50, 10, -1)).images
    plain = same.take(np.arange(50, 10, -1)).images
    np.testing.assert_array_equal(chosen.min(axis=0), plain.min(axis=0))
    np.testing.assert_array_equal(chosen.max(axis=0), plain.max(axis=0))
    assert (chosen.min(), chosen.max(), len(chosen)) == (plain.min(), plain.max(), 40)
    assert (chosen.shape, chosen.size, chosen.nbytes) == (plain.shape, plain.size, plain.nbytes)
    np.testing.assert_array_equal(chosen[3:6], plain[3:6])
    np.testing.assert_array_equal(chosen[-1], plain[-1])


def test_an_image_has_one_label(tmp_path: Path) -> None:
    data = Dataset.from_arrays(mapped(tmp_path / "x.npy", IMAGES), LABELS).take([1, 2, 1])
    fastmlp.train(TrainConfig(hidden=(), epochs=1), data)
    wrong = dataclasses.replace(data, labels=np.array([0, 0, 1]))
    with pytest.raises(DataError, match="another label at row 0"):
        fastmlp.train(TrainConfig(hidden=(), epochs=1), wrong)


def test_not_a_number_on_disk_is_named(tmp_path: Path) -> None:
    images = IMAGES.reshape(120, -1).astype(np.float32)
    images[70, 8] = np.nan
    with pytest.raises(DataError, match="image 70 holds nan at value 8"):
        Dataset.from_arrays(mapped(tmp_path / "x.npy", images), LABELS)


def test_large_arrays_stay_on_disk_whatever_their_axes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Dataset.from_arrays(IMAGES, LABELS)
    last = np.moveaxis(IMAGES, 1, 3)
    np.savez(tmp_path / "a.npz", x_train=last, y_train=LABELS, x_test=last, y_test=LABELS)
    np.savez_compressed(tmp_path / "b.npz", images=last, labels=LABELS)
    np.save(tmp_path / "x.npy", np.asfortranarray(last))
    np.save(tmp_path / "y.npy", LABELS)
    for large in (False, True):
        if large:
            monkeypatch.setattr(rows, "LARGE", 1000)
            monkeypatch.setattr("fastmlp.datasets.numpy_files.LARGE", 1000)
        for name in ("a.npz", "b.npz", "x.npy"):
            part = read(tmp_path / name, OwnOptions()).train
            assert part.checksum == first.checksum
            assert is_mapped(part.images) == (large and name != "b.npz")
