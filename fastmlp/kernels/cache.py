"""Where machine code is kept, whose it is, and what happens to it when it is damaged.

Each compiled function is a file of a folder that belongs to this user alone (`fastmlp.machine.own_folder`), since
loading it executes what is in it. The folder's name carries a digest of everything that machine code depends on: all
kernel sources, Python, Numba and its options, LLVM, the CPU and the tile. Numba's own cache keys a file on the source
file of the function alone, so a change in ``emit/`` would leave stale code behind in the caches of its callers
(numba#1833); it also believes what it finds, and numbers files by an index that two processes may read at once.

A file is a checksum and a pickle. One that is cut, foreign or not readable is not unpickled: the function is compiled
again, after one warning. A disk that is full costs a warning, too.

A package that was built with machine code (``hatch_build.py``) has such folders itself. They are read where the user's
folder has nothing, and trusted as much as the package's modules, beside which they lie.
"""

import functools
import hashlib
import importlib.resources
import inspect
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from fastmlp.errors import line_of
from fastmlp.kernels.tiles import COMPILED_FOR, NATIVE_BF16, TILE
from fastmlp.kernels.turns import Turn
from fastmlp.machine.own_folder import ForeignError, OwnFolder, user_cache_folder, user_name
from fastmlp.machine.streams import warn

CHECKSUM_BYTES = 32

# Numba's options that change machine code, or what is called around it.
OPTIONS = (
    *("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS"),
    *("BOUNDSCHECK", "DEBUGINFO_DEFAULT", "EXTEND_VARIABLE_LIFETIMES", "DISABLE_INTEL_SVML"),
    "USING_SVML",
    *("DEBUG_JIT", "DEBUG_NRT", "NRT_STATS", "ENABLE_PROFILING", "JIT_COVERAGE"),
)


# Of the package: a folder for each CPU that it was built for, named like the user's. With the value "none", this
# variable of the environment says that it is not read, and where the package is built, that it is not made.
SHIPPED, SHIPPED_VARIABLE = "compiled", "FASTMLP_MACHINE_CODE"
BUILT_FOR = "built_for.json"


def digest(sources: Traversable, compiled_for: tuple[str, str, str] = COMPILED_FOR) -> str | None:
    """Return a name for one compiled world: sources at any depth, compiler and its options, CPU, tile.

    None if there are no sources to read, as in a program that was frozen into one file.
    """
    found = hashlib.sha256()
    files = sorted(_modules(sources, ""), key=lambda item: item[0])
    if not files:
        return None
    for name, file in files:
        found.update(name.encode() + file.read_bytes())
    parts = (
        *(numba.__version__, llvmlite.__version__, llvm.llvm_version_info),
        *(sys.implementation.cache_tag, getattr(sys, "abiflags", "")),
        *(compiled_for, TILE, NATIVE_BF16),
        *((name, getattr(numba.config, name, None)) for name in OPTIONS),
    )
    found.update("\n".join(map(repr, parts)).encode())
    return found.hexdigest()[:16]


