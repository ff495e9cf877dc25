"""Many small pictures in one figure, in rows, with words beside rows or above each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastmlp.errors import printable
from fastmlp.reporting.figures import new_figure

MOST_PIXELS = 128  # a side of a picture in the figure; larger ones are thinned out
GAP = 0.06  # of a picture, between two
WHITE = 255
CELL = 0.72  # inches of a picture
LETTERS = 13  # of a word above a picture


def levels_of(images: NDArray[np.generic], levels: tuple[float, float]) -> NDArray[np.uint8]:
    """Return values as grey levels 0..255, of which `levels` become black and white."""
    low, high = levels
    shares = (images.astype(np.float64) - low) / (high - low or 1)
    return np.rint(np.clip(shares, 0, 1) * WHITE).astype(np.uint8)


def draw_mosaic(
    pictures: NDArray[np.uint8],
    path: str | Path,
    *,
    rows: Sequence[str] = (),
    captions: Sequence[str] = (),
) -> None:
    """Draw pictures in rows and columns.

    Parameters
    ----------
    pictures : uint8 array [rows, columns, channels, height, width]
        Grey levels; of one channel, or of three for red, green and blue.
    path : str or Path
        The PNG file to write.
    rows : sequence of str
        A word beside each row.
    captions : sequence of str
        Two lines above each picture, row by row; those of places that are empty may be missing.
    """
    step = max(1, -(-max(pictures.shape[3:]) // MOST_PIXELS))
    pictures = pictures[..., ::step, ::step]
    down, across, channels, height, width = pictures.shape
    gap = max(1, round(GAP * max(height, width)))
    above = round(0.36 * height) if captions else 0
    frame = ((0, 0), (0, 0), (0, 0), (gap + above, gap), (gap, gap))
    apart = np.pad(pictures, frame, constant_values=WHITE)
    tall, wide = apart.shape[3:]
    whole = apart.transpose(0, 3, 1, 4, 2).reshape(down * tall, across * wide, channels)
    whole = np.repeat(whole, 3, axis=2) if channels == 1 else whole
    inches = CELL * (1.6 if captions else 1)
    margin = 1.5 if rows else 0.2
    with new_figure(path, inches * across + margin, inches * down * tall / wide + 0.2) as figure:
        axes = figure.subplots()
        axes.imshow(whole, interpolation="nearest")
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([tall * (row + 0.5) for row in range(len(rows))], list(map(_short, rows)))
        axes.tick_params(length=0)
        axes.set_anchor("E")  # what is left over lies beside the words
        for spine in axes.spines.values():
            spine.set_visible(False)
        for place, text in enumerate(captions):
            row, column = divmod(place, across)
            x, y = column * wide + wide / 2, row * tall + gap + above
            words = "\n".join(map(_short, text.split("\n")))
            axes.text(x, y - 0.05 * height, words, fontsize=6.5, ha="center", va="bottom")


def draw_predictions(
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    names: Sequence[str],
    path: str | Path,
) -> None:
    """Draw predicted values against true ones, a square for each target.

    Parameters
    ----------
    truth, predicted : float64 array [N, T]
    names : sequence of str
        Of the T targets.
    path : str or Path
        The PNG file to write.
    """
    with new_figure(path, 3.6 * len(names) + 0.2, 3.6) as figure:
        squares = figure.subplots(1, len(names), squeeze=False)[0]
        columns = zip(squares, truth.T, predicted.T, names, strict=True)
        for axes, true, said, name in columns:
            axes.plot(true, said, ".", markersize=3, alpha=0.4, rasterized=True)
            ends = [min(true.min(), said.min()), max(true.max(), said.max())]
            axes.plot(ends, ends, color="#999999", linewidth=1, linestyle="-")
            axes.set_xlabel(f"true {_short(name)}")
            axes.set_ylabel("predicted")


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
