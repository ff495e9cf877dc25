"""Reading pictures: only the formats that are named, no more memory than a file explains, one line for the rest."""

import errno
import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastmlp.datasets import pictures
from fastmlp.datasets.pictures import read_picture, read_pictures
from fastmlp.errors import DataError

RANDOM = np.random.default_rng(0)
NOISE = Image.fromarray(RANDOM.integers(0, 256, (19, 23, 3), np.uint8))


def saved(kind: str, picture: Image.Image = NOISE, **options: object) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(width: int, height: int, *more: bytes, pixels: bytes = b"") -> bytes:
    """Return a PNG file of grey levels with these further chunks."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = pixels or zlib.compress(bytes((width + 1) * height))
    chunks = chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(*entries: tuple[int, int, int, int], tail: bytes = b"") -> bytes:
    """Return a TIFF file of entries (tag, type, number of values, value or place)."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return head + table + bytes(4) + tail


def grey_tiff(width: int, height: int, *more: tuple[int, int, int, int]) -> bytes:
    plain = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    return tiff(*plain, (262, 3, 1, 1), (277, 3, 1, 1), *more, tail=bytes(64))


def directory(entries: int, length: int) -> bytes:
    """Return EXIF in which so many entries each claim all of a block of this length."""
    claims = [(40_000 + tag, 7, length - 200, 100) for tag in range(entries)]
    return tiff(*claims).ljust(length, b"\0")


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    """Return a JPEG file with these further segments, and without the resolution that Pillow reads first."""
    plain = saved("JPEG")
    plain = plain[:2] + plain[4 + int.from_bytes(plain[4:6], "big") :]
    more = [struct.pack(">HH", marker, len(data) + 2) + data for marker, data in segments]
    return plain[:2] + b"".join(more) + plain[2:]


BLOCK = directory(4000, 60_000)

