"""What a search shows: its settings as axes, what matters, and what to try next.

Points are those of `fastmlp.search.ranking`. Matplotlib is imported when something is drawn, Optuna when importances
are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastmlp.errors import FastMLPError
from fastmlp.reporting.tables import shown
from fastmlp.training.metrics import lower_is_better, words_of

if TYPE_CHECKING:
    from fastmlp.reporting.search_displays import (
        HeatMapDisplay,
        ImportanceDisplay,
        ParallelDisplay,
    )

MOST_GROUPS = 6  # values of a number, beyond which neighbours are taken together
LEAST_POINTS = 4  # from which on importances mean something
NEIGHBOURS = 4  # ranks to each side whose points share a spread over seeds
UNLIKELY = 0.975  # quantile of the F test, to either side, beyond which spreads are not the same
EMPTY = 4  # cells of a heat map for each point, up to which it is drawn
DECADES = 10  # a range as wide is spaced by its logarithm


def axes_of(points: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the settings that differ between points, each with its values in the grid's order.

    A setting that always changes together with an earlier one is no axis of its own.
    """
    ordered = sorted(points, key=lambda point: point.index)
    columns = {
        name: [getattr(point.config, name) for point in ordered]
        for name in dict.fromkeys(name for point in ordered for name in point.parameters)
    }
    axes: dict[str, list[Any]] = {}
    for name, column in columns.items():
        choices = list(dict.fromkeys(column))
        if len(choices) > 1 and not any(_go_together(column, columns[other]) for other in axes):
            axes[name] = choices
    return axes


