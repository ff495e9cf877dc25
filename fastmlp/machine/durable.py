"""Bytes that survive a loss of power."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None


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