BOMBS: dict[str, Callable[[], bytes]] = {
    "pixels in PNG": lambda: png(10_000, 10_000),
    "pixels in TIFF": lambda: grey_tiff(10_000, 10_000, (273, 4, 1, 100), (279, 4, 1, 64)),
    "pixels in BMP": lambda: (
        saved("BMP")[:18] + struct.pack("<ii", 10_000, 9000) + saved("BMP")[26:]
    ),
    "pixels in GIF": lambda: b"GIF89a" + struct.pack("<HH", 10_000, 10_000) + saved("GIF")[10:],
    "pixels in JPEG": lambda: jpeg().replace(
        struct.pack(">HH", 19, 23), struct.pack(">HH", 10_000, 10_000)
    ),
    "animation in WebP": lambda: saved(
        "WEBP",
        Image.new("RGB", (4000, 3000)),
        save_all=True,
        append_images=[Image.new("RGB", (4000, 3000), "red")],
    ),
    "tile in TIFF": lambda: grey_tiff(
        64, 64, (322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 100), (325, 4, 1, 64)
    ),
    "strips in TIFF": lambda: (
        grey_tiff(64, 64, (273, 4, 200_000, 200), (278, 4, 1, 64), (279, 4, 1, 64)) + bytes(900_000)
    ),
    "equal strips in TIFF": lambda: (
        grey_tiff(3000, 4000, (273, 4, 1000, 200), (278, 4, 1, 3000), (279, 4, 1, 64)) + bytes(9000)
    ),
    "tables in TIFF": lambda: grey_tiff(9, 9, *[(40_000 + n, 7, 50_000, 99) for n in range(5000)]),
    "circle of tables in TIFF": lambda: grey_tiff(9, 9, (34_665, 4, 1, 8)),
    "EXIF in JPEG": lambda: jpeg((0xFFE1, b"Exif\0\0" + BLOCK)),
    "EXIF in JPEG, in parts": lambda: jpeg(
        (0xFFE1, b"Exif\0\0" + BLOCK[:9000]), (0xFFE1, b"Exif\0\0" + BLOCK[9000:])
    ),
    "pictures in JPEG": lambda: jpeg((0xFFE2, b"MPF\0" + BLOCK)),
    "EXIF in PNG": lambda: png(9, 9, chunk(b"eXIf", BLOCK)),
    "EXIF in a text of PNG": lambda: png(
        9,
        9,
        chunk(
            b"zTXt",
            b"Raw profile type exif\0\0"
            + zlib.compress(b"\nexif\n60000\n" + (b"Exif\0\0" + BLOCK).hex().encode()),
        ),
    ),
    "EXIF in WebP": lambda: saved("WEBP", exif=b"Exif\0\0" + BLOCK),
    "texts in PNG": lambda: png(
        9, 9, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))] * 60
    ),
    "chunks in PNG": lambda: png(9, 9, *[chunk(b"prIV", b"")] * 140_000),
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.jpg"
    data = BOMBS[case]()
    path.write_bytes(data)
    read_warm = tmp_path / "warm.png"
    read_warm.write_bytes(png(9, 9))
    read_picture(read_warm, 1)
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"^{path}: found [^\n]*expected [^\n]*$"):
        read_picture(path, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(data) + (4 << 20)


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        saved("PPM"),
        saved("ICO"),
        saved("TGA"),
        saved("DDS"),
        saved("PCX"),
        saved("PDF"),
        saved("SGI"),
        b"no picture",
        b"",
    ],
)
def test_other_formats_are_not_opened(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"photo.jpg: .*cannot identify.*expected an image: JPEG"):
        read_picture(path, 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF", "TIFF", "JPEG"])
def test_formats_are_known_by_their_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.txt"
    options = {"lossless": True} if kind == "WEBP" else {}
    path.write_bytes(saved(kind, Image.new("RGB", (5, 4), (200, 100, 50)), **options))
    levels = read_picture(path, 3)
    assert levels.shape == (3, 4, 5)
    assert levels.dtype == np.uint8
    means = levels.mean(axis=(1, 2))
    assert np.abs(means - (200, 100, 50)).max() < 5


def test_a_photograph_of_any_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    wide = RANDOM.integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(wide).resize((6000, 4000)).save(path, quality=90)
    small = read_picture(path, 3, (6, 8))
    assert small.shape == (3, 6, 8)
    assert np.abs(small.astype(int) - wide.transpose(2, 0, 1)).mean() < 40


def test_exif_in_a_text_turns_a_png(tmp_path: Path) -> None:
    block = b"Exif\0\0" + tiff((274, 3, 1, 6))
    text = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n32\n" + block.hex().encode())
    path = tmp_path / "a.png"
    path.write_bytes(png(4, 2, chunk(b"zTXt", text)))
    assert read_picture(path, 1).shape == (1, 4, 2)


SOUND = {
    "JPEG": saved("JPEG", exif=tiff((274, 3, 1, 6))),
    "progressive JPEG": saved("JPEG", progressive=True),
    "PNG": saved("PNG"),
    "PNG of a palette": saved("PNG", NOISE.convert("P")),
    "BMP": saved("BMP"),
    "BMP of a palette": saved("BMP", NOISE.convert("P")),
    "WebP": saved("WEBP"),
    "lossless WebP": saved("WEBP", lossless=True),
    "animated WebP": saved("WEBP", save_all=True, append_images=[NOISE.rotate(90)]),
    "GIF": saved("GIF"),
    "animated GIF": saved("GIF", save_all=True, append_images=[NOISE.rotate(90)]),
    "TIFF": saved("TIFF"),
    "deflated TIFF": saved("TIFF", compression="tiff_deflate"),
    "TIFF in LZW": saved("TIFF", compression="tiff_lzw"),
    "TIFF in JPEG": saved("TIFF", compression="jpeg"),
    "TIFF of bits": saved("TIFF", NOISE.convert("1"), compression="group4"),
}


@pytest.mark.parametrize("case", SOUND)
def test_damaged_pictures_raise_a_data_error_or_are_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    whole, path = SOUND[case], tmp_path / "a"
    random = np.random.default_rng(len(whole))
    messages = []
    for number in range(300):
        mutant = bytearray(whole)
        if number % 3:
            top = len(whole) if number % 2 else min(300, len(whole))
            for position in random.integers(0, top, random.integers(1, 4)):
                mutant[position] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.integers(256)])
        else:
            del mutant[random.integers(len(whole)) :]
        path.write_bytes(mutant)
        try:
            levels = read_picture(path, 1 + 2 * (number % 2), (3, 4))
            assert levels.shape == (1 + 2 * (number % 2), 3, 4)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(one.startswith(f"{path}: ") and "\n" not in one for one in messages)
    assert capfd.readouterr() == ("", "")


