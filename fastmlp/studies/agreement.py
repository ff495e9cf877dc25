"""How far implementations agree: the pairs of parts under a section's ``twins``.

A pair has ``ours`` and ``theirs``, two parts with the same settings but for the type. Where the types differ, too, the
pair shows how far rounding alone carries a training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastmlp.reporting.document import Block, Paragraph, Table
from fastmlp.studies.laboratory import Laboratory
from fastmlp.studies.results import StudyResults

LIMITS = {"float32": 1e-4, "float64": 1e-9}  # of a difference between training losses
SETTINGS = ("learning_rate", "momentum", "weight_decay")  # that tell apart the trainings of a part


def take_twins(lab: Laboratory, section: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how far the training losses of each pair's trainings differ."""
    pairs = [(entry["ours"], entry["theirs"]) for entry in section["twins"]]
    return [row for ours, theirs in pairs for row in _differences(lab.results, ours, theirs)]


def _differences(results: StudyResults, ours: str, theirs: str) -> list[dict[str, Any]]:
    rows = []
    for other in results.settings(theirs):
        config = other.config
        same = {"epochs": config.epochs, "dtype": config.dtype}
        setting = next(
            (one for one in results.settings(ours) if one.config.replace(**same) == config), None
        )
        if setting is None:  # not run on this machine
            continue
        histories = setting.trials[0].trial.history, other.trials[0].trial.history
        # Trainings that diverge may end in different epochs.
        gaps = [abs(a["train_loss"] - b["train_loss"]) for a, b in zip(*histories, strict=False)]
        limit = LIMITS[config.dtype] if setting.config.dtype == config.dtype else None
        rows.append(
            {
                "ours": ours,
                "theirs": theirs,
                **{name: getattr(config, name) for name in SETTINGS},
                "first": gaps[0],
                "largest": max(gaps),
                "within": max(gaps) < limit if limit else None,
            }
        )
    return rows


def show_twins(results: StudyResults, section: Mapping[str, Any], taken: Any) -> list[Block]:
    """Return the table of differences, with what explains those beyond the limits."""
    parts = results.study.parts
    rows = [
        [
            f"({row['learning_rate']:g}, {row['momentum']:g}, {row['weight_decay']:g})",
            parts[row["ours"]].label,
            parts[row["theirs"]].label,
            f"{row['first']:.1e}",
            f"{row['largest']:.1e}",
            {True: "yes", False: "no", None: ""}[row["within"]],
        ]
        for row in taken
    ]
    header = [
        *("model (rate, momentum, decay)", "implementation", "another"),
        *("training loss differs after epoch 1 by", "at most, over all epochs", "within the limit"),
    ]
    limits = " and ".join(f"{limit:g} in {name}" for name, limit in LIMITS.items())
    blocks: list[Block] = [Table(header, rows), Paragraph(f"The limits are {limits}.")]
    if _rounding_explains(results, taken):
        blocks.append(
            Paragraph(
                "Beyond the limit are trainings that make the rounding of float32 grow: one "
                "implementation parts from itself as far (no less than a third of it) when it changes "
                "its type, as the rows without a limit show."
            )
        )
    asked = {name: None for entry in section["twins"] for name in (entry["ours"], entry["theirs"])}
    missing = [parts[name].label for name in asked if not results.settings(name)]
    if missing:
        blocks.append(Paragraph(f"Not run on this machine: {'; '.join(missing)}."))
    return blocks


def _rounding_explains(results: StudyResults, taken: Any) -> bool:
    """Return whether some twins part, and none by over thrice what one does by changing its type."""
    by_rounding = {
        tuple(row[name] for name in SETTINGS): row["largest"]
        for row in taken
        if row["within"] is None
    }
    apart = [row for row in taken if row["within"] is False]
    return bool(apart) and all(
        results.study.parts[row["ours"]].config.dtype == "float32"
        and row["largest"] <= 3 * by_rounding.get(tuple(row[name] for name in SETTINGS), 0)
        for row in apart
    )
