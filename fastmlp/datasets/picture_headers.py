"""What Pillow would read of a picture before it says how large the picture is: checked first, by its lengths alone.

A file of some kilobytes can claim gigabytes in three places: tables of TIFF entries that all mean the same bytes (in
TIFF files, and in the EXIF block of every other kind), and compressed texts in a PNG file. Here nothing is unpacked
or kept. A header that is damaged in another way passes: Pillow says what is wrong with it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from typing import BinaryIO, NamedTuple

from fastmlp.errors import DataError

LARGEST_METADATA = 1 << 23  # bytes of texts, or of an EXIF block
UNPACKED_TEXT = 1 << 20  # bytes that Pillow unpacks a compressed text to, at most
MOST_CHUNKS = 1 << 17  # of a PNG file
MOST_STRIPS = 1 << 17  # of a TIFF file
EXIF, MULTIPLE = (
    b"Exif\0\0",
    b"MPF\0",
)  # how the segments of a JPEG file begin that hold TIFF entries

# Bytes of a value, by its type.
SIZES = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
STRIPS = (273, 324)  # the tags of the places of strips and tiles
FURTHER = (
    34665,
    34853,
    40965,
)  # the tags of the places of further tables: EXIF, GPS, interoperability


class _Form(NamedTuple):
    """How a table of entries is written: lengths of the header and of the number of entries, and an entry."""

    header: int
    counter: int
    entry: str
    inline: int


_FORMS: Mapping[int, _Form] = {42: _Form(8, 2, "HHI4s", 4), 43: _Form(16, 8, "HHQ8s", 8)}


def check_header(file: BinaryIO, size: int) -> None:
    """Raise a DataError if reading a picture's header would take far more memory than the file.

    Parameters
    ----------
    file : binary file
        Left at any position.
    size : int
        Its length in bytes.
    """
    file.seek(0)
    start = file.read(8)
    for magic, check in _CHECKS.items():
        if start.startswith(magic):
            check(file, size)


def check_directories(file: BinaryIO, size: int) -> None:
    """Raise a DataError if a block of TIFF claims more values than it has bytes.

    Parameters
    ----------
    file : binary file
        The block begins where the file does.
    size : int
        Bytes of the block.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "little", b"MM": "big"}.get(head[:2])
    if order is None or len(head) < 8:
        return
    form = _FORMS.get(int.from_bytes(head[2:4], order), _FORMS[42])  # type: ignore[arg-type]

    def number(data: bytes) -> int:
        return int.from_bytes(data, order)  # type: ignore[arg-type]

    entry = struct.Struct(("<" if order == "little" else ">") + form.entry)
    places = [number(head[form.header - form.inline : form.header])]
    claimed = 0
    while places:
        place = places.pop()
        if place >= size:
            continue
        file.seek(place)
        count = number(file.read(form.counter))
        claimed += form.counter + entry.size * count
        _check_claim(claimed, size)
        table = file.read(entry.size * count)
        for tag, kind, values, inline in entry.iter_unpack(
            table[: len(table) // entry.size * entry.size]
        ):
            length = values * SIZES.get(kind, 0)
            claimed += length if length > form.inline else 0
            if tag in STRIPS and values > MOST_STRIPS:
                raise DataError(f"found {values} strips or tiles, expected at most {MOST_STRIPS}")
            if tag in FURTHER:
                places.append(number(inline))
        _check_claim(claimed, size)


def _check_claim(claimed: int, size: int) -> None:
    # Values may be shared by two entries, such as equal resolutions.
    if claimed > 2 * size:
        raise DataError(
            f"found a table of {claimed} bytes in {size}, expected no more than there are"
        )


def _check_png(file: BinaryIO, size: int) -> None:
    file.seek(8)
    texts = 0
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            texts += max(length, UNPACKED_TEXT)
        elif kind in (b"tEXt", b"eXIf"):
            texts += length
        if texts > LARGEST_METADATA:
            raise DataError(
                f"found texts of up to {texts} bytes, expected at most {LARGEST_METADATA}; save it "
                "without them"
            )
        file.seek(length + 4, io.SEEK_CUR)
    raise DataError(f"found over {MOST_CHUNKS} chunks, expected a picture; save it again")


def _check_jpeg(file: BinaryIO, size: int) -> None:
    file.seek(2)
    exif = b""
    while byte := file.read(1):
        if byte != b"\xff":
            continue
        while byte == b"\xff":
            byte = file.read(1)
        code = byte[0] if byte else 0xD9
        if code in (0xD9, 0xDA):  # the end, or the pixels
            break
        if code in (0, 0xC8, 0xD8, *range(0xD0, 0xD8), *range(0xF0, 0xFE)):  # alone
            continue
        length = int.from_bytes(file.read(2), "big") - 2
        content = file.read(max(0, length))
        if content.startswith(EXIF):
            exif += content[len(EXIF) :]
        elif content.startswith(MULTIPLE):
            check_exif(content[len(MULTIPLE) :])
        if len(exif) > LARGEST_METADATA:
            raise DataError(
                f"found EXIF of over {LARGEST_METADATA} bytes, expected less; save it without"
            )
    check_exif(exif)


def check_exif(block: bytes) -> None:
    """Check a block of EXIF as `check_directories` does, with or without the word that begins it."""
    block = block.removeprefix(EXIF)
    check_directories(io.BytesIO(block), len(block))


_CHECKS: Mapping[bytes, Callable[[BinaryIO, int], None]] = {
    b"\x89PNG\r\n\x1a\n": _check_png,
    b"\xff\xd8\xff": _check_jpeg,
    b"II": check_directories,
    b"MM": check_directories,
}
