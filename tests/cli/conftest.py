"""What the tests of the commands share."""

from pathlib import Path

import pytest


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin in an empty folder."""
    monkeypatch.chdir(tmp_path)
