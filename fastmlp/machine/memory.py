"""The memory of this machine, and what this process has used of it."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def peak_bytes() -> int | None:
    """Return the most memory this process has had resident, in bytes; None if it cannot be known.

    Linux has /proc; its getrusage would begin a child with the peak of its parent.
    """
    if sys.platform == "darwin":
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    if sys.platform == "win32":
        return _peak_on_windows()
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in STATUS.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def whole_bytes() -> float:
    """Return the bytes of this machine's memory, infinite where the system does not say."""
    if sys.platform == "win32":
        return math.inf
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return math.inf


class _Counters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of Windows."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("page_faults", ctypes.c_uint32),
        ("peak_bytes", ctypes.c_size_t),
        ("others", ctypes.c_size_t * 7),
    )


def _peak_on_windows() -> int | None:
    try:
        library: Callable[..., Any] = getattr(ctypes, "WinDLL")  # noqa: B009 - known on Windows alone
        kernel = library("kernel32")
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        process, found = ctypes.c_void_p(kernel.GetCurrentProcess()), _Counters()
        found.size = ctypes.sizeof(found)
        if not kernel.K32GetProcessMemoryInfo(process, ctypes.byref(found), found.size):
            return None
    except (OSError, AttributeError):
        return None
    return int(found.peak_bytes)
