"""The epochs beside a checkpoint: the same rows come back, and numbers that no training has are refused."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import FormatError
from fastmlp.errors import DataError
from fastmlp.training.history_file import HistoryFile, check_described, check_row

ALONE = {"train_loss": -1.5, "valid_loss": None, "learning_rate": 0.0, "seconds": 0.0}
ALONE |= {"samples_per_second": 1e9}
CLASSES: dict[str, Any] = {"train_accuracy": 1.0, "valid_accuracy": None}
NUMBERS: dict[str, Any] = {"train_r2": -3.0, "valid_r2": 1.0, "valid_loss": 0.1, "valid_mae": 0.2}
USUAL = ("epoch", "train_loss", "train_accuracy", "train_r2", "valid_loss", "valid_accuracy")


def rows(*parts: dict[str, Any], first: int = 1) -> list[Any]:
    """Return epochs, in the usual order of their columns."""
    values = {name: value for part in (ALONE, *parts) for name, value in part.items()}
    order = sorted(values, key=lambda name: USUAL.index(name) if name in USUAL else 9)
    order.sort(key=lambda name: name == "valid_mae")
    if "valid_r2" in values:
        order.insert(order.index("valid_loss") + 1, order.pop(order.index("valid_r2")))
    return [
        {"epoch": epoch} | {name: values[name] for name in order}
        for epoch in range(first, first + 3)
    ]


@pytest.mark.parametrize("part", [CLASSES, CLASSES | {"valid_loss": 2.0}, NUMBERS], ids=str)
def test_rows_come_back_and_more_are_appended(tmp_path: Path, part: dict[str, Any]) -> None:
    written, again = (HistoryFile(tmp_path / "a") for _ in range(2))
    written.add(rows(part))
    described = written.described()
    check_described("earlier", described)
    written.path.write_bytes(written.path.read_bytes() + b"of a run that was killed")
    found = again.read(described)
    assert found == rows(part)
    assert [list(one) for one in found] == [list(one) for one in rows(part)]
    assert all(type(one["epoch"]) is int for one in found)
    assert again.rows == 3
    again.add(rows(part, first=4))
    written.add(rows(part, first=4))
    assert again.described() == written.described()
    last = HistoryFile(tmp_path / "a")
    assert last.read(written.described()) == rows(part) + rows(part, first=4)
    assert written.path.stat().st_size == 6 * 8 * len(described["columns"])


WRONG = [
    *(("epoch", 0.0), ("epoch", 2.0**31), ("epoch", np.nan), ("train_loss", np.inf)),
    *(("train_accuracy", -0.1), ("train_accuracy", 1.1), ("learning_rate", -1e-9)),
    *(
        ("seconds", -1.0),
        ("samples_per_second", np.nan),
        ("samples_per_second", -1.0),
        ("train_loss", -np.inf),
    ),
]


@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_number_that_no_training_has_is_refused(
    tmp_path: Path, name: str, value: float, row: int
) -> None:
    file = HistoryFile(tmp_path / "a")
    file.add(rows(CLASSES))
    described = file.described()
    values = np.frombuffer(file.path.read_bytes(), "<f8").reshape(3, -1).copy()
    values[row, described["columns"].index(name)] = value
    file.path.write_bytes(values.tobytes())
    described["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
    with pytest.raises(FormatError, match=f"a: {name}: found .* expected a finite number"):
        HistoryFile(file.path).read(described)


def test_an_r2_may_be_below_zero_and_is_at_most_one() -> None:
    for one in (*rows(CLASSES), *rows(NUMBERS)):
        check_row("row", one)
    sound, others = rows(NUMBERS)[0], rows(CLASSES)[0]
    for wrong in (
        sound | {"valid_r2": 1.1},
        others | {"train_r2": 0.5},
        others | {"epoch": 0},
        others | {"epoch": 2**31},
        others | {"train_accuracy": None},
        {name: value for name, value in sound.items() if name != "valid_r2"},
        {name: value for name, value in others.items() if name != "valid_accuracy"},
    ):
        with pytest.raises(
            DataError, match=r"row: found .* the entries epoch, train_loss, train_acc"
        ):
            check_row("row", wrong)


@pytest.mark.parametrize("change", [lambda names: names[1:], lambda names: [*names, "seconds"]])
def test_each_column_is_there_once(tmp_path: Path, change: Any) -> None:
    file = HistoryFile(tmp_path / "a")
    file.add(rows(CLASSES))
    described = file.described()
    columns = change(described["columns"])
    data = np.ones((2, len(columns))).tobytes()
    file.path.write_bytes(data)
    other = {"columns": columns, "rows": 2, "sha256": hashlib.sha256(data).hexdigest()}
    with pytest.raises(FormatError, match=r"a: found the columns \[.*\], expected each once"):
        HistoryFile(file.path).read(other)


@pytest.mark.parametrize(
    "change",
    [
        *({"rows": 0}, {"rows": 2**31}, {"rows": 1.0}, {"sha256": "0" * 65}, {"sha256": 5}),
        *({"columns": []}, {"columns": ["unheard"]}, {"columns": ["epoch"] * 99}, {"more": 1}),
    ],
    ids=str,
)
def test_a_description_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    sound = {"columns": ["epoch"], "rows": 2**31 - 1, "sha256": "0" * 64}
    check_described("earlier", sound)
    with pytest.raises(DataError, match=r"^earlier.*: found"):
        check_described("earlier", sound | change)
