"""Calls of a command on its files that fail: some of them here, all of them in the long run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from robustness.faults import COMMANDS
from robustness.syscalls import can_catch

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not can_catch(), reason="needs seccomp's notifications, of Linux")
LONG = ("train", "train --checkpoint", "search")
SHORT = tuple(name for name in COMMANDS if name not in LONG)


@pytest.mark.parametrize(
    ("names", "most"), [(SHORT, 8), *(((name,), 5) for name in LONG)], ids=["others", *LONG]
)
def test_calls_that_fail(names: tuple[str, ...], most: int, tmp_path: Path) -> None:
    # In a process of its own, which has no thread but one: it forks.
    command = [sys.executable, "-m", "tests.robustness", "faults", "--commands", *names]
    command += ["--most", str(most), "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not run.stderr, run.stderr
    results = json.loads((tmp_path / "results.json").read_text())["faults"]
    found = [one for name in names for one in results[name].values()]
    assert sum(one["count"] for one in found) == most * len(names)
    assert not [one["examples"] for one in found if one["faults"]]
