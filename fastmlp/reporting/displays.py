"""Displays after scikit-learn's manner: an object holds what is drawn, `plot` draws it on axes of yours or new ones.

>>> from fastmlp.reporting.displays import CurvesDisplay
>>> rows = [{"epoch": 1, "train_loss": 0.9, "valid_loss": None}, {"epoch": 2, "train_loss": 0.5, "valid_loss": None}]
>>> CurvesDisplay(rows).plot().axes_[0].get_ylabel()
'loss'

After `plot`, ``figure_`` is the figure and ``axes_`` the list of axes. New figures are those of pyplot, so that
notebooks show them; `save` writes one to a file without pyplot.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from fastmlp.reporting.style import (
    COLOURS,
    DASHES,
    FEW_EPOCHS,
    Axes,
    column,
    legend_below,
    name_axes_by_epoch,
    new_figure,
    plain_text,
    shortened,
    shown_figure,
)

PARTS = (("train", "training"), ("valid", "validation"))
SHOWN = ("train", "valid")
SHARES = ("accuracy", "r2")  # that stand beside the loss in a history
ROW_LETTERS = 24  # that fit below a confusion matrix; longer labels are rotated
IN_A_ROW, MOST_PICTURES = 8, 100
HEADROOM = 0.1  # above the highest loss that matters, as a share of the fall
GAP = 0.4  # between panels in the place of one, for the label of the next


class Display(ABC):
    """What the displays share."""

    figure_: Any
    axes_: list[Axes]

    @property
    @abstractmethod
    def size(self) -> tuple[float, float]:
        """The width and height of a figure of its own, in inches."""

    @property
    def panels(self) -> int:
        """How many axes it takes, side by side."""
        return 1

    @abstractmethod
    def _draw(self, panels: list[Axes], alone: bool) -> None:
        """Draw on the axes; with `alone`, the figure holds nothing else."""

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw it.

        Parameters
        ----------
        ax : Axes, optional
            Where; several panels share its place. By default in a new figure.

        Returns
        -------
        Display
            Itself, with ``figure_`` and ``axes_``.
        """
        figure = shown_figure(*self.size) if ax is None else None
        with plain_text(style=ax is None):
            if figure is not None:
                self._place(figure)
            elif ax is not None:
                self.figure_, self.axes_ = ax.figure, _panels_in(ax, self.panels)
                self._draw(self.axes_, alone=False)
        return self

    def save(self, path: str | Path | io.BytesIO) -> None:
        """Write it to a PNG file; an existing one stays whole until the new one is.

        Parameters
        ----------
        path : path or BytesIO
            The file.
        """
        with new_figure(path, *self.size) as figure:
            self._place(figure)

    def _place(self, figure: Any) -> None:
        self.figure_ = figure
        self.axes_ = list(figure.subplots(1, self.panels, squeeze=False)[0])
        self._draw(self.axes_, alone=True)


def _panels_in(ax: Axes, count: int) -> list[Axes]:
    """Return axes side by side in the place of some axes, which are those themselves if one is wanted."""
    if count == 1:
        return [ax]
    ax.set_axis_off()
    width = 1 / (count + GAP * (count - 1))
    return [ax.inset_axes(((1 + GAP) * width * place, 0, width, 1)) for place in range(count)]


class CurvesDisplay(Display):
    """Loss and accuracy (in a regression: r2) by epoch, of the training part and the validation part.

    Parameters
    ----------
    history : sequence of mapping
        Rows as in `fastmlp.TrainResult.history`. Values that are not finite leave a gap.
    best_epoch : int
        The epoch whose parameters the network has, marked by a vertical line; 0 marks none.
    """

    def __init__(self, history: Sequence[Mapping[str, Any]], best_epoch: int = 0) -> None:
        self.history, self.best_epoch = history, best_epoch

    @property
    def quantities(self) -> list[str]:
        """What there is a panel for, the loss first."""
        scores = [name.split("_", 1) for name in (self.history[0] if self.history else ())]
        names = {name for part, *rest in scores if part in SHOWN for name in rest} - {"cost"}
        ordered = sorted(names, key=lambda name: (name != "loss", name not in SHARES, name))
        return ordered or ["loss", "accuracy"]

    @property
    def panels(self) -> int:
        """A panel for each quantity."""
        return len(self.quantities)

    @property
    def size(self) -> tuple[float, float]:
        """Inches."""
        return 3.3 * self.panels, 3.0

    def _draw(self, panels: list[Axes], alone: bool) -> None:
        epochs = column(self.history, "epoch")
        marker = "o" if len(epochs) <= FEW_EPOCHS else ""
        for axes, quantity in zip(panels, self.quantities, strict=True):
            for line, (part, words) in enumerate(PARTS):
                values = column(self.history, f"{part}_{quantity}")
                if np.isfinite(values).any():
                    look: Any = {"color": COLOURS[line], "linestyle": DASHES[line], "label": words}
                    axes.plot(epochs, values, marker=marker, markersize=3, **look)
            if self.best_epoch:
                axes.axvline(self.best_epoch, color="#999999", linestyle=":", label="network kept")
            name_axes_by_epoch(axes, quantity.replace("_", " ").replace("r2", "R2"))
        handles, labels = panels[0].get_legend_handles_labels()
        if alone:
            legend_below(self.figure_, handles, labels, columns=3)
        elif handles:
            panels[0].legend(fontsize="small")


