"""Labelled images to train on: digits (embedded), MNIST, Fashion-MNIST, CIFAR-10, your own arrays.

The data folder is the `data_home` argument, else FASTMLP_DATA, else the user's cache folder. Data
sets in it are read in any of their usual forms; missing ones are downloaded to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from fastmlp.datasets import cifar10, digits, mnist
from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.download import DataHome, DataWarning, home
from fastmlp.datasets.parts import check_parts
from fastmlp.datasets.preparation import Preparation
from fastmlp.datasets.transforms import Normalization
from fastmlp.errors import DataError

__all__ = [
    "NAMES",
    "DataWarning",
    "Dataset",
    "Found",
    "Normalization",
    "Preparation",
    "check_parts",
    "fetch",
    "found",
    "home",
    "load",
    "load_cifar10",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
]


class Source(Protocol):
    """How to get a data set: the modules `digits` and `cifar10`, and the values for the two MNISTs."""

    def find(self, data_home: DataHome = None) -> tuple[Path, str] | None: ...
    def download(self, data_home: DataHome = None) -> Path: ...
    def read(self, path: Path, /) -> Dataset: ...


SOURCES: dict[str, Source] = {
    "digits": digits,
    "mnist": mnist.MNIST,
    "fashion_mnist": mnist.FASHION_MNIST,
    "cifar10": cifar10,
}
NAMES = tuple(SOURCES)


class Found(NamedTuple):
    """Where a data set lies (None: nowhere yet), and in which form."""

    name: str
    path: Path | None
    layout: str


def load(name: str, data_home: DataHome = None) -> Dataset:
    """Return a data set by name, and download it first if it is missing.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion_mnist", "cifar10"}
    data_home : path, optional
        The data folder; by default FASTMLP_DATA, else the user's cache folder.

    Returns
    -------
    Dataset
        uint8 images with the official training part first.

    Raises
    ------
    DataError
        If the name is unknown, a file is damaged or foreign, or the download fails.

    Warns
    -----
    DataWarning
        If a file is sound but its checksum is not the published one.
    """
    return _source(name).read(fetch(name, data_home))


def load_digits() -> Dataset:
    """Return 1,797 handwritten digits, 8 x 8, grey levels 0..255 (1,437 train, 360 test).

    They are part of scikit-learn's package and need no network.
    """
    return load("digits")


def load_mnist(data_home: DataHome = None) -> Dataset:
    """Return MNIST: 70,000 handwritten digits, 28 x 28, grey (60,000 train, 10,000 test).

    Parameters
    ----------
    data_home : str or Path, optional
        The data folder, as for `load`.
    """
    return load("mnist", data_home)


def load_fashion_mnist(data_home: DataHome = None) -> Dataset:
    """Return Fashion-MNIST: 70,000 garments, 28 x 28, grey (60,000 train, 10,000 test).

    Parameters
    ----------
    data_home : str or Path, optional
        The data folder, as for `load`.
    """
    return load("fashion_mnist", data_home)


def load_cifar10(data_home: DataHome = None) -> Dataset:
    """Return CIFAR-10: 60,000 photographs, 32 x 32, colour (50,000 train, 10,000 test).

    Parameters
    ----------
    data_home : str or Path, optional
        The data folder, as for `load`.
    """
    return load("cifar10", data_home)


def fetch(name: str, data_home: DataHome = None) -> Path:
    """Return the path of a data set, and download it first if it is missing."""
    source = _source(name)
    here = source.find(data_home)
    return here[0] if here else source.download(data_home)


def found(data_home: DataHome = None) -> list[Found]:
    """Return where every data set lies and in which form; nothing is read or downloaded."""
    answers = {name: source.find(data_home) for name, source in SOURCES.items()}
    return [
        Found(name, *answer) if answer else Found(name, None, f"not in {home(data_home)}")
        for name, answer in answers.items()
    ]


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise DataError(f"data: found {name!r}, expected one of {', '.join(NAMES)}")
    return SOURCES[name]
