"""Large mapped files: read by calls and not through their mapping, with the same bits, and hardly resident."""

import dataclasses
import gc
import os
import pickle
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp import Dataset, TrainConfig
from fastmlp.datasets import rows
from fastmlp.datasets.decoded import _sums
from fastmlp.errors import DataError
from fastmlp.machine import mapped
from fastmlp.machine.mapped import file_behind
from fastmlp.training import reading

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux's /proc")
RANDOM = np.random.default_rng(5)
IMAGES = RANDOM.integers(0, 256, (300, 3, 8, 8)).astype(np.uint8)
LABELS = (IMAGES[:, 0].mean(axis=(1, 2)) > 127).astype(np.int64)
PAGES = 4000  # images in a file that is large enough to be seen resident


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LARGE", 1000)


def mapped_copy(path: Path, array: np.ndarray, mode: Any = "r") -> np.ndarray:
    np.save(path, array)
    return np.load(path, mmap_mode=mode)


def files_resident() -> int:
    """Bytes of files in this process."""
    status = Path("/proc/self/status").read_text("ascii")
    found = re.search(r"RssFile:\s+(\d+)", status)
    assert found
    return int(found[1]) << 10


@linux
@pytest.mark.parametrize("chosen", [0, 1])
@pytest.mark.parametrize("at_once", [1, 5 * 16 * 192, 1 << 24])
@pytest.mark.parametrize(
    "settings",
    [
        {"flip": True},
        {"shift": 2, "mixup": 0.4, "cutout": 3, "dropout": 0.2},
        {"dtype": "bfloat16", "flip": True},
        {"threads": 2, "hidden": ("conv 4 3", "maxpool 2", 8)},
    ],
    ids=["flips", "mixes", "bfloat16", "images"],
)
def test_same_bits_as_in_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    at_once: int,
    chosen: int,
) -> None:
    monkeypatch.setattr(reading, "AT_ONCE", at_once)
    data = Dataset.from_arrays(mapped_copy(tmp_path / "x.npy", IMAGES), LABELS)
    order = np.random.default_rng(1).permutation(len(LABELS))[: 250 + 50 * (1 - chosen)]
    data = data.take(order) if chosen else data
    same = dataclasses.replace(data, images=np.array(data.images))
    config = TrainConfig(**{"hidden": (7,), "epochs": 3, "batch_size": 16, **settings})
    seen = []
    real = reading.read_rows

    def counted(*arguments: Any) -> bool:
        if arguments[-1].rank == 0:
            seen.append(len(arguments[3]))
        return bool(real(*arguments))

    monkeypatch.setattr(reading, "read_rows", counted)
    found = fastmlp.train(config, data, data)
    assert sum(seen) == 2 * config.epochs * len(data)  # trained on and measured
    seen.clear()
    expected = fastmlp.train(config, same, same)
    assert not seen
    for a, b in zip(found.network.weights, expected.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for one, other in zip(found.history, expected.history, strict=True):
        assert (one["train_loss"], one["valid_loss"]) == (other["train_loss"], other["valid_loss"])
    np.testing.assert_array_equal(
        found.network.predict_proba(data), found.network.predict_proba(same)
    )
    assert fastmlp.evaluate(found.network, data) == fastmlp.evaluate(found.network, same)


@linux
def test_resumed_with_the_same_bits(tmp_path: Path) -> None:
    data = Dataset.from_arrays(mapped_copy(tmp_path / "x.npy", IMAGES.astype(np.float32)), LABELS)
    config = TrainConfig(hidden=(7,), epochs=3, batch_size=32)
    whole = fastmlp.train(config, data)
    for stop in (2, 3):
        end = lambda row, stop=stop: row["epoch"] == stop  # noqa: E731
        part = fastmlp.train(config, data, checkpoint=tmp_path / "c", on_epoch=end)
    for a, b in zip(whole.network.weights, part.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@linux
def test_the_file_is_not_resident(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (PAGES, 3, 64, 64), np.uint8)  # 48 MB
    path = tmp_path / "x.npy"
    data = Dataset.from_arrays(mapped_copy(path, images), np.arange(PAGES) % 2)
    last = np.moveaxis(images, 1, 3)
    others = [
        mapped_copy(tmp_path / f"{n}.npy", one)
        for n, one in enumerate([last, np.asfortranarray(last)])
    ]
    config = TrainConfig(hidden=(4,), epochs=1)
    small = Dataset.from_arrays(images[:8], LABELS[:8] % 2)
    fastmlp.train(config, small, small)  # what is compiled is mapped, too
    before = files_resident()
    parts = data.split((0.8, 0.2), 0)
    result = fastmlp.train(config, *parts)
    fastmlp.evaluate(result.network, parts[1])
    result.network.predict(data)
    assert data.levels == parts[0].levels == (0, 255)
    first = data.checksum
    for other in others:
        turned = Dataset.from_arrays(other, np.arange(PAGES) % 2)
        assert turned.checksum == first
        fastmlp.train(config, turned)
        parts[1].normalization("feature")
    assert files_resident() - before < images.nbytes / 4


@linux
def test_a_file_that_was_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    data = Dataset.from_arrays(mapped_copy(path, IMAGES), LABELS)
    parts = data.split((0.8, 0.2), 0)

    def cut(row: object) -> None:
        os.truncate(path, 30_000)

    for train, valid in (parts, (parts[0], data)):
        np.save(path, IMAGES)
        with pytest.raises(DataError, match=r"x\.npy: found its end at byte 30,000"):
            fastmlp.train(TrainConfig(hidden=(4,), epochs=2), train, valid, on_epoch=cut)
    for read in (lambda: data.checksum, lambda: parts[0].images.max()):
        with pytest.raises(DataError, match=r"x\.npy: found its end at byte 30,000"):
            read()


@linux
def test_found_whatever_became_of_the_name(tmp_path: Path) -> None:
    array = mapped_copy(tmp_path / "x y\n.npy", IMAGES)
    np.save(tmp_path / "other.npy", 255 - IMAGES)
    (tmp_path / "other.npy").replace(tmp_path / "x y\n.npy")
    again = np.load(tmp_path / "x y\n.npy", mmap_mode="r")
    (tmp_path / "x y\n.npy").unlink()
    for one, expected in ((array, IMAGES), (again, 255 - IMAGES)):
        file = file_behind(one[3:])
        assert file is not None
        for key in (np.s_[5:9], np.s_[::-3], np.s_[:, ::2, 1], np.s_[7], np.s_[3:3]):
            np.testing.assert_array_equal(file.copy(one[key]), expected[key])
        np.testing.assert_array_equal(file.copy(one.T), expected.T)
        numbers = np.array([3, 4, 4, 6, 299, 0, 1, 250])
        np.testing.assert_array_equal(file.rows(one, numbers), expected[numbers])


@linux
def test_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = mapped_copy(tmp_path / "x.npy", IMAGES)
    file = file_behind(array)
    assert file is not None
    monkeypatch.setattr(mapped, "MOST", 500)
    monkeypatch.setattr(mapped, "GAP", 400)
    for numbers in (np.arange(300), np.arange(0, 300, 2), RANDOM.permutation(300)):
        np.testing.assert_array_equal(file.rows(array, numbers), IMAGES[numbers])
    np.testing.assert_array_equal(file.copy(array.T), IMAGES.T)


@linux
def test_what_was_changed_in_memory_alone_counts(tmp_path: Path) -> None:
    for mode in ("c", "r+"):
        array = mapped_copy(tmp_path / f"{mode}.npy", IMAGES, mode)
        array[:] = 7
        assert (file_behind(array) is None) == (mode == "c")
        assert Dataset.from_arrays(array, LABELS).levels == (7, 7)
    assert file_behind(np.array(IMAGES)) is None


@linux
def test_chosen_rows_travel_without_their_file(tmp_path: Path) -> None:
    data = Dataset.from_arrays(mapped_copy(tmp_path / "x.npy", IMAGES), LABELS)
    part = data.take([5, 3])
    assert part.images.file is not None
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)).images, part.images)


