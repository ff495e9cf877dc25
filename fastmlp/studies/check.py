"""What a study asks for, checked before hours of training instead of after them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fastmlp.errors import ConfigError
from fastmlp.studies import claims, figures, measures, pictures, tables
from fastmlp.studies.kinds import refuse
from fastmlp.studies.study import MAIN, Study
from fastmlp.training.config import TrainConfig

# What an entry of a section cannot do without, whatever its kind; and what its kind adds.
NEEDS = {
    "row": ("label",),
    "epochs": ("at", "quantities"),
    "clock": ("says", "per", "published"),
    "claim": ("says",),
    "figure": ("file", "caption"),
    "twins": ("ours", "theirs"),
    "fits": ("part",),
    "record": (),
}
KINDS_NEED: Mapping[str, Mapping[str, Collection[str]]] = {
    "claim": {kind: needs for kind, (_, needs) in claims.TESTS.items()},
    "figure": figures.NEEDS | {kind: needs for kind, (_, needs) in pictures.KINDS.items()},
}


def check(study: Study) -> None:
    """Check that a study can be trained and told.

    Raises
    ------
    ConfigError
        If it asks for what there is not.
    """
    for part in study.parts.values():
        if part.kind:
            for point in part.points:
                refuse(part.kind, point.config)
    _check_files(study)
    for number, section in enumerate(study.sections, 1):
        _all_of(f"{study.name}: section {number}", section, ["title"])
        title = f"{study.name}: section {section['title']!r}"
        _one_of(f"{title}, columns", section.get("columns", []), tables.WORDS)
        _one_of(f"{title}, measure", section.get("measure", []), measures.MEASURES)
        _one_of(f"{title}, all", section.get("all", []), study.parts)
        _check_measures(study, title, section)
        for table in NEEDS:
            asked = section.get(table, [])
            for entry in [asked] if isinstance(asked, Mapping) else asked:
                _check_entry(study, f"{title}, {table}", table, entry)


def _check_files(study: Study) -> None:
    """Check that no two figures go to the same file, on systems that do not tell capital letters, either."""
    names = figures.file_names(study)
    for name in names:
        others = [one for one in names if one.casefold() == name.casefold()]
        if len(others) > 1:
            raise ConfigError(f"{study.name}: found figures of the files {others}, expected others")


def _check_measures(study: Study, title: str, section: Mapping[str, Any]) -> None:
    """Check that what is measured is named elsewhere in the file, and can be measured."""
    rows = [row for one in study.sections for row in one.get("row", [])]
    for name, found, expected in (
        ("confusion", any("confusion" in row for row in rows), "a row with `confusion`"),
        ("twins", "twins" in section, "`twins` in the section"),
        ("record", "record" in section, "`record` in the section"),
        (
            "front",
            any(one.get("kind") == "front" for one in section.get("figure", [])),
            "a figure of the kind front in the section",
        ),
        ("likelihoods", {"fits", "row"} <= section.keys(), "`fits` and `row` in the section"),
        (  # a batchnorm does not compute in a test what it trains
            "gradients",
            "batchnorm" not in measures.checked(study).hidden,
            "a last point of the main grid without batchnorm",
        ),
    ):
        if name in section.get("measure", []) and not found:
            raise ConfigError(f"{title}, measure: found {name!r}, expected {expected}")


def _check_entry(study: Study, name: str, table: str, entry: Mapping[str, Any]) -> None:
    settings, sides = TrainConfig().as_dict(), entry.get("sides", [])
    if table in KINDS_NEED:
        _one_of(f"{name}.kind", [entry.get("kind")], KINDS_NEED[table])
        _all_of(name, entry, KINDS_NEED[table][entry["kind"]])
    _all_of(name, entry, NEEDS[table])
    if table == "twins":
        _one_of(name, [entry["ours"], entry["theirs"]], study.parts)
    if entry.get("kind") == "series" and "sides" not in entry:
        _all_of(name, entry, ["by"])
        _one_of(f"{name}.by", [entry["by"]], settings)
    if table == "claim" and "axis" in entry:  # of a figure, words
        _one_of(f"{name}.axis", [entry["axis"]], settings)
    if "metric" in entry:
        _one_of(f"{name}.metric", [entry["metric"]], tables.WORDS)
    _one_of(f"{name}.quantities", entry.get("quantities", []), tables.WORDS)
    _one_of(f"{name}.tell", entry.get("tell", []), settings)
    for side in sides:
        _all_of(f"{name}.sides", side, ["label"])
    if table == "claim":
        _check_claim(study, name, entry)
    if "words" in entry:
        twins = entry.get("twins", [MAIN]) if entry.get("kind") == "bars" else [MAIN]
        shown = len(twins) * len(entry.get("quantities", figures.SHOWN))
        if len(entry["words"]) != shown:
            raise ConfigError(f"{name}.words: found {entry['words']}, expected {shown} of them")
    if entry.get("kind") == "record":
        measured = [one for section in study.sections for one in section.get("measure", [])]
        if "record" not in measured:
            raise ConfigError(f"{name}.kind: found 'record', expected the measure record, too")
    if table == "figure":
        _one_of(f"{name}.twins", entry.get("twins", []), study.parts)
    if table in ("row", "epochs"):
        _check_published(name, entry)
    for one in (entry, *sides):
        _one_of(f"{name}.part", [one.get("part", MAIN)], study.parts)
        _one_of(f"{name}.where", one.get("where", {}), settings)


def _check_claim(study: Study, name: str, claim: Mapping[str, Any]) -> None:
    """Check what a kind of claim needs of the values in it."""
    kind = claim["kind"]
    if kind == "same" and len(claim["sides"]) != 2:
        raise ConfigError(f"{name}.sides: found {len(claim['sides'])}, expected two")
    if kind == "within":
        numbers = [field for field, value in TrainConfig().as_dict().items() if _is_number(value)]
        _one_of(f"{name}.axis", [claim["axis"]], numbers)
    if kind == "pairs":
        config = study.parts[claim.get("part", MAIN)].config
        for value in (claim["worse"], *claim["better"]):
            config.replace(**{claim["axis"]: value})


def _check_published(name: str, entry: Mapping[str, Any]) -> None:
    """Check that what was published are numbers: one, or one for each epoch that is followed."""
    for quantity, value in entry.get("published", {}).items():
        _one_of(f"{name}.published", [quantity], tables.WORDS)
        lines = [len(entry["at"])] if "at" in entry else []
        found = [len(value)] if isinstance(value, list) else []
        if found != lines:
            expected = f"{lines[0]} numbers, one for each of `at`" if lines else "a number"
            raise ConfigError(f"{name}.published.{quantity}: found {value!r}, expected {expected}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _all_of(name: str, entry: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if key not in entry:
            raise ConfigError(f"{name}.{key}: not found, expected it")


def _one_of(name: str, values: Iterable[object], known: Collection[str]) -> None:
    for value in values:
        if value not in known:
            raise ConfigError(f"{name}: found {value!r}, expected one of {', '.join(known)}")
