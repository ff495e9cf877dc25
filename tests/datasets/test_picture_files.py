"""Reading pictures: only the formats that are named, no more memory than a file explains, one line for the rest."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastmlp.datasets.pictures import read_picture
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
