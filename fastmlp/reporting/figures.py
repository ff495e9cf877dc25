"""The figures of a training, as files. Matplotlib is imported when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike


def draw_curves(
    history: Sequence[Mapping[str, Any]], path: str | Path | io.BytesIO, *, best_epoch: int = 0
) -> None:
    """Write a `fastmlp.reporting.displays.CurvesDisplay`.

    Parameters
    ----------
    history, best_epoch
        As for the display.
    path : str, Path or BytesIO
        The PNG file.
    """
    from fastmlp.reporting.displays import CurvesDisplay

    CurvesDisplay(history, best_epoch).save(path)


def draw_confusion(
    labels: ArrayLike,
    predicted: ArrayLike,
    classes: Sequence[str],
    path: str | Path | io.BytesIO,
) -> None:
    """Write a `fastmlp.reporting.displays.ConfusionDisplay`.

    Parameters
    ----------
    labels, predicted : array-like of int [N]
        Indices into `classes`.
    classes : sequence of str
    path : str, Path or BytesIO
        The PNG file.
    """
    from fastmlp.reporting.displays import ConfusionDisplay

    ConfusionDisplay.of(labels, predicted, classes).save(path)
