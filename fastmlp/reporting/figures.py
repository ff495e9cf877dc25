"""Figures: the look that all share, and those of a training. Only this module imports Matplotlib.

The lines of a figure differ in grey, too, and its legend lies outside the data. Figures are drawn
without pyplot's global state: no window opens, no figure stays open, and any thread can draw.
"""

from __future__ import annotations

import io
import warnings
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

from fastmlp.errors import printable
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
    "shortened",
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
LETTERS = 15  # of a name in a figure
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
    with rc_context(STYLE), warnings.catch_warnings():
        # A letter that the font does not have is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
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
    """Draw loss and accuracy, or R2, by epoch, of the training part and, if there is one, the validation part.

    A further metric that the history has is drawn, too.

    Parameters
    ----------
    history : sequence of mapping
        Rows as in `fastmlp.TrainResult.history`. Values that are not finite leave a gap.
    path : str or Path
        The PNG file to write.
    best_epoch : int
        The epoch whose parameters the network has, marked by a vertical line; 0 marks none.
    """
    names = history[0] if history else ("train_loss", "train_accuracy")
    scores = [name.split("_", 1) for name in names if name.startswith(("train_", "valid_"))]
    quantities = [name for name in dict.fromkeys(name for _, name in scores) if name != "cost"]
    with new_figure(path, 4 * len(quantities), 3.2) as figure:
        panels = figure.subplots(1, len(quantities))
        for axes, quantity in zip(panels, quantities, strict=True):
            for part, words in (("train", "training"), ("valid", "validation")):
                values = column(history, f"{part}_{quantity}")
                if np.isfinite(values).any():
                    epochs = column(history, "epoch")
                    marker = "o" if len(epochs) <= FEW_EPOCHS else ""
                    axes.plot(epochs, values, marker=marker, markersize=3, label=words)
                else:
                    axes.plot([], [])  # the other part keeps its colour
            if best_epoch:
                axes.axvline(best_epoch, color="#999999", linestyle=":", label="network kept")
            name_axes_by_epoch(axes, quantity.replace("_", " ").replace("r2", "R2"))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def draw_confusion(
    labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str], path: str | Path
) -> None:
    """Draw a confusion matrix as scikit-learn does: how many images of each class got which class.

    Parameters
    ----------
    labels, predicted : array-like of int [N]
        Indices into `classes`.
    classes : sequence of str
    path : str or Path
        The PNG file to write.
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    labels, predicted = np.asarray(labels), np.asarray(predicted)
    classes = list(map(shortened, classes))
    # scikit-learn's confusion_matrix would warn about a single class even if `labels` names it.
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    side = 3 + 0.45 * len(classes)
    with new_figure(path, side + 0.3, side) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        axes.spines[["right", "top"]].set_visible(True)
        ConfusionMatrixDisplay(counts, display_labels=classes).plot(
            cmap="Greys",
            colorbar=False,  # each cell shows its number
            xticks_rotation=45 if len(classes) * max(map(len, classes)) > ROW_LETTERS else 0,
            values_format="d",
            im_kw={"vmin": 0},
            ax=axes,
        )
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        right = int((labels == predicted).sum())
        axes.set_title(f"{right:,} of {len(labels):,} right ({right / len(labels):.2%})")


def column(history: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Return a column of a history as float64 [epochs], with NaN for None and infinity, and where there is none."""
    found = [row.get(name) for row in history]
    values = np.array([np.nan if one is None else one for one in found], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def shortened(text: str) -> str:
    """Return a name of at most `LETTERS` printable letters."""
    text = printable(text)
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def name_axes_by_epoch(axes: Axes, quantity: str) -> None:
    """Label the axes: epochs, at whole numbers, against a quantity."""
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
