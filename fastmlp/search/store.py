"""TrialStore: finished trials in one SQLite file, each on the disk the moment it ends.

The file is ``trials.sqlite`` in the folder of a search. It is in WAL mode, so it can be read with
plain SQL while the search goes on; after each trial, what the log holds moves to the file itself.
Its only table, `trials`, has a row for each finished trial; `SCHEMA` describes the columns. The view `settings`, made
at the end of a search, has a column for each setting that differs. A
transaction is one trial: after a crash or a loss of power at any instant, each trial is there as a
whole or not at all, and nothing has to be cleaned up. Rows and networks have checksums, which
SQLite itself does not have, so a damaged trial is recognised.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fastmlp._version import __version__
from fastmlp.errors import DataError, StoreError, line_of
from fastmlp.machine.folders import FolderLock
from fastmlp.machine.streams import warn
from fastmlp.search.record import Key, Trial, check_trial
from fastmlp.search.views import VIEW, make_view

FILE = "trials.sqlite"
APPLICATION = 0x664D4C50  # "fMLP": marks the file as ours
SCHEMA_VERSION = 1
BUSY_SECONDS = 9  # to wait for another program that writes to the file
READER_SECONDS = 0.1  # to wait for another program that reads it; the next trial tries again

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


_FIELDS = tuple(Trial.__dataclass_fields__)


class TrialStore:
    """The trials of one data set and one version of fastmlp in a folder, for use in a ``with`` block.

    Parameters
    ----------
    folder : path
        Created if missing.
    data : str
        Checksum of the training and validation parts.

    Raises
    ------
    StoreError
        If the file is damaged, is no trial store, cannot be written, belongs to other data or is in
        use by another search. The file then stays as it is.
    """

    def __init__(self, folder: str | Path, data: str) -> None:
        self.path = Path(folder) / FILE
        self.data = data
        try:
            self._lock = FolderLock(self.path.parent)
        except OSError as error:
            raise StoreError(f"{error.filename or folder}: {error.strerror}") from error
        try:
            with self._explained():
                self._database = sqlite3.connect(
                    self.path, timeout=BUSY_SECONDS, isolation_level=None
                )
                # Other bytes than UTF-8 are then an error of their own.
                self._database.text_factory = bytes.decode
                try:
                    self._open()
                except BaseException:
                    self._database.close()
                    raise
        except BaseException:
            self._lock.close()
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
        self._lock.close()

    def trials(self) -> dict[Key, Trial]:
        """Return all trials of this data and version."""
        # Those of other versions are checked, too: a damaged version would hide a trial.
        query = (
            f"SELECT checksum, parameters, version, {', '.join(_FIELDS)} FROM trials ORDER BY id"
        )
        trials = {}
        with self._explained():
            for checksum, parameters, version, *values in self._database.execute(query):
                if checksum != self._checksum(parameters, values, version):
                    raise StoreError(self._damaged("a row that does not match its checksum"))
                if version != __version__:
                    continue
                trial = dict(zip(_FIELDS, values, strict=True))
                trial["history"] = json.loads(trial["history"])
                check_trial("trial", trial)
                trials[Key(parameters, trial["seed"])] = Trial(**trial)
        return trials

    def network(self, key: Key) -> bytes | None:
        """Return the network of a trial, or None if it is not kept."""
        with self._explained():
            row = self._database.execute(
                f"SELECT network FROM trials WHERE {_WHERE}", (*key, *self._scope)
            ).fetchone()
            return None if row is None or row[0] is None else _unpacked(row[0])

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
            Trials that can no longer be the best: their networks are deleted.
        """
        values = _values(trial)
        row = {
            **dict(zip(_FIELDS, values, strict=True)),
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
        """Add the network to a stored trial."""
        with self._transaction() as database:
            self._update(database, key, network=_packed(network))

    def set_test(self, key: Key, trial: Trial) -> None:
        """Add the results on a test part to a stored trial."""
        with self._transaction() as database:
            self._update(
                database,
                key,
                test_data=trial.test_data,
                test_loss=trial.test_loss,
                test_accuracy=trial.test_accuracy,
                checksum=self._checksum(key.parameters, _values(trial)),
            )

    def make_view(self) -> None:
        """Make the view `fastmlp.search.views.VIEW` anew; a store without it is as good."""
        try:
            with self._transaction() as database:
                make_view(database)
        except StoreError as error:
            warn(f"{error}; the view {VIEW} is not made")

    @property
    def _scope(self) -> tuple[str, str]:
        return self.data, __version__

    def _checksum(
        self, parameters: str, values: Sequence[Any], version: object = __version__
    ) -> str:
        # A damaged row may hold anything: bytes, which JSON cannot hold, become their repr.
        text = json.dumps([parameters, self.data, version, *values], default=repr)
        return hashlib.sha256(text.encode()).hexdigest()

    def _update(self, database: sqlite3.Connection, key: Key, **changes: object) -> None:
        database.execute(
            f"UPDATE trials SET {', '.join(f'{name} = ?' for name in changes)} WHERE {_WHERE}",
            (*changes.values(), *key, *self._scope),
        )

    def _open(self) -> None:
        """Check that the file is a whole, writable trial store, or create it."""
        database = self._database
        ours = database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
        if not ours and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(
                f"{self.path}: found a database of another program, expected a trial store; use "
                "another folder"
            )
        # Flush on every commit, so that a trial that counts as finished survives a loss of power.
        database.execute("PRAGMA synchronous = FULL")
        # On macOS, where a plain flush ends in the disk's own memory; elsewhere these do nothing.
        database.execute("PRAGMA fullfsync = ON")
        database.execute("PRAGMA checkpoint_fullfsync = ON")
        database.execute("PRAGMA journal_mode = WAL")
        with self._transaction():  # which also shows whether the file can be written
            if not ours:
                database.execute(SCHEMA)
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                database.execute(f"PRAGMA application_id = {APPLICATION}")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: found a trial store of layout {version}, expected {SCHEMA_VERSION}; "
                "upgrade fastmlp, or use another folder"
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
            self._empty_log()

    def _empty_log(self) -> None:
        """Move what the log holds to the file itself: of a log that is damaged after a kill, SQLite says nothing."""
        patience = "PRAGMA busy_timeout = {:.0f}"
        self._database.execute(patience.format(1000 * READER_SECONDS))
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._database.execute(patience.format(1000 * BUSY_SECONDS))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of SQLite into StoreErrors that say what to do."""
        try:
            yield
        except StoreError:
            raise
        except zlib.error as error:
            raise StoreError(self._damaged(f"a network: {error}")) from error
        except DataError as error:
            raise StoreError(self._damaged(f"a row, {error}")) from error
        except (ValueError, RecursionError) as error:  # no UTF-8, or no JSON
            raise StoreError(self._damaged(line_of(error))) from error
        except (sqlite3.Error, OverflowError) as error:
            # Extended names refine the plain ones: SQLITE_IOERR_WRITE, SQLITE_READONLY_DIRECTORY.
            name = getattr(error, "sqlite_errorname", "") or ""
            for prefix, advice in _ADVICE.items():
                if name.startswith(prefix):
                    raise StoreError(f"{self.path}: {advice} ({error})") from error
            # SQLITE_ERROR: a table or column is missing.
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")):
                raise StoreError(self._damaged(str(error))) from error
            raise StoreError(f"{self.path}: {error}") from error

    def _damaged(self, problem: str) -> str:
        problem = " ".join(problem.split())
        return (
            f"{self.path}: found a damaged file or no database ({problem}), expected a trial "
            "store; move it away to start again"
        )


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
    """Return the values of a trial's columns."""
    return [
        json.dumps(value, allow_nan=False) if name == "history" else value
        for name, value in vars(trial).items()
    ]


def _unpacked(data: Any) -> bytes:
    """Return what `_packed` was given; a damaged row may hold anything, or inflate to anything."""
    if not isinstance(data, bytes):
        raise zlib.error(f"found {type(data).__name__}")
    inflater = zlib.decompressobj()
    network = inflater.decompress(data, len(data) + 1)
    if not inflater.eof:
        raise zlib.error("found another size")
    return network


def _packed(network: bytes | None) -> bytes | None:
    """Return a network in zlib's format, for its checksum; compressing weights would gain nothing."""
    return None if network is None else zlib.compress(network, 0)
