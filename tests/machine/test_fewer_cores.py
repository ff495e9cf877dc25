"""Variables that limit threads: the least counts, and what is no number does not."""

import math

import pytest

from fastmlp.machine.cores import usable_cores
from fastmlp.machine.limits import VARIABLES, thread_limit


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", VARIABLES)
def test_each_is_heeded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert thread_limit() == (name, 1)
    assert usable_cores() == 1


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1.5", " ", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_number_is_passed_over(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    free = usable_cores()
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert thread_limit() == ("", math.inf)
    assert usable_cores() == free


def test_the_least_counts_and_a_list_has_its_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3, 2")
    assert thread_limit() == ("OMP_NUM_THREADS", 3)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert thread_limit() == ("SLURM_CPUS_PER_TASK", 2)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "64")
    assert thread_limit() == ("SLURM_CPUS_PER_TASK", 2)
