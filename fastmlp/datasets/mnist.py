"""MNIST and Fashion-MNIST: 70,000 grey images of 28 x 28 in four IDX files, compressed or not, or in Keras' archive.

An IDX file is big-endian: two zero bytes, a type (8 is uint8), the number of dimensions, each
dimension in 4 bytes, then the values. Every size is known beforehand, so it is compared before
anything is allocated, and a compressed file is unpacked at most one byte beyond its end. Keras'
mnist.npz is a zip file of four arrays in NumPy's form, read in the same manner.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastmlp.datasets import download as downloads
from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.download import DataHome, Remote, reading
from fastmlp.datasets.labels import check_labels
from fastmlp.errors import DataError

TRAIN_SIZE = 60_000
TEST_SIZE = 10_000
SIDE = 28
GZIP_MAGIC = b"\x1f\x8b"
ARCHIVE = "mnist.npz"
ARRAYS = (
    "x_train",
    "y_train",
    "x_test",
    "y_test",
)  # of Keras' archive, in the order of the four files
LARGEST_ARCHIVE = 1 << 26  # bytes; Keras' takes 11 MB
LONGEST_HEADER = 1 << 10  # bytes of an array's


@dataclass(frozen=True)
class IdxData:
    """A data set of four IDX files.

    Parameters
    ----------
    name : str
    classes : tuple of str
    folders : tuple of str
        The usual places of the files, below the data folder. Downloads go to the first.
    files : tuple of Remote
        Training images, training labels, test images, test labels.
    """

    name: str
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    files: tuple[Remote, ...]

    def find(self, data_home: DataHome = None) -> tuple[Path, str] | None:
        """Return the first folder that holds all four files, or else Keras' archive.

        Both sets use the same file names: files in the data folder itself are MNIST's, unless the
        name of the folder contains "fashion".
        """
        folders = self._folders(data_home)
        for folder in folders:
            if all(_present(folder, remote) for remote in self.files):
                return folder, "IDX files"
        for path in [folder / ARCHIVE for folder in folders if self.name == "mnist"]:
            if path.is_file():
                return path, "Keras' archive"
        return None

    def download(self, data_home: DataHome = None) -> Path:
        """Download the four files and return their folder."""
        folder = downloads.home(data_home) / self.folders[0]
        try:
            for remote in self.files:
                downloads.download(remote, folder)
        except DataError as error:
            # Without a network it is easier to complete what is there.
            lacking = {
                here: [one.file for one in self.files if not _present(here, one)]
                for here in self._folders(data_home)
            }
            incomplete = [
                f"; {here} lacks {', '.join(names)}"
                for here, names in lacking.items()
                if len(names) < len(self.files)
            ]
            raise DataError(f"{error}{''.join(incomplete)}") from error
        return folder

    def read(self, path: Path) -> Dataset:
        """Read the four files of a folder, or Keras' archive."""
        count = TRAIN_SIZE + TEST_SIZE
        images = np.empty((count, SIDE * SIDE), np.uint8)
        labels = np.empty(count, np.int64)
        is_folder = path.name != ARCHIVE
        changed = []
        for number, remote in enumerate(self.files):
            rows = slice(0, TRAIN_SIZE) if number < 2 else slice(TRAIN_SIZE, count)
            shape = (rows.stop - rows.start, SIDE, SIDE)[: 3 if number % 2 == 0 else 1]
            if is_folder:
                file = _found(path, remote)
                values = read_idx(file, shape)
            else:
                file = path / ARRAYS[number]
                values = read_array(path, ARRAYS[number], shape)
            # Unlike the checksum of the .gz, that of the content stays the same after repacking.
            digest = hashlib.md5(_header(shape), usedforsecurity=False)
            digest.update(values.data)
            changed += [file.name] if digest.hexdigest() != remote.content_md5 else []
            if number % 2 == 0:
                images[rows] = values.reshape(-1, SIDE * SIDE)
            else:
                labels[rows] = values
                check_labels(labels[rows], len(self.classes), file)
        if changed:
            downloads.warn(
                path, f"another md5 of the content than the published: {', '.join(changed)}"
            )
        return Dataset(images, labels, (1, SIDE, SIDE), self.classes, self.name, TRAIN_SIZE)

    def _folders(self, data_home: DataHome) -> list[Path]:
        """Return the places that the files may be in, in the order of preference."""
        top = downloads.home(data_home)
        folders = [top / below for below in self.folders]
        if ("fashion" in top.name.lower()) == self.name.startswith("fashion"):
            folders.append(top)
        return folders


