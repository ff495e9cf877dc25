"""The one decorator of every compiled function.

Policy: ``nogil`` (threads are Python threads inside kernels), no fast-math flag (a NaN must stay visible and
sums must keep their order), never ``parallel`` (Numba's pool aborts when two threads enter it, numba#8563).
`fastmlp.kernels.cache` keeps the machine code on disk.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.kernels.cache import MachineCode, cache_folder, shipped

if numba.config.DISABLE_JIT:
    raise ConfigError(
        f"NUMBA_DISABLE_JIT: found {numba.config.DISABLE_JIT}, expected 0: fastmlp's kernels cannot run uncompiled; "
        "unset it"
    )

# A function that Python never calls needs no wrapper that Python could call: a tenth of a cold start.
CALLED_BY_KERNELS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# A literal 0 in a call is a type of its own to Numba: the callee would be compiled once more for it.
ZERO, ONE = np.int64(0), np.int64(1)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` into each of its callers.

    For every function between a kernel with tiles and `run.run`: Numba links a callee into its caller and generates
    its machine code there again, so that each further level of calls costs the time of all below it. EXPERIMENTS.md,
    "Compilation", has the figures.
    """
    return numba.njit(function, inline="always")


def helper(function: Callable[..., Any]) -> Any:
    """Compile `function` once, for kernels to call; LLVM, not Numba, makes it part of their machine code.

    For functions without tiles: inlined by Numba, each copy goes through its whole front end; not inlined by anybody,
    it makes small networks slower. EXPERIMENTS.md, "Compilation", has the figures.
    """
    return numba.njit(function, nogil=True, forceinline=True, **CALLED_BY_KERNELS)


def subkernel(function: Callable[..., Any]) -> Any:
    """Compile `function` once, for kernels to call: one that is large, or called in a loop.

    Its machine code lies in that of its callers, so it is kept on disk with theirs.
    """
    return numba.njit(function, nogil=True, **CALLED_BY_KERNELS)


def kernel(
    function: Callable[..., Any], *, seconds_of: Callable[[Any], float] | None = None
) -> Any:
    """Compile `function` on first use, release the GIL inside it, keep the machine code on disk.

    With `seconds_of`, it is said before a compilation how long it takes: see `fastmlp.kernels.cache.MachineCode`.
    """
    dispatcher = numba.njit(function, nogil=True)
    folder, others = cache_folder(), shipped()
    if folder is None and not others:
        return dispatcher
    # Numba chooses the folder and the form of its own cache, and offers no argument for either.
    code = dispatcher._cache = MachineCode(function, folder, others, seconds_of)
    compile_ = dispatcher.compile

    def compiled(signature: Any) -> Any:
        try:
            return compile_(signature)
        finally:
            code.ended(signature)

    dispatcher.compile = compiled
    return dispatcher
