"""On which cores this process may run; an empty set where the system has no such mask."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterable
from typing import Any


def allowed() -> set[int]:
    """Return the logical cores of the calling thread's affinity mask."""
    if not hasattr(os, "sched_getaffinity"):
        return set()
    with contextlib.suppress(OSError):  # a sandbox forbids the question
        return set(os.sched_getaffinity(0))
    return set()


def allow(cores: Iterable[int]) -> None:
    """Let the calling thread run on these cores only; nothing happens if the system does not let it."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cores)


def allowed_on_windows() -> set[int]:
    """Return the logical cores of this process's affinity mask.

    Empty, for no limit, if it fails or if the process has threads in several groups of 64 cores, which have no
    common mask.
    """
    try:
        library: Callable[..., Any] = getattr(ctypes, "WinDLL")  # noqa: B009 - known on Windows alone
        kernel = library("kernel32")
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        mask, system = ctypes.c_uint64(0), ctypes.c_uint64(0)
        process = ctypes.c_void_p(kernel.GetCurrentProcess())
        if not kernel.GetProcessAffinityMask(process, ctypes.byref(mask), ctypes.byref(system)):
            return set()
    except (OSError, AttributeError):
        return set()
    return {core for core in range(64) if mask.value >> core & 1}
