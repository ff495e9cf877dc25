"""Files are whole or absent, and what is read is what was written."""

import errno
import json
import os
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.errors import DataError, FormatError
from fastmlp.machine import files
from fastmlp.machine.files import read_tensors, read_text, write_atomic, write_tensors

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([-0.0, 1e-300])}


def layout(description: Any) -> files.Layout:
    """Describe TENSORS, with a size taken from the description as a network takes its own."""
    if not isinstance(description, dict) or description.get("rows") != 2:
        raise DataError("rows: found something else, expected 2")
    return {"a": ("float32", (2, 3)), "b": ("float64", (2,))}


def assert_same(path: Path) -> None:
    description, tensors = read_tensors(path, "test", layout)
    assert description == {"name": "é", "rows": 2}
    assert {
        name: (array.dtype, array.shape, array.tobytes()) for name, array in tensors.items()
    } == {name: (array.dtype, array.shape, array.tobytes()) for name, array in TENSORS.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("files") / "whole.safetensors"
    write_tensors(path, "test", {"rows": 2, "name": "é"}, TENSORS)
    assert_same(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], None]:
    """Return a check that a damaged file is refused by name or reads as if it were whole."""
    path = tmp_path_factory.mktemp("files") / "damaged.safetensors"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            assert_same(path)
        except FormatError as error:
            message = str(error)
        else:
            return
        assert message.startswith(f"{path}: ")
        assert len(message.splitlines()) == 1

    return check


def test_equal_content_gives_equal_bytes(tmp_path: Path, whole: bytes) -> None:
    for _ in range(5):  # the library alone gives 24 orders of the metadata
        write_tensors(
            tmp_path / "again", "test", {"name": "é", "rows": 2}, dict(reversed(TENSORS.items()))
        )
        assert (tmp_path / "again").read_bytes() == whole
    length = int.from_bytes(whole[:8], "little")
    assert length % 8 == 0
    assert list(json.loads(whole[8 : 8 + length])["__metadata__"]) == [
        "checksum",
        "format",
        "format_version",
        "test",
    ]


def test_every_flipped_bit_is_noticed(whole: bytes, damaged: Callable[[bytes], None]) -> None:
    for position in range(len(whole)):
        for bit in range(8):
            mutant = bytearray(whole)
            mutant[position] ^= 1 << bit
            damaged(bytes(mutant))


def test_every_truncation_is_refused(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "short.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"short.safetensors: found "):
            read_tensors(path, "test", layout)


@settings(deadline=None)
@given(data=st.data())
def test_pieces_cut_out_repeated_or_replaced(
    whole: bytes, damaged: Callable[[bytes], None], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    piece = data.draw(st.just(whole[start:end] * 2) | st.binary(max_size=20))
    damaged(whole[:start] + piece + whole[end:])


HEADERS = [
    {"sizes": "many"},
    {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 24]}},
    {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 2**63]}},
    {"a": {"dtype": "BF16", "shape": [2, 6], "data_offsets": [0, 24]}},
    {"a": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}},
    {"b": None},
    {"\n\x1b[2J": {"dtype": "F32", "shape": [9], "data_offsets": [24, 40]}},
    {"\n" * 10_000: {"dtype": "F32", "shape": [0], "data_offsets": [24, 24]}},
    {"c": {"dtype": "F32", "shape": [0], "data_offsets": [24, 24]}},
    {"__metadata__": {"format": 1}},
    {"__metadata__": None},
]
TEXTS = ["", "[", "null", "NaN", "[" * 10_000, '{"rows": ' + "9" * 5000 + "}", '{"rows": 2}']


@pytest.mark.parametrize("change", HEADERS + TEXTS, ids=lambda change: str(change)[:40])
def test_hostile_headers_are_refused(
    tmp_path: Path, whole: bytes, change: dict[str, Any] | str
) -> None:
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    if isinstance(change, str):
        header["__metadata__"]["test"] = change
    else:
        header |= change
    text = json.dumps(header).encode()
    path = tmp_path / "hostile"
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[end:])
    with pytest.raises(FormatError, match="hostile: ") as raised:
        read_tensors(path, "test", layout)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < len(str(path)) + 300


