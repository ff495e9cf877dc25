"""Folders of pictures: a subfolder for each class, or the folders train, valid and test, each with a subfolder a class.

A file is a picture if its name ends like one; others are left aside, and a warning says how many. Hidden files and
those that systems put into every folder are not counted. Pictures in folders below that of a class belong to it. All
pictures have one size, or are scaled to the size that is asked for; they are grey if all of them are, else in colour.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.decoded import PictureFile, Wanted, decode
from fastmlp.datasets.download import DataHome, DataWarning, home
from fastmlp.datasets.transforms import LARGEST_SIDE
from fastmlp.errors import DataError
from fastmlp.machine.own_folder import user_cache_folder
from fastmlp.machine.streams import warn

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib"),
    *(".webp", ".gif", ".tif", ".tiff"),
)
PARTS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
JUNK = ("thumbs.db", "desktop.ini", "__macosx")  # hidden where they come from
KEPT = "decoded-pictures"  # the folder of decoded pictures, in that of the data sets
SHOWN = 3  # names in a message
LAYOUT = "a subfolder of pictures for each class, or folders train, valid and test of such"


class Pictures(NamedTuple):
    """The pictures of a folder, part by part, class by class.

    Attributes
    ----------
    images : uint8 array [N, D]
        May stay on disk.
    labels : int64 array [N]
    shape : (channels, height, width)
    classes : tuple of str
    ends : dict of str to int
        Of each part that the folder has ("train", "valid", "test"), the row after its last; empty if it has none.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    ends: dict[str, int]

    @property
    def fields(self) -> dict[str, Any]:
        """What a Dataset of all of them is made of."""
        return {name: value for name, value in self._asdict().items() if name != "ends"}


def pictures_in(
    path: Path,
    size: int | tuple[int, int] | None = None,
    *,
    skip_bad: bool = False,
    data_home: DataHome = None,
) -> Pictures:
    """Return the pictures of a folder.

    Parameters
    ----------
    path : Path
    size : int or (height, width), optional
        What they are scaled to.
    skip_bad : bool
        Whether pictures that cannot be read are left out, instead of refused.
    data_home : path, optional
        The data folder, in which decoded pictures are kept; see `fastmlp.datasets.load`.

    Raises
    ------
    DataError
        If the folder has another layout, pictures have different sizes, or some cannot be read and `skip_bad` is not
        set; the message names the first ones.
    """
    found = _find(path)
    places = [home(data_home) / KEPT]
    if (cache := user_cache_folder()) is not None:
        places.append(cache / KEPT)
    wanted = Wanted(path, [one.file for one in found.pictures], _sides(size))
    decoded = decode(wanted, places, lambda unsound: found.check(unsound, skip_bad))
    found.tell(decoded.unsound)
    sound = [one for number, one in enumerate(found.pictures) if number not in decoded.unsound]
    numbers = {name: number for number, name in enumerate(found.classes)}
    labels = np.array([numbers[one.label] for one in sound], np.int64)
    ends = {one.part: row for row, one in enumerate(sound, 1)} if found.has_parts else {}
    return Pictures(decoded.images, labels, decoded.shape, found.classes, ends)


