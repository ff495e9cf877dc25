"""The number of usable cores, by affinity mask and CPU quota, and the core where a thread begins."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fastmlp.machine import affinity, processor
from fastmlp.machine.limits import thread_limit


def usable_cores() -> int:
    """Return the number of cores that this process may keep busy.

    Returns
    -------
    int
        The fast cores in the affinity mask or the CPU quota, whichever is smaller, rounded down; at
        least 1. Cores that save power (Intel's E-cores, Apple's and ARM's efficiency cores) do not
        count beside fast ones. The quota is that of the process's cgroup (version 1 or 2) and its
        ancestors. On a system that tells neither, all logical cores.
        `fastmlp.machine.limits.VARIABLES` may allow fewer.
    """
    cores = processor.fast_cores() or os.cpu_count() or 1
    quota = cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, math.floor(min(cores, quota, thread_limit()[1])))


def take_own_core(rank: int, size: int) -> None:
    """Move the calling thread of a team to a core of its own, which it may leave again.

    Nothing happens if the team has fewer threads (`size`) than the affinity mask has fast cores, or if
    the system has no affinity mask. By itself Linux often wakes two threads on one core and moves them
    milliseconds later: every third epoch of 2 ms (the digits) then took twice as long, and four
    threads on two cores stayed three to one.

    Parameters
    ----------
    rank : int
        Number of the thread in its team, from 0.
    size : int
        Threads of the team.
    """
    mask = affinity.allowed()
    cores = sorted(processor.fast_among(frozenset(mask))) if mask else []
    if not cores or len(cores) > size:
        return
    # Nothing is lost if a sandbox forbids it, or if cores appear and disappear.
    affinity.allow({cores[rank * len(cores) // size]})
    affinity.allow(mask)


def cgroup_quota(membership: Path, hierarchy: Path) -> float:
    """Return the CPU quota of a cgroup, in cores.

    Parameters
    ----------
    membership
        The file that names the process's cgroups, ``/proc/self/cgroup``.
    hierarchy
        Where the control groups are mounted, ``/sys/fs/cgroup``.

    Returns
    -------
    float
        The smallest quota from the process's group up to the root; infinity if none is set or the
        files cannot be read.
    """
    try:
        lines = membership.read_text("utf-8").splitlines()
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
    """Yield the folders that may hold a quota for a line ``number:controllers:path``."""
    _, controllers, path = line.split(":", 2)
    if controllers == "":
        mounts = ["", "unified"]  # version 2, alone or beside version 1
    elif "cpu" in controllers.split(","):
        mounts = [controllers, "cpu"]  # version 1; the folder's name depends on the distribution
    else:
        return
    group = PurePosixPath(path.lstrip("/"))
    if ".." in group.parts:  # a group that the container cannot see
        group = PurePosixPath()
    for mount in mounts:
        # In a container the host's path often does not exist below the mount, and the top of the
        # mount is the container's own group. The walk upwards finds it in either case.
        for ancestor in (group, *group.parents):
            yield hierarchy / mount / ancestor


def _quota(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text("utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text("utf-8")
            period = (folder / "cpu.cfs_period_us").read_text("utf-8")
        # Without a limit, version 2 has "max" and version 1 has -1.
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