@linux
def test_descriptors_are_closed(tmp_path: Path) -> None:
    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    data = Dataset.from_arrays(mapped_copy(tmp_path / "x.npy", IMAGES), LABELS)
    fastmlp.train(TrainConfig(hidden=(4,), epochs=1), *data.split((0.5, 0.5), 0))
    assert count() > before
    del data
    assert count() == before


def test_without_such_a_system_the_mapping_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "MAPS", tmp_path / "maps")
    array = mapped_copy(tmp_path / "x.npy", IMAGES)
    assert file_behind(array) is None
    data = Dataset.from_arrays(array, LABELS)
    same = Dataset.from_arrays(IMAGES, LABELS)
    config = TrainConfig(hidden=(4,), epochs=1)
    a, b = (fastmlp.train(config, one).network.weights[0] for one in (data, same))
    np.testing.assert_array_equal(a, b)


@linux
def test_no_room_for_a_copy_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, **_: Any) -> None: ...
        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None: ...
        def write(self, content: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    array = mapped_copy(tmp_path / "x.npy", np.moveaxis(IMAGES, 1, 3))
    with pytest.raises(DataError, match=r"No space left on device, expected room for 57,600 bytes"):
        Dataset.from_arrays(array, LABELS)


@linux
def test_sums_of_a_cache(tmp_path: Path) -> None:
    flat = IMAGES.reshape(300, -1)
    assert _sums(mapped_copy(tmp_path / "x.npy", flat)) == _sums(flat)
