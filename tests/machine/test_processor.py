"""What each system tells about its cores and caches, from faked answers of all three."""

import ctypes
import os
import platform
import struct
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastmlp.machine import affinity, cores, memory, processor
from fastmlp.machine.description import describe, last_level_cache

# -- Linux ---------------------------------------------------------------------------------------


def devices(folder: Path, capacities: dict[int, str], atoms: str | None = None) -> Path:
    """Lay out a fake /sys/devices."""
    for core, text in capacities.items():
        path = folder / "system" / "cpu" / f"cpu{core}" / "cpu_capacity"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    if atoms is not None:
        (folder / "cpu_atom").mkdir()
        (folder / "cpu_atom" / "cpus").write_text(atoms)
    return folder


@pytest.mark.parametrize(
    ("capacities", "atoms", "allowed", "expected"),
    [
        pytest.param({}, None, {0, 1, 2}, {0, 1, 2}, id="all alike"),
        pytest.param({0: "414\n", 1: "414\n", 2: "1024\n"}, None, {0, 1, 2}, {2}, id="big.LITTLE"),
        pytest.param({0: "414\n", 1: "414\n", 2: "1024\n"}, None, {0, 1}, {0, 1}, id="only slow"),
        pytest.param({0: "1024\n", 1: "871\n", 2: "300\n"}, None, {0, 1, 2}, {0, 1}, id="3 kinds"),
        pytest.param({}, "4-7,9\n", set(range(10)), {0, 1, 2, 3, 8}, id="E-cores"),
        pytest.param({}, "0-3\n", {1, 2}, {1, 2}, id="only E-cores"),
        pytest.param({0: "garbage"}, "more garbage", {0, 1}, {0, 1}, id="unreadable"),
    ],
)
def test_fast_cores_of_linux(
    tmp_path: Path,
    capacities: dict[int, str],
    atoms: str | None,
    allowed: set[int],
    expected: set[int],
) -> None:
    found = processor.fast_among(frozenset(allowed), devices(tmp_path, capacities, atoms))
    assert found == expected


def on_linux(patch: pytest.MonkeyPatch, folder: Path, allowed: set[int]) -> None:
    patch.setattr(sys, "platform", "linux")
    patch.setattr(processor, "DEVICES", folder)
    patch.setattr(affinity, "allowed", lambda: allowed)
    monkeyed = processor.fast_among.__wrapped__
    patch.setattr(processor, "fast_among", lambda among: monkeyed(among, folder))


