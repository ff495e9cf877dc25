"""Figures as files: those of a training, and what draws others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from fastmlp.reporting.displays import ConfusionDisplay, CurvesDisplay
from fastmlp.reporting.style import (
    COLOURS,
    DASHES,
    STYLE,
    Axes,
    Figure,
    column,
    name_axes_by_epoch,
    new_figure,
)

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


def draw_curves(
    history: Sequence[Mapping[str, Any]], path: str | Path, *, best_epoch: int = 0
) -> None:
    """Write a `fastmlp.reporting.displays.CurvesDisplay`.

    Parameters
    ----------
    history, best_epoch
        As for the display.
    path : str or Path
        The PNG file.
    """
    CurvesDisplay(history, best_epoch).save(path)


def draw_confusion(
    labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str], path: str | Path
) -> None:
    """Write a `fastmlp.reporting.displays.ConfusionDisplay`.

    Parameters
    ----------
    labels, predicted : array-like of int [N]
        Indices into `classes`.
    classes : sequence of str
    path : str or Path
        The PNG file.
    """
    ConfusionDisplay.of(labels, predicted, classes).save(path)
