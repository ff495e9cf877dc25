import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fastmlp.datasets import DataWarning, fetch, found, load, load_fashion_mnist, load_mnist, mnist
from fastmlp.errors import DataError

SHAPES = {
    "train-images-idx3-ubyte": (3, 28, 28),
    "train-labels-idx1-ubyte": (3,),
    "t10k-images-idx3-ubyte": (2, 28, 28),
    "t10k-labels-idx1-ubyte": (2,),
}


def idx(values: np.ndarray) -> bytes:
    sizes = np.array(values.shape, ">u4").tobytes()
    return b"\0\0\x08" + bytes([values.ndim]) + sizes + values.tobytes()


def write(folder: Path, packed: bool = False) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: random.integers(0, 10, shape, np.uint8) for name, shape in SHAPES.items()}
    for name, values in arrays.items():
        content = idx(values)
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return arrays


def test_real_mnist(real_data: Path) -> None:
    data = load_mnist(real_data)  # warns, which is an error, unless the content is the published
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert data.shape == (1, 28, 28)
    assert data.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(data.labels).tolist() == [
        *(6903, 7877, 6990, 7141, 6824),
        *(6313, 6876, 7293, 6825, 6958),
    ]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("mnist", "."),
        ("mnist", "mnist"),
        ("mnist", "MNIST/raw"),
        ("fashion_mnist", "fashion-mnist"),
        ("fashion_mnist", "FashionMNIST/raw"),
    ],
)
def test_layouts_on_disk(tmp_path: Path, name: str, below: str, packed: bool) -> None:
    arrays = write(tmp_path / below, packed)
    with pytest.warns(DataWarning, match="read, but not the published file"):
        data = load(name, tmp_path)
    images = np.concatenate([values for key, values in arrays.items() if "images" in key])
    labels = np.concatenate([values for key, values in arrays.items() if "labels" in key])
    assert np.array_equal(data.images, images.reshape(5, 784))
    assert np.array_equal(data.labels, labels)
    assert data.train_size == 3
    assert data.name == name
    places = {row.name: row.path for row in found(tmp_path)}
    other = "mnist" if name == "fashion_mnist" else "fashion_mnist"
    assert places[name] == tmp_path / below
    assert places[other] is None


@pytest.mark.usefixtures("small")
def test_a_folder_called_fashion_holds_fashion(tmp_path: Path) -> None:
    folder = tmp_path / "my-fashion"
    write(folder)
    assert fetch("fashion_mnist", folder) == folder
    with pytest.warns(DataWarning):
        assert load_fashion_mnist(folder).classes[9] == "Ankle boot"


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore::fastmlp.datasets.DataWarning")
def test_labels_out_of_range_and_unpacked_downloads(tmp_path: Path) -> None:
    write(tmp_path, packed=True)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(idx(np.array([9, 10], np.uint8)))  # not compressed, in spite of its name
    with pytest.raises(
        DataError, match=r"t10k-labels-idx1-ubyte.*label 10 at row 1, expected 0..9"
    ):
        load_mnist(tmp_path)
    labels.write_bytes(idx(np.array([9, 8], np.uint8)))
    assert load_mnist(tmp_path).test.labels.tolist() == [9, 8]


@pytest.mark.parametrize("packed", [False, True])
def test_every_truncation_is_refused(tmp_path: Path, packed: bool) -> None:
    values = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    content = gzip.compress(idx(values), mtime=0) if packed else idx(values)
    path = tmp_path / "file"
    path.write_bytes(content)
    assert np.array_equal(mnist.read_idx(path, (3, 4, 5)), values)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"file: .*expected .*3 x 4 x 5"):
            mnist.read_idx(path, (3, 4, 5))


def test_damaged_bytes_are_refused_or_harmless(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    content = gzip.compress(idx(values), mtime=0)
    path = tmp_path / "file.gz"
    refused = 0
    for position in range(len(content)):
        for flip in (1, 0x80, 0xFF):
            mutant = bytearray(content)
            mutant[position] ^= flip
            path.write_bytes(mutant)
            try:
                assert np.array_equal(mnist.read_idx(path, (3, 4, 5)), values)
            except DataError:
                refused += 1
    assert refused > 2 * len(content)


@pytest.mark.parametrize(
    "content",
    [
        idx(np.zeros((3, 4, 6), np.uint8)),
        idx(np.zeros(60, np.uint8)),
        idx(np.zeros((3, 4, 5), np.uint8)) + b"\0",
        b"\0\0\x0d\x03" + idx(np.zeros((3, 4, 5), np.uint8))[4:],
        b"\0\0\x08\x03" + b"\xff" * 12,
        b"<html>404</html>",
        gzip.compress(idx(np.zeros((3, 4, 5), np.uint8)) + b"\0", mtime=0),
        gzip.compress(idx(np.zeros((3, 4, 5), np.uint8)), mtime=0) + b"garbage",
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected"):
        mnist.read_idx(path, (3, 4, 5))


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx(np.zeros((3, 4, 5), np.uint8)))
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(DataError, match="found more bytes"):
        mnist.read_idx(path, (3, 4, 5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
