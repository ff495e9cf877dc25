"""Which flush each system needs, from faked systems."""

import errno
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmlp.machine import durable
from fastmlp.machine.files import append, write_atomic
from fastmlp.machine.own_folder import OwnFolder
from fastmlp.search.store import TrialStore

FULL = 51  # F_FULLFSYNC


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what is called to flush, in order; only plain flushes really happen."""
    found: list[object] = []
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        found.append("fsync")
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def macos(calls: list[object], works: bool = True) -> types.SimpleNamespace:
    def control(descriptor: int, command: int) -> None:
        os.fstat(descriptor)
        calls.append(command)
        if not works:
            raise OSError(45, "Operation not supported")

    return types.SimpleNamespace(F_FULLFSYNC=FULL, fcntl=control)


def test_macos_empties_the_disks_own_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[object]
) -> None:
    monkeypatch.setattr(durable, "fcntl", macos(calls))
    write_atomic(tmp_path / "file", b"bytes")
    assert calls == [FULL, FULL]  # the file and its name in the folder
    append(tmp_path / "file", b" more")
    assert calls == [FULL] * 3
    assert (tmp_path / "file").read_bytes() == b"bytes more"


def test_a_disk_that_knows_only_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[object]
) -> None:
    monkeypatch.setattr(durable, "fcntl", macos(calls, works=False))
    append(tmp_path / "file", b"bytes")
    assert calls == [FULL, "fsync"]


@pytest.mark.parametrize("module", [None, types.SimpleNamespace()])
def test_other_systems_flush_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[object], module: object
) -> None:
    monkeypatch.setattr(durable, "fcntl", module)
    append(tmp_path / "file", b"bytes")
    assert calls == ["fsync"]


def test_windows_flushes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[object]
) -> None:
    monkeypatch.setattr(durable.os, "name", "nt")
    durable.flush_folder(tmp_path / "absent")
    assert calls == []


def test_a_store_asks_for_full_flushes(tmp_path: Path) -> None:
    with TrialStore(tmp_path, "data") as store:
        for name in ("fullfsync", "checkpoint_fullfsync"):
            assert store._database.execute(f"PRAGMA {name}").fetchone() == (1,)


def write_own(path: Path, data: bytes) -> None:
    OwnFolder(path.parent).write(path.name, data)


def occupied(monkeypatch: pytest.MonkeyPatch, refusals: float) -> list[object]:
    """Let a file be open in another program for some tries to replace it; return the tries."""
    tries: list[object] = []

    plain = os.replace

    def replace(source: object, target: object, **folders: object) -> None:
        if not str(target).endswith("file"):
            plain(source, target, **folders)  # type: ignore[arg-type]
            return
        tries.append(target)
        if len(tries) <= refusals:
            raise PermissionError(errno.EACCES, "Access is denied", str(source))
        plain(source, target, **folders)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", replace)
    return tries


@pytest.mark.parametrize("write", [write_atomic, write_own])
def test_windows_waits_for_who_has_a_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "own" / "file"
    write_own(path, b"old")
    tries = occupied(monkeypatch, 3)
    monkeypatch.setattr(sys, "platform", "win32")
    write(path, b"new")
    assert len(tries) == 4
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_windows_waits_for_no_spreadsheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    occupied(monkeypatch, float("inf"))
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(durable, "OPEN_SECONDS", 0.05)
    with pytest.raises(OSError, match=r"open in another program; close it there: .*file'$"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_systems_refuse_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = occupied(monkeypatch, float("inf"))
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(PermissionError, match="Access is denied"):
        write_atomic(tmp_path / "file", b"new")
    assert len(tries) == 1
