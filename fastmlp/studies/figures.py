"""Figures of a study that are made of stored trials: ``figure`` entries of a section.

Each has a ``file`` (without ``.png``), a ``caption``, and a ``kind``:

- ``series``: a line for each of the settings of `part` and `where` (or of ``sides``), told apart by
  the field ``by``; a panel for each of ``quantities``, which ``words`` may call otherwise.
  ``legend`` says what tells lines apart.
- ``parts``: a row of panels for each of ``sides``, with training and validation in the same panel;
  a column for loss, one for ``cost`` if asked for, one for accuracy.
- ``bars``: a group of bars for each of ``sides``, a bar for each of ``quantities`` or, with ``twins``
  (a list of parts), for each of those parts.

`fastmlp.studies.pictures` draws the other kinds.

Lines are means over seeds, bands go from the least to the greatest seed. Training is black and
validation blue wherever both are shown; where settings are compared, the study's basic setting is
black, or the first line where that is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.reporting.figures import (
    COLOURS,
    DASHES,
    Axes,
    draw_confusion,
    name_axes_by_epoch,
    new_figure,
)
from fastmlp.studies.results import Setting, StudyResults
from fastmlp.studies.study import MAIN, Study
from fastmlp.studies.tables import FIELDS, WORDS, field_value

HATCHES = ("", "///", "...", "xxx", "\\\\\\")
MARKERS = "osD^vPX*"
BAND = 0.18  # opacity
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
    columns = max(3, 2 * len(quantities))
    width = 4.2 * len(quantities) if len(quantities) > 1 else 6
    words = entry.get("words", [WORDS[name] for name in quantities])
    with new_figure(path, width, 3.2 + 0.22 * -(-len(lines) // columns)) as figure:
        panels = np.atleast_1d(figure.subplots(1, len(quantities)))
        for axes, name, shown in zip(panels, quantities, words, strict=True):
            for style, (label, setting) in lines:
                _line(axes, setting, name, label, style)
            if entry.get("log") and "accuracy" not in name:
                _scale_by_logarithm(axes)
            name_axes_by_epoch(axes, shown)
        by = entry.get("by", "")
        title = entry.get("legend", FIELDS.get(by, by))
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(columns, len(labels)),
            title=title,
        )


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
    with new_figure(path, 3.4 * len(kinds) + 0.6, 0.5 + 2.5 * len(sides)) as figure:
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
        figure.legend(handles, labels, loc="outside lower center", ncols=2)


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
    width = 0.8 / len(bars)
    with new_figure(path, 1.6 + 1.1 * len(sides) * max(1, len(bars) / 3), 3.6) as figure:
        axes = figure.subplots()
        axes.grid(visible=False, axis="x")
        lowest = 1.0
        for number, ((twin, name), label) in enumerate(zip(bars, words, strict=True)):
            settings = [results.select({**side, "part": twin}) for side in sides]
            heights = [np.nan if p is None else p.mean(name) or np.nan for p in settings]
            errors = [0.0 if p is None else p.deviation(name) for p in settings]
            if not np.isfinite(heights).any():
                continue
            lowest = min(lowest, float(np.nanmin(heights)))
            axes.bar(
                np.arange(len(sides)) + (number - (len(bars) - 1) / 2) * width,
                heights,
                width,
                yerr=errors,
                capsize=2,
                label=label,
                color=COLOURS[number],
                alpha=0.75,
                edgecolor="white",
                hatch=HATCHES[number % len(HATCHES)],
            )
        axes.set_xticks(np.arange(len(sides)), [side["label"] for side in sides])
        if quantities[0].endswith("accuracy") and lowest > 0.5:
            axes.set_ylim(bottom=0.5)
        axes.set_ylabel(
            quantities[0].split("_")[-1] if len(quantities) > 1 else WORDS[quantities[0]]
        )
        axes.set_xlabel(entry.get("axis", "setting"))
        if len(bars) > 1:
            figure.legend(loc="outside lower center", ncols=2)


FROM_TRIALS = {"series": _series, "parts": _parts, "bars": _bars}
# What an entry of each kind cannot do without.
NEEDS = {
    "series": (),  # `by` or `sides`
    "parts": ("sides",),
    "bars": ("sides", "quantities"),
}
