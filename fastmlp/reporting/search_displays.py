"""Displays of a search: pairs of settings, all settings at once, and what matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastmlp.reporting.displays import Display
from fastmlp.reporting.style import Axes, shades_of
from fastmlp.reporting.tables import shown

MOST_LABELS = 16  # values of an axis, up to which each is shown


class HeatMapDisplay(Display):
    """A number for each pair of values of two settings.

    Parameters
    ----------
    values : float array-like [rows, columns]
        A cell for each; NaN is empty.
    rows, columns : (name, values)
        The two settings.
    label : str
        What the numbers are.
    low_is_good : bool
        Whether dark cells are those of low numbers.
    """

    def __init__(
        self,
        values: ArrayLike,
        rows: tuple[str, Sequence[Any]],
        columns: tuple[str, Sequence[Any]],
        label: str,
        low_is_good: bool = False,
    ) -> None:
        self.values = np.asarray(values, np.float64)
        self.rows, self.columns, self.label = rows, columns, label
        self.low_is_good = low_is_good

    @property
    def size(self) -> tuple[float, float]:
        """Inches."""
        letters = max(len(shown(value)) for value in self.columns[1])
        width = 3.2 + max(0.7, 0.1 * letters) * len(self.columns[1])
        return width, 1.8 + 0.45 * len(self.rows[1])

    def _draw(self, panels: list[Axes], alone: bool) -> None:
        (down, rows), (across, columns) = self.rows, self.columns
        (plot,) = panels
        plot.grid(visible=False)
        shades = "Greys_r" if self.low_is_good else "Greys"
        picture = plot.imshow(np.ma.masked_invalid(self.values), cmap=shades, aspect="auto")
        self.figure_.colorbar(picture, ax=plot, label=self.label)
        plot.set_xticks(range(len(columns)), list(map(shown, columns)))
        plot.set_yticks(range(len(rows)), list(map(shown, rows)))
        plot.set_xlabel(across.replace("_", " "))
        plot.set_ylabel(down.replace("_", " "))
        if max(self.values.shape) <= MOST_LABELS:
            for (row, place), value in np.ndenumerate(self.values):
                text = "" if np.isnan(value) else f"{value:.3f}"
                shade = float(picture.to_rgba(np.array([value]))[0, 0]) if text else 1.0
                plot.text(
                    *(place, row, text),
                    color="white" if shade < 0.5 else "black",
                    ha="center",
                    va="center",
                )


class ParallelDisplay(Display):
    """Parallel coordinates: an axis for each setting, a line for each point of a search.

    Parameters
    ----------
    settings : mapping of str to sequence
        The values of each setting, one a point. Values are placed in their order, evenly.
    scores : sequence of float
        One a point; NaN is drawn in red, behind the others.
    label : str
        What the scores are.
    low_is_good : bool
        Whether dark lines are those of low scores.
    """

    def __init__(
        self,
        settings: Mapping[str, Sequence[Any]],
        scores: Sequence[float],
        label: str,
        low_is_good: bool = False,
    ) -> None:
        self.settings, self.label, self.low_is_good = settings, label, low_is_good
        self.scores = np.asarray(scores, np.float64)

    @property
    def size(self) -> tuple[float, float]:
        """Inches."""
        return min(6.6, 2 + 1.5 * (len(self.settings) + 1)), 3.8

    def _draw(self, panels: list[Axes], alone: bool) -> None:
        count = len(self.settings)
        (axes,) = panels
        axes.grid(visible=False)
        heights = [_placed(values) for values in self.settings.values()]
        finite = self.scores[np.isfinite(self.scores)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        score = (
            np.full(len(self.scores), 0.5) if low == high else (self.scores - low) / (high - low)
        )
        goodness = 1 - score if self.low_is_good else score
        columns = [
            [places[shown(value)] for value in values]
            for places, values in zip(heights, self.settings.values(), strict=True)
        ]
        shades = shades_of("viridis_r")
        for point in np.argsort(np.where(np.isnan(goodness), -1, goodness), kind="stable"):
            ys = [places[point] for places in columns]
            if np.isnan(goodness[point]):
                axes.plot(range(count), ys, color="#d55e00", linestyle=":", linewidth=1.0)
                continue
            good = float(goodness[point])
            axes.plot(
                range(count + 1),
                [*ys, score[point]],
                color=shades(good),
                linestyle="-",
                alpha=0.8,
                linewidth=1 + 1.4 * good**4,
            )
        ends = {f"{low:.4g}": 0.0, f"{high:.4g}": 1.0} if low < high else {f"{low:.4g}": 0.5}
        for number, places in enumerate([*heights, ends]):
            _label_axis(axes, number, places)
        names = [name.replace("_", "\n") for name in (*self.settings, self.label.replace(" ", "_"))]
        axes.set_xticks(range(count + 1), names)
        axes.set_xlim(-0.1, count + 0.45)
        axes.set_yticks([])
        axes.spines[["left", "bottom"]].set_visible(False)


class ImportanceDisplay(Display):
    """How much of the differences in a search each setting explains.

    Parameters
    ----------
    importances : mapping of str to float
        Shares of 1.
    """

    def __init__(self, importances: Mapping[str, float]) -> None:
        self.importances = importances

    @property
    def size(self) -> tuple[float, float]:
        """Inches."""
        return 6, 1.0 + 0.35 * len(self.importances)

    def _draw(self, panels: list[Axes], alone: bool) -> None:
        names = sorted(self.importances, key=lambda name: self.importances[name])
        (axes,) = panels
        values = [self.importances[name] for name in names]
        bars = axes.barh(range(len(names)), values, color="#0072b2")
        axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3)
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_xlim(0, 1.15 * max(values, default=1) or 1)
        axes.set_xlabel("share of the variance between points")


def _label_axis(axes: Axes, number: int, places: Mapping[str, float]) -> None:
    """Draw an axis of parallel coordinates, with as many of its values as find room."""
    axes.axvline(number, color="#999999", linestyle="-", linewidth=0.8)
    step = -(-len(places) // MOST_LABELS)
    for text, height in list(places.items())[::step]:
        axes.annotate(
            text,
            (number, height),
            (4, 0),
            textcoords="offset points",
            fontsize=9,
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )


def _placed(values: Sequence[Any]) -> dict[str, float]:
    """Return the height of each value of a setting by its text: numbers in order, others as they come."""
    different = list(dict.fromkeys(values))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in different):
        different.sort()
    steps = max(1, len(different) - 1)
    return {shown(value): number / steps for number, value in enumerate(different)}
