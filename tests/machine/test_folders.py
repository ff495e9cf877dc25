"""The lock of a run's folder."""

import errno
import os
from pathlib import Path

import pytest

from fastmlp.errors import StoreError
from fastmlp.machine import folders
from fastmlp.machine.folders import FolderLock


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