def read_idx(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Read an IDX file, compressed or not, of uint8 values in exactly this shape.

    Raises
    ------
    DataError
        If the file is truncated, oversized or foreign.
    """
    header = _header(shape)
    size = math.prod(shape)
    expected = f"an IDX file of {' x '.join(map(str, shape))} bytes"
    with reading(path, expected), path.open("rb") as raw:
        # Judged by content, not by name: some browsers unpack a download and keep its .gz.
        packed = raw.peek(2)[:2] == GZIP_MAGIC
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        start = file.read(len(header))
        if start != header:
            raise DataError(
                f"{path}: starts with {start.hex()}, expected {header.hex()}, {expected}"
            )
        content = file.read(size + 1)
        if len(content) != size:
            found = "more" if len(content) > size else len(content)
            raise DataError(f"{path}: found {found} bytes of values, expected {size}, {expected}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_array(path: Path, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Read an array of uint8 values in exactly this shape from an archive of NumPy's.

    Raises
    ------
    DataError
        If the archive is damaged, or the array is missing or something else.
    """
    where = f"{path}/{name}"
    size, expected = math.prod(shape), f"an array of {' x '.join(map(str, shape))} bytes"
    if path.stat().st_size > LARGEST_ARCHIVE:
        raise DataError(f"{path}: found over {LARGEST_ARCHIVE} bytes, expected Keras' {ARCHIVE}")
    with reading(where, expected), zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where}: packed by method {member.compress_type}, expected deflated")
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            length = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
            text = file.read(min(length, LONGEST_HEADER)).decode("latin-1")
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            if text.strip().replace(", }", "}") != repr(header):
                raise DataError(f"{where}: found {text[:80].strip()!r}, expected {expected}")
            content = file.read(size + 1)
            if len(content) != size:
                found = "more" if len(content) > size else len(content)
                raise DataError(f"{where}: found {found} bytes of values, expected {expected}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _header(shape: tuple[int, ...]) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


def _places(folder: Path, remote: Remote) -> Iterator[Path]:
    """Yield where a file may be: under its name or with a dot in it, plain or compressed.

    Plain ones come first because they are read faster. Kaggle has each file also in a folder of its name.
    """
    plain = remote.file.removesuffix(".gz")
    names = (plain, plain.replace("-idx", ".idx"))
    for place in (folder, *(folder / name for name in names)):
        yield from (place / f"{name}{end}" for end in ("", ".gz") for name in names)


def _present(folder: Path, remote: Remote) -> Path | None:
    """Return a file's path, if it is there."""
    return next((path for path in _places(folder, remote) if os.path.isfile(path)), None)


def _found(folder: Path, remote: Remote) -> Path:
    path = _present(folder, remote)
    if path is None:
        raise DataError(f"{folder / remote.file}: not found, expected beside the other three files")
    return path


def _files(urls: tuple[str, ...], sums: dict[str, tuple[str, str]]) -> tuple[Remote, ...]:
    return tuple(
        Remote(f"{file}.gz", sha256, tuple(f"{url}{file}.gz" for url in urls), content_md5)
        for file, (sha256, content_md5) in sums.items()
    )


MNIST = IdxData(
    name="mnist",
    classes=tuple("0123456789"),
    folders=("mnist", "MNIST/raw"),
    files=_files(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "train-images-idx3-ubyte": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "6bbc9ace898e44ae57da46a324031adb",
            ),
            "train-labels-idx1-ubyte": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "a25bea736e30d166cdddb491f175f624",
            ),
            "t10k-images-idx3-ubyte": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "2646ac647ad5339dbf082846283269ea",
            ),
            "t10k-labels-idx1-ubyte": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "27ae3e4e09519cfbb04c329615203637",
            ),
        },
    ),
)

FASHION_MNIST = IdxData(
    name="fashion_mnist",
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    folders=("fashion-mnist", "FashionMNIST/raw"),
    files=_files(
        (
            # This server has no HTTPS; the checksum protects the download.
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            ),
            "train-labels-idx1-ubyte": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "9018921c3c673c538a1fc5bad174d6f9",
            ),
            "t10k-images-idx3-ubyte": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "8181f5470baa50b63fa0f6fddb340f0a",
            ),
            "t10k-labels-idx1-ubyte": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
        },
    ),
)
