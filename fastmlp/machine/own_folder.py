"""A folder that nobody else can write to, so that what is read from it is what this user wrote."""

import errno
import functools
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

from fastmlp.machine.durable import once_closed

# Windows has neither owners as numbers nor files relative to an open folder; a user's folders are closed there.
_HAS_OWNERS = os.open in os.supports_dir_fd and hasattr(os, "geteuid")


class ForeignError(PermissionError):
    """A file or folder could have been written by another user."""


def user_name() -> str:
    """Return what tells this user's folders from those of others, where all may write: the user's number."""
    return str(os.geteuid()) if hasattr(os, "geteuid") else "user"


def user_cache_folder() -> Path | None:
    """Return fastmlp's folder among the user's caches, which need not exist; None if the user has no home."""
    try:
        folder = Path(platformdirs.user_cache_dir("fastmlp"))
    except RuntimeError:  # HOME is not set, and the user is not in the list of users
        return None
    return folder if folder.is_absolute() else None


class OwnFolder:
    """A folder that belongs to this user and that nobody else can write to; of its files the same holds.

    This is checked at every access, of the opened folder and file: whoever may rename the folders above it can take
    it away, but cannot put another one in its place.

    Parameters
    ----------
    path : Path
        Made if missing.

    Raises
    ------
    OSError
        If it cannot be made or written to. The same holds for the methods.
    ForeignError
        If another user could have written to it, or it is a symbolic link. The same holds for the methods.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))  # the program may change to another folder
        self.write(".writable", b"")
        self.remove(".writable")

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        with self.reading(name) as file:
            return file.read()

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO]:
        """Open a file to read."""
        with self._opened() as (place, descriptor):
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
            # A named pipe must not keep us waiting.
            flags |= getattr(os, "O_NONBLOCK", 0)
            with open(os.open(place + name, flags, dir_fd=descriptor), "rb") as file:
                _check_own(os.fstat(file.fileno()), stat.S_ISREG)
                yield file

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all; it replaces whatever has its name."""
        with self.writing(name) as file:
            file.write(data)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Open a file to write, which gets its name once the block has ended; an error removes it."""
        _make_closed(self.path)
        temporary = f".{secrets.token_hex(8)}.tmp"
        with self._opened() as (place, descriptor):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            opened = os.open(place + temporary, flags, 0o600, dir_fd=descriptor)
            try:
                with open(opened, "w+b") as file:
                    yield file
                names = place + temporary, place + name
                rename = functools.partial(
                    os.replace, *names, src_dir_fd=descriptor, dst_dir_fd=descriptor
                )
                try:
                    once_closed(rename)
                except (IsADirectoryError, PermissionError):  # the latter on Windows
                    self.remove(name)
                    rename()
            except BaseException:
                with suppress(OSError):
                    os.unlink(place + temporary, dir_fd=descriptor)
                raise

    def names(self) -> list[str]:
        """Return the names of what lies in the folder."""
        with self._opened() as (place, descriptor):
            return os.listdir(place if descriptor is None else descriptor)

    def open(self, name: str) -> int:
        """Return the descriptor of a file that is opened for writing at its end, and made if missing."""
        with self._opened() as (place, descriptor):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            file = os.open(place + name, flags, 0o600, dir_fd=descriptor)
            try:
                _check_own(os.fstat(file), stat.S_ISREG)
            except BaseException:
                os.close(file)
                raise
            return file

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there and can be removed."""
        with suppress(OSError), self._opened() as (place, descriptor):
            try:
                os.unlink(place + name, dir_fd=descriptor)
            except (IsADirectoryError, PermissionError):  # the latter on macOS and Windows
                shutil.rmtree(place + name, dir_fd=descriptor)

    @contextmanager
    def _opened(self) -> Iterator[tuple[str, int | None]]:
        """Yield what goes before the name of a file in the folder, and the open folder that it is relative to."""
        if not _HAS_OWNERS:
            yield f"{self.path}{os.sep}", None
            return
        flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(self.path, flags)
        except OSError as error:
            if self.path.is_symlink():
                raise ForeignError(errno.EPERM, "is a symbolic link") from error
            raise
        try:
            _check_own(os.fstat(descriptor), stat.S_ISDIR)
            yield "", descriptor
        finally:
            os.close(descriptor)


def _make_closed(folder: Path) -> None:
    """Make a folder and those above it that are missing; only this user can enter them."""
    if folder.is_dir():
        return
    _make_closed(folder.parent)
    with suppress(FileExistsError):  # another process was faster
        folder.mkdir(0o700)


def _check_own(found: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Raise a ForeignError if somebody else could have written what was found."""
    if not is_kind(found.st_mode):
        raise OSError(errno.EINVAL, "found another kind of file")
    if not (_HAS_OWNERS and hasattr(os, "geteuid")):
        return
    if found.st_uid != os.geteuid():
        raise ForeignError(errno.EPERM, f"belongs to another user, number {found.st_uid}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise ForeignError(errno.EPERM, f"others can write to it (mode {mode:04o})")
