"""Decoded pictures in a file: the sums of its blocks, and what is no such file."""

import hashlib
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastmlp.datasets import decoded
from fastmlp.datasets.decoded import PictureFile, Wanted, decode
from fastmlp.errors import DataError

RANDOM = np.random.default_rng(8)
LEVELS = RANDOM.integers(0, 256, (5, 4, 6)).astype(np.uint8)


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """Make five grey pictures of 4 x 6."""
    (tmp_path / "photos").mkdir()
    for number, one in enumerate(LEVELS):
        Image.fromarray(one).save(tmp_path / "photos" / f"{number}.png")
    names = [PictureFile(f"{number}.png", (1, 2, 3)) for number in range(5)]
    return Wanted(tmp_path / "photos", names, None)


def sound(unsound: dict[int, str]) -> None:
    assert unsound == {}


def assert_levels(found: decoded.Decoded) -> None:
    assert found.shape == (1, 4, 6)
    np.testing.assert_array_equal(found.images, LEVELS.reshape(5, 24))


@pytest.mark.parametrize("block", [1, 24, 37, 60, 120, 121, 1 << 20])
@pytest.mark.parametrize("together", [1, 2, 64])
def test_a_file_has_a_sum_of_each_block(
    wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, together: int
) -> None:
    monkeypatch.setattr(decoded, "BLOCK_BYTES", block)
    monkeypatch.setattr(decoded, "TOGETHER", together)
    place = tmp_path / "kept"
    assert_levels(decode(wanted, [place], sound))
    ((file,),) = [list(place.iterdir())]
    content = file.read_bytes()
    assert content[:120] == LEVELS.tobytes()
    length = int.from_bytes(content[-40:-32], "little")
    text = content[-40 - length : -40]
    assert len(content) == 120 + length + 40
    assert content[-32:] == hashlib.sha256(text).digest()
    parts = [LEVELS.tobytes()[at : at + block] for at in range(0, 120, block)]
    assert json.loads(text)["sums"] == [hashlib.sha256(part).hexdigest() for part in parts]
    monkeypatch.setattr(decoded, "_decode", pytest.fail)
    assert_levels(decode(wanted, [place], sound))


def test_pictures_in_memory_are_the_same(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "TOGETHER", 2)
    monkeypatch.setattr(decoded, "started_pool", lambda *_: (None, None))
    assert_levels(decode(wanted, [], sound))
    (wanted.folder / "3.png").write_bytes(b"no picture")
    (wanted.folder / "2.png").write_bytes(b"no picture")
    found = decode(wanted, [], lambda _: None)
    assert list(found.unsound) == [2, 3]
    assert found.unsound[3].startswith(f"{wanted.folder / '3.png'}: ")
    np.testing.assert_array_equal(found.images, LEVELS.reshape(5, 24)[[0, 1, 4]])


def test_a_picture_in_colour_makes_all_of_them_so(
    wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "TOGETHER", 2)
    colours = RANDOM.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    for number in (4, 0):  # behind grey ones, and before
        Image.fromarray(colours).save(wanted.folder / f"{number}.png")
        for places in ([], [tmp_path / str(number)]):
            found = decode(wanted, places, sound)
            assert found.shape == (3, 4, 6)
            np.testing.assert_array_equal(found.images[1], np.tile(LEVELS[1].reshape(-1), 3))
            planes = colours.transpose(2, 0, 1).reshape(-1)
            np.testing.assert_array_equal(found.images[number], planes)
            assert len(found.images) == 5


def edited(file: Path, change: Any) -> None:
    """Change the description in a file, and make its length and sum right."""
    content = file.read_bytes()
    length = int.from_bytes(content[-40:-32], "little")
    described = json.loads(content[-40 - length : -40])
    text = json.dumps(change(described)).encode()
    tail = len(text).to_bytes(8, "little") + hashlib.sha256(text).digest()
    file.write_bytes(content[: -40 - length] + text + tail)