def test_a_picture_has_one_channel_or_three(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    for channels in (0, 2, 4):
        with pytest.raises(DataError, match=f"channels: found {channels}, expected 1 "):
            read_picture(path, channels)
    np.testing.assert_array_equal(read_picture(path, None), np.asarray(NOISE).transpose(2, 0, 1))
    np.testing.assert_array_equal(read_picture(path, 1)[0], np.asarray(NOISE.convert("L")))
    scaled = NOISE.resize((5, 3), Image.Resampling.BILINEAR)
    found = read_picture(path, 3, (3, 5))
    np.testing.assert_array_equal(found, np.asarray(scaled).transpose(2, 0, 1))
    assert found.flags.c_contiguous


def test_several_pictures_are_read_in_order_with_errors_in_their_places(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number in (0, 2, 3):
        Image.new("L", (2, 3), number).save(paths[number])
    paths[2].write_bytes(b"no picture")
    with ThreadPoolExecutor(2) as pool:
        for found in (read_pictures(paths, None), read_pictures(paths, 1, (1, 1), pool)):
            assert [one.shape[0] for one in (found[0], found[3])] == [1, 1]
            assert [int(one.max()) for one in (found[0], found[3])] == [0, 3]
            words = [f"{paths[1]}: found no such file, expected an image", f"{paths[2]}: "]
            for one, start in zip(found[1:3], words, strict=True):
                assert isinstance(one, DataError)
                assert str(one).startswith(start)
    with pytest.raises(DataError, match="found a folder, expected an image"):
        read_picture(tmp_path, 1)


GREY = Image.fromarray(np.arange(0, 240, dtype=np.uint8).reshape(12, 20))
DEEP = Image.fromarray(np.array([[0, 256, 257, 65534, 65535]], np.uint16))
PALETTE = NOISE.convert("P")
FULL = Image.fromarray(np.dstack([np.asarray(NOISE), np.full((19, 23), 255, np.uint8)]))


@pytest.mark.parametrize(
    ("kind", "picture", "expected"),
    [
        ("PNG", GREY, np.asarray(GREY)[None]),
        ("PNG", GREY.convert("1"), np.asarray(GREY.convert("1"))[None] * np.uint8(255)),
        ("PNG", GREY.convert("LA"), np.asarray(GREY)[None]),
        ("PNG", DEEP, np.array([[[0, 0, 1, 254, 255]]])),
        ("TIFF", DEEP, np.array([[[0, 0, 1, 254, 255]]])),
        ("PNG", PALETTE, np.asarray(PALETTE.convert("RGB")).transpose(2, 0, 1)),
        ("PNG", FULL, np.asarray(NOISE).transpose(2, 0, 1)),
        ("TIFF", GREY.convert("CMYK"), np.asarray(GREY)[None].repeat(3, 0)),
    ],
    ids=["grey", "bits", "opaque grey", "16 bits", "TIFF", "palette", "opaque", "CMYK"],
)
def test_every_mode_becomes_grey_levels_or_colours(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    picture: Image.Image,
    expected: np.ndarray,
) -> None:
    path = tmp_path / "a"
    path.write_bytes(saved(kind, picture))
    for band in (1, 50, 1 << 20):
        monkeypatch.setattr(pictures, "BAND", band)
        np.testing.assert_array_equal(read_picture(path, None), expected)
    if len(expected) == 1:
        np.testing.assert_array_equal(read_picture(path, 3), expected.repeat(3, 0))


def clear_at(row: int, alpha: int = 254) -> Image.Image:
    levels = np.asarray(FULL).copy()
    levels[row, 3, 3] = alpha
    return Image.fromarray(levels)


HIDDEN = {
    "first row": ("PNG", clear_at(0), {}, "transparent pixels"),
    "last row": ("PNG", clear_at(18, 0), {}, "transparent pixels"),
    "palette": ("PNG", PALETTE, {"transparency": PALETTE.getpixel((22, 18))}, "transparent pixels"),
    "16 bits": ("PNG", DEEP, {"transparency": 9}, "transparent pixels"),
    "32 bits": ("TIFF", GREY.convert("I"), {}, "found pixels of Pillow's mode I, expected 8 bits"),
    "fractions": ("TIFF", GREY.convert("F"), {}, "found pixels of Pillow's mode F, expected 8"),
}


@pytest.mark.parametrize("case", HIDDEN)
@pytest.mark.parametrize("band", [1, 23 * 4, 1 << 20])
def test_what_has_no_grey_level_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, band: int
) -> None:
    kind, picture, options, words = HIDDEN[case]
    monkeypatch.setattr(pictures, "BAND", band)
    (tmp_path / "a").write_bytes(saved(kind, picture, **options))
    for channels in (None, 1, 3):
        with pytest.raises(DataError, match=words):
            read_picture(tmp_path / "a", channels)


PIXELS = 19 * 23


@pytest.mark.parametrize(
    ("kind", "options", "least"),
    [
        ("PNG", {}, PIXELS),
        ("JPEG", {}, PIXELS),
        ("TIFF", {"compression": "tiff_lzw"}, PIXELS),
        ("WEBP", {}, PIXELS),
        ("WEBP", {"save_all": True, "append_images": [NOISE.rotate(90)]}, 4 * PIXELS),
        ("GIF", {"save_all": True, "append_images": [NOISE.rotate(90)]}, PIXELS),
    ],
)
def test_a_picture_may_have_as_many_pixels_as_its_file_explains(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: dict[str, Any],
    least: int,
) -> None:
    path = tmp_path / "a"
    path.write_bytes(saved(kind, **options))
    length = path.stat().st_size
    monkeypatch.setattr(pictures, "PIXELS_A_BYTE", 2)
    monkeypatch.setattr(pictures, "USUAL_PIXELS", least - 2 * length)
    assert read_picture(path, 3).shape == (3, 19, 23)
    monkeypatch.setattr(pictures, "USUAL_PIXELS", least - 2 * length - 1)
    with pytest.raises(DataError, match=f"found 23 x 19 pixels in {length} bytes, expected at mo"):
        read_picture(path, 3)


def test_a_file_may_be_so_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(saved("PNG"))
    length = path.stat().st_size
    monkeypatch.setattr(pictures, "LARGEST_FILE", length)
    assert read_picture(path, 3).shape == (3, 19, 23)
    monkeypatch.setattr(pictures, "LARGEST_FILE", length - 1)
    with pytest.raises(DataError, match=f"found {length} bytes, expected a picture of at most"):
        read_picture(path, 3)


def test_no_picture_takes_more_than_so_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for length, words in ((1 << 28, "cannot identify"), ((1 << 28) + 1, "found 268435457 bytes")):
        with path.open("wb") as file:
            file.truncate(length)  # takes no space on the disk
        with pytest.raises(DataError, match=words):
            read_picture(path, 3)


def test_where_standard_error_is_closed_a_damaged_tiff_is_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: int) -> int:
        raise OSError(errno.EBADF, "Bad file descriptor")

    path = tmp_path / "a"
    whole = saved("TIFF", compression="tiff_lzw")
    path.write_bytes(whole)
    before = read_picture(path, 3)
    monkeypatch.setattr(os, "dup", closed)
    np.testing.assert_array_equal(read_picture(path, 3), before)
    path.write_bytes(whole[:8] + bytes(200) + whole[208:])
    with pytest.raises(DataError, match="expected an image"):
        read_picture(path, 3)


