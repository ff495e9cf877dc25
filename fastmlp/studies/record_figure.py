"""The figure of a record: a dot for each seed's test accuracy, and one for the seconds of each training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.reporting.style import COLOURS, Axes, new_figure
from fastmlp.studies.results import StudyResults

SIZE = (6.4, 4.2)  # inches
NAMES = ("fastmlp", "PyTorch")
BROAD = 0.6  # of the band in which a side's dots lie, of 1 between sides


def draw_record(results: StudyResults, entry: Mapping[str, Any], path: Path) -> None:
    """Draw what the measure ``record`` took of the setting of `part` and `where`; ``level`` is a line.

    Nothing is drawn where it took nothing, because a training diverged.
    """
    setting, taken = results.select(entry), results.measured.get("record")
    if setting is None or taken is None:
        path.unlink(missing_ok=True)
        return
    rounds = taken["rounds"]
    peer = {
        name: [one[f"peer_{name}"] for one in rounds if f"peer_{name}" in one]
        for name in ("test_accuracy", "seconds")
    }
    with new_figure(path, *SIZE) as figure:
        above, below = figure.subplots(2, 1)
        _dots(above, (setting.values("test_accuracy"), peer["test_accuracy"]), "mean")
        _dots(below, ([one["seconds"] for one in rounds], peer["seconds"]), "median")
        above.set_title("test accuracy; the line is the mean", loc="left", fontsize=10)
        below.set_title("seconds of a training; the line is the median", loc="left", fontsize=10)
        below.set_xlim(left=0)
        if "level" in entry:
            above.axvline(entry["level"], color=COLOURS[2], linestyle="--", zorder=0)
            above.set_xlabel(f"dashed: {entry['level']:g}")


def _dots(axes: Axes, sides: Sequence[Sequence[float]], middle: str) -> None:
    """Draw a row of dots for each side that has some, and its mean or median."""
    shown = [(name, values) for name, values in zip(NAMES, sides, strict=True) if values]
    for row, (_, values) in enumerate(shown):
        heights = row + BROAD * (np.arange(len(values)) + 0.5) / len(values) - BROAD / 2
        colour = COLOURS[row]
        axes.plot(values, heights, "o", markersize=4, color=colour, alpha=0.7, linestyle="none")
        centre = getattr(np, middle)(values)
        axes.plot([centre] * 2, [row - 0.42, row + 0.42], color=colour, linestyle="-")
    axes.set_yticks(range(len(shown)), [name for name, _ in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