class RatesDisplay(Display):
    """The loss at each learning rate of `fastmlp.find_learning_rate`, and the rate that was chosen.

    Parameters
    ----------
    rates, losses : float64 arrays [steps]
        Losses that are infinite, or far above the first, are not shown.
    chosen : float
        Marked by a vertical line.
    """

    def __init__(self, rates: ArrayLike, losses: ArrayLike, chosen: float) -> None:
        self.rates, self.losses = np.asarray(rates), np.asarray(losses)
        self.chosen = chosen

    @property
    def size(self) -> tuple[float, float]:
        """Inches."""
        return 6.0, 3.2

    def _draw(self, panels: list[Axes], alone: bool) -> None:
        axes, losses = panels[0], self.losses
        least, most = float(losses.min()), float(losses[: len(losses) // 10].max())
        room = HEADROOM * (most - least)
        axes.plot(self.rates, np.where(np.isfinite(losses), losses, np.nan))
        axes.set_xscale("log", base=100)  # a tick for two decades
        # The usual powers are written as mathematics, which texts here are not.
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_ylim(least - room, most + 3 * room)
        chosen = f"chosen: {self.chosen:g}"
        axes.axvline(self.chosen, color="#999999", linestyle=":", label=chosen)
        axes.set_xlabel("learning rate of the step")
        axes.set_ylabel("loss, smoothed")
        axes.legend(loc="lower left")


class ConfusionDisplay(Display):
    """A confusion matrix, as scikit-learn draws it: how many images of each class got which class.

    scikit-learn itself would take longer to import than all else that a short training does.

    Parameters
    ----------
    counts : int array-like [C, C]
        A row for each true class.
    classes : sequence of str
        The names of the classes.
    """

    def __init__(self, counts: ArrayLike, classes: Sequence[str]) -> None:
        self.counts, self.classes = np.asarray(counts), classes

    @classmethod
    def of(cls, labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> Self:
        """Count the pairs of `labels` and `predicted`.

        Parameters
        ----------
        labels, predicted : int array-like [N]
            Indices into `classes`.
        classes : sequence of str
            The names of the classes.

        Returns
        -------
        ConfusionDisplay
            Not drawn yet.
        """
        # scikit-learn's confusion_matrix would warn about a single class even if `labels` names it.
        counts = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(counts, (np.asarray(labels), np.asarray(predicted)), 1)
        return cls(counts, classes)

    @property
    def size(self) -> tuple[float, float]:
        """Inches."""
        side = 2.3 + 0.42 * len(self.classes)
        return max(4.4, side + 0.3), side

    def _draw(self, panels: list[Axes], alone: bool) -> None:
        (axes,), counts = panels, self.counts
        classes = list(map(shortened, self.classes))
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
        right, total = int(self.counts.trace()), int(self.counts.sum())
        axes.set_title(f"{right:,} of {total:,} right ({right / total:.2%})")


class PicturesDisplay(Display):
    """Pictures in rows, such as the weights of a first layer or the images of a data set.

    Parameters
    ----------
    pictures : array-like [n, channels, height, width]
        The first hundred are drawn, each from its least value (black) to its greatest (white). Of other than three
        channels the first is shown.
    titles : sequence of str
        One for each picture; none by default.
    """

    def __init__(self, pictures: ArrayLike, titles: Sequence[str] = ()) -> None:
        self.pictures = np.asarray(pictures, np.float64)[:MOST_PICTURES]
        self.titles = titles

    @property
    def _grid(self) -> tuple[int, int]:
        count = len(self.pictures)
        columns = min(IN_A_ROW, max(1, int(np.ceil(np.sqrt(2 * count)))))
        return -(-count // columns), columns

    @property
    def size(self) -> tuple[float, float]:
        """Inches."""
        rows, columns = self._grid
        return max(2.0, 0.8 * columns), (1.1 if self.titles else 0.8) * rows

    def _draw(self, panels: list[Axes], alone: bool) -> None:
        (ground,) = panels
        ground.set_axis_off()
        rows, columns = self._grid
        share = 0.75 if self.titles else 0.94
        for number, picture in enumerate(self.pictures):
            row, place = divmod(number, columns)
            box = (place / columns, 1 - (row + 1) / rows, 0.94 / columns, share / rows)
            axes = ground.inset_axes(box)
            low, high = float(picture.min()), float(picture.max())
            scaled = (picture - low) / (high - low or 1)
            image = np.moveaxis(scaled, 0, -1) if len(picture) == 3 else scaled[0]
            aspect: Literal["auto", "equal"] = "auto" if 1 in image.shape[:2] else "equal"
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect)
            axes.set_axis_off()
            if self.titles:
                axes.set_title(self.titles[number], fontsize=8, pad=2)
