"""The history beside a checkpoint: epochs that its header does not hold, appended a block at a time.

A row is an epoch: one float64 for each column, little-endian. The checkpoint names the columns, the number of rows and
their SHA-256. What lies behind these rows was written by a run that was killed before its checkpoint was, and is cut
off by the next block.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, cast, get_args, get_origin, get_type_hints

import numpy as np

from fastmlp.errors import FormatError
from fastmlp.machine.files import append, found_at, naming
from fastmlp.machine.schema import Check, items, none_or, number, one_of, table, text, whole
from fastmlp.training.history import Row

BLOCK = 256  # epochs; a header holds fewer, so the time of a save does not grow with the epochs
MOST_EPOCHS = 2**31 - 1

_SHARES = {"train_accuracy", "valid_accuracy"}
_OF_REGRESSION = {"train_r2", "valid_r2"}  # in place of them
_FROM_ZERO = {"learning_rate", "seconds", "samples_per_second"}
_TYPES = get_type_hints(Row)
_HINTS = get_type_hints(Row, include_extras=True)
_OPTIONAL = {
    name
    for name, hint in _HINTS.items()
    if get_origin(hint) is NotRequired and name not in _SHARES | _OF_REGRESSION
}


def _check_of(name: str) -> Check:
    if name == "epoch":
        return whole(1, MOST_EPOCHS)
    least = 0 if name in _SHARES | _FROM_ZERO else -math.inf
    check = number(least, 1 if name in _SHARES | _OF_REGRESSION else math.inf)
    return none_or(check) if type(None) in get_args(_TYPES[name]) else check


def _required(names: Container[str]) -> list[str]:
    """Return what a row with some columns must have, in the usual order."""
    others = _SHARES if "train_r2" in names else _OF_REGRESSION
    return [name for name in _TYPES if name not in _OPTIONAL | others]


_COLUMNS = {name: _check_of(name) for name in _TYPES}
_ROWS = [
    table(
        {name: _COLUMNS[name] for name in _required(names)},
        {name: _COLUMNS[name] for name in _OPTIONAL},
    )
    for names in (_SHARES, _OF_REGRESSION)
]
check_row = Check(_ROWS[0].expected, lambda value: any(check.holds(value) for check in _ROWS))
check_described = table(
    {
        "columns": items(one_of(*_COLUMNS), least=1, most=len(_COLUMNS)),
        "rows": whole(1, MOST_EPOCHS),
        "sha256": text(most=64),
    }
)


class HistoryFile:
    """The file of a training's first epochs, as far as its checkpoint knows it.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    rows : int
        Epochs in the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._columns: list[str] = []
        self._digest = hashlib.sha256()

    def add(self, rows: Sequence[Row]) -> None:
        """Append epochs, which are on the disk when this returns.

        Raises
        ------
        OSError
            Names the file. The next call writes over what may have been written.
        """
        columns = self._columns or [name for name, value in rows[0].items() if value is not None]
        values = [[cast(Any, row)[name] for name in columns] for row in rows]
        data = np.array(values, "<f8").tobytes()
        append(self.path, data, at=self.rows * len(columns) * 8)
        self._columns = columns
        self._digest.update(data)
        self.rows += len(rows)

    def described(self) -> dict[str, Any]:
        """Return what a checkpoint says of the file."""
        return {
            "columns": self._columns,
            "rows": self.rows,
            "sha256": self._digest.hexdigest(),
        }

    def read(self, described: Mapping[str, Any]) -> list[Row]:
        """Return the epochs that a checkpoint says are in the file, to append to them.

        Parameters
        ----------
        described : mapping
            Accepted by `check_described`.

        Raises
        ------
        FormatError
            If the file is missing, shorter or another one.
        """
        columns, rows = described["columns"], described["rows"]
        size = rows * len(columns) * 8
        problem = found_at(self.path) if not self.path.is_file() else None
        data = b""
        if problem is None:
            with naming(self.path), open(self.path, "rb") as file:
                is_short = os.fstat(file.fileno()).st_size < size
                data = b"" if is_short else file.read(size)
            self._digest.update(data)
            if self._digest.hexdigest() != described["sha256"]:
                problem = "other or fewer"
        if problem is not None:
            raise FormatError(
                f"{self.path}: found {problem}, expected the first {rows} epochs of the training "
                "whose checkpoint lies beside it; copy both"
            )
        values = np.frombuffer(data, "<f8").reshape(rows, len(columns))
        self._check_columns(columns, values)
        self.rows, self._columns = rows, columns
        missing = {name: None for name in _required(columns) if name not in columns}
        return [
            _row({**missing, **dict(zip(columns, row, strict=True))}) for row in values.tolist()
        ]

    def _check_columns(self, columns: Sequence[str], values: np.ndarray) -> None:
        """Raise a FormatError unless every number is one that `check_row` accepts."""
        if "epoch" not in columns or len(set(columns)) < len(columns):
            raise FormatError(f"{self.path}: found the columns {columns}, expected each once")
        for name, column in zip(columns, values.T, strict=True):
            check = number(1, MOST_EPOCHS) if name == "epoch" else _COLUMNS[name]
            for extreme in (float(column.min()), float(column.max())):  # NaN is both
                if not check.holds(extreme):
                    raise FormatError(
                        f"{self.path}: {name}: found {extreme}, expected {check.expected}"
                    )


def _row(values: dict[str, Any]) -> Row:
    """Return a row in the usual order, whose epoch is an integer."""
    values["epoch"] = int(values["epoch"])
    return cast(Row, {name: values[name] for name in _TYPES if name in values})
