"""Headers of pictures, byte by byte: what they may claim, and where it is looked for."""

import io
import struct
from collections.abc import Callable

import pytest

from fastmlp.datasets import picture_headers
from fastmlp.datasets.picture_headers import check_directories, check_exif, check_header
from fastmlp.errors import DataError

# Bytes of a value of each type, as TIFF 6.0 and its supplements say.
TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
TYPES |= {16: 8, 17: 8, 18: 8}


def tiff(*tables: list[tuple[int, int, int, int]], order: str = "<", big: bool = False) -> bytes:
    """Return tables of entries (tag, type, number of values, value), one after the other; the first is the root."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, 16) if big else struct.pack(order + "I", 8)
    return head + b"".join(
        struct.pack(order + ("Q" if big else "H"), len(table))
        + b"".join(struct.pack(order + ("HHQQ" if big else "HHII"), *one) for one in table)
        for table in tables
    )


def assert_least(block: bytes, least: int) -> None:
    """Assert that a block is refused if it has fewer bytes than so many, and passes with them."""
    check_directories(io.BytesIO(block), least)
    with pytest.raises(DataError, match=rf"found a table of \d+ bytes in {least - 1}, expected no"):
        check_directories(io.BytesIO(block), least - 1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", TYPES)
def test_values_are_counted_by_their_types(kind: int, order: str) -> None:
    """A table may claim twice the bytes of its file: 2 + 12 of its own, and 20 values."""
    assert_least(tiff([(1, kind, 20, 0)], order=order), 7 + 10 * TYPES[kind])
    assert_least(tiff([(1, kind, 20, 0)], order=order, big=True), 14 + 10 * TYPES[kind])


@pytest.mark.parametrize("order", "<>")
def test_values_within_an_entry_take_no_more(order: str) -> None:
    assert_least(tiff([(1, 7, 4, 0)] * 10, order=order), (2 + 12 * 10) // 2)
    assert_least(tiff([(1, 7, 6, 0)] * 10, order=order), (2 + 12 * 10 + 6 * 10) // 2)
    assert_least(tiff([(1, 7, 8, 0)] * 10, order=order, big=True), (8 + 20 * 10) // 2)
    assert_least(tiff([(1, 7, 10, 0)] * 10, order=order, big=True), (8 + 20 * 10 + 10 * 10) // 2)
    assert_least(tiff([(1, 99, 2**31, 0)] * 10, order=order), 61)  # of no known type


@pytest.mark.parametrize("tag", [34665, 34853, 40965])
def test_further_tables_are_counted_too(tag: int) -> None:
    first = [(tag, 4, 1, 8 + 2 + 12)]
    assert_least(tiff(first, [(1, 7, 86, 0)]), 14 + 43)
    check_directories(io.BytesIO(tiff([(tag + 1, *first[0][1:])], [(1, 7, 86, 0)])), 14)
    # The second of these lies beyond the end.
    both = [(tag, 4, 1, 8 + 2 + 24), (tag, 4, 1, 9999)]
    assert_least(tiff(both, [(1, 7, 88, 0)]), (26 + 14 + 88) // 2)
    # The third is read as well; one beyond the end is none.
    assert_least(tiff(first, [(tag, 4, 1, 36)], [(1, 7, 100, 0)]), 21 + 50)
    check_directories(io.BytesIO(tiff([(tag, 4, 1, 22)])), 22)


def test_a_number_of_entries_is_checked_before_they_are_read() -> None:
    block = struct.pack("<2sHIH", b"II", 42, 8, 5)
    assert_least(block, (2 + 5 * 12) // 2)
    huge = struct.pack("<2sHIQQ", b"II", 43, 8, 16, 2**61)
    with pytest.raises(DataError, match=f"found a table of {8 + 20 * 2**61} bytes in 24"):
        check_directories(io.BytesIO(huge), 24)
    check_directories(io.BytesIO(block + bytes(12) + struct.pack("<HHI", 1, 7, 900)), 99)  # cut


@pytest.mark.parametrize("tag", [273, 324])
def test_a_picture_has_so_many_strips(tag: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_headers, "MOST_STRIPS", 5)
    check_directories(io.BytesIO(tiff([(tag, 4, 5, 0)])), 999)
    check_directories(io.BytesIO(tiff([(tag + 1, 4, 6, 0)])), 999)
    with pytest.raises(DataError, match="found 6 strips or tiles, expected at most 5"):
        check_directories(io.BytesIO(tiff([(tag, 4, 6, 0)])), 999)


def test_exif_has_a_word_before_it_or_none() -> None:
    bomb = tiff([(1, 7, 200, 0)])
    for wrong in (bomb, b"Exif\0\0" + bomb):
        with pytest.raises(DataError, match=f"found a table of 214 bytes in {len(bomb)}"):
            check_exif(wrong)
    for other in (b"", b"Exif\0\0", b"II*\0", bomb[:7], b"IM" + bomb[2:], b"EXIF\0\0" + bomb):
        check_exif(other)


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_file_is_known_by_its_first_two_bytes(order: str) -> None:
    bomb = tiff([(1, 7, 200, 0)], order=order)
    file = io.BytesIO(bomb)
    file.seek(5)
    with pytest.raises(DataError, match="found a table of 214 bytes"):
        check_header(file, len(bomb))
    check_header(io.BytesIO(b"X" + bomb), len(bomb) + 1)


def png(*chunks: tuple[bytes, int]) -> bytes:
    """Return a PNG file of chunks of zeros."""
    parts = (length.to_bytes(4, "big") + kind + bytes(length + 4) for kind, length in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("chunks", "texts"),
    [
        ([(b"IHDR", 13), (b"tEXt", 60), (b"IDAT", 500), (b"eXIf", 40)], 100),
        ([(b"zTXt", 10), (b"iTXt", 60)], 100),  # 40 at least
        ([(b"iCCP", 1), (b"zTXt", 1), (b"tEXt", 20), (b"priv", 999)], 100),
        ([(b"tEXt", 61), (b"eXIf", 40)], 101),
        ([(b"zTXt", 10), (b"iTXt", 61)], 101),
        ([(b"iCCP", 40), (b"IDAT", 0), (b"iTXt", 40), (b"tEXt", 21)], 101),
    ],
)
def test_texts_in_a_png_are_counted(
    chunks: list[tuple[bytes, int]], texts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_headers, "LARGEST_METADATA", 100)
    monkeypatch.setattr(picture_headers, "UNPACKED_TEXT", 40)
    data = png(*chunks)
    if texts <= 100:
        check_header(io.BytesIO(data), len(data))
        return
    with pytest.raises(DataError, match=f"found texts of up to {texts} bytes, expected at most 10"):
        check_header(io.BytesIO(data), len(data))


def test_chunks_of_a_png_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_headers, "MOST_CHUNKS", 3)
    for cut in (0, 5):
        check_header(io.BytesIO(png((b"IHDR", 13), (b"IEND", 0)) + bytes(cut)), 99)
    with pytest.raises(DataError, match="found over 3 chunks"):
        check_header(io.BytesIO(png(*[(b"IHDR", 13)] * 4)), 99)


BOMB = tiff([(1, 7, 200, 0)])


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", 0xFF00 + marker, len(content) + 2) + content


EXIF = segment(0xE1, b"Exif\0\0" + BOMB)
ALONE = bytes([0, 0xC8, 0xD0, 0xD7, 0xD8, 0xF0, 0xFD])
BEFORE: dict[str, bytes] = {
    "nothing": b"",
    "another segment": segment(0xE0, bytes(50)),
    "fill bytes": b"\xff\xff\xff",
    "other bytes": segment(0xE0, b"") + b"12345",
    "markers alone": b"".join(b"\xff" + bytes([one]) for one in ALONE),
    "a length of nothing": b"\xff\xe0\0\0",
    "a table": segment(0xC4, b"\xff\xda"),  # what looks like the pixels is within it
    "other application data": segment(0xE1, b"http\0" + BOMB),
    "the end of what is alone": b"\xff\xfe\0\x04ab",
}


@pytest.mark.parametrize("case", BEFORE)
def test_exif_is_found_in_a_jpeg(case: str) -> None:
    data = b"\xff\xd8" + BEFORE[case] + EXIF
    with pytest.raises(DataError, match="found a table of 214 bytes in 22"):
        check_header(io.BytesIO(data), len(data))


@pytest.mark.parametrize("marker", [0x01, 0xC7, 0xC9, 0xCF, 0xDB, 0xDF, 0xE0, 0xEF, 0xFE])
def test_a_segment_is_left_out_as_a_whole(marker: int) -> None:
    data = b"\xff\xd8" + segment(marker, b"\xff\xda" + EXIF[:9]) + EXIF
    with pytest.raises(DataError, match="found a table of 214 bytes in 22"):
        check_header(io.BytesIO(data), len(data))


@pytest.mark.parametrize("end", [b"\xff\xda", b"\xff\xd9", b"\xff"])
def test_nothing_is_looked_for_behind_the_end_of_the_segments(end: bytes) -> None:
    data = b"\xff\xd8" + segment(0xE0, b"JFIF\0") + end + (EXIF if len(end) > 1 else b"")
    check_header(io.BytesIO(data), len(data))


def test_exif_in_parts_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [segment(0xE1, b"Exif\0\0" + one) for one in (BOMB[:9], BOMB[9:])]
    data = b"\xff\xd8" + parts[0] + segment(0xE0, b"") + parts[1]
    with pytest.raises(DataError, match="found a table of 214 bytes in 22"):
        check_header(io.BytesIO(data), len(data))
    check_header(io.BytesIO(b"\xff\xd8" + parts[0]), 99)
    monkeypatch.setattr(picture_headers, "LARGEST_METADATA", len(BOMB))
    plain = b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + bytes(len(BOMB)))
    check_header(io.BytesIO(plain), 99)
    with pytest.raises(DataError, match="found EXIF of over 22 bytes, expected less"):
        check_header(io.BytesIO(plain + segment(0xE1, b"Exif\0\0x")), 99)


def test_tables_of_further_pictures_are_each_their_own() -> None:
    sound = tiff([(1, 7, 4, 0)])
    data = b"\xff\xd8" + segment(0xE2, b"MPF\0" + sound) * 30
    check_header(io.BytesIO(data), len(data))
    with pytest.raises(DataError, match="found a table of 214 bytes in 22"):
        check_header(io.BytesIO(data + segment(0xE2, b"MPF\0" + BOMB)), len(data))


def test_formats_without_such_tables_pass() -> None:
    checks: list[Callable[[], None]] = [
        lambda start=start: check_header(io.BytesIO(start + EXIF + BOMB), 99)
        for start in (b"GIF89a", b"BM", b"RIFF", b"\xff\xd8\xfe", b"\x89PNG\r\n\x1a\r", b"")
    ]
    for check in checks:
        check()
