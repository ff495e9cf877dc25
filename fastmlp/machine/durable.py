"""What a system is asked about open files: bytes that survive a loss of power, under the name that is meant."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

OPEN_SECONDS = 2.0
"""How long a file that is to be replaced may be open in other programs of Windows."""


def flush(descriptor: int) -> None:
    """Flush an open file to the disk itself.

    On macOS fsync leaves the bytes in the disk's own memory, and another call empties that. Some disks over a network
    know only fsync.
    """
    command = getattr(fcntl, "F_FULLFSYNC", None)
    if fcntl is not None and command is not None:
        try:
            fcntl.fcntl(descriptor, command)
            return
        except OSError:
            pass
    os.fsync(descriptor)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    if os.name != "posix":  # Windows opens no folder as a file
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def once_closed(replace: Callable[[], object]) -> None:
    """Call what replaces a file, on Windows again while another program has that file open.

    Windows replaces no open file. A scanner has one open for a moment, a spreadsheet until somebody closes it.

    Raises
    ------
    OSError
        If that cannot be done; on Windows, if the file is open for longer than `OPEN_SECONDS`.
    """
    until = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            replace()
            return
        except PermissionError as error:
            if sys.platform != "win32":
                raise
            if time.monotonic() >= until:
                told = "is read-only or open in another program; close it there"
                raise PermissionError(errno.EACCES, told) from error
        time.sleep(0.02)


def open_without_waiting(path: str, flags: int) -> int:
    """Open a file, for `open`; a pipe that nobody writes to is at its end at once."""
    if sys.platform == "win32":  # has no such pipes among its files
        return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor
