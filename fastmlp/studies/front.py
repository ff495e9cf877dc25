"""How far and how soon: the settings that no other beats in accuracy and in seconds of training.

A section with the measure ``front`` has a figure of the kind ``front``, whose ``sides`` are compared::

    [study]
    jobs = 1                         # one training at a time, so that their seconds can be compared

    [[study.section]]
    title = "Accuracy against seconds"
    measure = ["front"]
    figure = [{ kind = "front", file = "front", caption = "...", sides = [
        { label = "3 epochs" },
        { label = "30 epochs", part = "long" },
    ] }]

The front is chosen by validation accuracy, and its settings alone are tested.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastmlp.reporting.chance import interval
from fastmlp.reporting.document import Block, Details, Paragraph, Table
from fastmlp.reporting.style import (
    COLOURS,
    MARKERS,
    Axes,
    legend_below,
    name_axis_of_seconds,
    new_figure,
)
from fastmlp.studies.laboratory import Laboratory
from fastmlp.studies.results import Setting, StudyResults, varied
from fastmlp.studies.tables import FIELDS, field_value, number, ours, range_of

KIND = "front"
CHOSEN_BY, TESTED = "valid_accuracy", "test_accuracy"
LEVELS = [step / 20 for step in range(2, 20)]  # accuracies whose first setting is told
SIZE = (6.4, 4.0)  # inches, without the legend
BEHIND = COLOURS[-1]  # grey

Section = Mapping[str, Any]


class Place(NamedTuple):
    """Where a side of the figure lies.

    Attributes
    ----------
    label : str
    setting : Setting
    seconds : float
        Of training, the median over seeds.
    chosen : float
        The mean validation accuracy.
    is_ahead : bool
        Whether it is on the front.
    """

    label: str
    setting: Setting
    seconds: float
    chosen: float
    is_ahead: bool

    @property
    def tested(self) -> float | None:
        """The mean test accuracy; None if it is behind the front, or not tested yet."""
        return self.setting.mean(TESTED) if self.is_ahead else None


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which points no other beats, the quickest first.

    Parameters
    ----------
    points : sequence of (float, float)
        Seconds and accuracy of each. A point beats another if it is no slower and no less accurate, and not equal.

    Returns
    -------
    list of int
        Places in `points`.
    """
    found: list[int] = []
    for place in sorted(range(len(points)), key=lambda one: (points[one][0], -points[one][1])):
        last = points[found[-1]] if found else (-math.inf, -math.inf)
        if points[place][1] > last[1] or points[place] == last:
            found.append(place)
    return found


def places(results: StudyResults, section: Section) -> list[Place]:
    """Return the sides of a section's front that were run and ended well, in the file's order."""
    entry = next(one for one in section["figure"] if one["kind"] == KIND)
    found = [(side["label"], results.select(side)) for side in entry["sides"]]
    sound = [(label, setting) for label, setting in found if setting and setting.sound]
    points = [
        (statistics.median(setting.training_seconds()), statistics.fmean(setting.values(CHOSEN_BY)))
        for _, setting in sound
    ]
    ahead = front(points)
    return [
        Place(*one, *point, place in ahead)
        for place, (one, point) in enumerate(zip(sound, points, strict=True))
    ]


def take_front(lab: Laboratory, section: Section) -> list[str]:
    """Test the settings of the front, and return their labels, the quickest first."""
    ahead = [one for one in places(lab.results, section) if one.is_ahead]
    for one in ahead:
        lab.test_setting(one.setting)
    return [one.label for one in sorted(ahead, key=lambda one: one.seconds)]


