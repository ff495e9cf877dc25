"""Published findings, tested: the ``claim`` entries of a section.

Each ``says`` what was published. Its ``kind`` decides how that is tested:

- ``order``: ``sides``, the best first (or the least, with ``lower = true``), are in this order.
- ``same``: the two ``sides`` differ by no more than the spread over seeds.
- ``sooner``: the ``sides`` are in the order in which they reach ``level``, counted in epochs, in steps
  and in seconds of training.
- ``pairs``: of all pairs of settings that differ in ``axis`` alone, ``better`` against ``worse``, at
  least the share ``most`` is better.
- ``within``: along ``axis`` the best value lies from ``low`` to ``high``.

A side has a ``label`` and says which setting it is, like a row of a table. ``metric`` is what is
compared, at the end or, with ``epoch``, after that epoch; with ``change = [5, 30]`` its change from
one epoch to another. It need not be an accuracy. A side may have its own ``epoch`` or ``change``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from fastmlp.reporting.document import Block, Paragraph, Table
from fastmlp.studies.results import UNITS, Setting, StudyResults
from fastmlp.studies.study import MAIN
from fastmlp.studies.tables import FIELDS, PLUS_MINUS, WORDS, field_value, number, ours, with_spread

HOLDS, WITHIN_SPREAD, FAILS = "holds", "holds, within the spread of seeds", "does not hold"
NOT_RUN = "not run on this machine"

Score = tuple[float, float]
"""Mean and deviation, greater for better."""


class Side(NamedTuple):
    """A side of a claim: its label, its setting if that was run, and the claim with what is its own."""

    label: str
    setting: Setting | None
    claim: Mapping[str, Any]


def check(results: StudyResults, claim: Mapping[str, Any]) -> list[Block]:
    """Return the verdict on a claim, with its numbers."""
    test, _ = TESTS[claim["kind"]]
    verdict, blocks = test(results, claim)
    note = f" {claim['note']}" if "note" in claim and not results.study.is_quick else ""
    return [Paragraph(f"**Claim:** {claim['says']} **Here: {verdict}.**{note}"), *blocks]


def settings(results: StudyResults, claim: Mapping[str, Any]) -> list[Setting]:
    """Return the settings that a claim is about, as far as they were run."""
    if "sides" in claim:
        return [side.setting for side in _sides(results, claim) if side.setting is not None]
    return results.settings(claim.get("part", MAIN), claim.get("where"))


def _order(results: StudyResults, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    sides = _sides(results, claim)
    if any(side.setting is None for side in sides):
        return NOT_RUN, []
    return _verdict([_score(side) for side in sides]), [_table(results, claim, sides)]


def _same(results: StudyResults, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    sides = _sides(results, claim)
    if any(side.setting is None for side in sides):
        return NOT_RUN, []
    (a, a_error), (b, b_error) = [_score(side) for side in sides]
    gap, spread = abs(a - b), math.hypot(a_error, b_error)
    name = claim["metric"]
    shown, wide = number(results, name, gap), number(results, name, spread)
    told = f"the difference is {shown}, the spread over seeds {wide}"
    return f"{HOLDS if gap <= spread else FAILS}: {told}", [_table(results, claim, sides)]


def _sooner(results: StudyResults, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    metric, level = claim["metric"], claim["level"]
    found = [
        (side, side.setting.reached(metric, level))
        for side in _sides(results, claim)
        if side.setting is not None
    ]
    if len(found) < len(claim["sides"]):
        return NOT_RUN, []
    verdicts, rows = [], [[side.label] for side, _ in found]
    for unit in UNITS:
        counts = [[trial[unit] for trial in trials] for _, trials in found]
        verdicts.append(f"counted in {unit}: {_verdict([_mean(one, -1) for one in counts])}")
        for row, one in zip(rows, counts, strict=True):
            row.append(_counted(one))
    for row, (_, trials) in zip(rows, found, strict=True):
        row.append(str(len(trials)))
    header = [f"to a {WORDS[metric]} of {number(results, metric, level)}", *UNITS, "seeds"]
    return "; ".join(verdicts), [Table(header, rows)]


def _pairs(results: StudyResults, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    axis, metric, rows, verdicts = claim["axis"], claim["metric"], [], []
    settings = results.settings(claim.get("part", MAIN), claim.get("where"))
    worse = {
        setting.config: setting for setting in settings if setting.matches({axis: claim["worse"]})
    }
    for value in claim["better"]:
        pairs = [
            (setting, worse[other])
            for setting in settings
            if setting.matches({axis: value})
            and (other := setting.config.replace(**{axis: claim["worse"]})) in worse
        ]
        gains = [
            mean - base
            for one, other in pairs
            if (base := other.mean(metric)) is not None and (mean := one.mean(metric)) is not None
        ]
        diverged = sum(not one.sound for one, _ in pairs)
        better = sum(gain > 0 for gain in gains)
        verdicts.append(bool(pairs) and better >= claim["most"] * len(pairs))
        mean_gain = math.fsum(gains) / len(gains) if gains else None
        sign = "+" if mean_gain is not None and mean_gain > 0 else ""
        rows.append(
            [
                f"{field_value(float(value))} against {field_value(float(claim['worse']))}",
                f"{better} of {len(pairs)}",
                sign + number(results, metric, mean_gain),
                str(diverged),
            ]
        )
    name = FIELDS.get(axis, axis)
    header = [name, f"pairs with a higher {WORDS[metric]}", "mean gain", "diverged"]
    verdict = HOLDS if all(verdicts) else FAILS if not any(verdicts) else "holds in part"
    return verdict, [Table(header, rows)]


def _within(results: StudyResults, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    axis = claim["axis"]
    settings = results.settings(claim.get("part", MAIN), claim.get("where"))
    settings.sort(key=lambda setting: getattr(setting.config, axis))
    if not settings:
        return NOT_RUN, []
    sides = [Side(field_value(getattr(one.config, axis)), one, claim) for one in settings]
    scores = [_score(side)[0] for side in sides]
    best = getattr(settings[scores.index(max(scores))].config, axis)
    holds = claim["low"] <= best <= claim["high"]
    verdict = f"{HOLDS if holds else FAILS}: the best is {field_value(best)}"
    return verdict, [_table(results, claim, sides)]


def _sides(results: StudyResults, claim: Mapping[str, Any]) -> list[Side]:
    shared = {name: claim[name] for name in ("part", "best") if name in claim}
    where = claim.get("where", {})
    return [
        Side(
            side["label"],
            results.select({**shared, **side, "where": {**where, **side.get("where", {})}}),
            {**claim, **side},
        )
        for side in claim["sides"]
    ]


def _score(side: Side) -> Score:
    assert side.setting is not None
    values = _values(side.setting, side.claim)
    if len(values) < len(side.setting.trials):
        return -math.inf, 0.0  # what diverged is worst
    return _mean(values, -1 if side.claim.get("lower") else 1)


def _values(setting: Setting, claim: Mapping[str, Any]) -> list[float]:
    """Return what a claim compares, of each trial that has it."""
    metric = claim["metric"]
    if "change" not in claim:
        return setting.values(metric, claim.get("epoch"))
    first, last = (setting.values(metric, epoch) for epoch in claim["change"])
    # A trial that ended between the two is not among the last.
    return [b - a for a, b in zip(first, last, strict=True)] if len(first) == len(last) else []


def _mean(values: Sequence[float], sign: int) -> Score:
    mean = sign * statistics.fmean(values)
    return mean, statistics.stdev(values) if len(values) > 1 and math.isfinite(mean) else 0.0


def _verdict(scores: Sequence[Score]) -> str:
    """Say whether scores fall from each to the next."""
    steps = list(pairwise(scores))
    if not all(a > b for (a, _), (b, _) in steps):
        return FAILS
    clear = all(a - b > math.hypot(a_error, b_error) for (a, a_error), (b, b_error) in steps)
    return HOLDS if clear else WITHIN_SPREAD


def _counted(values: Sequence[float]) -> str:
    """Return the mean and deviation of epochs, steps or seconds."""
    mean, error = _mean(values, 1)
    if not math.isfinite(mean):
        missed = sum(not math.isfinite(value) for value in values)
        return f"not reached ({missed} of {len(values)})"
    digits = 0 if mean >= 100 else 1
    return f"{mean:,.{digits}f}" + (f" {PLUS_MINUS} {error:,.{digits}f}" if len(values) > 1 else "")


def _table(results: StudyResults, claim: Mapping[str, Any], sides: Sequence[Side]) -> Table:
    metric, shared = claim["metric"], claim.get("epoch")
    name = WORDS[metric] + (f" after epoch {shared}" if shared else "")
    if any("change" in side.claim for side in sides):
        name = f"change of {name}"
    rows = []
    for label, setting, asked in sides:
        if setting is None:
            continue
        if "change" not in asked or not setting.sound:
            shown = ours(results, setting, metric, asked.get("epoch"))
        else:
            changes = _values(setting, asked)
            shown = with_spread(results, metric, changes) or number(results, metric, None)
        rows.append([label, shown, str(len(setting.trials))])
    return Table(["setting", name, "seeds"], rows)


# How each kind is tested, and what an entry of it cannot do without.
TESTS = {
    "order": (_order, ("metric", "sides")),
    "same": (_same, ("metric", "sides")),
    "sooner": (_sooner, ("metric", "level", "sides")),
    "pairs": (_pairs, ("metric", "axis", "worse", "better", "most")),
    "within": (_within, ("metric", "axis", "low", "high")),
}
