"""Signals at random instants: nothing lost, nothing twice, equal ends, nothing left behind."""

import signal
import sys
from pathlib import Path

import pytest
from robustness.__main__ import cluster
from robustness.kills import WAYS, Searches, Trainings

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc"),
    pytest.mark.timeout(900),
]
MANY = pytest.mark.slow
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=MANY)])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "dask"])
def test_a_search_survives_signals(tmp_path: Path, way: str, kills: int, number: int) -> None:
    tally = Searches(tmp_path, way).kill(kills, number, seed=kills)
    assert not tally.faults, tally
    assert tally.midway or kills < 10


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=MANY)])
def test_a_search_on_a_cluster_survives_signals(tmp_path: Path, kills: int) -> None:
    pytest.importorskip("distributed")
    with cluster() as address:
        searches = Searches(tmp_path, "dask", address)
        for number in SIGNALS:
            tally = searches.kill(kills, number, seed=kills)
            assert not tally.faults, tally


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=MANY)])
def test_a_training_survives_signals(tmp_path: Path, kills: int) -> None:
    trainings = Trainings(tmp_path)
    for number in SIGNALS:
        tally = trainings.kill(kills, number, seed=kills)
        assert not tally.faults, tally
