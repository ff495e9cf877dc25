"""The description of the machine, which is the machine.json beside every report and training."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastmlp._version import __version__
from fastmlp.machine.cores import usable_cores

PACKAGES = ("numpy", "numba", "llvmlite", "torch", "jax", "jaxlib", "scikit-learn")


def describe() -> dict[str, Any]:
    """Return a description of the machine and of the versions in use, ready for JSON.

    Returns
    -------
    dict
        ``cpu`` (name of the model), ``cores`` (logical cores of the machine), ``usable_cores``
        (see `fastmlp.machine.cores.usable_cores`), ``caches`` (bytes by name, such as
        ``{"L1 data": 49152}``, of the first usable core; empty if the system does not tell),
        ``system``, and ``versions`` (of fastmlp, of Python, and of each of `PACKAGES` that is
        installed; none is imported).
    """
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "caches": _caches(Path("/sys/devices/system/cpu")),
        "system": platform.platform(),
        "versions": _versions(),
    }


def last_level_cache() -> int:
    """Return the bytes of the largest cache of the first usable core; 0 if the system does not tell."""
    return max(_caches(Path("/sys/devices/system/cpu")).values(), default=0)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _caches(cpus: Path) -> dict[str, int]:
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    caches = {}
    for folder in sorted(cpus.glob(f"cpu{core}/cache/index*")):
        try:
            level, kind, size = (
                (folder / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        name = f"L{level}" if kind == "Unified" else f"L{level} {kind.lower()}"
        caches[name] = int(size.removesuffix("K")) * 1024
    return caches


def _versions() -> dict[str, str]:
    versions = {"fastmlp": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
