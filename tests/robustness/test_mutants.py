"""Some hundred damaged files of each kind: refused, or read as what was written."""

import random
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from robustness.campaign import FAULTS, KINDS, mutant_of, read
from robustness.kinds import OTHER, SAME, Mutant
from robustness.models import write

from fastmlp.errors import FastMLPError

SEED = 0
COUNTS = {"picture": 200, "store": 60, "table": 120, "run": 30}


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files(name: str) -> None:
    with KINDS[name]() as kind:
        readings = [
            read(kind, mutant_of(kind, SEED, number), number)
            for number in range(COUNTS.get(name, 250))
        ]
    faults = [
        f"python -m tests.robustness repeat {name} {SEED} {one.number}: {one.result}: {one.detail}"
        for one in readings
        if one.result in FAULTS
    ]
    assert not faults, "\n".join(faults)
    if name != "decoded":  # a damaged file is made again
        assert len({one.result for one in readings}) > 1


@pytest.mark.parametrize("name", KINDS)
def test_sound_files_are_read_and_mutants_repeat(name: str, tmp_path: Path) -> None:
    with KINDS[name]() as kind:
        for number in range(9):
            assert mutant_of(kind, SEED, number) == mutant_of(kind, SEED, number)
        mutants = [kind.mutant(random.Random(number)) for number in range(99)]
        for number in sorted({one.sample for one in mutants}):
            files = kind.sound(number)
            write(tmp_path / str(number), files)
            # Pillow writes pictures in formats that no picture to predict needs to be in.
            # A run that did not end has no settings to start from, and no network.
            refusable = suppress(FastMLPError) if name in ("picture", "run") else nullcontext()
            with warnings.catch_warnings(), refusable:
                warnings.simplefilter("ignore")
                assert kind.read(tmp_path / str(number), Mutant(files, number, False)) in (
                    SAME,
                    OTHER,
                )
