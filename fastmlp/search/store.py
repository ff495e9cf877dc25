"""TrialStore: finished trials in one SQLite file, each on the disk the moment it ends.

The file is ``trials.sqlite`` in the folder of a search, in WAL mode, so that it can be read with plain
SQL while the search goes on. Its one table, `trials`, has a row for each finished trial; `SCHEMA`
says what the columns are. A transaction is one trial: after a crash or a loss of power at any
instant each trial is there as a whole or not at all, and nothing has to be cleaned up. Rows and
networks carry checksums, which SQLite itself does not have, so that a damaged trial is not believed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from fastmlp._version import __version__
from fastmlp.errors import StoreError
from fastmlp.training.config import TrainConfig

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two searches apart, which costs time and no result
    fcntl = None  # type: ignore[assignment]

FILE = "trials.sqlite"
APPLICATION = 0x664D4C50  # "fMLP": marks the file as ours
LAYOUT = 1
PATIENCE = 9  # seconds to wait for another program that writes to the file
NOT_IN_A_KEY = ("seed", "threads")  # a column of its own; changes no result

SCHEMA = """
CREATE TABLE trials (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    parameters TEXT NOT NULL,     -- TrainConfig but for seed and threads, as JSON with sorted names
    seed INTEGER NOT NULL,
    data TEXT NOT NULL,           -- checksum of the training and validation parts
    version TEXT NOT NULL,        -- of fastmlp
    status TEXT NOT NULL
        CHECK (status IN ('done', 'stopped', 'diverged', 'failed', 'pruned')),
    reason TEXT NOT NULL,         -- the status in one line
    epochs INTEGER NOT NULL,      -- trained
    epoch INTEGER NOT NULL,       -- the one that the network and these four numbers are of
    train_loss REAL,              -- NULL: not finite, or no epoch was trained
    train_accuracy REAL,
    valid_loss REAL,
    valid_accuracy REAL,
    seconds REAL NOT NULL,
    finished TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,  -- UTC
    history TEXT NOT NULL,        -- an array of an object for each epoch, as JSON
    test_data TEXT,               -- checksum of the test part; NULL: not tested
    test_loss REAL,
    test_accuracy REAL,
    checksum TEXT NOT NULL,       -- of this row but for id, finished and network
    network BLOB,                 -- zlib of safetensors; there while the trial can be the best
    UNIQUE (parameters, seed, data, version)
)
"""


class Key(NamedTuple):
    """What tells one trial from another within a store of one data set and version."""

    parameters: str
    seed: int

    @classmethod
    def of(cls, config: TrainConfig) -> Self:
        """Return the key of a training with this configuration."""
        values = config.as_dict()
        for name in NOT_IN_A_KEY:
            del values[name]
        if not values["dropout"]:  # trials stored before there was dropout are found
            del values["dropout"]
        return cls(json.dumps(values, sort_keys=True), config.seed)


@dataclass(frozen=True)
class Trial:
    """A finished trial, as stored.

    Attributes
    ----------
    seed : int
    status : {"done", "stopped", "diverged", "failed", "pruned"}
        All epochs; early stopping; a loss that is not finite; an error, or a worker that died
        again and again; given up by an adaptive search.
    reason : str
        The status in one line.
    epochs : int
        Trained.
    epoch : int
        The one that the network and the four numbers are of.
    train_loss, train_accuracy, valid_loss, valid_accuracy : float or None
        None where it is not finite, or no epoch was trained.
    seconds : float
        From the trial's start to its end.
    history : list of dict
        As in `fastmlp.TrainResult`; None for what is not finite.
    test_data : str or None
        Checksum of the part it was tested on.
    test_loss, test_accuracy : float or None
    """

    seed: int
    status: Literal["done", "stopped", "diverged", "failed", "pruned"]
    reason: str
    epochs: int
    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    valid_loss: float | None
    valid_accuracy: float | None
    seconds: float
    history: Sequence[Mapping[str, Any]]
    test_data: str | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None

    @property
    def sound(self) -> bool:
        """Whether the training came to a regular end."""
        return self.status in ("done", "stopped")


_COLUMNS = tuple(Trial.__dataclass_fields__)


class TrialStore:
    """The trials of one data set and one version of fastmlp in a folder; use it in a ``with``.

    Parameters
    ----------
    folder : path
        Made if missing.
    data : str
        Checksum of the training and validation parts.

    Raises
    ------
    StoreError
        If the file is damaged, is no trial store, cannot be written, belongs to other data or is in
        use by another search. The file is then left as it was.
    """

    def __init__(self, folder: str | Path, data: str) -> None:
        self.path = Path(folder) / FILE
        self.data = data
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path.parent)
        except OSError as error:
            raise StoreError(f"{error.filename or folder}: {error.strerror}") from error
        try:
            with self._explained():
                self._database = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
                try:
                    self._open()
                except BaseException:
                    self._database.close()
                    raise
        except BaseException:
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()
        self._unlock()

    def trials(self) -> dict[Key, Trial]:
        """Return every trial of this data and version."""
        query = (
            f"SELECT checksum, parameters, {', '.join(_COLUMNS)} FROM trials "
            "WHERE data = ? AND version = ? ORDER BY id"
        )
        trials = {}
        with self._explained():
            for checksum, parameters, *values in self._database.execute(query, self._world):
                if checksum != self._checksum(parameters, values):
                    raise StoreError(self._damaged("a row that does not match its checksum"))
                trial = dict(zip(_COLUMNS, values, strict=True))
                trial["history"] = json.loads(trial["history"])
                trials[Key(parameters, trial["seed"])] = Trial(**trial)
        return trials

    def network(self, key: Key) -> bytes | None:
        """Return the network of a trial, None if it is not kept."""
        with self._explained():
            row = self._database.execute(
                f"SELECT network FROM trials WHERE {_WHERE}", (*key, *self._world)
            ).fetchone()
            return None if row is None or row[0] is None else zlib.decompress(row[0])

    def add(
        self, key: Key, trial: Trial, network: bytes | None = None, superseded: Iterable[Key] = ()
    ) -> None:
        """Store a finished trial, in one transaction that is on the disk when this returns.

        Parameters
        ----------
        key : Key
        trial : Trial
        network : bytes, optional
            Its network, if it may be the best.
        superseded : iterable of Key
            Trials that no longer can be the best: their networks go.
        """
        values = _values(trial)
        row = {
            **dict(zip(_COLUMNS, values, strict=True)),
            "parameters": key.parameters,
            "data": self.data,
            "version": __version__,
            "checksum": self._checksum(key.parameters, values),
            "network": _packed(network),
        }
        with self._transaction() as database:
            database.execute(
                f"INSERT OR REPLACE INTO trials ({', '.join(row)}) "
                f"VALUES ({', '.join('?' * len(row))})",
                tuple(row.values()),
            )
            for other in superseded:
                self._update(database, other, network=None)

    def set_network(self, key: Key, network: bytes) -> None:
        """Store the network of a trial that is there without one."""
        with self._transaction() as database:
            self._update(database, key, network=_packed(network))

    def set_test(self, key: Key, trial: Trial) -> None:
        """Store how a trial that is there did on a test part."""
        with self._transaction() as database:
            self._update(
                database,
                key,
                test_data=trial.test_data,
                test_loss=trial.test_loss,
                test_accuracy=trial.test_accuracy,
                checksum=self._checksum(key.parameters, _values(trial)),
            )

    @property
    def _world(self) -> tuple[str, str]:
        return self.data, __version__

    def _checksum(self, parameters: str, values: Sequence[Any]) -> str:
        # A damaged row may hold anything: bytes, which JSON does not know, become their repr.
        text = json.dumps([parameters, *self._world, *values], default=repr)
        return hashlib.sha256(text.encode()).hexdigest()

    def _update(self, database: sqlite3.Connection, key: Key, **changes: object) -> None:
        database.execute(
            f"UPDATE trials SET {', '.join(f'{name} = ?' for name in changes)} WHERE {_WHERE}",
            (*changes.values(), *key, *self._world),
        )

    def _open(self) -> None:
        """Check that the file is ours, whole and to be written, or make it if there is none."""
        database = self._database
        ours = database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
        if not ours and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(
                f"{self.path}: found a database of another program, expected a trial store; use "
                "another folder"
            )
        # On every commit, not only now and then: what is reported finished survives a loss of power.
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA journal_mode = WAL")
        with self._transaction():  # also finds out whether the file can be written
            if not ours:
                database.execute(SCHEMA)
                database.execute(f"PRAGMA user_version = {LAYOUT}")
                database.execute(f"PRAGMA application_id = {APPLICATION}")
        layout = database.execute("PRAGMA user_version").fetchone()[0]
        if layout != LAYOUT:
            raise StoreError(
                f"{self.path}: found a trial store of layout {layout}, expected {LAYOUT}; upgrade "
                "fastmlp, or use another folder"
            )
        problem = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if problem != "ok":
            raise StoreError(self._damaged(problem))
        found = database.execute("SELECT data FROM trials WHERE data != ?", (self.data,)).fetchone()
        if found:
            raise StoreError(
                f"{self.path}: found trials of other data (checksum {str(found[0])[:12]}), expected "
                f"{self.data[:12]}; use another folder, or the data, classes, size and split that "
                "these trials were made with"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:  # SQLite ends it by itself after some errors
                    self._database.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into StoreErrors that say what to do."""
        try:
            yield
        except zlib.error as error:
            raise StoreError(self._damaged(f"a network: {error}")) from error
        except (sqlite3.Error, OverflowError) as error:
            # Extended names refine the plain ones: SQLITE_IOERR_WRITE, SQLITE_READONLY_DIRECTORY.
            name = getattr(error, "sqlite_errorname", "") or ""
            for prefix, advice in _ADVICE.items():
                if name.startswith(prefix):
                    raise StoreError(f"{self.path}: {advice} ({error})") from error
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise StoreError(self._damaged(str(error))) from error
            raise StoreError(f"{self.path}: {error}") from error

    def _damaged(self, problem: str) -> str:
        problem = " ".join(problem.split())
        return (
            f"{self.path}: found a damaged file or no database ({problem}), expected a trial "
            "store; move it away to start again"
        )

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)