def test_a_header_may_not_be_large(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "large"
    with pytest.raises(FormatError, match=r"large: not written: found a header of \d+ bytes"):
        write_tensors(path, "test", {"name": "n" * 2**20}, TENSORS)
    end = 8 + int.from_bytes(whole[:8], "little")
    header = whole[8:end] + b" " * 2**20
    path.write_bytes(struct.pack("<Q", len(header)) + header + whole[end:])
    with pytest.raises(FormatError, match="large: found a file that is not safetensors"):
        read_tensors(path, "test", layout)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"a": TENSORS["a"].T}, r"a as F32 \(3, 2\), expected float32 \(2, 3\)"),
        ({"b": np.zeros(2, np.float32)}, r"b as F32 \(2,\), expected float64 \(2,\)"),
        ({"b": np.zeros(2, np.int64)}, r"b as I64 \(2,\)"),
        ({"c": np.zeros(2)}, r"tensors \['a', 'b', 'c'\], expected \['a', 'b'\]"),
    ],
)
def test_tensors_that_the_description_does_not_call_for(
    tmp_path: Path, other: dict[str, np.ndarray], found: str
) -> None:
    path = tmp_path / "other"
    write_tensors(path, "test", {"rows": 2}, TENSORS | other)
    with pytest.raises(FormatError, match=f"other: found {found}"):
        read_tensors(path, "test", layout)


def test_foreign_files_are_told_apart(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(whole)
    with pytest.raises(
        FormatError, match=r"found metadata \['checksum', .*'test'\], expected 'network'"
    ):
        read_tensors(path, "network", layout)
    path.write_bytes(whole.replace(b'"format_version": "1"', b'"format_version": "2"'))
    with pytest.raises(FormatError, match="found format version '2', expected '1'; upgrade"):
        read_tensors(path, "test", layout)
    path.write_bytes(whole.replace(b'"format": "fastmlp"', b'"format": "pytorch"'))
    with pytest.raises(FormatError, match=r"without the metadata of fastmlp.*from_state_dict"):
        read_tensors(path, "test", layout)
    with pytest.raises(FormatError, match="absent: found no such file, expected a fastmlp test"):
        read_tensors(tmp_path / "absent", "test", layout)
    with pytest.raises(FormatError, match="found a folder, expected a fastmlp test"):
        read_tensors(tmp_path, "test", layout)
    with pytest.raises(FormatError, match="found no regular file, expected a fastmlp test"):
        read_tensors(Path(os.devnull), "test", layout)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.timeout(30)
def test_a_pipe_is_read_and_one_that_nobody_writes_to_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        FormatError, match=r"pipe: found a pipe that nobody writes to, expected text"
    ):
        read_text(tmp_path / "pipe", 100, "text")
    reading, writing = os.pipe()
    os.write(writing, b"a = 1")
    os.close(writing)
    assert read_text(f"/dev/fd/{reading}", 100, "text") == "a = 1"  # as of a shell's <(...)
    os.close(reading)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked"
    path.write_bytes(b"")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FormatError, match="locked: cannot be read: Permission denied"):
        read_tensors(path, "test", layout)


def test_writing_replaces_follows_links_and_keeps_the_usual_mode(tmp_path: Path) -> None:
    target, link, usual = tmp_path / "target", tmp_path / "link", tmp_path / "usual"
    usual.write_bytes(b"")
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomic(str(link), b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == [link, target, usual]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_regular_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for path in (pipe, link):
            write_atomic(path, b"new")
            assert os.read(reader, 9) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == [link, pipe]
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        write_atomic(tmp_path, b"new")


class Failing:
    """Let calls through but the n-th, over all the functions it stands in for."""

    def __init__(self, nth: int, error: BaseException) -> None:
        self.left, self.error = nth, error

    def instead_of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise self.error
            return function(*arguments)

        return call


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failure_at_any_step_leaves_one_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "file"
    failures = 0
    while True:
        path.write_bytes(b"old")
        failing = Failing(failures + 1, error)
        with monkeypatch.context() as patch:
            for owner, name in ((Path, "open"), (os, "fsync"), (Path, "replace"), (os, "open")):
                patch.setattr(owner, name, failing.instead_of(getattr(owner, name)))
            try:
                write_atomic(path, b"new")
                break
            except (OSError, KeyboardInterrupt) as raised:
                name = getattr(raised, "filename", str(path))
        failures += 1
        assert name == str(path)
        assert path.read_bytes() in (b"old", b"new")
        assert list(tmp_path.iterdir()) == [path]
    assert failures == 5  # open, flush, rename; then open and flush the folder
    assert path.read_bytes() == b"new"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file .*absent/file"):
        write_atomic(tmp_path / "absent" / "file", b"")


def test_what_is_appended_is_flushed_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    flushed = []
    monkeypatch.setattr(files, "flush", lambda _: flushed.append(path.read_bytes()))
    files.append(path, b"6")
    files.append(path, b"abc", at=2)
    assert flushed == [b"123456", b"12abc"]


def test_a_description_that_no_reader_takes_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_tensors(tmp_path / "a", "test", {"rows": float("nan")}, TENSORS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("length", "is_said"), [(300, True), (230, True), (229, False)])
def test_windows_says_that_a_path_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, is_said: bool
) -> None:
    path = tmp_path / "missing"
    path = path / ("a" * 99) if length > 299 else path
    path = path / ("a" * (length - len(str(path)) - 1))
    assert len(str(path)) == length
    monkeypatch.setattr(sys, "platform", "win32")
    for act in (lambda: write_atomic(path, b""), lambda: read_text(path, 9, "text")):
        with pytest.raises((OSError, FormatError), match="No such file") as raised:
            act()
        told = f"found a path of {len(str(path))} characters"
        assert (told in str(raised.value)) == is_said


