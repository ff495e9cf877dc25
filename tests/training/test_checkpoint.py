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
from fastmlp.training.config import LATER_FIELDS
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


def content(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what a checkpoint holds, unchecked."""
    with files._opened(path, "checkpoint") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return json.loads(opened.metadata()["checkpoint"]), tensors


def test_values_that_no_training_has_are_refused(path: Path) -> None:
    config = SMALL.replace(hidden=(2,), optimizer="adam", learning_rate=1e-5, epochs=3)
    train(config, TRAIN, VALID, checkpoint=path)
    description, sound = content(path)
    for name, value, is_refused in (
        *(("0.weight", np.nan, True), ("1.bias", -np.inf, True), ("best.1.bias", np.inf, True)),
        *(("squares.0.weight", -1e-30, True), ("squares.1.bias", np.nan, True)),
        *(("squares.1.bias", 0, False), ("velocity.1.bias", np.inf, False)),
    ):
        tensors = {one: array.copy() for one, array in sound.items()}
        tensors[name].reshape(-1)[-1] = value
        files.write_tensors(path, "checkpoint", description, tensors)
        if is_refused:
            with pytest.raises(FormatError, match=f"{name}: found values that no training has"):
                Training(config, TRAIN, VALID, checkpoint=path)
        else:
            assert Training(config, TRAIN, VALID, checkpoint=path).epoch == 3


def changes(state: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Return what does not fit the rest of a state: a place in it, the new value."""
    history, groups, steps = state["history"], state["groups"], state["steps"]
    return {
        "steps: found 19, expected 18, of 3 epochs": ("steps", steps + 1),
        "groups: found .*'best.'": ("groups", [one for one in groups if one != "best."]),
        r"groups: found \['', ''": ("groups", ["", *groups]),
        "epochs out of order": ("history", [history[1], history[0], history[2]]),
        "epochs out of order, expected each once": ("history", [history[0], *history[:2]]),
        r"patience: found \(2, 'best', 3\), expected \(None": ("patience.patience", 2),
        "patience: found .*'rises'": ("patience.stopping", "rises"),
        r"patience: found \(None, 'best', 4\)": ("patience.epoch", 4),
        r"groups: found .*'best.'\], expected \['', 'velocity.'\]": (
            "patience",
            state["patience"] | {"best_epoch": 0, "best_loss": None, "last_loss": None},
        ),
        "expected at most 3": ("history", [*history, history[-1]]),
    }


def test_parts_of_a_state_that_do_not_fit_each_other_are_refused(path: Path) -> None:
    config = SMALL.replace(hidden=(2,), learning_rate=1e-5, epochs=3)
    train(config, TRAIN, VALID, checkpoint=path)
    description, tensors = content(path)
    assert set(description["state"]["groups"]) == {"", "velocity.", "best."}
    for words, (place, value) in changes(description["state"]).items():
        changed = json.loads(json.dumps(description))
        container = changed["state"]
        *above, name = place.split(".")
        for one in above:
            container = container[one]
        container[name] = value
        there = dict(tensors)
        if name == "groups" and "best." not in value:
            there = {one: array for one, array in tensors.items() if "best." not in one}
        files.write_tensors(path, "checkpoint", changed, there)
        with pytest.raises(FormatError, match=words):
            Training(config, TRAIN, VALID, checkpoint=path)


def test_settings_that_came_later_had_their_defaults(path: Path) -> None:
    usual = fingerprint(train(SMALL, TRAIN, checkpoint=path))
    description, tensors = content(path)
    for name in LATER_FIELDS:
        del description["config"][name]
    files.write_tensors(path, "checkpoint", description, tensors)
    assert fingerprint(train(SMALL, TRAIN, checkpoint=path)) == usual
    with pytest.raises(FormatError, match=r"\(label_smoothing 0.0 \(now 0\.25\)\)"):
        train(SMALL.replace(label_smoothing=0.25), TRAIN, checkpoint=path)
    description["config"]["unheard"] = [1]
    files.write_tensors(path, "checkpoint", description, tensors)
    with pytest.raises(
        FormatError, match=r"\(unheard \[1\] \(now None\)\), expected the same; use"
    ):
        train(SMALL, TRAIN, checkpoint=path)


@pytest.mark.parametrize(("schedule", "goes_on"), [("constant", True), ("cosine", False)])
def test_more_epochs_are_another_run_where_the_rates_depend_on_them(
    path: Path, schedule: Any, goes_on: bool
) -> None:
    config = SMALL.replace(schedule=schedule, epochs=2)
    train(config, TRAIN, checkpoint=path)
    longer = config.replace(epochs=4)
    if goes_on:
        assert fingerprint(train(longer, TRAIN, checkpoint=path)) == fingerprint(
            train(longer, TRAIN)
        )
    else:
        with pytest.raises(FormatError, match=r"other settings or data \(epochs 2 \(now 4\)\)"):
            train(longer, TRAIN, checkpoint=path)


def test_a_state_that_the_optimiser_does_not_need_changes_nothing(path: Path) -> None:
    usual = fingerprint(train(SMALL, TRAIN))
    train(SMALL, TRAIN, checkpoint=path, on_epoch=lambda row: row["epoch"] == 2)
    description, tensors = content(path)
    description["state"]["groups"].append("squares.")
    more = {f"squares.{one}": np.abs(array) for one, array in tensors.items() if one[0].isdigit()}
    files.write_tensors(path, "checkpoint", description, tensors | more)
    assert fingerprint(train(SMALL, TRAIN, checkpoint=path)) == usual


def test_a_training_that_remembers_nothing_but_its_parameters(path: Path) -> None:
    config = SMALL.replace(momentum=0, restore_best=False)
    usual = fingerprint(train(config, TRAIN))
    train(config, TRAIN, checkpoint=path, on_epoch=lambda row: row["epoch"] == 2)
    assert content(path)[0]["state"]["groups"] == [""]
    assert fingerprint(train(config, TRAIN, checkpoint=path)) == usual