def test_what_libtiff_prints_is_sent_away_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a"
    whole = saved("TIFF", compression="tiff_lzw")
    path.write_bytes(whole[:8] + bytes(200) + whole[208:])
    descriptors = set(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else set()
    with pytest.raises(DataError):
        read_picture(path, 3)
    os.write(2, b"said afterwards")
    assert capfd.readouterr().err == "said afterwards"
    if descriptors:
        assert len(os.listdir("/dev/fd")) == len(descriptors)


def test_each_pixel_of_tiles_and_strips_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [(322, 4, 1, 32), (323, 4, 1, 32), (324, 4, 4, 500), (325, 4, 4, 516)]
    head = grey_tiff(64, 64, *entries).ljust(500, b"\0")
    head += struct.pack("<8I", *(600 + 1024 * n for n in range(4)), *[1024] * 4)
    tiles = head.ljust(600, b"\0") + b"".join(bytes([40 * n]) * 1024 for n in range(4))
    levels = np.kron([[0, 40], [80, 120]], np.ones((32, 32)))
    picture = Image.fromarray(levels.astype(np.uint8))
    strips = saved("TIFF", picture, tiffinfo={278: 7})
    path = tmp_path / "a"
    for content in (tiles, strips):
        path.write_bytes(content)
        with Image.open(path) as opened:
            assert len(opened.tile) >= 4
        monkeypatch.setattr(pictures, "PIXELS_A_BYTE", 0)
        monkeypatch.setattr(pictures, "USUAL_PIXELS", 64 * 64)
        np.testing.assert_array_equal(read_picture(path, 1)[0], levels)
