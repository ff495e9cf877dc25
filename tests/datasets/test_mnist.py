import gzip
import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastmlp.datasets import (
    DataWarning,
    download,
    fetch,
    found,
    load,
    load_fashion_mnist,
    load_mnist,
    mnist,
)
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


PLACES = {
    "a dot": "train-images.idx3-ubyte",
    "a dot, compressed": "train-images.idx3-ubyte.gz",
    "Kaggle's folder": "train-images-idx3-ubyte/train-images-idx3-ubyte",
    "Kaggle's folder with a dot": "train-images.idx3-ubyte/train-images.idx3-ubyte",
}


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore::fastmlp.datasets.DataWarning")
@pytest.mark.parametrize("case", PLACES)
def test_other_names_of_the_files(tmp_path: Path, case: str) -> None:
    arrays = write(tmp_path)
    for name in SHAPES:
        start, end = name.split("-idx")
        there = PLACES[case].replace("train-images", start).replace("idx3", f"idx{end[0]}")
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        path = tmp_path / there
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(content) if there.endswith(".gz") else content)
    data = load_mnist(tmp_path)
    assert np.array_equal(data.train.images, arrays["train-images-idx3-ubyte"].reshape(3, 784))


def write_keras(path: Path, **changes: np.ndarray) -> dict[str, np.ndarray]:
    arrays = dict(zip(mnist.ARRAYS, write(path.parent / "idx").values(), strict=True))
    np.savez_compressed(path, **{**arrays, **changes})
    return arrays


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("below", [".", "mnist"])
def test_keras_archive(tmp_path: Path, below: str) -> None:
    (tmp_path / below).mkdir(exist_ok=True)
    path = tmp_path / below / "mnist.npz"
    arrays = write_keras(path)
    assert [one.layout for one in found(tmp_path) if one.path == path] == ["Keras' archive"]
    with pytest.warns(DataWarning, match=rf"^{path}: read, but not the published file \(.*x_train"):
        data = load_mnist(tmp_path)
    assert np.array_equal(data.train.images, arrays["x_train"].reshape(3, 784))
    assert np.array_equal(data.test.labels, arrays["y_test"])


WRONG = {
    "type": {"x_train": np.zeros((3, 28, 28), np.float32)},
    "order": {"x_train": np.zeros((28, 28, 3), np.uint8).T},
    "shape": {"x_train": np.zeros((3, 784), np.uint8)},
    "object": {"y_train": np.array([{}, 1, 2], object)},
    "label": {"y_test": np.array([3, 10], np.uint8)},
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", WRONG)
def test_other_arrays_in_keras_archive_are_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "mnist.npz"
    write_keras(path, **WRONG[case])
    with pytest.raises(DataError, match=rf"mnist.npz/{next(iter(WRONG[case]))}: .*expected"):
        load_mnist(tmp_path)


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore::fastmlp.datasets.DataWarning")
def test_a_damaged_archive_of_keras_is_refused_or_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    write_keras(path)
    whole, original = path.read_bytes(), load_mnist(tmp_path).checksum
    random = np.random.default_rng(0)
    refused = 0
    for number in range(400):
        mutant = bytearray(whole)
        if number % 4:
            mutant[random.integers(len(whole))] ^= 1 << random.integers(8)
        else:
            del mutant[random.integers(len(whole)) :]
        path.write_bytes(mutant)
        try:
            assert load_mnist(tmp_path).checksum == original
        except DataError:
            refused += 1
    assert refused > 200


@pytest.mark.usefixtures("small")
def test_what_lies_there_is_named_when_a_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> Path:
        raise DataError("no network")

    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    monkeypatch.setattr(download, "download", no_network)
    with pytest.raises(DataError, match=rf"no network; {tmp_path} lacks t10k-labels-idx1-ubyte"):
        load_mnist(tmp_path)


@pytest.mark.usefixtures("small")
def test_unpacked_fashion_is_compared_with_the_published_sums(tmp_path: Path) -> None:
    write(tmp_path / "fashion-mnist")
    with pytest.warns(DataWarning) as said:
        load_fashion_mnist(tmp_path)
    assert len(said) == 1
    assert all(name in str(said[0].message) for name in SHAPES)
    assert all(one.content_md5 for one in mnist.FASHION_MNIST.files)


def write_archive(path: Path, **contents: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)


def npy(values: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, values, version)
    return content.getvalue()


def test_an_array_of_an_archive_is_read_in_both_versions(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    path = tmp_path / "a.npz"
    for version in ((1, 0), (2, 0)):
        write_archive(path, x=npy(values, version))
        np.testing.assert_array_equal(mnist.read_array(path, "x", (3, 4, 5)), values)
    for content, words in (
        (npy(values)[:-1], "found 59 bytes of values, expected an array of 3 x 4 x 5 bytes"),
        (npy(values) + b"\0", "found more bytes of values"),
        (npy(values)[:9], "a.npz/x: "),
        (npy(values).replace(b"|u1", b"|i1"), r"found \"{'descr': '\|i1'.*expected an array"),
        (b"\x93NUMPX" + npy(values)[6:], "a.npz/x: "),
    ):
        write_archive(path, x=content)
        with pytest.raises(DataError, match=words):
            mnist.read_array(path, "x", (3, 4, 5))
    with pytest.raises(DataError, match=r"a.npz/y: .*expected an array of 3 x 4 x 5 bytes"):
        mnist.read_array(path, "y", (3, 4, 5))


def test_an_archive_packed_otherwise_or_far_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    values = np.arange(60, dtype=np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("x.npy", npy(values))
    np.testing.assert_array_equal(mnist.read_array(path, "x", (60,)), values)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy(values))
    with pytest.raises(DataError, match=r"a.npz/x: packed by method 14, expected deflated"):
        mnist.read_array(path, "x", (60,))
    for size, words in ((1 << 26, "a.npz/x: "), ((1 << 26) + 1, "a.npz: found over 67108864")):
        with path.open("wb") as file:
            file.truncate(size)
        with pytest.raises(DataError, match=words):
            mnist.read_array(path, "x", (60,))


@pytest.mark.usefixtures("small")
def test_a_file_that_is_gone_since_is_named(tmp_path: Path) -> None:
    write(tmp_path, packed=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz: not found, expected beside"):
        mnist.MNIST.read(tmp_path)


def test_the_classes_are_those_of_the_publications() -> None:
    assert mnist.MNIST.classes == tuple(map(str, range(10)))
    assert " ".join(mnist.FASHION_MNIST.classes) == (
        "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle boot"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (idx(np.zeros(59, np.uint8)), r"starts with 000008010000003b, expected 000008010000003c, "),
        (idx(np.zeros(60, np.uint8))[:-1], "found 59 bytes of values, expected 60, an IDX file of"),
        (idx(np.zeros(60, np.uint8)) + b"1", "found more bytes of values, expected 60, an IDX"),
    ],
)
def test_what_an_idx_file_has_and_should_have_is_said(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=words):
        mnist.read_idx(tmp_path / "a", (60,))
