"""The figure of a test of learning rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastmlp.reporting.style import new_figure

HEADROOM = 0.1  # above the highest loss that matters, as a share of the fall


def draw_rates(
    rates: npt.NDArray[np.float64],
    losses: npt.NDArray[np.float64],
    chosen: float,
    path: str | Path,
) -> None:
    """Draw the loss at each learning rate, and the rate that was chosen.

    Parameters
    ----------
    rates, losses : float64 arrays [steps]
        Losses that are infinite, or far above the first, are not shown.
    chosen : float
    path : str or Path
        The PNG file to write.
    """
    least, most = float(losses.min()), float(losses[: len(losses) // 10].max())
    room = HEADROOM * (most - least)
    with new_figure(path, 6, 3.2) as figure:
        axes = figure.subplots()
        axes.plot(rates, np.where(np.isfinite(losses), losses, np.nan))
        axes.set_xscale("log")
        axes.set_ylim(least - room, most + 3 * room)
        axes.axvline(chosen, color="#999999", linestyle=":", label=f"chosen: {chosen:g}")
        axes.set_xlabel("learning rate of the step")
        axes.set_ylabel("loss, smoothed")
        axes.legend(loc="lower left")