def _go_together(column: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether each value of one setting belongs to one of the other; numbers drawn at random do not."""
    different = set(column), set(other), set(zip(column, other, strict=True))
    if len({len(one) for one in different}) > 1:
        return False
    if len(different[0]) < len(column) or not all(map(_is_number, different[0] | different[1])):
        return True
    others = [value for _, value in sorted(zip(column, other, strict=True))]
    return others in (sorted(others), sorted(others, reverse=True))


def best_metric(metric: str) -> str:
    """Return what the best point has, such as "highest validation accuracy"."""
    extreme = "lowest" if lower_is_better(metric) else "highest"
    return f"{extreme} {words(metric)}"


def words(metric: str) -> str:
    """Return a metric of the validation part as text, such as "validation accuracy"."""
    return f"validation {words_of(metric.removeprefix('valid_'))}"


def score_of(point: Any, metric: str) -> float:
    """Return the mean of a point's metric over its seeds; NaN if one did not come to a regular end."""
    value = point.mean(metric) if point.sound else None
    return math.nan if value is None else float(value)


def best_by_pair(result: Any, down: str, across: str) -> np.ndarray:
    """Return the best mean metric for each pair of values of two settings, whatever the others.

    Parameters
    ----------
    result : SearchResult
    down, across : str
        Two of the `axes_of` its points, for rows and columns.

    Returns
    -------
    float64 array [rows, columns]
        NaN if no point with these values came to a regular end.
    """
    axes = axes_of(result.points)
    best = np.full((len(axes[down]), len(axes[across])), np.nan)
    for point in reversed(result.points):  # the best last
        score = score_of(point, result.metric)
        if not math.isnan(score):
            row = axes[down].index(getattr(point.config, down))
            column = axes[across].index(getattr(point.config, across))
            best[row, column] = score
    return best


def pairs_of(points: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the pairs of settings whose heat maps are not mostly empty."""
    axes = axes_of(points)
    return [
        (down, across)
        for down, across in combinations(axes, 2)
        if len(axes[down]) * len(axes[across]) <= EMPTY * len(points)
    ]


def heat_map(result: Any, down: str, across: str) -> HeatMapDisplay:
    """Return the display of `best_by_pair`."""
    from fastmlp.reporting.search_displays import HeatMapDisplay

    axes = axes_of(result.points)
    return HeatMapDisplay(
        best_by_pair(result, down, across),
        (down, axes[down]),
        (across, axes[across]),
        label=best_metric(result.metric),
        low_is_good=lower_is_better(result.metric),
    )


def parallel(points: Sequence[Any], metric: str) -> ParallelDisplay:
    """Return the display of all settings that differ."""
    from fastmlp.reporting.search_displays import ParallelDisplay

    settings = {name: [getattr(point.config, name) for point in points] for name in axes_of(points)}
    scores = [score_of(point, metric) for point in points]
    return ParallelDisplay(settings, scores, words(metric), lower_is_better(metric))


class Importances(NamedTuple):
    """What the differences between points come from.

    Attributes
    ----------
    shares : dict
        Of each setting, the share of the variance that it explains by itself.
    pairs : dict
        Of each pair of settings, the share that both explain together and neither alone.
    by : str
        How the shares were found.
    """

    shares: Mapping[str, float]
    pairs: Mapping[tuple[str, str], float]
    by: str

    def display(self) -> ImportanceDisplay:
        """Return the display of the shares."""
        from fastmlp.reporting.search_displays import ImportanceDisplay

        return ImportanceDisplay(self.shares)


def importances(points: Sequence[Any], metric: str) -> Importances | None:
    """Return what each setting matters; None if there is too little to tell.

    The shares of single settings are those of a functional ANOVA by Optuna's evaluator if Optuna is installed, else
    those of the means of groups of points. The shares of pairs are always the latter: exact for a full grid.
    """
    sound = [point for point in points if not math.isnan(score_of(point, metric))]
    axes = axes_of(sound)
    scores = np.array([score_of(point, metric) for point in sound])
    if len(sound) < LEAST_POINTS or not axes or not scores.var():
        return None
    groups = {
        name: _groups([getattr(point.config, name) for point in sound], values)
        for name, values in axes.items()
    }
    alone = {name: _explained(scores, [groups[name]]) for name in axes}
    pairs = {
        (one, other): max(
            0.0, _explained(scores, [groups[one], groups[other]]) - alone[one] - alone[other]
        )
        for one, other in combinations(axes, 2)
    }
    shares = _fanova(sound, axes, scores)
    if shares is None:
        return Importances(alone, pairs, "the variance between the means of groups of points")
    return Importances(shares, pairs, "fANOVA by Optuna, shares of 1 together")


def _groups(values: Sequence[Any], different: Sequence[Any]) -> np.ndarray:
    """Return the number of the group that each value is in: its own, or that of its neighbours where there are many."""
    if len(different) > MOST_GROUPS and all(map(_is_number, different)):
        edges = np.quantile(np.array(values, float), np.linspace(0, 1, MOST_GROUPS + 1)[1:-1])
        return np.searchsorted(edges, np.array(values, float))
    return np.array([different.index(value) for value in values])


def _explained(scores: np.ndarray, groups: Sequence[np.ndarray]) -> float:
    """Return the share of the variance of scores that lies between groups."""
    _, place = np.unique(np.stack(groups), axis=1, return_inverse=True)
    place = place.ravel()
    means = np.bincount(place, scores) / np.bincount(place)
    return float(means[place].var() / scores.var())


def _fanova(
    points: Sequence[Any], axes: Mapping[str, Sequence[Any]], scores: np.ndarray
) -> dict[str, float] | None:
    try:
        import optuna
    except ImportError:
        return None
    from fastmlp.search.optuna_study import add_trials, distributions_of

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
        add_trials(study, points, distributions_of(axes), [float(score) for score in scores])
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (
        ImportError,
        ValueError,
        RuntimeError,
        ZeroDivisionError,
    ):  # too little variance for its trees
        return None
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(found.get(name, 0.0)) for name in axes}


def suggestions(points: Sequence[Any], metric: str) -> list[str]:
    """Return what to try next, a sentence each: beyond the edges of the grid, between its values, with more seeds."""
    best = points[0] if points else None
    if best is None or math.isnan(score_of(best, metric)):
        return ["Every point diverged or failed: try lower learning rates."]
    told = []
    for name, values in axes_of(points).items():
        value = getattr(best.config, name)
        numbers = sorted(one for one in set(values) if _is_number(one))
        if value in numbers and len(numbers) > 1:
            told += _beside(best, name, value, numbers)
    told += _more_seeds(points, metric)
    return told


def _beside(best: Any, name: str, value: Any, numbers: list[Any]) -> list[str]:
    at = numbers.index(value)
    is_wide = numbers[0] > 0 and numbers[-1] / numbers[0] >= DECADES
    between: Callable[[Any, Any], Any] = (
        (lambda a, b: math.sqrt(a * b)) if is_wide else (lambda a, b: (a + b) / 2)
    )
    quoted = name.replace("_", " ")
    if 0 < at < len(numbers) - 1:
        found = [between(numbers[at - 1], value), between(value, numbers[at + 1])]
        tried = [one for one in map(_short, found, [value] * 2) if _is_allowed(best, name, one)]
        new = [one for one in tried if one not in numbers]
        if not new:
            return []
        return [f"{quoted}: the best value, {shown(value)}, lies inside the grid; nearer to it are "
                f"{' and '.join(map(shown, new))}."]  # fmt: skip
    neighbour = numbers[1] if at == 0 else numbers[-2]
    beyond = value * value / neighbour if is_wide else 2 * value - neighbour
    candidates = [
        _short(beyond, value),
        _short((value + beyond) / 2, value),
        _short((value + 1) / 2, value),
    ]
    allowed = [
        one
        for one in candidates
        if _is_allowed(best, name, one) and one not in numbers and (one > value) == (at > 0)
    ]
    edge = "least" if at == 0 else "greatest"
    start = f"{quoted}: the best value, {shown(value)}, is the {edge} of the grid"
    return [f"{start}; try {shown(allowed[0])}."] if allowed else []


def _short(number: float, like: Any) -> Any:
    return round(number) if isinstance(like, int) else float(f"{number:.2g}")


def _is_allowed(best: Any, name: str, value: Any) -> bool:
    try:
        best.config.replace(**{name: value})
    except FastMLPError:
        return False
    return True


def _more_seeds(points: Sequence[Any], metric: str) -> list[str]:
    """Say which points cannot be told from the best by their seeds."""
    best, (spread, degrees) = points[0], spread_near(points, metric, 1)
    if not degrees:
        if len(points) > 1:
            return [
                "One seed a point does not show what chance does: train the best points with three or more."
            ]
        return []
    seeds = len(best.trials)
    reach = 2 * spread * math.sqrt(2 / seeds)
    top = score_of(best, metric)
    near = [point.rank for point in points[1:] if abs(score_of(point, metric) - top) < reach]
    if not near:
        return []
    ranks = ", ".join(map(str, near[:8])) + (" ..." if len(near) > 8 else "")
    named = f"Ranks {ranks} are" if len(near) > 1 else f"Rank {ranks} is"
    return [
        f"{named} within what seeds explain of the best ({reach:.4f}): more seeds would tell them apart."
    ]


def spread_near(points: Sequence[Any], metric: str, rank: int) -> tuple[float, int]:
    """Return the standard deviation over seeds that a point shares with its neighbours, and its degrees of freedom.

    One point alone has too few seeds to tell its own. Neighbours whose spread an F test tells from the point's are
    left out: where some hardly learn, their seeds say nothing of the others'. Chance may have made the point's own
    spread very small, so it counts as no less than the median.
    """
    known = {
        point.rank: (spread**2, len(point.trials) - 1)
        for point in points
        if abs(point.rank - rank) <= NEIGHBOURS
        and point.sound
        and (spread := point.deviation(metric)) is not None
    }
    if not known:
        return 0.0, 0
    middle = float(np.median([variance for variance, _ in known.values()]))
    own, free = known.get(rank, (middle, 1))
    own = max(own, middle)
    alike = [
        (one, other)
        for place, (one, other) in known.items()
        if place == rank or (one <= own * _limit(other, free) and own <= one * _limit(free, other))
    ]
    degrees = sum(other for _, other in alike)
    return math.sqrt(math.fsum(one * other for one, other in alike) / degrees), degrees


@cache
def _limit(above: int, below: int) -> float:
    from scipy.stats import f

    return float(f.ppf(UNLIKELY, above, below))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
