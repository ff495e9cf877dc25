"""Many small pictures in one, in rows, with words beside rows or above each picture; predictions of a regression.

Matplotlib, which has the font, is imported when one is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastmlp.reporting.pages import write_picture

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

SIDE = 80  # pixels of the longer side of a picture
GAP = 8  # pixels between pictures
SIZE = 15  # of letters, which can be read on a phone
MARGIN = 140  # pixels for words beside rows
LINE = 19  # pixels of a line of words
WIDER = 60  # pixels beside a picture with a caption
WHITE = 255


def levels_of(images: NDArray[np.generic], levels: tuple[float, float]) -> NDArray[np.uint8]:
    """Return values as grey levels 0..255, of which `levels` become black and white."""
    low, high = levels
    shares = (images.astype(np.float64) - low) / (high - low or 1)
    return np.rint(np.clip(shares, 0, 1) * WHITE).astype(np.uint8)


def draw_mosaic(
    pictures: NDArray[np.uint8],
    path: str | Path | io.BytesIO,
    *,
    rows: Sequence[str] = (),
    captions: Sequence[str] = (),
) -> None:
    """Draw pictures in rows and columns.

    Pillow draws them, in a tenth of the time that Matplotlib would take.

    Parameters
    ----------
    pictures : uint8 array [rows, columns, channels, height, width]
        Grey levels; of one channel, or of three for red, green and blue.
    path : str, Path or BytesIO
        The PNG file to write.
    rows : sequence of str
        A word beside each row.
    captions : sequence of str
        Two lines above each picture, row by row; those of places that are empty may be missing.
    """
    from PIL import Image, ImageDraw

    from fastmlp.reporting.style import shortened

    down, across, _, height, width = pictures.shape
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    kind = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    beside, above = (MARGIN if rows else GAP), (2 * LINE if captions else 0)
    wide, tall = size[0] + GAP + (WIDER if captions else 0), size[1] + GAP + above
    canvas = Image.new("RGB", (beside + across * wide, GAP + down * tall), "white")
    pen, font = ImageDraw.Draw(canvas), _font()
    for row, column in np.ndindex(down, across):
        levels = pictures[row, column].transpose(1, 2, 0)
        picture = Image.fromarray(np.ascontiguousarray(np.broadcast_to(levels, (height, width, 3))))
        x, y = beside + column * wide, GAP + row * tall + above
        canvas.paste(picture.resize(size, kind), (x, y))
        place = row * across + column
        if place < len(captions):
            words = "\n".join(map(shortened, captions[place].split("\n")))
            pen.multiline_text((x, y - 2), words, "black", font, "ld", 2)
    for row, word in enumerate(rows):
        y = GAP + row * tall + above + size[1] / 2
        pen.text((beside - GAP, y), shortened(word), "black", font, "rm")
    content = io.BytesIO()
    canvas.save(content, "PNG")
    write_picture(path, content.getvalue())


def _font() -> FreeTypeFont:
    """Return the font of the other figures."""
    from PIL import ImageFont

    from fastmlp.reporting.style import font_file

    return ImageFont.truetype(str(font_file()), SIZE)


def draw_predictions(
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    names: Sequence[str],
    path: str | Path | io.BytesIO,
) -> None:
    """Draw predicted values against true ones, a square for each target.

    Parameters
    ----------
    truth, predicted : float64 array [N, T]
    names : sequence of str
        Of the T targets.
    path : str, Path or BytesIO
        The PNG file to write.
    """
    from fastmlp.reporting.style import new_figure, shortened

    with new_figure(path, 3.6 * len(names) + 0.2, 3.6) as figure:
        squares = figure.subplots(1, len(names), squeeze=False)[0]
        columns = zip(squares, truth.T, predicted.T, names, strict=True)
        for axes, true, said, name in columns:
            axes.plot(true, said, ".", markersize=3, alpha=0.4, rasterized=True)
            ends = [min(true.min(), said.min()), max(true.max(), said.max())]
            axes.plot(ends, ends, color="#999999", linewidth=1, linestyle="-")
            axes.set_xlabel(f"true {shortened(name)}")
            axes.set_ylabel("predicted")
