"""Folders of pictures: decoded once, in threads, to what `read_picture` makes of each file."""

import errno
import hashlib
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastmlp import Dataset
from fastmlp.datasets import DataWarning, decoded, folders, picture_folders, pictures
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.picture_folders import pictures_in
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
    with pytest.raises(DataError, match="found Train, val, test and bus, which is no part"):
        Dataset.from_folder(tmp_path / "data")


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


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        for number in range(2):
            save(tmp_path / "two" / name / f"{number}.png", grey=True)
    return tmp_path / "two"


def closed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let folders of these names be unreadable, for root too."""
    real = os.scandir

    def scandir(path: Path) -> Any:
        if Path(path).name in names:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_closed_folder_is_named(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed(monkeypatch, "two")
    with pytest.raises(DataError, match=f"^{two}: Permission denied; expected a subfolder of pict"):
        pictures_in(two)


def test_a_closed_class_is_named(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed(monkeypatch, "dog")
    with pytest.raises(DataError, match="dog: Permission denied; expected the pictures of a class"):
        pictures_in(two)


def test_a_closed_folder_below_is_refused_or_left_out(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(two / "dog" / "below" / "3.png", grey=True)
    assert len(pictures_in(two).labels) == 5
    closed(monkeypatch, "below")
    with pytest.raises(DataError, match=r"1 file cannot be read .*below: Permission denied\), exp"):
        pictures_in(two)
    with pytest.warns(DataWarning, match=r"left out: 1 file cannot be read .*dog/below: Permiss"):
        assert len(pictures_in(two, skip_bad=True).labels) == 4


def test_a_closed_part_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "valid"):
        for name in ("a", "b"):
            save(tmp_path / "data" / part / name / "0.png")
    closed(monkeypatch, "valid")
    with pytest.raises(DataError, match=r"data/valid: Permission denied; expected a subfolder"):
        pictures_in(tmp_path / "data")


LAYOUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one class": (lambda top: shutil.rmtree(top / "dog"), "found one class, 'cat', .*of such$"),
    "classes below": (
        lambda top: (
            shutil.move(top, top.with_name("x")),
            shutil.move(top.with_name("x"), top / "x"),
        ),
        "one class, 'x', .*; did you mean .*two/x\\?$",
    ),
    "one class below": (
        lambda top: (shutil.rmtree(top / "dog"), (top / "cat" / "below").mkdir()),
        "found one class, 'cat', .*of such$",
    ),
    "no class": (
        lambda top: (shutil.rmtree(top / "dog"), shutil.rmtree(top / "cat")),
        "two: found no subfolder, expected",
    ),
    "pictures alone": (
        lambda top: ([shutil.rmtree(top / one) for one in ("dog", "cat")], save(top / "a.TIF")),
        "two: found 1 pictures and no subfolder",
    ),
    "a stray picture": (
        lambda top: save(top / "a.jfif"),
        "1 pictures beside the .* such as a.jfif",
    ),
    "an empty class": (lambda top: (top / "owl").mkdir(), r"two/owl: found no pictures \(.jpg, "),
    "two training parts": (
        lambda top: [save(top / one / "cat" / "a.png") for one in ("train", "TRAINING")],
        "found TRAINING and train, expected one of them",
    ),
    "parts and another": (
        lambda top: (
            [
                save(top.parent / "two" / part / name / "0.png")
                for part in ("train", "Test", "labels")
                for name in "ab"
            ]
            + [shutil.rmtree(top / one) for one in ("cat", "dog")]
        ),
        "two: found train, Test and labels, which is no part, expected a subfolder of pict.*move labels away",
    ),
    "a circle": (
        lambda top: (top / "dog" / "below").symlink_to(top / "dog"),
        "dog/below: found a link to a folder that it lies in",
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_other_layouts_are_refused(two: Path, case: str) -> None:
    change, words = LAYOUTS[case]
    change(two)
    with pytest.raises(DataError, match=words):
        pictures_in(two)


def test_parts_have_the_classes_of_the_training_part(tmp_path: Path) -> None:
    for part, names in (("training", "abc"), ("validation", "ca"), ("Testing", "b")):
        for name in names:
            save(tmp_path / "data" / part / name / "0.png", grey=True)
    found = pictures_in(tmp_path / "data")
    assert (found.classes, found.labels.tolist()) == (("a", "b", "c"), [0, 1, 2, 0, 2, 1])
    assert found.ends == {"train": 3, "valid": 5, "test": 6}
    assert set(found.fields) == {"images", "labels", "shape", "classes"}
    save(tmp_path / "data" / "Testing" / "d" / "0.png", grey=True)
    with pytest.raises(DataError, match="found the class 'd', expected those of the training part"):
        pictures_in(tmp_path / "data")


def test_without_a_training_part_all_folders_are_classes(tmp_path: Path) -> None:
    for name in ("test", "valid"):
        save(tmp_path / "data" / name / "0.png", grey=True)
    found = pictures_in(tmp_path / "data")
    assert (found.classes, found.ends) == (("test", "valid"), {})


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("plane", "train"):
        save(tmp_path / "data" / name / "0.png", grey=True)
    assert pictures_in(tmp_path / "data").classes == ("plane", "train")


def test_files_below_a_class_are_in_the_order_of_their_names(two: Path) -> None:
    for name in ("b/1.png", "a/9.png", "0a.png", "b/0.png", "c/d/e.png"):
        save(two / "dog" / name, grey=True)
    found = pictures_in(two)
    names = ["0.png", "0a.png", "1.png", "a/9.png", "b/0.png", "b/1.png", "c/d/e.png"]
    assert found.labels.tolist() == [0, 0, *[1] * 7]
    for name, image in zip(names, found.images[2:], strict=True):
        np.testing.assert_array_equal(image, read_picture(two / "dog" / name, 1).reshape(-1))


def test_a_link_to_a_class_is_followed_and_one_to_nothing_told(two: Path) -> None:
    (two / "owl").symlink_to(two / "dog")
    (two / "dog" / "twice").symlink_to(two / "cat")  # no circle
    assert pictures_in(two).labels.tolist() == [0, 0, *[1] * 4, *[2] * 4]
    (two / "cat" / "gone.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"cat/gone\.png: No such file"):
        pictures_in(two)


def test_other_files_are_told_by_their_endings(two: Path) -> None:
    for name in ("a.txt", "b.txt", "c.csv", "d.csv", "e.md", "f", "g.doc", "h.doc", ".hidden.txt"):
        (two / "dog" / name).touch()
    (two / "dog" / "__MACOSX").mkdir()
    save(two / "__macosx" / "x.png")
    with pytest.warns(DataWarning) as said:
        pictures_in(two)
    (line,) = [str(one.message) for one in said]
    words = "left aside 8 files whose names are not those of pictures (2 .txt, 2 .csv, 2 .doc)"
    assert line == f"{two}: {words}"


@pytest.mark.parametrize("size", [0, -1, 1025, (4, 0), (1025, 4)])
def test_a_size_that_no_picture_has(two: Path, size: Any) -> None:
    with pytest.raises(DataError, match=r"size: found .*, expected pixels, 1\.\.1024 a side"):
        pictures_in(two, size)


def test_sizes_are_a_side_or_height_and_width(two: Path) -> None:
    assert pictures_in(two, 1).shape == (1, 1, 1)
    assert pictures_in(two, (3, 1024)).shape == (1, 3, 1024)


def test_a_user_without_a_cache_keeps_pictures_in_the_data_folder(
    two: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_folders, "user_cache_folder", lambda: None)
    pictures_in(two)
    assert len(list(home.iterdir())) == 1
    pictures_in(two, data_home=home / "other")
    assert len(list((home / "other" / "decoded-pictures").iterdir())) == 1


def test_as_many_files_are_listed_as_can_be_read(two: Path) -> None:
    for number in range(5):
        (two / "dog" / f"w{number}.png").touch()
        words = f"{number + 1} file{'s' * (number > 0)} cannot be read \\({two}/dog/w0.png: "
        with pytest.raises(DataError, match=words) as raised:
            pictures_in(two)
        assert sum(f"dog/w{n}.png: " in str(raised.value) for n in range(9)) == min(3, number + 1)
        more = f"; and {number - 2} more), expected sound pictures"
        assert (more in str(raised.value)) == (number > 2)
    for name in ("0.png", "1.png"):
        (two / "dog" / name).unlink()
    with pytest.raises(DataError, match=r"of the class 'dog' no picture can be read: .*dog/w0"):
        pictures_in(two, skip_bad=True)


NAMES = ".jpg .jpeg .jpe .jfif .png .bmp .dib .webp .gif .tif .tiff"


def test_these_endings_are_those_of_pictures(two: Path) -> None:
    content = (two / "dog" / "0.png").read_bytes()  # a format is known by its content
    for number, ending in enumerate([*NAMES.split(), *NAMES.upper().split()]):
        (two / "dog" / f"x{number}{ending}").write_bytes(content)
    assert np.bincount(pictures_in(two).labels).tolist() == [2, 24]
    for name in ("Thumbs.DB", "desktop.ini"):
        (two / "cat" / name).touch()
    assert len(pictures_in(two).labels) == 26
