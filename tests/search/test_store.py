"""The store: whole, ours, writable and of the same data, or one clear line and nothing changed."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from search_helpers import CONFIG, GRID, rows

from fastmlp.errors import StoreError
from fastmlp.search.grid import grid_search
from fastmlp.search.record import Key, Trial
from fastmlp.search.store import _FIELDS, FILE, TrialStore
from fastmlp.training.config import TrainConfig

DATA = "c0ffee" * 10
KEYS = [Key.of(TrainConfig(seed=seed, learning_rate=0.25)) for seed in range(6)]


def trial(seed: int) -> Trial:
    history = [{"epoch": 1, "train_loss": 0.1 + seed, "valid_loss": None}]
    numbers = (0.1 + seed, 0.5, 1e-300, 1 / 3)
    return Trial(seed, "done", "all 1 epochs done", 1, 1, *numbers, 0.25, history)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a store of six trials, one with a network of 40 kB."""
    with TrialStore(tmp_path, DATA) as store:
        for key in KEYS:
            store.add(key, trial(key.seed), b"weights" * 6000 if key.seed == 2 else None)
    return tmp_path


def test_what_is_added_comes_back_to_the_bit(folder):
    with TrialStore(folder, DATA) as store:
        assert store.trials() == {key: trial(key.seed) for key in KEYS}
        assert store.network(KEYS[2]) == b"weights" * 6000
        assert store.network(KEYS[3]) is None
        tested = Trial(**{**vars(trial(3)), "test_data": "feed", "test_accuracy": 0.5})
        store.set_test(KEYS[3], tested)
        store.add(KEYS[4], trial(4), b"better", superseded=[KEYS[2], KEYS[1]])
        assert store.trials()[KEYS[3]] == tested
        assert [store.network(key) for key in KEYS] == [None] * 4 + [b"better", None]


def test_a_network_that_comes_later(folder):
    with TrialStore(folder, DATA) as store:
        store.set_network(KEYS[4], b"late")
        assert [store.network(key) for key in KEYS[3:]] == [None, b"late", None]
        assert store.network(Key("{}", 4)) is None
        assert store.trials() == {key: trial(key.seed) for key in KEYS}


def test_a_trial_that_is_stored_again_replaces_the_first(folder):
    with TrialStore(folder, DATA) as store:
        store.add(KEYS[2], trial(2))
        assert list(store.trials()) == [*KEYS[:2], *KEYS[3:], KEYS[2]]
        assert store.network(KEYS[2]) is None


def test_each_commit_is_on_the_disk(folder):
    with TrialStore(folder, DATA) as store, closing(sqlite3.connect(folder / FILE)) as other:
        assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        for name, value in (("application_id", 0x664D4C50), ("user_version", 1)):
            assert other.execute(f"PRAGMA {name}").fetchone() == (value,)


def test_a_store_waits_for_another_program_and_then_says_so(folder, monkeypatch):
    with TrialStore(folder, DATA) as store:
        store.add(KEYS[0], trial(0))
        assert store._database.execute("PRAGMA busy_timeout").fetchone() == (9000,)
    monkeypatch.setattr("fastmlp.search.store.BUSY_SECONDS", 0.05)
    with (
        TrialStore(folder, DATA) as store,
        closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=f"^{folder / FILE}: another program is writing to it"):
            store.add(KEYS[0], trial(0))
        other.execute("COMMIT")
        store.add(KEYS[0], trial(0))


def test_what_sqlite_cannot_hold_is_one_line(folder):
    with TrialStore(folder, DATA) as store:
        store._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 5000)
        with pytest.raises(StoreError, match="found a network of over 1 GB"):
            store.set_network(KEYS[0], bytes(6000))
        with pytest.raises(StoreError, match="too large"):
            store.network(Key("{}", 2**63))
        assert store.trials() == {key: trial(key.seed) for key in KEYS}


def test_a_view_that_cannot_be_made_is_done_without(folder):
    with TrialStore(folder, DATA) as store:
        store._database.execute("CREATE TABLE settings (a)")
        with pytest.warns(RuntimeWarning, match=r"trials.sqlite: .*the view settings is not made"):
            store.make_view()
        store._database.execute("DROP TABLE settings")
        store.make_view()
        assert store._database.execute("SELECT count(*) FROM settings").fetchone() == (6,)


