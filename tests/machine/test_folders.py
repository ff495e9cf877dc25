"""One run at a time writes to a folder, on systems that lock folders and on Windows, which locks a file in it."""

import errno
import os
import sys
from pathlib import Path

import pytest

from fastmlp.errors import StoreError
from fastmlp.machine import folders
from fastmlp.machine.folders import FolderLock, claim
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