def files_below(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the pictures in a folder and in those below it, by name, and what cannot be looked into.

    Raises
    ------
    DataError
        If a link leads to a folder that it lies in.
    """
    found = _Found(folder, False)
    files = sorted(folder / one.name for one in _below(found, ""))
    return files, found.closed


@dataclass(frozen=True)
class _Picture:
    file: PictureFile
    part: str
    label: str


@dataclass
class _Found:
    """What lies in a folder of pictures, in order: part by part, class by class."""

    folder: Path
    has_parts: bool
    classes: tuple[str, ...] = ()
    pictures: list[_Picture] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    """What is wrong with files and folders that cannot be looked into."""
    others: Counter[str] = field(default_factory=Counter)
    """How many files there are that are no pictures by their names, by how these end."""

    def check(self, unsound: Mapping[int, str], skip: bool) -> None:
        """Raise a DataError for files that cannot be read, or for a class of which they leave nothing."""
        wrong = [*self.closed, *unsound.values()]
        if wrong and not skip:
            raise DataError(
                f"{self.folder}: {_listed(wrong, 'cannot be read')}, expected sound pictures; repair or remove what is "
                "wrong, or leave it out with skip_bad=True (--skip-bad)"
            )
        left = {
            one.label
            for number, one in enumerate(self.pictures)
            if one.part == "train" and number not in unsound
        }
        for name in self.classes:
            if name not in left:
                raise DataError(
                    f"{self.folder}: of the class {name!r} no picture can be read: {wrong[0]}"
                )

    def tell(self, unsound: Mapping[int, str]) -> None:
        """Warn of what is left out."""
        if wrong := [*self.closed, *unsound.values()]:
            warn(f"{self.folder}: left out: {_listed(wrong, 'cannot be read')}", DataWarning)
        if self.others:
            ends = ", ".join(f"{count:,} {name}" for name, count in self.others.most_common(SHOWN))
            count = sum(self.others.values())
            warn(
                f"{self.folder}: left aside {count:,} files whose names are not those of pictures ({ends})",
                DataWarning,
            )


def _find(folder: Path) -> _Found:
    """Return the pictures in a folder; nothing is decoded."""
    top = _Entries(folder)
    parts = {}
    for part, names in PARTS.items():
        here = [name for name in top.folders if name.lower() in names]
        if len(here) > 1:
            raise DataError(f"{folder}: found {' and '.join(here)}, expected one of them")
        if here:
            parts[part] = here[0]
    if "train" in parts and 1 < len(parts) < len(top.folders):
        other = next(name for name in top.folders if name not in parts.values())
        raise DataError(
            f"{folder}: found {', '.join(parts.values())} and {other}, which is no part, expected {LAYOUT}; move "
            f"{other} away"
        )
    if "train" not in parts or len(parts) < len(top.folders):
        parts = {}
    found = _Found(folder, bool(parts), closed=top.closed)
    if parts:
        for part, name in parts.items():
            below = _Entries(folder, name)
            found.closed += below.closed
            _find_classes(found, part, below)
    else:
        _find_classes(found, "train", top)
    if len(found.classes) < 2:
        raise DataError(
            f"{folder}: found one class, {found.classes[0]!r}, expected at least two: {LAYOUT}"
            f"{_hint(folder, found.classes[0])}"
        )
    return found


def _find_classes(found: _Found, part: str, entries: _Entries) -> None:
    """Add the pictures of each class of a part."""
    stray = [name for name in entries.files if name.lower().endswith(SUFFIXES)]
    if not entries.folders and entries.closed:
        raise DataError(f"{entries.closed[0]}; expected {LAYOUT}")
    if not entries.folders:
        what = f"{len(stray):,} pictures and no subfolder" if stray else "no subfolder"
        raise DataError(f"{entries.path}: found {what}, expected {LAYOUT}")
    if stray:
        raise DataError(
            f"{entries.path}: found {len(stray):,} pictures beside the folders of the classes, such as {stray[0]}, "
            "expected each in the folder of its class; move or remove them"
        )
    if part != "train" and (new := [one for one in entries.folders if one not in found.classes]):
        raise DataError(
            f"{entries.path}: found the class {new[0]!r}, expected those of the training part: "
            f"{', '.join(found.classes[:10])}"
        )
    if part == "train":
        found.classes = tuple(entries.folders)
    for name in entries.folders:
        files = _below(found, entries.name(name))
        if not files and any(one.startswith(str(entries.path / name)) for one in found.closed):
            raise DataError(f"{found.closed[-1]}; expected the pictures of a class")
        if not files:
            raise DataError(
                f"{entries.path / name}: found no pictures ({', '.join(SUFFIXES)}), expected those of a class; "
                "fill or remove the folder"
            )
        found.pictures += [_Picture(file, part, name) for file in files]


class _Entries:
    """The files and folders in a folder, by name, in order.

    Parameters
    ----------
    top : Path
        The folder of all pictures.
    below : str
        The path of this folder below it, with slashes; empty for itself.

    Raises
    ------
    DataError
        If it is `top` and cannot be read.
    """

    def __init__(self, top: Path, below: str = "") -> None:
        self.below, self.path = below, top / below
        self.folders: list[str] = []
        self.files: dict[str, os.stat_result] = {}
        self.closed: list[str] = []
        try:
            with os.scandir(self.path) as entries:
                for entry in sorted(entries, key=lambda one: one.name):
                    if not entry.name.startswith(".") and entry.name.lower() not in JUNK:
                        self._add(entry)
        except OSError as error:
            self.closed.append(f"{self.path}: {error.strerror or error}")

    def _add(self, entry: os.DirEntry[str]) -> None:
        try:
            status = entry.stat()
        except OSError as error:
            self.closed.append(f"{self.path / entry.name}: {error.strerror or error}")
            return
        if stat.S_ISDIR(status.st_mode):
            self.folders.append(entry.name)
        else:
            self.files[entry.name] = status

    def name(self, name: str) -> str:
        """Return the path of an entry below the top, with slashes."""
        return f"{self.below}/{name}" if self.below else name


def _below(found: _Found, folder: str) -> list[PictureFile]:
    """Return the pictures in a folder and in those below it, in the order of their names."""
    files = []
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [(folder, ())]
    while waiting:
        name, above = waiting.pop()
        path = found.folder / name
        entries = _Entries(found.folder, name)
        found.closed += entries.closed
        for one, status in entries.files.items():
            if one.lower().endswith(SUFFIXES):
                state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                files.append(PictureFile(entries.name(one), state))
            else:
                found.others[Path(one).suffix or "without an ending"] += 1
        if entries.folders:
            status = os.stat(path)
            here = (status.st_dev, status.st_ino)
            if here in above:
                raise DataError(
                    f"{path}: found a link to a folder that it lies in, expected folders that end; remove it"
                )
            waiting += [(entries.name(one), (*above, here)) for one in entries.folders]
    return sorted(files)


def _sides(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the wanted height and width."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else size
    if min(sides) < 1 or max(sides) > LARGEST_SIDE:
        raise DataError(f"size: found {size}, expected pixels, 1..{LARGEST_SIDE} a side")
    return sides


def _listed(wrong: Sequence[str], what: str) -> str:
    """Return how many files are wrong, and the first of them."""
    more = f"; and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
    return f"{len(wrong):,} {'file' if len(wrong) == 1 else 'files'} {what} ({'; '.join(wrong[:SHOWN])}{more})"


def _hint(folder: Path, only: str) -> str:
    """Return what to do if the only class is a folder of classes."""
    below = _Entries(folder, only).folders
    return f"; did you mean {folder / only}?" if len(below) > 1 else ""
