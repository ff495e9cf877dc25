"""Checkpoints of any number of epochs, and what in them is refused."""

import dataclasses
import errno
import itertools
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_helpers import SMALL, TRAIN, VALID, fingerprint, parameters

from fastmlp import FormatError, train
from fastmlp.machine import files
from fastmlp.training import history_file
from fastmlp.training.trainer import Training

TINY = SMALL.replace(hidden=(3,), restore_best=False)
RATE = 1e-4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.checkpoint"


def made_up(path: Path, epochs: int) -> Training:
    """Return a training that has so many epochs behind it, of which the last is on the disk."""
    training = Training(TINY.replace(epochs=epochs + 1), TRAIN, VALID, checkpoint=path)
    row = {
        **{"epoch": 0, "train_loss": 0.1, "train_accuracy": 1 / 3, "valid_loss": 0.3},
        **{"valid_accuracy": 2 / 3, "learning_rate": RATE, "seconds": 1e-3},
        "samples_per_second": 45e3,
    }
    training.history.extend({**row, "epoch": epoch} for epoch in range(1, epochs + 1))
    patience = training.patience.update(0.3)
    training.patience = dataclasses.replace(patience, epoch=epochs)
    training.engine.steps_taken = epochs * 6
    training.engine._remembered = ("velocity",)
    training.keep()
    return training


def test_the_time_and_size_of_a_save_do_not_grow_with_the_epochs(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def counted(function: Any) -> Any:
        def write(path: Any, data: bytes, **where: Any) -> None:
            written.append(len(data))
            function(path, data, **where)

        return write

    few = made_up(path, 40)
    size = path.stat().st_size
    many = made_up(path.with_name("many"), 300_000)
    monkeypatch.setattr(files, "write_atomic", counted(files.write_atomic))
    monkeypatch.setattr(history_file, "append", counted(history_file.append))
    for training in (few, many):
        for _ in range(history_file.BLOCK):
            training.history.append({**training.history[-1], "epoch": training.epoch + 1})
            training.keep()
    assert max(written) < 2 * history_file.BLOCK * 250  # bytes: some 200 a row in a header
    assert sum(written[len(written) // 2 :]) < 1.1 * sum(written[: len(written) // 2])
    assert size < 20_000


def test_a_training_of_many_epochs_goes_on_from_any_block(path: Path) -> None:
    for epochs in (255, 256, 257, 100_000):
        there = made_up(path, epochs)
        again = Training(TINY.replace(epochs=epochs + 1), TRAIN, VALID, checkpoint=path)
        assert again.history == there.history
        assert [type(value) for value in again.history[0].values()] == [int, *[float] * 7]
        assert len(again.run().history) == epochs + 1
        path.unlink()


def test_a_long_training_resumed_anywhere_is_the_same_run(path: Path, tmp_path: Path) -> None:
    config = SMALL.replace(epochs=530, learning_rate=0.01)
    whole = fingerprint(train(config, TRAIN))
    for stop in (200, 256, 300, 512, 529):
        train(config, TRAIN, checkpoint=path, on_epoch=lambda row, stop=stop: row["epoch"] == stop)
    assert fingerprint(train(config, TRAIN, checkpoint=path)) == whole
    # A run that was killed after a block was appended, and before its checkpoint was.
    beside = tmp_path / "run.checkpoint.history"
    beside.write_bytes(beside.read_bytes() + b"more")
    assert fingerprint(train(config, TRAIN, checkpoint=path)) == whole


@pytest.mark.parametrize("damage", ["absent", "cut", "flipped", "folder"])
def test_epochs_beside_that_are_not_those_are_refused(path: Path, damage: str) -> None:
    made_up(path, 300)
    beside = path.with_name("run.checkpoint.history")
    content = bytearray(beside.read_bytes())
    beside.unlink()
    content[99] ^= 1
    if damage == "folder":
        beside.mkdir()
    elif damage != "absent":
        beside.write_bytes(content[:-1] if damage == "cut" else content)
    with pytest.raises(FormatError, match=r"run\.checkpoint\.history: found .*copy both"):
        train(TINY.replace(epochs=301), TRAIN, VALID, checkpoint=path)


@pytest.mark.parametrize("epochs", [40, 300])
def test_a_checkpoint_beyond_the_last_epoch_is_refused(path: Path, epochs: int) -> None:
    made_up(path, epochs)
    with pytest.raises(FormatError, match=f"checkpoint of {epochs} epochs, expected at most 5"):
        train(TINY.replace(epochs=5), TRAIN, VALID, checkpoint=path)
    same = Training(TINY.replace(epochs=epochs), TRAIN, VALID, checkpoint=path).run()
    assert (same.reason, len(same.history)) == (f"all {epochs} epochs done", epochs)


def test_a_missing_folder_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.run"):
        train(SMALL, TRAIN, checkpoint=tmp_path / "absent" / "run", on_epoch=pytest.fail)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EINTR])
def test_a_disk_that_takes_no_checkpoint_ends_no_training(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    usual = fingerprint(train(SMALL, TRAIN))
    flush, calls = os.fsync, [0]

    def fail(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > 2:
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.warns(RuntimeWarning, match=r"run\.checkpoint: "):
            result = train(SMALL, TRAIN, checkpoint=path)
    assert fingerprint(result) == usual
    assert fingerprint(train(SMALL, TRAIN, checkpoint=path)) == usual


VALUES: list[Any] = [
    *(None, True, 0, -1, 1, 2**31, 2**70, 1.5, float("nan"), float("inf"), -1e308),
    *("", "x", "x" * 5000, "\x1b[2J", [], [None], [[]] * 9, {}, {"": 1}, {"epoch": 1}),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value, as a container and a key."""
    for key, one in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(one, dict | list):
            yield from places(one)


def test_fields_of_another_type_or_range_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SMALL.replace(epochs=258, hidden=(2,), optimizer="adam", learning_rate=1e-5)
    whole = train(config, TRAIN, VALID, checkpoint=path)
    found: dict[str, Any] = {}

    def keep(description: dict[str, Any]) -> files.Layout:
        found.update(description)
        sizes = {"weight": [(2, 24), (3, 2)], "bias": [(2,), (3,)]}
        groups = description["state"]["groups"]
        names = [
            (f"{g}{p}.{kind}", s[p]) for g in groups for kind, s in sizes.items() for p in (0, 1)
        ]
        return {name: ("float32", shape) for name, shape in names}

    _, tensors = files.read_tensors(path, "checkpoint", keep)
    text, refused = json.dumps(found), 0
    mutants = list(itertools.product(range(len(list(places(found)))), (*VALUES, "absent")))
    for number, value in random.Random(0).sample(mutants, 300):
        description = json.loads(text)
        container, key = list(places(description))[number]
        if value != "absent":
            container[key] = value
        elif isinstance(container, dict):
            del container[key]
        with monkeypatch.context() as patch:
            patch.setattr(json, "dumps", without_limits(json.dumps))
            files.write_tensors(path, "checkpoint", description, tensors)
        problem = None
        try:
            result = Training(config, TRAIN, VALID, checkpoint=path).run()
        except FormatError as error:
            problem = str(error)
        if problem is None:
            for a, b in zip(*map(parameters, (result.network, whole.network)), strict=True):
                np.testing.assert_array_equal(a, b)
            continue
        refused += 1
        assert problem.isprintable()
        assert len(problem) < len(str(path)) + 900
    assert refused > 200


def without_limits(dumps: Any) -> Any:
    return lambda value, **options: dumps(value, **options | {"allow_nan": True})
