"""Figures of a study that are made of stored trials: ``figure`` entries of a section.

Each has a ``file`` (without ``.png``), a ``caption``, and a ``kind``:

- ``series``: a line for each of the settings of `part` and `where` (or of ``sides``), told apart by
  the field ``by``; a panel for each of ``quantities``, which ``words`` may call otherwise.
  ``legend`` says what tells lines apart.
- ``parts``: a row of panels for each of ``sides``, with training and validation in the same panel;
  a column for loss, one for ``cost`` if asked for, one for accuracy.
- ``bars``: a group of bars for each of ``sides``, a bar for each of ``quantities`` or, with ``twins``
  (a list of parts), for each of those parts.
- ``record``: each seed's test accuracy and seconds, beside PyTorch's, as `fastmlp.studies.record` measured them of
  the setting of `part` and `where`; ``level`` is the accuracy to reach.
- ``front``: accuracy against seconds of training for each of ``sides``; see `fastmlp.studies.front`.

`fastmlp.studies.pictures` draws the other kinds.

Lines are means over seeds, bands go from the least to the greatest seed. Training is black and
validation blue wherever both are shown; where settings are compared, the study's basic setting is
black, or the first line where that is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.reporting.figures import draw_confusion
from fastmlp.reporting.style import (
    COLOURS,
    DASHES,
    MARKERS,
    Axes,
    legend_below,
    name_axes_by_epoch,
    new_figure,
    wrap,
)
from fastmlp.studies.front import draw_front
from fastmlp.studies.record_figure import draw_record
from fastmlp.studies.results import Setting, StudyResults
from fastmlp.studies.study import MAIN, Study
from fastmlp.studies.tables import FIELDS, WORDS, field_value

HATCHES = ("", "///", "...", "xxx", "\\\\\\")
BAND = 0.18  # opacity
WIDTH = 6.4  # inches, of every figure: its letters can be read on a telephone
SIDE_LETTERS = 26  # of a side's label, in a line
SHOWN = ["train_loss", "valid_accuracy"]  # in the panels of a series, if nothing else is asked for
CONFUSION = "confusion"  # the measure, and the file of its figure


def file_names(study: Study) -> list[str]:
    """Return the files of all figures of a study, without ``.png``."""
    return [
        *(
            entry["file"]
            for one in study.sections
            for entry in one.get("figure", [])
            if "file" in entry
        ),
        *(CONFUSION for one in study.sections if CONFUSION in one.get("measure", [])),
    ]


def draw(results: StudyResults, section: Mapping[str, Any], folder: Path) -> None:
    """Draw the figures of a section that follow from its results alone."""
    for entry in section.get("figure", []):
        if entry["kind"] in FROM_TRIALS:
            FROM_TRIALS[entry["kind"]](results, entry, folder / f"{entry['file']}.png")
    if CONFUSION in section.get("measure", []):
        taken = results.measured[CONFUSION]
        counts = np.array(taken["counts"][0])
        labels, predicted = (
            np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape)
        )
        draw_confusion(labels, predicted, taken["classes"], folder / f"{CONFUSION}.png")


# -- lines -----------------------------------------------------------------------------------------


def _series(results: StudyResults, entry: Mapping[str, Any], path: Path) -> None:
    lines = _lines(results, entry)
    quantities = entry.get("quantities", SHOWN)
    columns = 3
    across = min(2, len(quantities))
    down = -(-len(quantities) // across)
    words = entry.get("words", [WORDS[name] for name in quantities])
    with new_figure(path, WIDTH, 2.7 * down + 0.6 + 0.22 * -(-len(lines) // columns)) as figure:
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels[len(quantities) :]:
            axes.set_axis_off()
        for axes, name, shown in zip(panels, quantities, words, strict=False):
            for style, (label, setting) in lines:
                _line(axes, setting, name, label, style)
            if entry.get("log") and "accuracy" not in name:
                _scale_by_logarithm(axes)
            name_axes_by_epoch(axes, shown)
        by = entry.get("by", "")
        title = entry.get("legend", FIELDS.get(by, by))
        handles, labels = figure.axes[0].get_legend_handles_labels()
        legend_below(figure, handles, labels, columns, title)


def _scale_by_logarithm(axes: Axes) -> None:
    """Make the axis logarithmic, with plain numbers; where it spans little more than a decade, more of them."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    between = "25" if high / low < 30 else ""
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(
        lambda value, _: f"{value:g}" if f"{value:e}"[0] in between else ""
    )


def _lines(
    results: StudyResults, entry: Mapping[str, Any]
) -> list[tuple[int, tuple[str, Setting]]]:
    """Return the figure's settings with styles and labels; style 0 is the study's basic setting."""
    if "sides" in entry:
        found = [(side["label"], results.select(side)) for side in entry["sides"]]
        lines = [(label, setting) for label, setting in found if setting is not None]
    else:
        settings = results.settings(entry.get("part", MAIN), entry.get("where"))
        lines = [
            (field_value(getattr(setting.config, entry["by"])), setting) for setting in settings
        ]
    basic = results.study.parts[MAIN].config
    first = next((n for n, (_, setting) in enumerate(lines) if setting.config == basic), 0)
    if len(lines) > len(COLOURS):
        raise ConfigError(f"figure: found {len(lines)} lines, expected at most {len(COLOURS)}")
    others = iter(range(1, len(COLOURS)))
    return [(0 if n == first else next(others), line) for n, line in enumerate(lines)]


