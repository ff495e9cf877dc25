"""The one decorator of every compiled function, and where its machine code is cached.

Policy: ``nogil`` (threads are Python threads inside kernels), no fast-math flag (a NaN must stay visible and
sums must keep their order), never ``parallel`` (Numba's pool aborts when two threads enter it, numba#8563).

Numba keys a cache file on the source file of the function alone, so a change in ``emit/`` would leave stale
code behind in the caches of its callers (numba#1833). Here the folder's name carries a digest of everything
the machine code depends on: all kernel sources, Numba and llvmlite, the CPU and the tile.
"""

import functools
import hashlib
import os
import platform
import tempfile
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
import platformdirs

from fastmlp.kernels.tiles import NATIVE_BF16, TILE

# A function that Python never calls needs no wrapper that Python could call: a tenth of a cold start.
CALLED_BY_KERNELS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# A literal 0 in a call is a type of its own to Numba: the callee would be compiled once more for it.
ZERO, ONE = np.int64(0), np.int64(1)


def _digest(folder: Path = Path(__file__).parent) -> str:
    """Return a name for one compiled world: sources at any depth, compiler versions, CPU, tile."""
    digest = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        digest.update(str(source.relative_to(folder)).encode() + source.read_bytes())
    cpu = f"{llvm.get_host_cpu_name()} {sorted(dict(llvm.get_host_cpu_features()).items())}"
    parts = (
        numba.__version__,
        llvmlite.__version__,
        platform.python_version(),
        cpu,
        f"{TILE} {NATIVE_BF16}",
    )
    digest.update("\n".join(parts).encode())
    return digest.hexdigest()[:16]


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@functools.cache
def cache_folder() -> Path | None:
    """Where machine code is kept: under ``NUMBA_CACHE_DIR`` if set, else the user's cache folder.

    None, after one warning, when neither it nor the temporary folder can be written: kernels are then compiled
    anew in every process.
    """
    name = f"fastmlp-{_digest()}"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    candidates = [Path(chosen)] if chosen else [Path(platformdirs.user_cache_dir("fastmlp"))]
    if not chosen:
        user = str(os.getuid()) if hasattr(os, "getuid") else "user"
        candidates.append(Path(tempfile.gettempdir()) / f"fastmlp-cache-{user}")
    for candidate in candidates:
        if _is_writable(candidate / name):
            return candidate / name
    warnings.warn(
        f"fastmlp cannot write its cache folder {candidates[0]}: kernels are compiled anew in each process. "
        "Set NUMBA_CACHE_DIR to a folder that can be written.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


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


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` on first use, release the GIL inside it, keep the machine code on disk."""
    folder = cache_folder()
    before = numba.config.CACHE_DIR
    try:
        # Numba chooses the folder while decorating and offers no argument for it.
        numba.config.CACHE_DIR = str(folder or "")
        dispatcher = numba.njit(function, nogil=True, cache=folder is not None)
    finally:
        numba.config.CACHE_DIR = before
    if folder is not None:
        # Numba numbers its files from 1 by an index that two processes may read at the same time: one's code for
        # float64 then replaces the other's for float32, and is called with it. Names of our own never meet.
        files = dispatcher._cache._cache_file
        files._data_name_pattern = files._data_name_pattern.replace("{", f"{uuid.uuid4().hex}.{{")
        files.save = functools.partial(_save_if_possible, files.save)
    return dispatcher


def _save_if_possible(save: Callable[[Any, Any], None], signature: Any, code: Any) -> None:
    """Keep machine code on disk; a disk that is full costs a warning, not the training."""
    try:
        save(signature, code)
    except OSError as error:
        warnings.warn(
            f"fastmlp cannot write to its cache folder {cache_folder()} ({error.strerror}): kernels that are not "
            "there are compiled anew in each process. Free space, or set NUMBA_CACHE_DIR to another folder.",
            RuntimeWarning,
            stacklevel=2,
        )
