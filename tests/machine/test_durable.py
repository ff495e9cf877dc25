"""Which flush each system needs, from faked systems."""

import os
import types
from pathlib import Path

import pytest

from fastmlp.machine import durable
from fastmlp.machine.files import append, write_atomic
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