def test_a_network_is_stored_as_it_is_with_a_sum(folder):
    with closing(sqlite3.connect(folder / FILE)) as database:
        query = "SELECT network FROM trials WHERE network IS NOT NULL"
        ((packed,),) = database.execute(query).fetchall()
    assert zlib.decompress(packed) == b"weights" * 6000
    assert len(packed) > 7 * 6000  # compressing would take time, and gains nothing with weights


def test_threads_are_no_part_of_a_key_and_every_other_setting_is():
    key = Key.of(TrainConfig())
    assert Key.of(TrainConfig(threads=3)) == key
    assert Key.of(TrainConfig(learning_rate=0.2)) != key
    assert Key.of(TrainConfig(seed=1)) == (key.parameters, 1)


def test_rows_can_be_read_with_plain_sql_while_a_search_goes_on(folder):
    with TrialStore(folder, DATA), closing(sqlite3.connect(folder / FILE)) as reader:
        query = """
            SELECT seed, json_extract(parameters, '$.learning_rate'), epochs.value ->> 'train_loss'
            FROM trials, json_each(history) AS epochs WHERE status = 'done' ORDER BY train_loss
        """
        assert reader.execute(query).fetchall() == [(n, 0.25, 0.1 + n) for n in range(6)]


def test_trials_of_another_version_are_not_ours(folder, monkeypatch):
    monkeypatch.setattr("fastmlp.search.store.__version__", "99")
    with TrialStore(folder, DATA) as store:
        assert store.trials() == {}
        store.add(KEYS[0], trial(0))
    with closing(sqlite3.connect(folder / FILE)) as database:
        assert len(database.execute("SELECT id FROM trials").fetchall()) == 7


def test_other_data_is_refused(folder, parts):
    with pytest.raises(StoreError, match=r"found trials of other data .* use another folder"):
        TrialStore(folder, "f00d" * 10)
    train, valid, _ = parts
    grid_search(CONFIG, GRID, train, valid, store=folder / "new")
    with pytest.raises(StoreError, match="found trials of other data"):
        grid_search(CONFIG, GRID, valid, train, store=folder / "new")


def test_a_second_search_in_the_same_folder_is_refused(folder):
    with TrialStore(folder, DATA), pytest.raises(StoreError, match="another search is using it"):
        TrialStore(folder, DATA)
    TrialStore(folder, DATA).__exit__(None, None, None)


def test_a_transaction_that_fails_leaves_no_trace(folder):
    bad = Trial(**{**vars(trial(0)), "status": "unheard of"})
    with TrialStore(folder, DATA) as store:
        with pytest.raises(StoreError, match="CHECK constraint"):
            store.add(Key("{}", 0), bad, superseded=[KEYS[2]])
        assert store.network(KEYS[2]) is not None
        assert set(store.trials()) == set(KEYS)


def test_each_trial_is_in_the_file_itself_while_the_search_goes_on(folder, tmp_path):
    """A copy without its log has every trial, and so has one whose log is damaged."""
    for damage in (None, b"", b"x" * 5000, "flip"):
        with TrialStore(folder, DATA) as store:
            for seed in range(6, 12):
                store.add(Key.of(TrainConfig(seed=seed, learning_rate=0.25)), trial(seed))
            copy = tmp_path / "copy"
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("copy"))
        log = copy / f"{FILE}-wal"
        whole = log.read_bytes() if log.exists() else b""
        log.unlink(missing_ok=True)
        if damage is not None:
            flipped = bytes(byte ^ 1 for byte in whole)
            log.write_bytes(flipped if damage == "flip" else damage)
        with TrialStore(copy, DATA) as store:
            assert [key.seed for key in store.trials()] == list(range(12))
        shutil.rmtree(copy)


def test_a_reader_with_an_open_cursor_holds_no_search_up(folder):
    with TrialStore(folder, DATA) as store, closing(sqlite3.connect(folder / FILE)) as reader:
        cursor = reader.execute("SELECT * FROM trials")
        cursor.fetchone()
        begun = time.perf_counter()
        store.add(Key.of(TrainConfig(seed=7)), trial(7))
        assert time.perf_counter() - begun < 2
        assert len(cursor.fetchall()) == 5
    with TrialStore(folder, DATA) as store:
        assert len(store.trials()) == 7


def text(path: Path) -> None:
    path.write_text("This is a note to myself, not a database.\n" * 100)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10_000])


def overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)


def of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE accounts (name TEXT)")


