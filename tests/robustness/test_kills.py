"""Signals at random instants: nothing lost, nothing twice, equal ends, nothing left behind."""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from robustness.__main__ import cluster
from robustness.kills import WAYS, Searches, Trainings

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc"),
    pytest.mark.timeout(900),
]
MANY = pytest.param(20, marks=pytest.mark.slow)
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


@pytest.mark.parametrize(
    ("way", "kills"),
    [
        ("threads", 3),
        ("processes", 2),
        *(pytest.param(way, 20, marks=pytest.mark.slow) for way in WAYS),
    ],
)
def test_a_search_survives_signals(tmp_path: Path, way: str, kills: int) -> None:
    with ExitStack() as stack:
        if way == "dask":
            pytest.importorskip("distributed")
        searches = Searches(tmp_path, way, stack.enter_context(cluster()) if way == "dask" else "")
        tallies = [searches.kill(kills, number, seed=kills) for number in SIGNALS]
    assert not any(tally.faults for tally in tallies), tallies
    assert kills < 3 or any(tally.midway for tally in tallies)


@pytest.mark.parametrize("kills", [3, MANY])
def test_a_training_survives_signals(tmp_path: Path, kills: int) -> None:
    trainings = Trainings(tmp_path)
    tallies = [trainings.kill(kills, number, seed=kills) for number in SIGNALS]
    assert not any(tally.faults for tally in tallies), tallies
    assert any(tally.midway for tally in tallies)