CHANGES: dict[str, Any] = {
    "another key": lambda one: one | {"key": "0" * 64},
    "other sides": lambda one: one | {"shape": [1, 4, 5]},
    "no sides": lambda one: one | {"shape": [1, 24]},
    "too large": lambda one: one | {"shape": [1, 1, 1025]},
    "empty": lambda one: one | {"shape": [0, 4, 6]},
    "one too few": lambda one: one | {"unsound": {"numbers": [1], "reasons": [""]}},
    "fewer reasons": lambda one: one | {"unsound": {"numbers": [1], "reasons": []}},
    "below zero": lambda one: one | {"unsound": {"numbers": [-1], "reasons": [""]}},
    "no sums": lambda one: one | {"sums": []},
    "other sums": lambda one: one | {"sums": ["0" * 64]},
    "more": lambda one: one | {"more": 1},
    "a list": lambda one: [one],
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_file_that_describes_something_else_is_made_again(
    wanted: Wanted, tmp_path: Path, case: str
) -> None:
    place = tmp_path / "kept"
    decode(wanted, [place], sound)
    (file,) = place.iterdir()
    content = file.read_bytes()
    edited(file, lambda one: one)
    assert decoded._read(place, file.name, wanted) is not None
    edited(file, CHANGES[case])
    assert decoded._read(place, file.name, wanted) is None
    assert_levels(decode(wanted, [place], sound))
    assert file.read_bytes() == content


@pytest.mark.parametrize("length", [0, 7, 39, 40])
def test_a_file_too_short_for_a_description_is_none(
    wanted: Wanted, tmp_path: Path, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "kept"
    decode(wanted, [place], sound)
    (file,) = place.iterdir()
    whole = file.read_bytes()
    file.write_bytes(bytes(length))
    assert decoded._read(place, file.name, wanted) is None
    file.write_bytes(whole)
    described = int.from_bytes(whole[-40:-32], "little")
    monkeypatch.setattr(decoded, "LONGEST_DESCRIPTION", described)
    assert decoded._read(place, file.name, wanted) is not None
    monkeypatch.setattr(decoded, "LONGEST_DESCRIPTION", described - 1)
    assert decoded._read(place, file.name, wanted) is None


def test_files_of_another_version_or_size_are_others(
    wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "kept"
    decode(wanted, [place], sound)
    (old,) = place.iterdir()
    scaled = Wanted(wanted.folder, wanted.files, (2, 3))
    assert decode(scaled, [place], sound).shape == (1, 2, 3)
    assert len(list(place.iterdir())) == 2
    changed = [wanted.files[0]._replace(state=(1, 2, 4)), *wanted.files[1:]]
    decode(Wanted(wanted.folder, changed, None), [place], sound)
    assert len(list(place.iterdir())) == 2
    assert not old.exists()
    monkeypatch.setattr(decoded, "VERSION", "99")
    assert Wanted(wanted.folder, wanted.files, None).key != wanted.key
    assert old.name == f"{wanted.place}-{wanted.key[:24]}.pictures"


def test_a_file_that_somebody_removes_at_once_is_done_without(
    wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "_read", lambda *_: None)
    assert_levels(decode(wanted, [tmp_path / "a", tmp_path / "b"], sound))


def test_a_place_is_kept_if_it_was_there_and_pictures_are_refused(
    wanted: Wanted, tmp_path: Path
) -> None:
    def refuse(_: dict[int, str]) -> None:
        raise DataError("enough")

    (tmp_path / "there").mkdir(0o700)
    for name in ("there", "new"):
        with pytest.raises(DataError, match="enough"):
            decode(wanted, [tmp_path / name], refuse)
    assert [one.name for one in tmp_path.iterdir() if one.name != "photos"] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []
    decode(wanted, [tmp_path / "there"], sound)
    with pytest.raises(DataError, match="enough"):
        decode(wanted, [tmp_path / "there"], refuse)


def test_the_next_place_is_taken_and_the_last_problem_told(
    wanted: Wanted, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "file").touch()
    assert_levels(decode(wanted, [tmp_path / "file", tmp_path / "kept"], sound))
    assert len(recwarn) == 0
    with pytest.warns(RuntimeWarning, match="file: .*; decoded pictures are not kept"):
        assert_levels(decode(wanted, [tmp_path / "file"], sound))


def test_pictures_have_one_size_which_is_not_too_large(wanted: Wanted) -> None:
    Image.new("L", (6, 5)).save(wanted.folder / "3.png")
    with pytest.raises(DataError, match=r"0.png has 6 x 4 pixels, 3.png has 6 x 5 pixels\), exp"):
        decode(wanted, [], sound)
    for side in (1024, 1025):
        for number in range(5):
            Image.new("L", (side, 1)).save(wanted.folder / f"{number}.png")
        if side == 1024:
            assert decode(wanted, [], sound).shape == (1, 1, 1024)
    with pytest.raises(DataError, match=r"0.png has 1025 x 1 pixels, expected at most 1024 a side"):
        decode(wanted, [], sound)


def test_none_that_is_sound_leaves_no_image(wanted: Wanted, tmp_path: Path) -> None:
    for one in wanted.files:
        (wanted.folder / one.name).write_bytes(b"")
    for places in ([], [tmp_path / "kept"], [tmp_path / "kept"]):
        found = decode(wanted, places, lambda _: None)
        assert (len(found.images), found.shape, list(found.unsound)) == (0, (1, 1, 1), [*range(5)])


def test_a_bar_is_shown_on_a_terminal(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, is_shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        decode(wanted, [], sound)
        assert ("decoding: 100%" in stream.getvalue()) == is_shown
        assert ("5/5" in stream.getvalue()) == is_shown


def test_no_thread_is_left(wanted: Wanted, tmp_path: Path) -> None:
    Image.new("L", (6, 5)).save(wanted.folder / "4.png")
    with pytest.raises(DataError, match="different sizes"):
        decode(wanted, [tmp_path / "kept"], sound)
    (wanted.folder / "4.png").write_bytes(b"")
    decode(wanted, [tmp_path / "kept"], lambda _: None)
    assert not [one.name for one in threading.enumerate() if one.name.startswith("fastmlp-")]
