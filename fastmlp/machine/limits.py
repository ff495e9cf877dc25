"""What leaves fewer cores: variables that limit the threads of numerical programs, and other programs."""

from __future__ import annotations

import math
import os
import sys

# Those of OpenMP, of Numba, and of a batch system.
VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "SLURM_CPUS_PER_TASK")


def thread_limit() -> tuple[str, float]:
    """Return the variable that allows the fewest threads, and how many; "" and infinity where none says.

    OpenMP's may be a list, a number for each level: the first counts. What is no number from 1 is passed over.
    """
    found = ((name, _count(os.environ.get(name, ""))) for name in VARIABLES)
    name, count = min(found, key=lambda one: one[1])
    return ("", math.inf) if math.isinf(count) else (name, count)


def _count(text: str) -> float:
    first = text.split(",")[0].strip()
    return int(first) if first.isascii() and first.isdecimal() and int(first) > 0 else math.inf


def load() -> float:
    """Return how many programs wanted to run at once in the last minute; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0.0
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # a system that counts no load
        return 0.0
