"""Compiled arithmetic: the engine plans a program (`builder`, `plan`) and executes it (`run`); all else serves them."""

import os
import re

from fastmlp.errors import ConfigError

_threads = os.environ.get("NUMBA_NUM_THREADS", "1")
if re.fullmatch(r"\s*(-\d+|\+?0+)\s*", _threads):  # Numba warns of what is no number, and goes on
    raise ConfigError(
        f"NUMBA_NUM_THREADS: found {_threads}, expected at least 1: Numba does not start with less"
    )
