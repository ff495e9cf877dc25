"""Folders of runs: one run at a time writes to a folder, and none to that of another command."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from fastmlp.errors import StoreError
from fastmlp.machine.files import naming

# The files of a training.
CONFIG, HISTORY, METRICS = "config.toml", "history.csv", "metrics.json"
MODEL, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"
UNFINISHED = "unfinished.toml"  # there from the first epoch until all files are written

# The files by which a folder belongs to a command, whether or not that came to its end.
MARKS = {
    "train": (UNFINISHED, HISTORY, METRICS, MODEL, CHECKPOINT),
    "search": ("trials.sqlite",),
    "reproduce": ("store/.gitignore", "histories.csv.gz", "measured.json"),
    "bench": ("results.json", "roofline.png"),
}
# Files that several commands write: in a folder without marks they are somebody's.
SHARED = ("report.md", "report.html", "trials.csv", "machine.json", "curves.png", "confusion.png")
_WINDOWS_FILE = ".fastmlp-lock"  # Windows locks no folder; a killed run leaves this file, unlocked


class FolderLock:
    """The right to write to a folder, for one run at a time; ``with`` or `close` gives it back.

    The system gives it back however the process ends, and nothing has to be cleaned up. Where the file system knows
    no locks, there is none.

    Parameters
    ----------
    folder : Path
        Made if missing.

    Raises
    ------
    StoreError
        At once, if a run has it.
    OSError
        If the folder cannot be made or opened; it names the path.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import lock_descriptor

        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with naming(folder):
            if sys.platform == "win32":
                self._descriptor = os.open(folder / _WINDOWS_FILE, os.O_RDWR | os.O_CREAT)
            else:
                self._descriptor = os.open(folder, os.O_RDONLY)
        try:
            locked = lock_descriptor(self._descriptor, blocking=False)
        except OSError:
            locked = True  # a file system without locks
        if not locked:
            self.close()
            raise StoreError(
                f"{folder}: a run or another search is using it; wait for it, or use another folder"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the right back."""
        with suppress(OSError):  # it is given back all the same, and nothing was written to it
            os.close(self._descriptor)
        if sys.platform == "win32":
            with suppress(OSError):  # another run has it by now
                (self._folder / _WINDOWS_FILE).unlink()


def claim(folder: Path, command: str) -> FolderLock:
    """Lock a folder for a command, after `check_owner`.

    Raises
    ------
    StoreError, OSError
        As `check_owner` and `FolderLock` do.
    """
    check_owner(folder, command)
    lock = FolderLock(folder)
    try:
        check_owner(folder, command)  # another may have written and ended since
    except BaseException:
        lock.close()
        raise
    return lock


def check_owner(folder: Path, command: str) -> None:
    """Raise a StoreError if a folder's files are not this command's to replace.

    Parameters
    ----------
    folder : Path
        May be missing.
    command : str
        One of `MARKS`.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: found a file, expected a folder; choose another --out")
    for other, marks in MARKS.items():
        if other != command and (found := first_of(folder, marks)):
            raise _not_ours(folder, f"{found} of fastmlp {other}")
    is_ours = first_of(folder, MARKS[command])
    if not is_ours and (found := first_of(folder, SHARED)):
        raise _not_ours(folder, found)


def first_of(folder: Path, names: tuple[str, ...]) -> str | None:
    """Return the first of some names that is in a folder."""
    return next((name for name in names if os.path.lexists(folder / name)), None)


def _not_ours(folder: Path, found: str) -> StoreError:
    return StoreError(
        f"{folder}: found {found}, expected an empty folder; choose another --out, or move away "
        "what is there"
    )