def test_caches_of_linux_are_those_of_a_fast_core(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_linux(monkeypatch, devices(tmp_path, {0: "400", 3: "1024"}), {0, 3})
    tables = {0: [("1", "Data", "32K")], 3: [("1", "Data", "48K"), ("1", "Instruction", "32K")]}
    tables[3] += [("3", "Unified", "32768K"), ("9", "Unified", "garbage")]
    for core, table in tables.items():
        for index, (level, kind, size) in enumerate(table):
            folder = tmp_path / "system" / "cpu" / f"cpu{core}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, text in (("level", level), ("type", kind), ("size", size)):
                (folder / name).write_text(text + "\n")
    expected = {"L1 data": 48 << 10, "L1 instruction": 32 << 10, "L3": 32 << 20}
    assert processor.caches() == describe()["caches"] == expected
    assert last_level_cache() == 32 << 20
    assert cores.usable_cores() == 1


def test_linux_that_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_linux(monkeypatch, tmp_path / "absent", set())
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert processor.caches() == {}
    assert cores.usable_cores() == 5


# -- macOS ---------------------------------------------------------------------------------------


class Sysctl:
    """The library of C of a Mac that has these values: the size is asked first, then the bytes."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values

    def sysctlbyname(self, key: bytes, room: Any, size: Any, new: None, length: Any) -> int:
        assert new is None
        assert length.value == 0
        value = self.values.get(key.decode())
        if value is None:
            return -1
        size._obj.value = len(value)
        if room is not None:
            ctypes.memmove(room, value, len(value))
        return 0


def on_macos(patch: pytest.MonkeyPatch, values: dict[str, int | str]) -> None:
    wide = {"hw.l2cachesize", "hw.l3cachesize"}  # 8 bytes; others have 4
    packed = {
        key: value.encode() + b"\0"
        if isinstance(value, str)
        else value.to_bytes(8 if key in wide else 4, "little")
        for key, value in values.items()
    }
    patch.setattr(sys, "platform", "darwin")
    patch.setattr(ctypes, "CDLL", lambda name: Sysctl(packed))
    patch.delattr(os, "sched_getaffinity", raising=False)
    patch.delattr(os, "sched_setaffinity", raising=False)
    patch.setattr(os, "cpu_count", lambda: 8)
    patch.setattr(cores, "cgroup_quota", lambda *_: float("inf"))


def test_apple_silicon(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, int | str] = {
        "machdep.cpu.brand_string": "Apple M2",
        "hw.perflevel0.logicalcpu": 4,
        "hw.perflevel1.logicalcpu": 4,
        "hw.perflevel0.l1icachesize": 192 << 10,
        "hw.perflevel0.l1dcachesize": 128 << 10,
        "hw.perflevel0.l2cachesize": 16 << 20,
        "hw.l1icachesize": 128 << 10,  # these are the efficiency cores'
        "hw.l1dcachesize": 64 << 10,
        "hw.l2cachesize": 4 << 20,
    }
    on_macos(monkeypatch, values)
    found = describe()
    assert found["cpu"] == "Apple M2"
    assert found["cores"] == 8
    assert found["usable_cores"] == 4
    assert found["caches"] == {
        "L1 instruction": 192 << 10,
        "L1 data": 128 << 10,
        "L2": 16 << 20,
    }
    cores.take_own_core(0, 4)  # there is no mask: nothing happens


def test_an_intel_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    on_macos(
        monkeypatch,
        {"hw.l1dcachesize": 32 << 10, "hw.l2cachesize": 1 << 18, "hw.l3cachesize": 6 << 20},
    )
    assert processor.caches() == {"L1 data": 32 << 10, "L2": 1 << 18, "L3": 6 << 20}
    assert cores.usable_cores() == 8
    assert processor.name() == platform.processor() or platform.machine()


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_a_mac_that_tells_nothing(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse(name: object) -> None:
        raise error

    on_macos(monkeypatch, {})
    assert processor.caches() == {}
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert processor.caches() == {}
    assert last_level_cache() == 0
    assert cores.usable_cores() == 8
    assert processor.name()


def test_peak_memory_of_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = types.SimpleNamespace(
        RUSAGE_SELF=0, getrusage=lambda who: types.SimpleNamespace(ru_maxrss=3 << 20)
    )
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "resource", resource)
    assert memory.peak_bytes() == 3 << 20


# -- Windows -------------------------------------------------------------------------------------


def core_entry(cores: set[int], efficiency: int) -> bytes:
    """Return an entry of a core: flags, class, 20 bytes, the number of groups, their masks."""
    groups = sorted({core // 64 for core in cores})
    masks = b"".join(
        struct.pack(
            "<QHHHH", sum(1 << core % 64 for core in cores if core // 64 == group), group, 0, 0, 0
        )
        for group in groups
    )
    body = struct.pack("<BB20xH", 0, efficiency, len(groups)) + masks
    return struct.pack("<II", 0, 8 + len(body)) + body


def cache_entry(level: int, size: int, kind: int) -> bytes:
    """Return an entry of a cache: level, ways, line, size, kind, 18 bytes, the number of groups, a mask."""
    body = struct.pack("<BBHII18xHQHHHH", level, 8, 64, size, kind, 1, 1, 0, 0, 0, 0)
    return struct.pack("<II", 2, 8 + len(body)) + body


class Function:
    """A function of kernel32: an object, since its types are set."""

    def __init__(self, call: Callable[..., int]) -> None:
        self.call = call

    def __call__(self, *arguments: Any) -> int:
        return self.call(*arguments)


class Kernel32:
    """The functions of Windows that are asked."""

    def __init__(self, tables: dict[int, bytes], mask: int, works: bool = True) -> None:
        self.tables, self.mask, self.works = tables, mask, works
        self.GetLogicalProcessorInformationEx = Function(self.table)
        self.GetProcessAffinityMask = Function(self.affinity)
        self.GetCurrentProcess = Function(lambda: 2**64 - 1)
        self.K32GetProcessMemoryInfo = Function(self.memory)

    def table(self, relation: int, room: Any, size: Any) -> int:
        table = self.tables[relation]
        fits = room is not None and size._obj.value >= len(table)
        size._obj.value = len(table)
        if fits:
            ctypes.memmove(room, table, len(table))
        return int(fits and self.works)

    def affinity(self, process: Any, mask: Any, system: Any) -> int:
        assert process.value == 2**64 - 1
        mask._obj.value = self.mask
        return int(self.works)

    def memory(self, process: Any, counters: Any, size: int) -> int:
        assert size == counters._obj.size == 72
        counters._obj.peak_bytes = 5 << 20
        return int(self.works)


def on_windows(patch: pytest.MonkeyPatch, kernel: Kernel32) -> None:
    key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"

    class Opened:
        def __enter__(self) -> str:
            return "opened"

        def __exit__(self, *_: object) -> None: ...

    def open_key(root: int, name: str) -> Opened:
        assert (root, name) == (17, key)
        return Opened()

    winreg = types.SimpleNamespace(
        HKEY_LOCAL_MACHINE=17,
        OpenKey=open_key,
        QueryValueEx=lambda opened, name: (f"12th Gen Intel({name})  ", 1),
    )
    patch.setattr(sys, "platform", "win32")
    patch.setitem(sys.modules, "winreg", winreg)
    patch.setattr(ctypes, "WinDLL", lambda name: {"kernel32": kernel}[name], raising=False)
    patch.delattr(os, "sched_getaffinity", raising=False)
    patch.delattr(os, "sched_setaffinity", raising=False)
    patch.setattr(os, "cpu_count", lambda: 6)
    patch.setattr(cores, "cgroup_quota", lambda *_: float("inf"))


HYBRID = core_entry({0, 1}, 1) + core_entry({2, 3}, 1) + core_entry({4}, 0) + core_entry({5}, 0)
OF_WINDOWS = [
    (2, 1 << 20, 0),
    (1, 32 << 10, 1),
    (1, 48 << 10, 2),
    (1, 32 << 10, 2),
    (3, 24 << 20, 0),
]
CACHES = b"".join(cache_entry(*one) for one in [*OF_WINDOWS, (1, 4096, 3)])


@pytest.mark.parametrize(
    ("table", "mask", "expected"),
    [
        pytest.param(HYBRID, 0b111111, 4, id="hybrid"),
        pytest.param(HYBRID, 0b000110, 2, id="mask"),
        pytest.param(HYBRID, 0, 4, id="no common mask"),
        pytest.param(HYBRID, 0b110000, 2, id="only slow ones"),
        pytest.param(core_entry({0, 64}, 0) + core_entry({65, 129}, 0), 0, 4, id="three groups"),
        pytest.param(b"", 0, 6, id="nothing"),
        pytest.param(b"", 0b111, 3, id="a mask alone"),
        pytest.param(HYBRID[:70], 0, 2, id="cut"),
        pytest.param(struct.pack("<II", 0, 0) * 4, 0, 6, id="an entry of no bytes"),
        pytest.param(struct.pack("<II", 0, 12) + b"1234", 0, 6, id="a short entry"),
    ],
)
def test_fast_cores_of_windows(
    monkeypatch: pytest.MonkeyPatch, table: bytes, mask: int, expected: int
) -> None:
    on_windows(monkeypatch, Kernel32({0: table, 2: CACHES}, mask))
    assert cores.usable_cores() == expected


def test_caches_name_and_memory_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    on_windows(monkeypatch, Kernel32({0: HYBRID, 2: CACHES}, 0b111111))
    found = describe()
    assert found["cpu"] == "12th Gen Intel(ProcessorNameString)"
    assert found["caches"] == {
        "L1 data": 48 << 10,
        "L1 instruction": 32 << 10,
        "L2": 1 << 20,
        "L3": 24 << 20,
    }
    assert last_level_cache() == 24 << 20
    assert memory.peak_bytes() == 5 << 20


def test_windows_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    on_windows(monkeypatch, Kernel32({0: HYBRID, 2: CACHES}, 1, works=False))
    for library in (ctypes.WinDLL, refuse):  # type: ignore[attr-defined,unused-ignore]
        monkeypatch.setattr(ctypes, "WinDLL", library)
        assert processor.caches() == {}
        assert affinity.allowed_on_windows() == set()
        assert memory.peak_bytes() is None
        assert cores.usable_cores() == 6
    monkeypatch.setitem(sys.modules, "winreg", None)
    assert processor.name()
