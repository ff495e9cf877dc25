"""The roofline of one core: what kernels reach, below what arithmetic and memory allow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fastmlp.bench import summary
from fastmlp.bench.measurements import FASTMLP, Contest, Measurements
from fastmlp.bench.problem import NETWORKS
from fastmlp.bench.summary import median
from fastmlp.bench.work import count_weights, flops_per_sample, shape_of

STEP = "whole step"
MARKERS = {
    "forward": "o",
    "dX": "^",
    "dW and update": "s",
    STEP: "*",
    "dX and dW": "D",
    "dW": "v",
}
LEAST, MOST = 0.2, 500.0  # flops for each byte: the width of the picture
SLOWEST = 1e9  # flops a second: its lower edge

GREY = "#999999"


class Mark(NamedTuple):
    """A kernel, or a whole step, in the picture."""

    kind: str
    intensity: float  # flops for each byte that must move at the least
    rate: float  # flops a second


def draw_roofline(results: Measurements, path: Path) -> None:
    """Draw GFLOP/s over intensity.

    Parameters
    ----------
    results : Measurements
        Without a single-core contest there is no ceiling, and no file is written.
    path : Path
        Of the PNG file.
    """
    from fastmlp.reporting.style import COLOURS, DASHES, legend_below, new_figure

    ceilings = [one for contest in results["one_core"] for one in contest["ceiling"]]
    if not ceilings:
        return
    ceiling = median(ceilings)
    drawn = list(marks(results))
    with new_figure(path, 6.4, 4.4) as figure:
        axes = figure.subplots()
        axes.axhline(ceiling / 1e9, color=GREY, linestyle="-")
        label = f"multiply-adds {ceiling / 1e9:,.0f} GFLOP/s"
        axes.annotate(label, (LEAST, ceiling / 1e9), (4, 4), textcoords="offset points")
        alone = [row for row in results["bandwidth"] if row["threads"] == 1]
        for number, row in enumerate(alone):
            slope = median(row["rates"])
            ends = LEAST, ceiling / slope
            axes.plot(
                ends,
                [slope * x / 1e9 for x in ends],
                color=GREY,
                linestyle=DASHES[number],
                label=f"{row['place']} {slope / 1e9:,.0f} GB/s",
            )
        for (kind, marker), colour in zip(MARKERS.items(), COLOURS, strict=False):
            own = [mark for mark in drawn if mark.kind == kind]
            axes.plot(
                [mark.intensity for mark in own],
                [mark.rate / 1e9 for mark in own],
                color=colour,
                label=kind,
                linestyle="",
                marker=marker,
                markerfacecolor="none",
                markersize=10 if kind == STEP else 6,
            )
        axes.set(
            xscale="log", yscale="log", xlim=(LEAST, MOST), ylim=(SLOWEST / 1e9, ceiling / 5e8)
        )
        axes.set_xlabel("floating-point operations for each byte that must move")
        axes.set_ylabel("GFLOP/s")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        legend_below(figure, *axes.get_legend_handles_labels(), columns=3)


def marks(results: Measurements) -> Iterator[Mark]:
    """Yield the kernels that compute, and fastmlp's whole steps on one core."""
    for row in results["kernels"]:
        if row["flops"]:
            rate = median(row["flops"] / one for one in row["seconds"])
            yield Mark(row["kernel"], row["flops"] / row["bytes"], rate)
    for contest in results["one_core"]:
        flops = flops_per_sample(contest["sizes"])
        rate = median(summary.rates(contest, FASTMLP)) * flops
        yield Mark(STEP, flops * contest["batch"] / _bytes_of_step(contest), rate)


def _bytes_of_step(contest: Contest) -> int:
    """Weights and what the optimiser remembers, read and written as float32; images, read as uint8."""
    sizes = contest["sizes"]
    by_adam = NETWORKS[contest["network"]].training.get("optimizer") == "adam"
    moved = 2 * 4 * (3 if by_adam else 2) * count_weights(sizes)
    return moved + contest["batch"] * math.prod(shape_of(sizes))
