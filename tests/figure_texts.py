"""Find texts of a figure that are cut, that lie on each other, or that are too small on a telephone."""

import math
from itertools import combinations
from typing import Any
from unittest import mock

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

TELEPHONE = 390  # pixels across
LEAST = 6.9  # pixels that a letter's size must have there
ROOM = 1.0  # pixels that two texts may share


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox, Path, float]]:
    """Return each text that is drawn: its letters, its box, its outline and the size of its letters in points."""
    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    found: list[Text] = []
    draw = Text.draw

    def record(self: Text, renderer: Any, *args: Any, **keywords: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append(self)
        draw(self, renderer, *args, **keywords)

    with mock.patch.object(Text, "draw", record):
        figure.canvas.draw()
    return [
        (text.get_text(), *_outline(text), text.get_fontsize()) for text in dict.fromkeys(found)
    ]


def _outline(text: Text) -> tuple[Bbox, Path]:
    box = text.get_window_extent()
    angle = text.get_rotation()
    text.set_rotation(0)
    flat = text.get_window_extent()
    text.set_rotation(angle)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    w, h = max(0.0, flat.width / 2 - ROOM), max(0.0, flat.height / 2 - ROOM)
    corners = [(-w, -h), (w, -h), (w, h), (-w, h), (-w, -h)]
    return box, Path([(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in corners])


def misplaced(figure: Figure, *, small: bool = True) -> list[str]:
    """Return what is wrong with the texts of a figure, a line each."""
    texts = drawn_texts(figure)
    width, height = figure.canvas.get_width_height()
    told = [
        f"outside: {letters!r}"
        for letters, box, _, _ in texts
        if box.x0 < -ROOM or box.y0 < -ROOM or box.x1 > width + ROOM or box.y1 > height + ROOM
    ]
    told += [
        f"on each other: {one[0]!r} and {other[0]!r}"
        for one, other in combinations(texts, 2)
        if one[2].intersects_path(other[2], filled=True)
    ]
    inches = figure.get_size_inches()[0]
    told += [
        f"small: {letters!r}"
        for letters, _, _, size in texts
        if small and size / 72 / inches * TELEPHONE < LEAST
    ]
    return told