def of_a_later_layout(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


def edited(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE trials SET valid_accuracy = 1.0 WHERE seed = 3")


def of_no_encoding(path: Path) -> None:
    """Write bytes that are no UTF-8 into texts, names of columns included."""
    content = path.read_bytes()
    path.write_bytes(content.replace(b"epochs done", b"epochs \xff\xfe\xfd\xfc"))


def of_no_encoding_in_its_schema(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE trials", b"CREATE TABLE tri\xff\xfe\xfd"))


def edited_with_a_checksum(**changes):
    """Change columns of a row, and make its checksum right."""

    def edit(path: Path) -> None:
        with TrialStore(path.parent, DATA) as store, closing(sqlite3.connect(path)) as database:
            names = ", ".join(f"{name} = ?" for name in changes)
            database.execute(f"UPDATE trials SET {names} WHERE seed = 3", (*changes.values(),))
            query = f"SELECT parameters, {', '.join(_FIELDS)} FROM trials WHERE seed = 3"
            parameters, *values = database.execute(query).fetchone()
            checksum = store._checksum(parameters, values)
            database.execute("UPDATE trials SET checksum = ? WHERE seed = 3", (checksum,))
            database.commit()

    return edit


ROW = "found a damaged file or no database (a row, trial"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (of_no_encoding, "found a damaged file or no database"),
        (of_no_encoding_in_its_schema, "found a damaged file or no database"),
        (edited_with_a_checksum(history="[" * 100_000), "found a damaged file"),
        (edited_with_a_checksum(history="5"), f"{ROW}.history: found 5"),
        (edited_with_a_checksum(history='[{"epoch": 0}]'), f"{ROW}.history: found"),
        (edited_with_a_checksum(history='[{"epoch": 1, "train_loss": "x"}]'), f"{ROW}.history"),
        (edited_with_a_checksum(history='[{"epoch": 1, "train_loss": NaN}]'), f"{ROW}.history"),
        (edited_with_a_checksum(epochs=2), f"{ROW}.epochs: found 2, expected 1"),
        (edited_with_a_checksum(epoch=2), f"{ROW}.epoch: found 2, expected at most 1"),
        (edited_with_a_checksum(valid_accuracy="\x1b[2J"), f"{ROW}.valid_accuracy: found"),
        (edited_with_a_checksum(seconds=-1.0), f"{ROW}.seconds: found -1.0"),
        (edited_with_a_checksum(reason=b"x"), f"{ROW}.reason: found b'x'"),
        (text, "found a damaged file or no database"),
        (truncated, "found a damaged file or no database"),
        (overwritten, "found a damaged file or no database"),
        (of_another_program, "found a database of another program"),
        (of_a_later_layout, "found a trial store of layout 99, expected 1; upgrade fastmlp"),
        (edited, "a row that does not match its checksum"),
    ],
)
def test_a_file_that_is_not_right_is_refused_and_left_alone(folder, parts, damage, message):
    damage(folder / FILE)
    before = (folder / FILE).read_bytes()
    with pytest.raises(StoreError) as caught, TrialStore(folder, DATA) as store:
        store.trials()
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(folder / FILE))
    assert "\n" not in str(caught.value)
    assert (folder / FILE).read_bytes() == before


@pytest.mark.parametrize("network", [zlib.compress(bytes(10**6)), b"x", b"", "text", 5])
def test_a_network_that_inflates_or_is_none_is_refused(folder, network):
    with closing(sqlite3.connect(folder / FILE)) as database, database:
        database.execute("UPDATE trials SET network = ? WHERE seed = 2", (network,))
    with TrialStore(folder, DATA) as store, pytest.raises(StoreError, match="damaged"):
        store.network(KEYS[2])


@pytest.mark.parametrize("kind", ["flip", "cut"])
def test_no_damage_is_believed(folder, kind):
    """Each damaged file gives a StoreError, or trials and networks that are as they were."""
    whole = (folder / FILE).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        if kind == "flip":
            damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        else:
            del damaged[rng.integers(1, len(whole)) :]
        (folder / FILE).write_bytes(damaged)
        for left in folder.glob(f"{FILE}-*"):
            left.unlink()
        try:
            with TrialStore(folder, DATA) as store:
                for key, found in store.trials().items():
                    assert found == trial(key.seed)
                    assert store.network(key) in (None, b"weights" * 6000)
        except StoreError:
            refused += 1
    assert refused > 100


