"""The look that all figures share. Only this module imports Matplotlib.

The lines of a figure differ in grey, too, and its legend lies outside the data. Figures are drawn
without pyplot's global state: no window opens, no figure stays open, and any thread can draw.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib import colormaps, get_data_path, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from fastmlp.errors import printable
from fastmlp.reporting.pages import write_picture

__all__ = [
    "COLOURS",
    "DASHES",
    "MARKERS",
    "STYLE",
    "Axes",
    "Figure",
    "column",
    "font_file",
    "legend_below",
    "name_axes_by_epoch",
    "name_axis_of_seconds",
    "new_figure",
    "plain_text",
    "shades_of",
    "shortened",
    "shown_figure",
    "wrap",
]

# From dark to light, each with its own dashes, so that lines differ in grey print and for
# colour-blind readers.
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
MARKERS = "osD^vPX*"
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 150,
    "font.size": 10,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a class may be called "$"
}
LETTERS_PER_INCH, SYMBOL_LETTERS = 12.0, 8  # of a legend, and what a line's symbol takes
LETTERS = 15  # of a name in a figure
FEW_EPOCHS = 40  # up to which each epoch gets a dot; a single epoch would not show without one


@contextmanager
def new_figure(path: str | Path | io.BytesIO, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure in the common style, and write it at the end of the block.

    Parameters
    ----------
    path : str, Path or BytesIO
        A PNG file; an existing one stays whole until the new one is.
    width, height : float
        Inches, at 150 dots each.

    Yields
    ------
    Figure
        With Matplotlib's constrained layout, which makes room for ``loc="outside ..."``.
    """
    with rc_context(STYLE), warnings.catch_warnings():
        # A letter that the font does not have is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        layout = ConstrainedLayoutEngine()
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        layout.execute(figure)
        figure.set_layout_engine(None)  # with one, savefig would draw everything twice
        image = io.BytesIO()
        # The version of Matplotlib is left out, so that equal pictures are equal files.
        figure.savefig(image, format="png", metadata={"Software": None})
    write_picture(path, image.getvalue())


def shown_figure(width: float, height: float) -> Figure:
    """Return an empty figure of pyplot, which notebooks show.

    The first one switches a notebook's backend on, which the end of a context of styles would undo.
    """
    from matplotlib import pyplot

    return pyplot.figure(figsize=(width, height), layout="constrained")


def plain_text(style: bool) -> Any:
    """Return a context for drawing in which no text is mathematics, in the common style if that is wanted."""
    return rc_context(STYLE if style else {"text.parse_math": False})


def legend_below(
    figure: Figure, handles: Sequence[Any], labels: Sequence[Any], columns: int, title: str = ""
) -> None:
    """Put a legend below the axes, in as many columns as fit, up to `columns`; long labels are wrapped."""
    width = figure.bbox.width
    letters = int(figure.get_figwidth() * LETTERS_PER_INCH) - SYMBOL_LETTERS
    wrapped = [wrap(str(label), letters) for label in labels]
    for count in range(min(columns, max(1, len(labels))), 0, -1):
        legend = figure.legend(
            handles, wrapped, loc="outside lower center", ncols=count, title=wrap(title, letters)
        )
        if count == 1 or legend.get_window_extent().width <= width:
            return
        legend.remove()


def wrap(text: str, letters: int) -> str:
    """Return a text in lines of at most so many letters."""
    return "\n".join(textwrap.wrap(text, max(8, letters), break_long_words=False)) or text


def font_file() -> Path:
    """Return the file of the font of all figures."""
    return Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def shortened(text: str) -> str:
    """Return a name of at most `LETTERS` printable letters."""
    text = printable(text)
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def shades_of(name: str) -> Any:
    """Return a colour map of Matplotlib's by its name."""
    return colormaps[name]


def column(history: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Return a column of a history as float64 [epochs], with NaN for None and infinity, and where there is none."""
    found = [row.get(name) for row in history]
    values = np.array([np.nan if one is None else one for one in found], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def name_axes_by_epoch(axes: Axes, quantity: str) -> None:
    """Label the axes: epochs, at whole numbers, against a quantity. Call it when the lines are drawn."""
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    low, high = axes.get_xlim()
    if high - low < 1:  # a single epoch
        middle = round((low + high) / 2)
        axes.set_xlim(middle - 0.5, middle + 0.5)
    axes.xaxis.set_major_locator(
        MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
    )


def name_axis_of_seconds(axes: Axes) -> None:
    """Make the lower axis one of seconds by their logarithm, with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("seconds of training")
