"""How many threads may run at once, by affinity mask and CPU quota, and where they begin."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cores() -> int:
    """Count the cores this process may keep busy.

    Returns
    -------
    int
        The smaller of the cores in the affinity mask and the CPU quota of the process's cgroup
        (version 1 or 2, any ancestor's too), rounded down; at least 1. Where a system has neither,
        all its logical cores.
    """
    has_mask = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_mask else os.cpu_count() or 1
    quota = cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, math.floor(min(cores, quota)))


def take_own_core(rank: int, size: int) -> None:
    """Move the calling thread of a team to its core of those in the affinity mask, from where it may go on.

    Does nothing in a team that has fewer threads (`size`) than there are cores, or where a system
    has no affinity mask. Left to itself Linux often wakes two threads on one core, and takes
    milliseconds to notice: epochs of 2 ms (the digits) took twice as long, every third time, and
    four threads stayed three to one on two cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    mask = os.sched_getaffinity(0)
    if len(mask) > size:
        return
    # It is no loss where a sandbox forbids it, or cores come and go.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {sorted(mask)[rank * len(mask) // size]})
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, mask)


def cgroup_quota(membership: Path, hierarchy: Path) -> float:
    """Read the CPU quota of a cgroup, in cores.

    Parameters
    ----------
    membership
        The file that names the process's cgroups, ``/proc/self/cgroup``.
    hierarchy
        Where the control groups are mounted, ``/sys/fs/cgroup``.

    Returns
    -------
    float
        The smallest quota from the process's group up to the root; infinity where none is set
        or the files cannot be read.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    return min(
        (
            quota
            for line in lines
            for folder in _folders(line, hierarchy)
            for quota in (_quota(folder),)
        ),
        default=math.inf,
    )


def _folders(line: str, hierarchy: Path) -> Iterator[Path]:
    """Every folder that may hold a quota for one line ``number:controllers:path``."""
    _, controllers, path = line.split(":", 2)
    if controllers == "":
        mounts = ["", "unified"]  # version 2, alone or beside version 1
    elif "cpu" in controllers.split(","):
        mounts = [controllers, "cpu"]  # version 1; distributions differ in the folder's name
    else:
        return
    group = PurePosixPath(path.lstrip("/"))
    if ".." in group.parts:  # a group outside the container's own view
        group = PurePosixPath()
    for mount in mounts:
        # Inside a container the host's path often does not exist below the mount, whose top
        # then is the container's own group: the walk upwards meets it in either case.
        for ancestor in (group, *group.parents):
            yield hierarchy / mount / ancestor


def _quota(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        # Without a limit version 2 says "max" and version 1 says -1.
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