def show_front(results: StudyResults, section: Section, taken: Any) -> list[Block]:
    """Return the table of the front, what is first at each level, and all settings."""
    found = sorted(places(results, section), key=lambda one: one.seconds)
    if not found:
        return [Paragraph("Not run on this machine, or no training came to its end.")]
    rows = [
        [
            one.label,
            range_of(one.setting.training_seconds()),
            ours(results, one.setting, CHOSEN_BY),
            ours(results, one.setting, TESTED) if one.is_ahead else "behind the front: not tested",
            " to ".join(number(results, TESTED, end) for end in _ends(results, one)),
        ]
        for one in found
    ]
    seeds = max(len(one.setting.trials) for one in found)
    header = ["setting", "seconds of training", "validation accuracy", "test accuracy", "95 %"]
    names = varied(one.setting for one in found)
    settings = [
        [one.label, *(field_value(one.setting.config.as_dict()[name]) for name in names)]
        for one in found
    ]
    words = [FIELDS.get(name, name.replace("_", " ")) for name in names]
    return [
        Table(header, rows),
        Paragraph(
            f"Mean and standard deviation over {seeds} seed{'s' * (seeds > 1)}; seconds: median (least to greatest), "
            "of the epochs alone, without reading, compiling and validating. A setting is behind the front if another "
            "one is as quick and has a higher validation accuracy. 95 %: of the mean test accuracy, by the spread over "
            "seeds and the size of the test part together."
        ),
        Paragraph(_told_levels(results, found)),
        Details("What the settings are", Table(["setting", *words], settings)),
    ]  # fmt: skip


def draw_front(results: StudyResults, entry: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy against seconds: filled what was tested, hollow by validation, grey what is behind."""
    found = sorted(places(results, {"figure": [entry]}), key=lambda one: one.seconds)
    ahead = [one for one in found if one.is_ahead]
    with new_figure(path, SIZE[0], SIZE[1] + 0.22 * len(ahead)) as figure:
        axes = figure.subplots()
        joined = [(one.seconds, one.tested) for one in ahead if one.tested is not None]
        axes.plot(*zip(*joined, strict=True), color=BEHIND, linestyle="-", zorder=1)
        looks = zip(itertools.cycle(COLOURS[:-1]), itertools.cycle(MARKERS), strict=False)
        handles = [_mark(axes, results, *one) for one in zip(ahead, looks, strict=False)]
        labels = [one.label for one in ahead]
        if behind := [(one.seconds, one.chosen) for one in found if not one.is_ahead]:
            handles.append(_dots(axes, behind, BEHIND, "o"))
            labels.append("behind the front")
        name_axis_of_seconds(axes)
        axes.set_ylabel("accuracy")
        legend = "filled: test, with 95 % interval; hollow: validation"
        legend_below(figure, handles, labels, 2, legend)


def _mark(axes: Axes, results: StudyResults, place: Place, look: tuple[str, str]) -> Any:
    """Draw a setting of the front, and return what stands for it in the legend."""
    hollow = _dots(axes, [(place.seconds, place.chosen)], *look)
    if place.tested is None:
        return hollow
    low, high = _ends(results, place)
    reach = [[place.tested - low], [high - place.tested]]
    colour, marker = look
    return axes.errorbar(
        [place.seconds], [place.tested], reach, color=colour, marker=marker, ls="none", capsize=2
    )


def _dots(axes: Axes, points: Sequence[tuple[float, float]], colour: str, marker: str) -> Any:
    look: Any = {"color": colour, "marker": marker, "linestyle": "none"}
    return axes.plot(*zip(*points, strict=True), **look, fillstyle="none", markersize=5)[0]


def _ends(results: StudyResults, place: Place) -> tuple[float, ...]:
    """Return the interval of the mean test accuracy; nothing where there is none."""
    if place.tested is None:
        return ()
    setting, seeds = place.setting, len(place.setting.trials)
    error = setting.deviation(TESTED) / math.sqrt(seeds)
    return interval(place.tested, results.rows(setting.part, TESTED), error, max(1, seeds - 1))


def _told_levels(results: StudyResults, found: Sequence[Place]) -> str:
    """Return which setting is the first to reach each level, and how far the best goes."""
    tested = [(mean, one) for one in found if (mean := one.tested) is not None]
    if not tested:
        return "Nothing was tested."
    best, last = max(tested, key=lambda one: one[0])
    least = min(mean for mean, _ in tested)
    told = [
        f"{number(results, TESTED, level)} takes {first.seconds:.3g} s ({first.label})"
        for level in LEVELS
        if least < level <= best
        for first in [next(one for mean, one in tested if mean >= level)]
    ]
    reached = f" A mean test accuracy of {'; '.join(told)}." if told else ""
    return (
        f"**The best of the front has a mean test accuracy of {number(results, TESTED, best)}, after "
        f"{last.seconds:.3g} s of training ({last.label}).**{reached}"
    )
