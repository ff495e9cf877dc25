"""Which choices that a publication left out fit all of its numbers together: the parts under a section's ``fits``.

A set of choices is what the trainings of some models share: a part, and every setting but the optimiser's numbers that
tell the models apart. It is scored by the likelihood of the published numbers of the section's rows. Each number is
taken as one more draw from where ours come from: Student's t about our mean over seeds. The variance of a few seeds is
uncertain, so it is drawn towards the median variance of that number over all sets, which counts like `PRIOR` more
seeds; to it comes the published number's rounding and, where other images validated, the chance of drawing those.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fastmlp.errors import ConfigError
from fastmlp.reporting.document import Block, Paragraph, Table
from fastmlp.reporting.tables import shown
from fastmlp.studies.laboratory import Laboratory
from fastmlp.studies.results import Setting, StudyResults, varied
from fastmlp.studies.study import MAIN
from fastmlp.studies.tables import MINUS, PLUS_MINUS

# What tells the models of a set apart. A set has as many as the section has rows, in the same order.
MODELS = ("learning_rate", "momentum", "weight_decay")
PRIOR = 2  # seeds that the median variance counts like
ROUNDING = 0.0005  # of a published number: half of its last digit
NEAR = 2.0  # standard deviations within which a number fits
SHOWN = 10  # best sets that a report lists

Section = Mapping[str, Any]


def take_likelihoods(lab: Laboratory, section: Section) -> dict[str, Any]:
    """Return the score of each set of choices, best first, with what each published number is to it."""
    rows = section["row"]
    sets = [
        (entry["part"], models)
        for entry in section["fits"]
        for models in _sets(lab.results, entry["part"], len(rows))
    ]
    if not sets:
        raise ConfigError("fits: found no set of choices with a training for each row")
    names = _names(sets)
    images = [len(lab.data(part)[1]) for part, _ in sets]
    numbers = [
        _numbers(row, [models[place] for _, models in sets], images)
        for place, row in enumerate(rows)
    ]
    used = {one.config.replace(seed=0) for one in lab.results.trials if one.part == MAIN}
    scored = []
    for place, (part, models) in enumerate(sets):
        told = [found[place] for model in numbers for found in model]
        config = models[0].config.as_dict()
        scored.append(
            {
                "part": part,
                "used": {setting.config for setting in models} == used,
                "choices": {name: config[name] for name in names},
                "score": sum(one["score"] for one in told),
                "numbers": told,
            }
        )
    scored.sort(key=lambda one: -one["score"])
    trainings = sum(len(setting.trials) for _, models in sets for setting in models)
    return {"trainings": trainings, "sets": scored}


def _sets(results: StudyResults, part: str, count: int) -> list[list[Setting]]:
    """Return the settings of each set of a part, in the file's order; sets that diverged are left out."""
    groups: dict[Any, list[Setting]] = {}
    for setting in results.settings(part):
        same = dict.fromkeys(MODELS, 0.5)
        groups.setdefault(setting.config.replace(nesterov=False, **same), []).append(setting)
    return [
        models
        for models in groups.values()
        if len(models) == count and all(one.sound for one in models)
    ]


def _names(sets: Sequence[tuple[str, Sequence[Setting]]]) -> list[str]:
    """Return the settings that differ between sets of a part; what a part alone does, its label says."""
    found: dict[str, None] = {}
    for part in dict.fromkeys(part for part, _ in sets):
        differ = varied(setting for one, models in sets if one == part for setting in models)
        found |= dict.fromkeys(name for name in differ if name not in (*MODELS, "nesterov"))
    return list(found)


def _numbers(
    row: Mapping[str, Any], settings: Sequence[Setting], images: Sequence[int]
) -> list[list[Any]]:
    """Return for each published number of a row what it is to each of some settings."""
    found = []
    for quantity, published in row["published"].items():
        spreads = [setting.deviation(quantity) ** 2 for setting in settings]
        usual = statistics.median(spreads)
        found.append(
            [
                _judged(row["label"], quantity, published, setting, usual, validated)
                for setting, validated in zip(settings, images, strict=True)
            ]
        )
    return found


def _judged(
    label: str, quantity: str, published: float, setting: Setting, usual: float, images: int
) -> dict[str, Any]:
    from scipy.stats import t

    values = setting.values(quantity)
    count, mean = len(values), statistics.fmean(values)
    freedom = count - 1 + PRIOR
    variance = ((count - 1) * setting.deviation(quantity) ** 2 + PRIOR * usual) / freedom
    variance = variance * (1 + 1 / count) + ROUNDING**2
    if quantity == "valid_accuracy":
        variance += published * (1 - published) / images
    scale = math.sqrt(variance)
    return {
        "model": label,
        "quantity": quantity,
        "published": published,
        "mean": mean,
        "deviation": scale,
        "score": float(t.logpdf(published, freedom, mean, scale)),
    }