def test_a_folder_that_cannot_be_made_is_named(folder):
    with pytest.raises(StoreError, match=f"{folder / FILE}.*"):
        TrialStore(folder / FILE / "below", DATA)


@pytest.fixture
def make_read_only(folder: Path) -> Iterator[Callable[[], None]]:
    """Return a function that makes the folder read-only, for root too."""
    mounted = []

    def make() -> None:
        if os.geteuid() != 0:
            (folder / FILE).chmod(0o444)
            folder.chmod(0o555)
            return
        for options in (
            ["--bind", str(folder), str(folder)],
            ["-o", "remount,ro,bind", str(folder)],
        ):
            if subprocess.run(["mount", *options], capture_output=True).returncode:
                pytest.skip("needs the right to mount")
            mounted.append(folder)

    yield make
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="permissions differ")
def test_a_store_that_cannot_be_written_is_refused(folder, make_read_only):
    make_read_only()
    with pytest.raises(StoreError, match="cannot be written; make the folder and the file"):
        TrialStore(folder, DATA)


def test_a_full_disk_keeps_what_was_finished(small_disk, parts):
    def fill_after_two(progress):
        if progress.done == 2:
            disk = os.statvfs(small_disk)
            filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize - 200_000))

    train, valid, test = parts
    filler = small_disk / "filler"
    grid = {"learning_rate": [0.01 * n for n in range(1, 41)]}
    config = CONFIG.replace(hidden=(400, 200), epochs=1)
    with pytest.raises(StoreError, match=r"the disk is full.*finished trials are kept"):
        grid_search(config, grid, train, valid, test, store=small_disk, on_trial=fill_after_two)
    kept = rows(small_disk)
    assert 2 <= len(kept) < 40
    filler.unlink()
    result = grid_search(config, grid, train, valid, test, store=small_disk)
    assert result.skipped == len(kept)
    assert result.trained == 40 - len(kept)
    after = rows(small_disk)
    assert all(after[key]["id"] == row["id"] for key, row in kept.items())


def test_a_history_that_json_cannot_hold_is_not_stored(folder):
    bad = Trial(**{**vars(trial(2)), "history": [{"epoch": 1, "train_loss": float("nan")}]})
    with TrialStore(folder, DATA) as store:
        with pytest.raises(ValueError, match="JSON"):
            store.add(KEYS[2], bad)
        assert store.trials()[KEYS[2]] == trial(2)


def test_a_store_below_folders_that_are_not_there_yet(folder):
    with TrialStore(str(folder / "a" / "b"), DATA) as store:
        store.add(KEYS[0], trial(0))
    assert (folder / "a" / "b" / FILE).is_file()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SQLITE_FULL", "the disk is full; free some space and run this again: finished"),
        ("SQLITE_READONLY_DIRECTORY", "cannot be written; make the folder and the file writable"),
        ("SQLITE_PERM", "cannot be written; make the folder and the file writable"),
        ("SQLITE_CANTOPEN_ISDIR", "cannot be written; make the folder and the file writable"),
        ("SQLITE_BUSY_SNAPSHOT", "another program is writing to it; end that, and run this"),
        ("SQLITE_IOERR_WRITE", "the disk does not read or write; finished trials are kept"),
        ("SQLITE_TOOBIG", "found a network of over 1 GB"),
        ("SQLITE_CORRUPT_INDEX", "found a damaged file or no database"),
        ("SQLITE_NOTADB", "found a damaged file or no database"),
        ("SQLITE_SCHEMA", "what SQLite said"),
        (None, "what SQLite said"),
    ],
)
def test_what_to_do_follows_from_the_name_of_the_error(folder, name, words):
    error = sqlite3.OperationalError("what SQLite said")
    error.sqlite_errorname = name
    with TrialStore(folder, DATA) as store, pytest.raises(StoreError) as raised, store._explained():
        raise error
    assert str(raised.value).startswith(f"{folder / FILE}: {words}")
    assert "what SQLite said" in str(raised.value)


@pytest.mark.parametrize(
    "change", ["DROP TABLE trials", "ALTER TABLE trials RENAME COLUMN checksum TO sum"]
)
def test_a_table_that_is_not_ours_is_no_store(folder, change):
    with closing(sqlite3.connect(folder / FILE)) as database:
        database.execute(change)
        database.commit()
    words = r"trials\.sqlite: found a damaged file or no database \(no such"
    with pytest.raises(StoreError, match=words), TrialStore(folder, DATA) as store:
        store.trials()
