"""Files that are mapped into memory: what was read of them is given back, so that a process stays small.

Pages of a file that a process has read count as its own until the system needs them. For a training on a file of many
gigabytes that looks like a leak, and where memory is limited it may be ended for it. A thread looks how much of files
the process holds and gives it back; the pages stay in the system's cache of files, from where they come again.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

LARGE = 1 << 28  # bytes; smaller files may stay whole
MOST = 1 << 28  # bytes of files that are held before they are given back
EVERY = 0.02  # seconds
STATM = Path("/proc/self/statm")

_watched: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_lock = threading.Lock()
_watcher: threading.Thread | None = None


def memory_of_files() -> int | None:
    """Return the bytes of files that this process has resident; None if the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(STATM.read_text("ascii").split()[2]) * mmap.PAGESIZE
    return None


def mapping_of(array: Any) -> mmap.mmap | None:
    """Return what an array in a mapped file lies in, unless its values may be changed in memory alone."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return getattr(array, "_mmap", None) if array.mode in ("r", "r+") else None
        array = array.base
    return None


def stay_small(mapping: mmap.mmap | None) -> None:
    """Give back again and again what was read of a mapping, if it is large, until it is closed or forgotten.

    Parameters
    ----------
    mapping : mmap or None
        Of a file, and not private (ACCESS_COPY): what was written to it would be lost.
    """
    global _watcher
    if mapping is None or len(mapping) < LARGE or not sys.platform.startswith("linux"):
        return
    with _lock:
        _watched.add(mapping)
        if _watcher is None and memory_of_files() is not None:
            _watcher = threading.Thread(target=_watch, name="fastmlp-mapped", daemon=True)
            _watcher.start()


def give_back() -> None:
    """Let the system take back what was read of all watched mappings."""
    for mapping in list(_watched):
        with contextlib.suppress(OSError, ValueError):  # it was closed
            mapping.madvise(mmap.MADV_DONTNEED)


def _watch() -> None:
    global _watcher
    held = memory_of_files() or 0
    while True:
        time.sleep(EVERY)
        with _lock:
            if not _watched:
                _watcher = None
                return
        if (memory_of_files() or 0) > held + MOST:
            give_back()
            held = memory_of_files() or 0


def _begin_anew() -> None:
    """A forked child has the mappings, but no thread that watches them, and maybe a lock that nobody opens."""
    global _watcher, _lock
    _watcher, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