def show_likelihoods(results: StudyResults, section: Section, taken: Any) -> list[Block]:
    """Return what fits best, what the others miss, which choices matter, and which numbers exclude each other."""
    sets = taken["sets"]
    best, used = sets[0], next((one for one in sets if one["used"]), None)
    blocks: list[Block] = [
        Paragraph(
            f"{taken['trainings']:,} trainings of {len(sets)} sets of choices. The score is the logarithm of the "
            "likelihood of all published numbers under our mean and spread over seeds, the images that validated "
            "included; a set that is 1 lower makes them 2.7 times less likely."
        ),
        _ranking(results, sets[:SHOWN], best),
    ]
    if used is not None and used is not best:
        behind = best["score"] - used["score"]
        blocks.append(
            Paragraph(f"The set that the rows below use is {behind:.1f} behind the best.")
        )
    blocks += [_comparison(results, best, sets[1] if len(sets) > 1 else None)]
    blocks += [Paragraph(_told_misses(best)), _choices(results, sets)]
    return [*blocks, Paragraph(_told_exclusions(sets))]


def _spelled(results: StudyResults, one: Mapping[str, Any]) -> str:
    told = [f"{name.replace('_', ' ')} {shown(value)}" for name, value in one["choices"].items()]
    return ", ".join([*told, results.study.parts[one["part"]].label])


def _misses(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        number
        for number in one["numbers"]
        if abs(number["published"] - number["mean"]) > NEAR * number["deviation"]
    ]


def _ranking(results: StudyResults, sets: Sequence[Any], best: Mapping[str, Any]) -> Table:
    rows = [
        [
            _spelled(results, one),
            f"{one['score']:.1f}".replace("-", MINUS),
            f"{best['score'] - one['score']:.1f}",
            f"{len(one['numbers']) - len(_misses(one))} of {len(one['numbers'])}",
        ]
        for one in sets
    ]
    return Table(["set of choices", "score", "behind the best", "numbers that fit"], rows)


def _comparison(results: StudyResults, best: Any, second: Any) -> Table:
    header = ["model", "quantity", "published", "best set"]
    columns = [best]
    if second is not None:
        header.append("runner-up")
        columns.append(second)
    rows = [
        [
            numbers[0]["model"],
            numbers[0]["quantity"].replace("_", " "),
            f"{numbers[0]['published']:.3f}",
            *(
                f"{one['mean']:.4f} {PLUS_MINUS} {one['deviation']:.4f} ({_deviations(one):+.1f})".replace(
                    "-", MINUS
                )
                for one in numbers
            ),
        ]
        for numbers in zip(*(one["numbers"] for one in columns), strict=True)
    ]
    return Table(header, rows)


def _deviations(number: Mapping[str, Any]) -> float:
    return float((number["published"] - number["mean"]) / number["deviation"])


def _told_misses(best: Mapping[str, Any]) -> str:
    missed = _misses(best)
    after = "In brackets: how many deviations the published number lies from ours."
    if not missed:
        return f"{after} All {len(best['numbers'])} are within {NEAR:g} in the best set."
    told = "; ".join(f"{one['model']}, {one['quantity'].replace('_', ' ')}" for one in missed)
    return f"{after} Beyond {NEAR:g} in the best set: {told}."


def _choices(results: StudyResults, sets: Sequence[Any]) -> Table:
    """Return, for each choice, the best score that a set with each of its values has."""
    labels = {one["part"]: results.study.parts[one["part"]].label for one in sets}
    readings = {name.replace("_", " "): name for name in sets[0]["choices"]} | {"the rest": None}
    rows = []
    for name, choice in readings.items():
        best: dict[str, float] = {}
        for one in sets:  # the best first
            value = labels[one["part"]] if choice is None else shown(one["choices"][choice])
            best.setdefault(value, one["score"])
        if len(best) < 2:
            continue
        top = max(best.values())
        told = ", ".join(f"{value} {top - score:.1f}" for value, score in best.items())
        rows.append([name, told, f"{max(best.values()) - sorted(best.values())[-2]:.1f}"])
    return Table(
        [
            "choice",
            "values, and how far the best set with each is behind",
            "what the best value gains",
        ],
        rows,
    )


def _told_exclusions(sets: Sequence[Any]) -> str:
    """Return which pairs of published numbers fit in no set together."""
    fits = [
        {place for place, number in enumerate(one["numbers"]) if number not in _misses(one)}
        for one in sets
    ]
    numbers = sets[0]["numbers"]
    never = [place for place in range(len(numbers)) if not any(place in one for one in fits)]
    pairs = [
        pair
        for pair in itertools.combinations(range(len(numbers)), 2)
        if not set(pair) & set(never) and not any(set(pair) <= one for one in fits)
    ]

    def told(place: int) -> str:
        return f"{numbers[place]['model']}'s {numbers[place]['quantity'].replace('_', ' ')}"

    alone = f"No set has {', '.join(map(told, never))}. " if never else ""
    if not pairs:
        return f"{alone}Any two of the {'other ' if never else ''}published numbers fit together in some set."
    excluded = "; ".join(f"{told(a)} and {told(b)}" for a, b in pairs)
    return f"{alone}Numbers that no set has together: {excluded}."
