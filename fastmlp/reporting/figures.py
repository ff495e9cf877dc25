"""The figures of a training, as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from fastmlp.reporting.displays import ConfusionDisplay, CurvesDisplay


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
