"""One run at a time writes to a folder, on systems that lock folders and on Windows, which locks a file in it."""

import errno
import os
import sys
from pathlib import Path

import filelock
import pytest

from fastmlp.errors import StoreError
from fastmlp.machine import folders
from fastmlp.machine.folders import FolderLock, check_owner, claim
from fastmlp.machine.limits import load
from fastmlp.machine.memory import whole_bytes


def test_a_folder_is_given_back_although_closing_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def failing(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, FolderLock(tmp_path):
        with pytest.raises(StoreError, match="is using it"):
            FolderLock(tmp_path)
        patch.setattr(folders.os, "close", failing)
    FolderLock(tmp_path).close()


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_a_folder_in_use_is_refused_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    folder = tmp_path / "above" / "out"
    for _ in range(2):
        with claim(folder, "train"):
            assert len(list(folder.iterdir())) == (system == "win32")
            with pytest.raises(StoreError, match="out: a run or another search is using it"):
                claim(folder, "train")
        assert list(folder.iterdir()) == []


def test_a_killed_run_on_windows_leaves_an_unlocked_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    (tmp_path / ".fastmlp-lock").touch()
    claim(tmp_path, "search").close()
    assert list(tmp_path.iterdir()) == []


def test_what_windows_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert (load(), whole_bytes()) == (0.0, float("inf"))


def test_a_file_system_without_locks_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock, "lock_descriptor", unknown)
    with FolderLock(tmp_path), FolderLock(tmp_path) as lock:
        assert os.path.samestat(os.fstat(lock._descriptor), tmp_path.stat())


FILES = {  # by which users know whose a folder is
    "train": "unfinished.toml history.csv metrics.json model.safetensors checkpoint.safetensors",
    "search": "trials.sqlite",
    "reproduce": "store/.gitignore histories.csv.gz measured.json",
    "bench": "results.json roofline.png",
}
REPORTS = ["report.md", "report.html", "trials.csv", "machine.json", "curves.png", "confusion.png"]


@pytest.mark.parametrize("command", FILES)
def test_a_folder_belongs_to_the_command_that_wrote_to_it(tmp_path: Path, command: str) -> None:
    for mark in FILES[command].split():
        folder = tmp_path / mark.replace("/", "-")
        (folder / mark).parent.mkdir(parents=True)
        (folder / mark).symlink_to("nowhere")  # counts as well
        (folder / REPORTS[0]).touch()
        check_owner(folder, command)
        for other in set(FILES) - {command}:
            with pytest.raises(StoreError, match=f"found {mark} of fastmlp {command}, expected an"):
                claim(folder, other)


@pytest.mark.parametrize("name", REPORTS)
def test_what_several_commands_write_is_somebodys(tmp_path: Path, name: str) -> None:
    check_owner(tmp_path, "train")
    (tmp_path / name).touch()
    with pytest.raises(StoreError, match=f"found {name}, expected an empty folder; choose another"):
        check_owner(tmp_path, "train")
    with pytest.raises(StoreError, match=f"{name}: found a file, expected a folder"):
        check_owner(tmp_path / name, "train")
    check_owner(tmp_path / "missing", "train")


def test_a_folder_that_another_used_while_we_waited_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_of = folders.FolderLock

    def slow(folder: Path) -> FolderLock:
        with lock_of(folder):
            (folder / "trials.sqlite").touch()
        return lock_of(folder)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "FolderLock", slow)
        with pytest.raises(StoreError, match=r"found trials\.sqlite of fastmlp search"):
            claim(tmp_path, "train")
    claim(tmp_path, "search").close()


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="the system does not list descriptors")
def test_a_refused_lock_leaves_no_descriptor(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(StoreError, match="is using it"):
            FolderLock(tmp_path)
        assert len(os.listdir("/dev/fd")) == before