_WHERE = "parameters = ? AND seed = ? AND data = ? AND version = ?"

_UNWRITABLE = "cannot be written; make the folder and the file writable, or use another folder"
_ADVICE = {
    "SQLITE_FULL": "the disk is full; free some space and run this again: finished trials are kept",
    "SQLITE_READONLY": _UNWRITABLE,
    "SQLITE_PERM": _UNWRITABLE,
    "SQLITE_CANTOPEN": _UNWRITABLE,
    "SQLITE_BUSY": "another program is writing to it; end that, and run this again",
    "SQLITE_IOERR": "the disk does not read or write; finished trials are kept",
    "SQLITE_TOOBIG": "found a network of over 1 GB, which is more than the store holds",
}


def _values(trial: Trial) -> list[Any]:
    """Return a trial as the values of its columns."""
    return [
        json.dumps(value, allow_nan=False) if name == "history" else value
        for name, value in vars(trial).items()
    ]


def _packed(network: bytes | None) -> bytes | None:
    """Return a network with a checksum round it; compressing random weights would gain nothing."""
    return None if network is None else zlib.compress(network, 0)


def finite(value: float | None) -> float | None:
    """Return a number as JSON and SQLite can hold it: None if not finite, and no negative zero."""
    return value + 0 if value is not None and math.isfinite(value) else None


def _lock(folder: Path) -> int | None:
    """Take the folder for this process; the system gives it back however the process ends."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            return None  # a file system without locks
        raise StoreError(
            f"{folder}: another search is using it; wait for it, or use another folder"
        ) from None
    return descriptor