def _parts(results: StudyResults, entry: Mapping[str, Any], path: Path) -> None:
    sides = [
        (side["label"], setting) for side in entry["sides"] if (setting := results.select(side))
    ]
    kinds = ["loss", *(["cost"] if entry.get("cost") else []), "accuracy"]
    with new_figure(path, WIDTH, 0.6 + 2.4 * len(sides)) as figure:
        grid = figure.subplots(len(sides), len(kinds), squeeze=False)
        for row, (label, setting) in zip(grid, sides, strict=True):
            for axes, kind in zip(row, kinds, strict=True):
                for style, (part, words) in enumerate(
                    (("train", "training"), ("valid", "validation"))
                ):
                    _line(axes, setting, f"{part}_{kind}", words, style)
                name_axes_by_epoch(axes, kind)
            row[0].set_title(label, loc="left", fontsize=10)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        legend_below(figure, handles, labels, columns=2)


def _line(axes: Axes, setting: Setting, name: str, label: str, style: int) -> None:
    """Draw the mean over seeds, as far as all seeds go, with a band over them."""
    histories = [one.trial.history for one in setting.trials]
    length = max(map(len, histories))
    values = np.full((len(histories), length), np.nan)
    for row, one in zip(values, setting.trials, strict=True):
        row[: len(one.trial.history)] = setting.curve(name, one.trial)
    values[~np.isfinite(values)] = np.nan
    shown = np.isfinite(values).all(axis=0)
    epochs = np.arange(1, length + 1)[shown]
    values = values[:, shown]
    if not len(epochs):
        axes.plot([], [], color=COLOURS[style], linestyle=DASHES[style], label=label)
        return
    colour = COLOURS[style]
    axes.fill_between(
        epochs, np.nanmin(values, axis=0), np.nanmax(values, axis=0), color=colour, alpha=BAND, lw=0
    )
    axes.plot(
        epochs,
        np.nanmean(values, axis=0),
        color=colour,
        linestyle=DASHES[style],
        marker=MARKERS[style],
        markevery=max(1, len(epochs) // 8),
        markersize=4,
        label=label,
    )


# -- bars ------------------------------------------------------------------------------------------


def _bars(results: StudyResults, entry: Mapping[str, Any], path: Path) -> None:
    quantities, twins = entry["quantities"], entry.get("twins", [MAIN])
    sides = entry["sides"]
    bars = [(twin, name) for twin in twins for name in quantities]
    words = entry.get("words", [WORDS[name] for _, name in bars])
    groups = []
    for (twin, name), label in zip(bars, words, strict=True):
        settings = [results.select({**side, "part": twin}) for side in sides]
        spans = [_span(setting, name) for setting in settings]
        if np.isfinite([span[0] for span in spans]).any():
            groups.append((label, np.array(spans).T))
    height = 1.3 + (0.15 + 0.2 * len(groups)) * len(sides) + 0.2 * len(groups)
    with new_figure(path, WIDTH, height) as figure:
        axes = figure.subplots()
        draw_bars(axes, [wrap(side["label"], SIDE_LETTERS) for side in sides], groups)
        lowest = min((float(np.nanmin(spans[0])) for _, spans in groups), default=0.0)
        if quantities[0].endswith("accuracy") and lowest > 0.5:
            axes.set_xlim(left=0.5)
        last = quantities[0].split("_")[-1]
        axes.set_xlabel(last if len(quantities) > 1 else WORDS[quantities[0]])
        axes.set_title(entry.get("axis", "setting"), loc="left", fontsize=10)
        if len(groups) > 1:
            legend_below(figure, *axes.get_legend_handles_labels(), columns=2)


def draw_bars(axes: Axes, sides: Sequence[str], groups: Sequence[tuple[str, np.ndarray]]) -> None:
    """Draw a bar to the right for each side and group, with a whisker where there is a spread.

    Parameters
    ----------
    axes : Axes
    sides : sequence of str
        From the top.
    groups : sequence of (str, float64 [3, sides])
        What the legend calls them; means, and where whiskers begin and end: NaN for none.
    """
    axes.grid(visible=False, axis="y")
    thickness = 0.8 / max(1, len(groups))
    for number, (label, (means, low, high)) in enumerate(groups):
        places = np.arange(len(sides)) + (number - (len(groups) - 1) / 2) * thickness
        axes.barh(
            places,
            means,
            thickness,
            label=label,
            color=COLOURS[number],
            alpha=0.75,
            edgecolor="white",
            hatch=HATCHES[number % len(HATCHES)],
        )
        known = np.isfinite(low)
        if known.any():
            reach = np.stack([means - low, high - means])[:, known]
            axes.errorbar(
                means[known], places[known], xerr=reach, fmt="none", ecolor="black", capsize=2
            )
    axes.set_yticks(np.arange(len(sides)), sides)
    axes.set_ylim(len(sides) - 0.5, -0.5)


def _span(setting: Setting | None, name: str) -> tuple[float, float, float]:
    """Return a mean and the ends of its whisker: no further than the quantity goes, NaN without a spread."""
    mean = None if setting is None else setting.mean(name)
    if setting is None or mean is None:
        return np.nan, np.nan, np.nan
    deviation = setting.deviation(name)
    if not deviation:
        return mean, np.nan, np.nan
    most = 1.0 if name.endswith("accuracy") else np.inf
    return mean, max(0.0, mean - deviation), min(most, mean + deviation)


FROM_TRIALS = {
    "series": _series,
    "parts": _parts,
    "bars": _bars,
    "record": draw_record,
    "front": draw_front,
}
# What an entry of each kind cannot do without.
NEEDS = {
    "series": (),  # `by` or `sides`
    "parts": ("sides",),
    "bars": ("sides", "quantities"),
    "record": (),
    "front": ("sides",),
}
