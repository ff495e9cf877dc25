"""Pictures in files: one to an array of grey levels, as a Dataset holds images.

The files come from anywhere. Only the formats in `FORMATS` are opened, by their content and whatever their name,
because some of Pillow's others run programs (EPS starts Ghostscript) or are seldom tested. What a picture takes in
memory is known from its header, and refused there.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.picture_headers import check_exif, check_header
from fastmlp.errors import DataError, line_of
from fastmlp.machine.files import found_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")
MODES = {1: "L", 3: "RGB"}  # channels to Pillow's name for them
GREY = ("1", "L", "LA", "La", "I", "F")  # Pillow's modes without colour, beside those of 16 bits
OPAQUE = 255
LARGEST_FILE = 1 << 28  # bytes
# A picture of 4096 x 3072 is read whatever its file's size. Larger ones have so many pixels for each byte at most:
# photographs have 2 to 12, a bomb has thousands.
USUAL_PIXELS = 4096 * 3072
PIXELS_A_BYTE = 16
# An animation in WebP is decoded by way of three more pictures of its size.
BUFFERS = 4
BAND = 1 << 20  # pixels that are looked at, or converted, at a time
STDERR = 2  # the descriptor that C code prints to
RAW_EXIF = "Raw profile type exif"  # ImageMagick's name for EXIF as a text in a PNG file
_SILENCE = threading.Lock()  # a thread must not keep what another has sent away
# What Pillow logs about a damaged file would be printed, besides the error that it raises.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def read_picture(
    path: Path, channels: int | None, size: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """Read a picture, turn it as its EXIF says, and convert it to grey or colour.

    Parameters
    ----------
    path : Path
        A file in one of `FORMATS`; of an animation, the first frame is read.
    channels : int or None
        1 (grey) or 3 (colour); None for what the file holds.
    size : (height, width), optional
        To scale it to, as `fastmlp.datasets.transforms.resize` does. By default it keeps its size.

    Returns
    -------
    uint8 ndarray [channels, height, width]
        Grey levels, 0..255.

    Raises
    ------
    DataError
        If it is no such file, damaged, larger than its file explains, or has pixels that are transparent or of an
        unknown range. The message is one line that names the file.
    """
    if channels is not None and channels not in MODES:
        raise DataError(f"channels: found {channels}, expected 1 (grey) or 3 (colour)")
    with _without_warnings():
        return _read(path, channels, size)


def read_pictures(
    paths: Sequence[Path],
    channels: int | None,
    size: tuple[int, int] | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> list[npt.NDArray[np.uint8] | DataError]:
    """Read several pictures as `read_picture` does, in threads; in place of what cannot be read stands its error.

    Parameters
    ----------
    paths : sequence of Path
    channels, size
        As for `read_picture`.
    pool : ThreadPoolExecutor, optional
        By default the calling thread reads.
    """

    def one(path: Path) -> npt.NDArray[np.uint8] | DataError:
        try:
            return _read(path, channels, size)
        except DataError as error:
            return error

    with _without_warnings():  # which all threads share
        return list(map(one, paths) if pool is None else pool.map(one, paths))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Say nothing of what is odd in a file: Pillow warns of it, and goes on or fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read(path: Path, channels: int | None, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    from PIL import Image

    try:
        if not path.is_file():  # reading a pipe might never end
            raise DataError(f"found {found_at(path)}, expected an image")
        with path.open("rb") as file:
            loaded = _loaded(file)
            if channels is None:
                channels = 1 if loaded.mode in GREY or loaded.mode.startswith("I;16") else 3
            picture = _shown(loaded, MODES[channels])
            if size is not None:
                picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            levels = np.asarray(picture).reshape(picture.height, picture.width, channels)
            return np.ascontiguousarray(levels.transpose(2, 0, 1))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # decoders raise whatever the damaged bytes lead them to
        raise DataError(
            f"{path}: {line_of(error)}; expected an image: {', '.join(FORMATS)}"
        ) from error


def _loaded(file: BinaryIO) -> Picture:
    """Return a picture, decoded and upright, whose size was checked before it was decoded."""
    from PIL import Image, ImageOps

    length = os.fstat(file.fileno()).st_size
    if length > LARGEST_FILE:
        raise DataError(f"found {length} bytes, expected a picture of at most {LARGEST_FILE}")
    check_header(file, length)
    picture = Image.open(file, formats=FORMATS)  # which reads from the beginning
    _check_size(picture, length)
    with _silence() if any(tile[0] == "libtiff" for tile in picture.tile) else nullcontext():
        picture.load()
    if RAW_EXIF in picture.info:
        text = str(picture.info.pop(RAW_EXIF))
        picture.info["exif"] = bytes.fromhex("".join(text.split("\n")[3:]))
    check_exif(picture.info.get("exif", b""))
    ImageOps.exif_transpose(picture, in_place=True)
    return picture


@contextmanager
def _silence() -> Iterator[None]:
    """Send away what libtiff prints about a damaged file, besides the error that Pillow raises."""
    with _SILENCE, open(os.devnull, "wb") as nothing:
        try:
            kept = os.dup(STDERR)
        except OSError:  # it is closed
            yield
            return
        try:
            os.dup2(nothing.fileno(), STDERR)
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)


def _check_size(picture: ImageFile, length: int) -> None:
    """Raise a DataError for a picture that takes far more memory, or work, than its file explains."""
    tags = getattr(picture, "tag_v2", {})
    sides = [picture.size, (tags.get(322, 1), tags.get(323, 1))]  # of the picture, and of its tiles
    pixels = max(math.prod(one) for one in sides)
    pixels *= BUFFERS if picture.format == "WEBP" and getattr(picture, "is_animated", False) else 1
    most = USUAL_PIXELS + PIXELS_A_BYTE * length
    if pixels > most:
        raise DataError(
            f"found {picture.width} x {picture.height} pixels in {length} bytes, expected at most {most} pixels in "
            "memory; scale it down first"
        )
    # Each part of a TIFF file could be the whole picture.
    parts = [tile[1] for tile in picture.tile if tile[1]]
    work = sum((right - left) * (bottom - top) for left, top, right, bottom in parts)
    if work > len(picture.getbands()) * most:
        raise DataError(
            f"found {len(parts)} parts of {work} pixels in all, expected each pixel once"
        )


def _shown(picture: Picture, mode: str) -> Picture:
    """Return a picture in a mode of 8 bits a channel, which has no transparent pixels.

    Pillow's own conversion would cut off larger numbers at 255 and uncover what is transparent.

    Raises
    ------
    DataError
        For pixels that are not opaque, and for numbers whose white level is unknown.
    """
    from PIL import Image

    sixteen_bits = picture.mode.startswith("I;16")
    if picture.mode in ("I", "F"):
        raise DataError(
            f"found pixels of Pillow's mode {picture.mode}, expected 8 bits a channel, or 16 "
            "bits of grey in a PNG or TIFF file; convert it first"
        )
    if picture.has_transparency_data:
        # Pillow does not say which pixels are opaque if they have 16 bits.
        return _uncovered(picture, mode, hidden=sixteen_bits)
    if sixteen_bits:
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))  # 65535: 255
    return picture if picture.mode == mode else picture.convert(mode)


def _uncovered(picture: Picture, mode: str, *, hidden: bool) -> Picture:
    """Return a picture without its alpha channel, in bands, which take less memory than the whole."""
    from PIL import Image

    shown = Image.new(mode, picture.size)
    rows = max(1, BAND // picture.width)
    for top in range(0, picture.height, rows):
        band = (0, top, picture.width, min(top + rows, picture.height))
        full = None if hidden else picture.crop(band).convert("RGBA")
        if full is None or full.getchannel("A").getextrema()[0] != OPAQUE:
            raise DataError(
                "found transparent pixels, expected opaque ones; flatten it onto a background first"
            )
        shown.paste(full.convert(mode), band)
    return shown
