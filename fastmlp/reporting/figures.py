"""Figures: the look that all share, and those of a training. Only this module imports Matplotlib.

The lines of a figure differ in grey, too, and its legend lies outside the data. Figures are drawn
without pyplot's global state: no window opens, no figure stays open, and any thread can draw.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from fastmlp.machine.files import write_atomic

__all__ = [
    "COLOURS",
    "DASHES",
    "STYLE",
    "Axes",
    "Figure",
    "column",
    "draw_confusion",
    "draw_curves",
    "name_axes_by_epoch",
    "new_figure",
]

# From dark to light, each with its own dashes, so that lines differ in grey print and for
# colour-blind readers.
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
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
FEW_EPOCHS = 40  # up to which each epoch gets a dot; a single epoch would not show without one
ROW_LETTERS = 24  # that fit below a confusion matrix; longer labels are rotated


@contextmanager
def new_figure(path: str | Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure in the common style, and write it at the end of the block.

    Parameters
    ----------
    path : str or Path
        A PNG file; an existing one stays whole until the new one is.
    width, height : float
        Inches, at 150 dots each.

    Yields
    ------
    Figure
        With Matplotlib's constrained layout, which makes room for ``loc="outside ..."``.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        image = io.BytesIO()
        # The version of Matplotlib is left out, so that equal pictures are equal files.
        figure.savefig(image, format="png", metadata={"Software": None})
    write_atomic(path, image.getvalue())


def draw_curves(
    history: Sequence[Mapping[str, Any]], path: str | Path, *, best_epoch: int = 0
) -> None:
    """Draw loss and accuracy by epoch, of the training part and, if there is one, the validation part.

    Parameters
    ----------
    history : sequence of mapping
        Rows as in `fastmlp.TrainResult.history`. Values that are not finite leave a gap.
    path : str or Path
        The PNG file to write.
    best_epoch : int
        The epoch whose parameters the network has, marked by a vertical line; 0 marks none.
    """
    with new_figure(path, 8, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        for axes, quantity in ((left, "loss"), (right, "accuracy")):
            for part, words in (("train", "training"), ("valid", "validation")):
                values = column(history, f"{part}_{quantity}")
                if np.isfinite(values).any():
                    epochs = column(history, "epoch")
                    marker = "o" if len(epochs) <= FEW_EPOCHS else ""
                    axes.plot(epochs, values, marker=marker, markersize=3, label=words)
            if best_epoch:
                axes.axvline(best_epoch, color="#999999", linestyle=":", label="network kept")
            name_axes_by_epoch(axes, quantity)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def draw_confusion(
    labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str], path: str | Path
) -> None:
    """Draw a confusion matrix as scikit-learn does: how many images of each class got which class.

    scikit-learn itself would take longer to import than all else that a short training does.

    Parameters
    ----------
    labels, predicted : array-like of int [N]
        Indices into `classes`.
    classes : sequence of str
    path : str or Path
        The PNG file to write.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    side = 3 + 0.45 * len(classes)
    with new_figure(path, side + 0.3, side) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        axes.spines[["right", "top"]].set_visible(True)
        image = axes.imshow(counts, interpolation="nearest", cmap="Greys", vmin=0)
        lightest, darkest = image.cmap(0), image.cmap(1.0)
        middle = (counts.max() + counts.min()) / 2
        for (row, place), count in np.ndenumerate(counts):
            colour = darkest if count < middle else lightest
            text = axes.text(place, row, f"{count:d}", ha="center", va="center", color=colour)
            text.set_in_layout(False)  # it is inside the axes: there is nothing to measure
        places = np.arange(len(classes))
        turned = len(classes) * max(map(len, classes)) > ROW_LETTERS
        axes.set_xticks(places, classes, rotation=45 if turned else 0)
        axes.set_yticks(places, classes)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        right = int((labels == predicted).sum())
        axes.set_title(f"{right:,} of {len(labels):,} right ({right / len(labels):.2%})")


def column(history: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Return a column of a history as float64 [epochs], with NaN for None and infinity."""
    values = np.array([np.nan if row[name] is None else row[name] for row in history], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def name_axes_by_epoch(axes: Axes, quantity: str) -> None:
    """Label the axes: epochs, at whole numbers, against a quantity."""
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