def _modules(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    """Yield the modules below a folder with their paths; compiled ones where nothing else is installed."""
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            if entry.name not in ("__pycache__", SHIPPED):
                yield from _modules(entry, name)
        elif name.endswith((".py", ".pyc")):
            yield name, entry


@functools.cache
def cache_folder() -> OwnFolder | None:
    """Return the folder of machine code: under ``NUMBA_CACHE_DIR`` if set, else in the user's cache folder.

    Others may write to the folder that ``NUMBA_CACHE_DIR`` names: in it, the user has one of their own. Where the
    user's cache folder cannot be written, the temporary folder takes its place.

    None, after one warning, if there is no folder that this user can write to and others cannot: kernels are then
    compiled anew in each process.
    """
    name = digest(importlib.resources.files("fastmlp.kernels"))
    if name is None:
        return None
    user = user_name()
    refused: list[tuple[Path, OSError]] = []
    used = None
    for folder, is_public in _candidates(user):
        try:
            if is_public:
                OwnFolder(folder)
            folder /= f"fastmlp-{name}-{user}"
            used = OwnFolder(folder)
            break
        except OSError as error:
            refused.append((folder, error))
    if used is None or any(isinstance(error, ForeignError) for _, error in refused):
        reasons = "; ".join(f"{folder}: {error.strerror or error}" for folder, error in refused)
        kept = (
            f"kernels are kept in {used.path}"
            if used
            else "kernels are compiled anew in each process"
        )
        warn(
            f"fastmlp cannot write its cache folder {reasons}: {kept}. Set NUMBA_CACHE_DIR to a folder "
            "that can be written."
        )
    return used


def _candidates(user: object) -> Iterator[tuple[Path, bool]]:
    """Yield the folders in which machine code may be kept, and whether anybody may make a folder of that name."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        yield Path(chosen), False
        return
    usual = user_cache_folder()
    if usual is not None:
        yield usual, False
    with suppress(OSError):  # there is no temporary folder
        yield Path(tempfile.gettempdir(), f"fastmlp-cache-{user}"), True


class ShippedFolder:
    """A folder of machine code that came with the package.

    Parameters
    ----------
    path : Traversable
    """

    def __init__(self, path: Traversable) -> None:
        self.path = path

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return (self.path / name).read_bytes()


def shipped_folders(sources: Traversable) -> list[ShippedFolder]:
    """Return the folders of machine code beside some sources that was made of them and that this CPU can execute.

    First that for this very CPU, then those with more instructions.
    """
    if os.environ.get(SHIPPED_VARIABLE) == "none":
        return []
    found = []
    with suppress(OSError):  # there is none
        for folder in (sources / SHIPPED).iterdir():
            built_for = _built_for(folder)
            if can_execute(built_for) and folder.name == digest(sources, built_for):
                rank = built_for == COMPILED_FOR, built_for[2].count("+")
                found.append((rank, ShippedFolder(folder)))
    return [folder for _, folder in sorted(found, key=lambda one: one[0], reverse=True)]


def _built_for(folder: Traversable) -> tuple[str, str, str]:
    """Return triple, CPU and features that a folder's code was compiled for; empty ones if it does not say so."""
    with suppress(OSError, ValueError):
        found = json.loads((folder / BUILT_FOR).read_bytes())
        if isinstance(found, list) and len(found) == 3:
            triple, cpu, features = map(str, found)
            return triple, cpu, features
    return "", "", ""


def can_execute(built_for: tuple[str, str, str]) -> bool:
    """Return whether code for another CPU may be executed: this one is said to have all of its features."""
    (triple, _, here), (other, _, needed) = COMPILED_FOR, built_for
    names = {one for one in needed.split(",") if one.startswith("+")}
    return built_for == COMPILED_FOR or (
        triple == other and bool(names) and names <= set(here.split(","))
    )


@functools.cache
def shipped() -> tuple[ShippedFolder, ...]:
    """Return the package's own folders of machine code that can be used here."""
    return tuple(shipped_folders(importlib.resources.files("fastmlp.kernels")))


class MachineCode(_Cache):
    """The machine code of one function on disk, a file for each signature; a dispatcher of Numba asks for it.

    Parameters
    ----------
    function : callable
        Without a closure.
    folder : OwnFolder or None
        Where it is kept.
    shipped : sequence of ShippedFolder
        Where else it is looked for.
    seconds_of : callable, optional
        How long a signature's compilation takes, which is said before it begins: see `fastmlp.kernels.turns.Turn`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        folder: OwnFolder | None,
        shipped: Sequence[ShippedFolder] = (),
        seconds_of: Callable[[Any], float] | None = None,
    ) -> None:
        assert function.__closure__ is None, f"{function}: what it closes over is in no key"
        self._folder, self._shipped, self._seconds_of = folder, shipped, seconds_of
        self._function = f"{function.__module__}.{function.__qualname__}", _source(function)
        self._turns: dict[Any, Turn] = {}

    @property
    def cache_path(self) -> str:
        """The folder, for Numba's statistics."""
        return "" if self._folder is None else str(self._folder.path)

    def file(self, signature: Any) -> str:
        """Return the name of a signature's file."""
        key = hashlib.sha256(repr((*self._function, str(signature))).encode()).hexdigest()[:32]
        return f"{self._function[0].rpartition('.')[2]}-{key}.nbc"

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the machine code of a signature; None if it must be compiled, which `ended` must follow."""
        # Numba's own cache makes all types known first, which takes longer than the rest of a warm start. Machine code
        # needs no types, only what its arrays' memory is counted with; a compilation makes them known.
        rtsys.initialize(target)
        code = self._found(signature, target)
        if code is None:
            seconds = None if self._seconds_of is None else self._seconds_of(signature)
            turn = self._turns[signature] = Turn(self._folder, self.file(signature), seconds)
            if turn.wait():
                code = self._found(signature, target)
            if code is None:
                turn.begin()
        return code

    def ended(self, signature: Any) -> None:
        """Let others compile a signature, if this process did: it is done, or failed."""
        if turn := self._turns.pop(signature, None):
            turn.end()

    def _found(self, signature: Any, target: Any) -> Any:
        """Return the machine code of a signature from the first folder that has it, or None."""
        name = self.file(signature)
        for folder in (self._folder, *self._shipped):
            if folder is None:
                continue
            try:
                data = folder.read(name)
                checksum, data = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
                if checksum != hashlib.sha256(data).digest():
                    raise OSError("does not match its checksum")
                key, code = pickle.loads(data)
                if key != (*self._function, signature):
                    raise OSError("belongs to another function")
                return CompileResult._rebuild(target, *code)
            except FileNotFoundError:
                continue
            except Exception as error:  # whatever it is, the function can be compiled
                _warn_once(
                    "damaged",
                    f"fastmlp found damaged machine code, which is compiled again: {folder.path / name}: "
                    f"{line_of(error)}",
                )
        return None

    def save_overload(self, signature: Any, code: Any) -> None:
        """Keep machine code; a disk that is full costs a warning, not the training."""
        if self._folder is None or code.library.has_dynamic_globals or code.lifted:
            return
        try:
            parts = code._reduce()
        except RuntimeError:
            # LLVM's code did not arrive: Ctrl-C came as it was handed over, and what is raised there is ignored.
            raise KeyboardInterrupt from None
        data = dumps(((*self._function, signature), parts))
        try:
            self._folder.write(self.file(signature), hashlib.sha256(data).digest() + data)
        except OSError as error:
            _warn_once(
                "not written",
                f"fastmlp cannot write to its cache folder {self._folder.path} ({error.strerror}): kernels that are "
                "not there are compiled anew in each process. Free space, or set NUMBA_CACHE_DIR to another folder.",
            )

    def enable(self) -> None:
        """Do nothing: a dispatcher has a cache or none."""

    def disable(self) -> None:
        """Do nothing: a dispatcher has a cache or none."""

    def flush(self) -> None:
        """Do nothing: what is compiled again replaces its file."""


def _source(function: Callable[..., Any]) -> bytes:
    """Return a digest of a function's file, for kernels that are not among this package's."""
    try:
        return hashlib.sha256(Path(inspect.getfile(function)).read_bytes()).digest()
    except OSError:  # there are only compiled modules, whose digest is in the name of the folder
        return b""


_told: set[str] = set()


def _warn_once(kind: str, message: str) -> None:
    """Warn, unless a warning of this kind was given in this process."""
    if kind not in _told:
        _told.add(kind)
        warn(message)
