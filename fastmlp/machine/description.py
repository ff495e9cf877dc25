"""The description of the machine, which is the machine.json beside every report and training."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastmlp._version import __version__
from fastmlp.machine import processor
from fastmlp.machine.cores import usable_cores

PACKAGES = ("numpy", "numba", "llvmlite", "torch", "jax", "jaxlib", "scikit-learn")


def describe() -> dict[str, Any]:
    """Return a description of the machine and of the versions in use, ready for JSON.

    Returns
    -------
    dict
        ``cpu`` (name of the model), ``cores`` (logical cores of the machine), ``usable_cores``
        (see `fastmlp.machine.cores.usable_cores`), ``caches`` (bytes by name, such as
        ``{"L1 data": 49152}``, of the first fast core; empty if the system does not tell),
        ``system``, and ``versions`` (of fastmlp, of Python, and of each of `PACKAGES` that is
        installed; none is imported).
    """
    return {
        "cpu": processor.name(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "caches": processor.caches(),
        "system": platform.platform(),
        "versions": _versions(),
    }


def last_level_cache() -> int:
    """Return the bytes of the largest cache of the first fast core; 0 if the system does not tell."""
    return max(processor.caches().values(), default=0)


def _versions() -> dict[str, str]:
    versions = {"fastmlp": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
