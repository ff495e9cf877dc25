"""MNIST and Fashion-MNIST: 70,000 grey images of 28 x 28 in four IDX files, compressed or not.

An IDX file is big-endian: two zero bytes, a type (8 is uint8), the number of dimensions, each
dimension in 4 bytes, then the values. Every size is known beforehand, so it is compared before
anything is allocated, and a compressed file is unpacked at most one byte beyond its end.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastmlp.datasets import download as downloads
from fastmlp.datasets.dataset import Dataset, check_labels
from fastmlp.datasets.download import DataHome, Remote, reading
from fastmlp.errors import DataError

TRAIN_SIZE = 60_000
TEST_SIZE = 10_000
SIDE = 28
GZIP_MAGIC = b"\x1f\x8b"


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
        """Return the first folder that holds all four files.

        Both sets use the same file names: files in the data folder itself are MNIST's, unless the
        name of the folder contains "fashion".
        """
        top = downloads.home(data_home)
        folders = [top / below for below in self.folders]
        if ("fashion" in top.name.lower()) == self.name.startswith("fashion"):
            folders.append(top)
        for folder in folders:
            if all(_present(folder, remote) for remote in self.files):
                return folder, "IDX files"
        return None

    def download(self, data_home: DataHome = None) -> Path:
        """Download the four files and return their folder."""
        folder = downloads.home(data_home) / self.folders[0]
        for remote in self.files:
            downloads.download(remote, folder)
        return folder

    def read(self, folder: Path) -> Dataset:
        """Read the four files of a folder."""
        count = TRAIN_SIZE + TEST_SIZE
        images = np.empty((count, SIDE * SIDE), np.uint8)
        labels = np.empty(count, np.int64)
        for part, rows in enumerate((slice(0, TRAIN_SIZE), slice(TRAIN_SIZE, count))):
            pictures, names = self.files[2 * part : 2 * part + 2]
            images[rows] = _values(folder, pictures, (rows.stop - rows.start, SIDE, SIDE)).reshape(
                -1, SIDE * SIDE
            )
            labels[rows] = _values(folder, names, (rows.stop - rows.start,))
            check_labels(labels[rows], len(self.classes), folder / names.file)
        return Dataset(images, labels, (1, SIDE, SIDE), self.classes, self.name, TRAIN_SIZE)


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


def _header(shape: tuple[int, ...]) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


def _present(folder: Path, remote: Remote) -> Path | None:
    """Return the file, plain or compressed; the plain one comes first because it is read faster."""
    paths = (folder / remote.file.removesuffix(".gz"), folder / remote.file)
    return next((path for path in paths if os.path.isfile(path)), None)


def _values(folder: Path, remote: Remote, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Read one of the four files, and warn if it is not the published one."""
    path = _present(folder, remote)
    if path is None:
        raise DataError(f"{folder / remote.file}: not found, expected beside the other three files")
    values = read_idx(path, shape)
    if remote.content_md5:  # unlike the checksum of the .gz, it stays the same after repacking
        digest = hashlib.md5(_header(shape), usedforsecurity=False)
        digest.update(values.data)
        if digest.hexdigest() != remote.content_md5:
            found = digest.hexdigest()
            downloads.warn(path, f"md5 of the content {found}, expected {remote.content_md5}")
    elif path.suffix == ".gz":
        downloads.warn_unless_published(path, remote)
    return values


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
            # The md5 of the labels were computed from the published .gz; those of the images are unknown.
            "train-images-idx3-ubyte": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "",
            ),
            "train-labels-idx1-ubyte": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "9018921c3c673c538a1fc5bad174d6f9",
            ),
            "t10k-images-idx3-ubyte": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "",
            ),
            "t10k-labels-idx1-ubyte": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
        },
    ),
)