def test_a_text_is_written_as_it_stands(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "é\r\n\udcff\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\r\n\\udcff\n"


def test_a_text_may_be_as_large_as_said_and_no_larger(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes("\ufeffaé".encode())
    assert read_text(path, 6, "a text") == "aé"
    with pytest.raises(FormatError, match=r"a: found over 5 bytes, expected a text$"):
        read_text(path, 5, "a text")
    path.write_bytes(b"a\0b")
    with pytest.raises(FormatError, match="a: found UTF-16 or zero bytes, expected a text in UTF"):
        read_text(path, 5, "a text")
    for name, words in ((tmp_path, "directory|denied"), (f"{path}\0", "null byte")):
        with pytest.raises(FormatError, match=f"cannot be read: .*({words})"):
            read_text(name, 5, "a text")


def test_what_the_system_says_is_said_once(tmp_path: Path) -> None:
    path, told = tmp_path / "absent" / "a", os.strerror(errno.ENOENT)
    with pytest.raises(FormatError) as raised:
        read_text(path, 5, "a text")
    assert str(raised.value) == f"{path}: cannot be read: {told}"
    with pytest.raises(OSError, match="absent") as failed:
        write_atomic(path, b"")
    assert (failed.value.errno, failed.value.strerror) == (errno.ENOENT, told)
    assert failed.value.filename == str(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_other_encodings_are_known_by_their_marks(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a"
    path.write_bytes("\ufeffa".encode(encoding))
    with pytest.raises(FormatError, match=f"found {encoding[:6].upper()}, expected a text"):
        read_text(path, 99, "a text")


def test_what_may_get_lost_with_the_power_is_not_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "flush", lambda _: pytest.fail("flushed"))
    files.append(tmp_path / "a", b"12", flushed=False)
    files.append(tmp_path / "a", b"3", at=0, flushed=False)
    assert (tmp_path / "a").read_bytes() == b"3"


def test_a_header_may_be_of_one_megabyte_exactly(tmp_path: Path) -> None:
    path, least = tmp_path / "a", 0
    for length in (4096, 2**20):
        write_tensors(path, "test", {"rows": 2, "name": "n" * (length - least)}, TENSORS)
        found = int.from_bytes(path.read_bytes()[:8], "little")
        least += found - length
    assert found == 2**20
    description, _ = read_tensors(path, "test", layout)
    again = {**description, "name": description["name"] + "n" * 8}
    with pytest.raises(FormatError, match="expected at most 1048576"):
        write_tensors(path, "test", again, TENSORS)
    assert files.has_kind(path, "test")


def test_tensors_in_memory_are_those_of_the_file(whole: bytes) -> None:
    found = files.tensors_from(whole)
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in TENSORS.items()
    }
    end = 8 + int.from_bytes(whole[:8], "little")
    spaces = struct.pack("<Q", 2**20 + 1) + whole[8:end].ljust(2**20 + 1) + whole[end:]
    for damaged in (b"", whole[:-1], whole.replace(b'"F64"', b'"X64"'), spaces):
        with pytest.raises(FormatError, match=r"^found .*expected a file as it was written; copy"):
            files.tensors_from(damaged)


def test_the_kind_of_a_file_is_told_without_reading_it(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(whole)
    assert files.has_kind(path, "test")
    assert not files.has_kind(path, "network")
    path.write_bytes(struct.pack("<Q", 2) + b"{}")
    assert not files.has_kind(path, "test")
    with pytest.raises(FormatError, match="b: found no such file, expected a model of fastmlp"):
        files.has_kind(tmp_path / "b", "test")
