"""Published findings, tested: the ``claim`` entries of a section.

Each ``says`` what was published, and by its ``kind`` how it is tested:

- ``order``: ``sides``, the best first (or the least, with ``lower = true``), are in this order.
- ``same``: the two ``sides`` differ by no more than the spread over seeds.
- ``pairs``: of all pairs of points that differ in ``axis`` alone, ``better`` against ``worse``, at
  least the share ``most`` is better.
- ``within``: along ``axis`` the best value lies from ``low`` to ``high``.

A side has a ``label`` and says which point it is, like a row of a table. ``metric`` is what is
compared, at the end or, with ``epoch``, after that epoch; it need not be an accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from fastmlp.reporting.document import Block, Paragraph, Table
from fastmlp.studies.results import Point, Results
from fastmlp.studies.tables import FIELDS, PLUS_MINUS, WORDS, number, ours, setting

HOLDS, WITHIN_SPREAD, FAILS = "holds", "holds, within the spread of seeds", "does not hold"


def check(results: Results, claim: Mapping[str, Any]) -> list[Block]:
    """Return the verdict on a claim, with its numbers."""
    test, _ = KINDS[claim["kind"]]
    verdict, blocks = test(results, claim)
    note = f" {claim['note']}" if "note" in claim else ""
    return [Paragraph(f"**Published:** {claim['says']} **Here: {verdict}.**{note}"), *blocks]


def points(results: Results, claim: Mapping[str, Any]) -> list[Point]:
    """Return the points that a claim is about, as far as they were run."""
    if "sides" in claim:
        return [point for _, point in _sides(results, claim) if point is not None]
    return results.points(claim.get("part", "main"), claim.get("where"))


def _order(results: Results, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    sides = _sides(results, claim)
    if any(point is None for _, point in sides):
        return "not run on this machine", []
    lower = claim.get("lower", False)
    scores = [_score(point, claim, lower) for _, point in sides if point is not None]
    clear = all(a - b > _spread(a_error, b_error) for (a, a_error), (b, b_error) in _steps(scores))
    holds = all(a > b for (a, _), (b, _) in _steps(scores))
    return (HOLDS if clear and holds else WITHIN_SPREAD if holds else FAILS), [
        _table(results, claim, sides)
    ]


def _same(results: Results, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    sides = _sides(results, claim)
    if any(point is None for _, point in sides):
        return "not run on this machine", []
    (a, a_error), (b, b_error) = [_score(point, claim, False) for _, point in sides if point]
    gap, spread = abs(a - b), _spread(a_error, b_error)
    name = claim["metric"]
    shown, wide = number(results, name, gap), number(results, name, spread)
    told = f"the difference is {shown}, the spread over seeds {wide}"
    return f"{HOLDS if gap <= spread else FAILS}: {told}", [_table(results, claim, sides)]


def _pairs(results: Results, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    axis, metric, rows, verdicts = claim["axis"], claim["metric"], [], []
    points = results.points(claim.get("part", "main"), claim.get("where"))
    worse = {point.config: point for point in points if point.matches({axis: claim["worse"]})}
    for value in claim["better"]:
        pairs = [
            (point, worse[other])
            for point in points
            if point.matches({axis: value})
            and (other := point.config.replace(**{axis: claim["worse"]})) in worse
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
                f"{setting(float(value))} against {setting(float(claim['worse']))}",
                f"{better} of {len(pairs)}",
                sign + number(results, metric, mean_gain),
                str(diverged),
            ]
        )
    name = FIELDS.get(axis, axis)
    header = [name, f"pairs with a higher {WORDS[metric]}", "mean gain", "diverged"]
    verdict = HOLDS if all(verdicts) else FAILS if not any(verdicts) else "holds in part"
    return verdict, [Table(header, rows)]


def _within(results: Results, claim: Mapping[str, Any]) -> tuple[str, list[Block]]:
    axis = claim["axis"]
    points = results.points(claim.get("part", "main"), claim.get("where"))
    points.sort(key=lambda point: getattr(point.config, axis))
    if not points:
        return "not run on this machine", []
    scores = [_score(point, claim, claim.get("lower", False))[0] for point in points]
    best = getattr(points[scores.index(max(scores))].config, axis)
    holds = claim["low"] <= best <= claim["high"]
    sides = [(setting(getattr(point.config, axis)), point) for point in points]
    verdict = f"{HOLDS if holds else FAILS}: the best is {setting(best)}"
    return verdict, [_table(results, claim, list(sides))]


def _sides(results: Results, claim: Mapping[str, Any]) -> list[tuple[str, Point | None]]:
    shared = {name: claim[name] for name in ("part", "best") if name in claim}
    where = claim.get("where", {})
    return [
        (
            side["label"],
            results.select({**shared, **side, "where": {**where, **side.get("where", {})}}),
        )
        for side in claim["sides"]
    ]


def _score(point: Point, claim: Mapping[str, Any], lower: bool) -> tuple[float, float]:
    """Return mean and deviation, greater for better; what diverged is worst."""
    mean = point.mean(claim["metric"], claim.get("epoch"))
    if mean is None:
        return -math.inf, 0.0
    return -mean if lower else mean, point.deviation(claim["metric"], claim.get("epoch"))


def _steps(
    scores: list[tuple[float, float]],
) -> Iterable[tuple[tuple[float, float], tuple[float, float]]]:
    return pairwise(scores)


def _spread(a: float, b: float) -> float:
    return math.hypot(a, b)


def _table(
    results: Results, claim: Mapping[str, Any], sides: list[tuple[str, Point | None]]
) -> Table:
    metric, epoch = claim["metric"], claim.get("epoch")
    name = WORDS[metric] + (f" after epoch {epoch}" if epoch else "")
    rows = []
    for label, point in sides:
        if point is None:
            continue
        if epoch is None or not point.sound:
            shown = ours(results, point, metric)
        else:
            mean, error = point.mean(metric, epoch), point.deviation(metric, epoch)
            shown = f"{number(results, metric, mean)} {PLUS_MINUS} {number(results, metric, error)}"
        rows.append([label, shown, str(len(point.runs))])
    return Table(["setting", name, "seeds"], rows)


# How each kind is tested, and what an entry of it cannot do without.
KINDS = {
    "order": (_order, ("metric", "sides")),
    "same": (_same, ("metric", "sides")),
    "pairs": (_pairs, ("metric", "axis", "worse", "better", "most")),
    "within": (_within, ("metric", "axis", "low", "high")),
}
