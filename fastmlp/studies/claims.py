"""Published findings, tested: the ``claim`` entries of a section.

Each ``says`` what was published. Its ``kind`` decides how that is tested:

- ``order``: ``sides``, the best first (or the least, with ``lower = true``), are in this order.
- ``same``: the two ``sides`` differ by no more than the spread over seeds.
- ``pairs``: of all pairs of settings that differ in ``axis`` alone, ``better`` against ``worse``, at
  least the share ``most`` is better.
- ``within``: along ``axis`` the best value lies from ``low`` to ``high``.

A side has a ``label`` and says which setting it is, like a row of a table. ``metric`` is what is
compared, at the end or, with ``epoch``, after that epoch; it need not be an accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from fastmlp.reporting.document import Block, Paragraph, Table
from fastmlp.studies.results import Setting, StudyResults
from fastmlp.studies.study import MAIN
from fastmlp.studies.tables import FIELDS, PLUS_MINUS, WORDS, field_value, number, ours

HOLDS, WITHIN_SPREAD, FAILS = "holds", "holds, within the spread of seeds", "does not hold"


def check(results: StudyResults, claim: Mapping[str, Any]) -> list[Block]:
    """Return the verdict on a claim, with its numbers."""
    test, _ = TESTS[claim["kind"]]
    verdict, blocks = test(results, claim)
    note = f" {claim['note']}" if "note" in claim else ""
    return [Paragraph(f"**Published:** {claim['says']} **Here: {verdict}.**{note}"), *blocks]


def settings(results: StudyResults, claim: Mapping[str, Any]) -> list[Setting]:
    """Return the settings that a claim is about, as far as they were run."""
    if "sides" in claim:
        return [setting for _, setting in _sides(results, claim) if setting is not None]
    return results.settings(claim.get("part", MAIN), claim.get("where"))


def _order(results: StudyResults, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    sides = _sides(results, claim)
    if any(setting is None for _, setting in sides):
        return "not run on this machine", []
    lower = claim.get("lower", False)
    scores = [_score(setting, claim, lower) for _, setting in sides if setting is not None]
    clear = all(a - b > _spread(a_error, b_error) for (a, a_error), (b, b_error) in _steps(scores))
    holds = all(a > b for (a, _), (b, _) in _steps(scores))
    return (HOLDS if clear and holds else WITHIN_SPREAD if holds else FAILS), [
        _table(results, claim, sides)
    ]


def _same(results: StudyResults, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    sides = _sides(results, claim)
    if any(setting is None for _, setting in sides):
        return "not run on this machine", []
    (a, a_error), (b, b_error) = [_score(setting, claim, False) for _, setting in sides if setting]
    gap, spread = abs(a - b), _spread(a_error, b_error)
    name = claim["metric"]
    shown, wide = number(results, name, gap), number(results, name, spread)
    told = f"the difference is {shown}, the spread over seeds {wide}"
    return f"{HOLDS if gap <= spread else FAILS}: {told}", [_table(results, claim, sides)]


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
        return "not run on this machine", []
    scores = [_score(setting, claim, claim.get("lower", False))[0] for setting in settings]
    best = getattr(settings[scores.index(max(scores))].config, axis)
    holds = claim["low"] <= best <= claim["high"]
    sides = [(field_value(getattr(setting.config, axis)), setting) for setting in settings]
    verdict = f"{HOLDS if holds else FAILS}: the best is {field_value(best)}"
    return verdict, [_table(results, claim, list(sides))]


def _sides(results: StudyResults, claim: Mapping[str, Any]) -> list[tuple[str, Setting | None]]:
    shared = {name: claim[name] for name in ("part", "best") if name in claim}
    where = claim.get("where", {})
    return [
        (
            side["label"],
            results.select({**shared, **side, "where": {**where, **side.get("where", {})}}),
        )
        for side in claim["sides"]
    ]


def _score(setting: Setting, claim: Mapping[str, Any], lower: bool) -> tuple[float, float]:
    """Return mean and deviation, greater for better; what diverged is worst."""
    mean = setting.mean(claim["metric"], claim.get("epoch"))
    if mean is None:
        return -math.inf, 0.0
    return -mean if lower else mean, setting.deviation(claim["metric"], claim.get("epoch"))


def _steps(
    scores: list[tuple[float, float]],
) -> Iterable[tuple[tuple[float, float], tuple[float, float]]]:
    return pairwise(scores)


def _spread(a: float, b: float) -> float:
    return math.hypot(a, b)


def _table(
    results: StudyResults, claim: Mapping[str, Any], sides: list[tuple[str, Setting | None]]
) -> Table:
    metric, epoch = claim["metric"], claim.get("epoch")
    name = WORDS[metric] + (f" after epoch {epoch}" if epoch else "")
    rows = []
    for label, setting in sides:
        if setting is None:
            continue
        if epoch is None or not setting.sound:
            shown = ours(results, setting, metric)
        else:
            mean, error = setting.mean(metric, epoch), setting.deviation(metric, epoch)
            shown = f"{number(results, metric, mean)} {PLUS_MINUS} {number(results, metric, error)}"
        rows.append([label, shown, str(len(setting.trials))])
    return Table(["setting", name, "seeds"], rows)


# How each kind is tested, and what an entry of it cannot do without.
TESTS = {
    "order": (_order, ("metric", "sides")),
    "same": (_same, ("metric", "sides")),
    "pairs": (_pairs, ("metric", "axis", "worse", "better", "most")),
    "within": (_within, ("metric", "axis", "low", "high")),
}
