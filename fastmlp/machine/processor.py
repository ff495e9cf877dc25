"""What the system tells about the processor: its name, its caches, and which of its cores are fast.

Linux has files for it, macOS has sysctl, Windows has functions and a registry. Where a system does not tell, the answer
is empty, or every core counts as fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastmlp.machine import affinity

DEVICES = Path("/sys/devices")
# A team waits for its slowest member: a core with less than this share of the fastest one's speed is left out.
FAST = 0.75

# Of GetLogicalProcessorInformationEx.
_CORES, _CACHES = 0, 2
_CACHE_KINDS = {0: "", 1: " instruction", 2: " data"}
_GROUP_BYTES, _CORES_OF_A_GROUP = 16, 64


def name() -> str:
    """Return the name of the processor's model; of its architecture if the system does not tell."""
    found = {"darwin": _name_on_macos, "win32": _name_on_windows}.get(sys.platform, _name_on_linux)
    return found() or platform.processor() or platform.machine()


def caches() -> dict[str, int]:
    """Return bytes by the cache's name, such as ``{"L1 data": 49152}``, of a fast core; empty if unknown."""
    if sys.platform == "darwin":
        return _caches_on_macos()
    if sys.platform == "win32":
        return caches_in(_windows_table(_CACHES))
    return _caches_on_linux(DEVICES / "system" / "cpu")


def fast_cores() -> int | None:
    """Return how many logical cores that this process may use are fast ones; None if the system does not tell."""
    if sys.platform == "darwin":
        return _number_on_macos("hw.perflevel0.logicalcpu") or None
    if sys.platform == "win32":
        allowed = affinity.allowed_on_windows()
        return len(fast_in(_windows_table(_CORES), allowed) or allowed) or None
    allowed = affinity.allowed()
    return len(fast_among(frozenset(allowed))) if allowed else None


# -- Linux ---------------------------------------------------------------------------------------


@functools.cache
def fast_among(cores: frozenset[int], devices: Path = DEVICES) -> frozenset[int]:
    """Return those of some cores, at least one, that are about as fast as the fastest of them."""
    speeds = {core: _capacity(core, devices) for core in cores}
    slow = _listed(devices / "cpu_atom" / "cpus")  # of an Intel processor with two kinds of cores
    best = max(speeds.values())
    fast = frozenset(
        core for core, speed in speeds.items() if speed >= FAST * best and core not in slow
    )
    return fast or cores


def _capacity(core: int, devices: Path) -> float:
    """Return the speed of a core as Linux measures it, in 1024ths of the fastest; all are equal without."""
    with contextlib.suppress(OSError, ValueError):
        path = devices / "system" / "cpu" / f"cpu{core}" / "cpu_capacity"
        return float(path.read_text("utf-8"))
    return 1024.0


def _listed(path: Path) -> set[int]:
    """Return the cores in a list of Linux, such as ``0-3,8``; none if there is no such file."""
    found: set[int] = set()
    with contextlib.suppress(OSError, ValueError):
        for part in path.read_text("utf-8").strip().split(","):
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    return found


def _name_on_linux() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return ""


def _caches_on_linux(cpus: Path) -> dict[str, int]:
    allowed = affinity.allowed()
    core = min(fast_among(frozenset(allowed))) if allowed else 0
    found = {}
    for folder in sorted(cpus.glob(f"cpu{core}/cache/index*")):
        try:
            level, kind, size = (
                (folder / name).read_text("utf-8").strip() for name in ("level", "type", "size")
            )
            number = int(size.removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
        found[f"L{level}" if kind == "Unified" else f"L{level} {kind.lower()}"] = number
    return found


# -- macOS ---------------------------------------------------------------------------------------


def _sysctl(key: str) -> bytes:
    """Return a value of macOS by its name; nothing if there is none."""
    try:
        function = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError, TypeError):
        return b""
    size = ctypes.c_size_t(0)
    if function(key.encode(), None, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return b""
    value = ctypes.create_string_buffer(size.value)
    if function(key.encode(), value, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return b""
    return value.raw[: size.value]


def _number_on_macos(key: str) -> int:
    """Return a number of 4 or 8 bytes; 0 if there is none."""
    return int.from_bytes(_sysctl(key), "little")


def _name_on_macos() -> str:
    return _sysctl("machdep.cpu.brand_string").rstrip(b"\0").decode(errors="replace")


def _caches_on_macos() -> dict[str, int]:
    """Level 0 are the performance cores; a processor with one kind of cores has no levels."""
    names = {"L1 instruction": "l1icache", "L1 data": "l1dcache", "L2": "l2cache", "L3": "l3cache"}
    found = {
        cache: _number_on_macos(f"hw.perflevel0.{key}size") or _number_on_macos(f"hw.{key}size")
        for cache, key in names.items()
    }
    return {cache: size for cache, size in found.items() if size}


# -- Windows -------------------------------------------------------------------------------------


def _windows_table(relation: int) -> bytes:
    """Return what GetLogicalProcessorInformationEx tells about all cores or caches; nothing if it fails."""
    try:
        library: Callable[..., Any] = getattr(ctypes, "WinDLL")  # noqa: B009 - known on Windows alone
        function = library("kernel32").GetLogicalProcessorInformationEx
    except (OSError, AttributeError):
        return b""
    size = ctypes.c_uint32(0)
    function(relation, None, ctypes.byref(size))
    table = ctypes.create_string_buffer(size.value)
    return table.raw[: size.value] if function(relation, table, ctypes.byref(size)) else b""


def _entries(table: bytes) -> Iterator[bytes]:
    """Yield the entries of a table: each begins with the kind and its own size, of 4 bytes each."""
    while len(table) >= 8:
        (size,) = struct.unpack_from("<I", table, 4)
        if not 8 <= size <= len(table):
            return
        yield table[:size]
        table = table[size:]


def _cores_of(entry: bytes, count_at: int) -> set[int]:
    """Return the logical cores in the masks of an entry, numbered through all groups of 64."""
    (count,) = struct.unpack_from("<H", entry, count_at)
    found = set()
    for place in range(count_at + 2, count_at + 2 + max(1, count) * _GROUP_BYTES, _GROUP_BYTES):
        mask, group = struct.unpack_from("<QH", entry, place)
        found |= {
            group * _CORES_OF_A_GROUP + bit for bit in range(_CORES_OF_A_GROUP) if mask >> bit & 1
        }
    return found


def fast_in(table: bytes, allowed: set[int]) -> set[int]:
    """Return the logical cores of the highest class of speed in a table of Windows, among those allowed, if any are."""
    classes: dict[int, set[int]] = {}
    with contextlib.suppress(struct.error, IndexError):
        for entry in _entries(table):
            cores = _cores_of(entry, 30)
            if found := cores & allowed if allowed else cores:
                classes.setdefault(entry[9], set()).update(found)
    return classes[max(classes)] if classes else set()


def caches_in(table: bytes) -> dict[str, int]:
    """Return the largest cache of each kind in a table of Windows."""
    found: dict[str, int] = {}
    with contextlib.suppress(struct.error):
        for entry in _entries(table):
            level, size, kind = struct.unpack_from("<BxxxII", entry, 8)
            if kind in _CACHE_KINDS:
                cache = f"L{level}{_CACHE_KINDS[kind]}"
                found[cache] = max(size, found.get(cache, 0))
    return dict(sorted(found.items()))


def _name_on_windows() -> str:
    try:
        import winreg

        registry: Any = winreg
        key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, key) as opened:
            value, _ = registry.QueryValueEx(opened, "ProcessorNameString")
        return str(value).strip()
    except (ImportError, OSError):
        return ""
