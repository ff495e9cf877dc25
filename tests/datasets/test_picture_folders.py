"""Folders of pictures: decoded once, in threads, to what `read_picture` makes of each file."""

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastmlp import Dataset
from fastmlp.datasets import DataWarning, decoded, folders, picture_folders, pictures
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.pictures import read_picture
from fastmlp.errors import DataError

RANDOM = np.random.default_rng(4)
ENDINGS = ("jpg", "png", "BMP", "webp", "gif", "tiff", "JPEG")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep decoded pictures in a folder of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FASTMLP_DATA", str(folder))
    monkeypatch.setattr(picture_folders, "user_cache_folder", lambda: tmp_path / "cache")
    return folder / "decoded-pictures"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make two classes of pictures in every format, grey and in colour."""
    for name in ("dog", "cat"):
        for number, ending in enumerate(ENDINGS):
            save(tmp_path / "photos" / name / f"{number}.{ending}", grey=number % 2 == 0)
    return tmp_path / "photos"


def save(path: Path, side: tuple[int, int] = (6, 9), grey: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = RANDOM.integers(0, 256, (*side, 3)).astype(np.uint8)
    Image.fromarray(levels).convert("L" if grey else "RGB").save(path)


def decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by how many pictures are decoded at a time."""
    counts: list[int] = []
    real = decoded.read_pictures

    def counted(paths: list[Path], *rest: object) -> list[object]:
        counts.append(len(paths))
        return real(paths, *rest)

    monkeypatch.setattr(decoded, "read_pictures", counted)
    return counts


def test_images_are_those_of_the_files_in_their_order(photos: Path) -> None:
    data = Dataset.from_folder(photos)
    assert (data.shape, data.classes, data.name) == ((3, 6, 9), ("cat", "dog"), "photos")
    files = [photos / name / f"{n}.{end}" for name in data.classes for n, end in enumerate(ENDINGS)]
    np.testing.assert_array_equal(data.labels, [0] * 7 + [1] * 7)
    for image, file in zip(data.images, files, strict=True):
        np.testing.assert_array_equal(image, read_picture(file, 3).reshape(-1))
    scaled = Dataset.from_folder(photos, (5, 4))
    np.testing.assert_array_equal(scaled.images[3], read_picture(files[3], 3, (5, 4)).reshape(-1))


def test_grey_pictures_have_one_channel_and_exif_turns_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "grey" / name / "x.png", grey=True)
    assert Dataset.from_folder(tmp_path / "grey").shape == (1, 6, 9)
    turned = Image.fromarray(RANDOM.integers(0, 256, (9, 6, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x112] = 6
    turned.save(tmp_path / "grey" / "b" / "y.jpg", exif=exif)
    data = Dataset.from_folder(tmp_path / "grey")
    assert data.shape == (3, 6, 9)
    expected = read_picture(tmp_path / "grey" / "b" / "y.jpg", 3)
    np.testing.assert_array_equal(data.images[2], expected.reshape(-1))


def test_pictures_are_decoded_once(
    photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = decoding(monkeypatch)
    first = Dataset.from_folder(photos)
    decodings = len(counts)
    assert decodings > 0
    again = Dataset.from_folder(photos)
    assert len(counts) == decodings
    assert again.checksum == first.checksum
    # Another picture of the same size, at the same time of day.
    file = photos / "cat" / "2.BMP"
    times = file.stat().st_mtime_ns
    content = bytearray(file.read_bytes())
    content[-8] ^= 255
    file.write_bytes(content)
    os.utime(file, ns=(times, times))
    assert Dataset.from_folder(photos).checksum != first.checksum
    assert len(counts) > decodings
    assert len(list(home.iterdir())) == 1  # the file of before is gone
    Dataset.from_folder(photos, 4)
    assert len(list(home.iterdir())) == 2


@pytest.mark.parametrize("place", [0, 100, -1, -36, -60])
def test_a_damaged_file_is_made_again(photos: Path, home: Path, place: int) -> None:
    checksum = Dataset.from_folder(photos).checksum
    (file,) = home.iterdir()
    content = file.read_bytes()
    damaged = bytearray(content)
    damaged[place] ^= 1
    deep = b"[" * 100_000
    nested = deep + len(deep).to_bytes(8, "little") + hashlib.sha256(deep).digest()
    half = content[: len(content) // 2]
    for wrong in (bytes(damaged), content[:-1], half, b"", bytes(50), nested):
        file.write_bytes(wrong)
        assert Dataset.from_folder(photos).checksum == checksum
        assert file.read_bytes() == content


def test_without_a_place_pictures_stay_in_memory(
    photos: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksum = Dataset.from_folder(photos).checksum
    for place in (home, tmp_path / "cache" / "decoded-pictures"):
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o777)  # others could write there
    with pytest.warns(RuntimeWarning, match="not kept"):
        assert Dataset.from_folder(photos).checksum == checksum


def test_parts_of_their_own(tmp_path: Path) -> None:
    for part, count in (("Train", 4), ("val", 2), ("test", 3)):
        for name in ("a", "b"):
            for number in range(count):
                save(tmp_path / "data" / part / name / "below" / f"{number}.png")
    parts = folders.read(tmp_path / "data", OwnOptions())
    assert [one and len(one) for one in parts] == [8, 4, 6]
    whole = Dataset.from_folder(tmp_path / "data")
    assert whole.train_size == 12
    np.testing.assert_array_equal(whole.test.images, np.asarray(parts.test.images))
    (tmp_path / "data" / "bus").mkdir()
    save(tmp_path / "data" / "bus" / "a.png")
    assert Dataset.from_folder(tmp_path / "data").classes == ("Train", "bus", "test", "val")


def test_what_cannot_be_read_is_listed_or_left_out(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "TOGETHER", 3)
    for name in ("cat/1.png", "cat/5.tiff", "dog/0.jpg", "dog/2.BMP"):
        (photos / name).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"4 files cannot be read .*cat/1.png.*; and 1 more"):
        Dataset.from_folder(photos)
    for _ in range(2):
        with pytest.warns(DataWarning, match="left out: 4 files"):
            data = Dataset.from_folder(photos, skip_bad=True)
        np.testing.assert_array_equal(data.labels, [0] * 5 + [1] * 5)
    with pytest.raises(DataError, match="4 files cannot be read"):
        Dataset.from_folder(photos)


def test_other_files_are_counted(photos: Path) -> None:
    (photos / "cat" / "notes.txt").write_text("a")
    (photos / "cat" / ".DS_Store").write_text("a")
    (photos / "dog" / "Thumbs.db").write_text("a")
    with pytest.warns(DataWarning, match=r"left aside 1 files .*1 \.txt"):
        assert len(Dataset.from_folder(photos)) == 14


def test_threads_leave_the_filters_of_warnings_alone(photos: Path) -> None:
    before = list(warnings.filters)
    pictures.read_pictures(sorted(photos.rglob("*.*")), 3)
    assert warnings.filters == before
