"""Published values beside ours: the ``row``, ``epochs``, ``all`` and ``clock`` entries of a section.

A row has a ``label``, says which setting it is about (``part``, ``where``, ``best``), what was
published (``published = { test_accuracy = 0.86 }``), and, in ``because``, why ours may differ.
There ``{label|quantity}`` stands for our value in the row with that label. With ``epoch`` it is about
that epoch, not the end.

An ``epochs`` entry follows one setting: a line for each epoch of ``at``, columns for each of
``quantities``, and ``published = { train_loss = [0.5, nan] }`` with a value (or nan) for each line.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from fastmlp.errors import ConfigError
from fastmlp.reporting.chance import expected_interval, wilson
from fastmlp.reporting.document import Block, Details, Paragraph, Table
from fastmlp.studies.results import LOSS_SUM, Setting, StudyResults, epoch_seconds, varied
from fastmlp.studies.study import MAIN

WORDS = {
    "train_loss": "training loss",
    LOSS_SUM: "training loss, sum over batches",
    "train_accuracy": "training accuracy",
    "valid_loss": "validation loss",
    "valid_accuracy": "validation accuracy",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "epoch_seconds": "seconds an epoch",
    "train_cost": "training cost",
    "valid_cost": "validation cost",
}
FIELDS = {
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "batch_size": "batch",
    "hidden": "hidden widths",
    "patience": "early stopping",
    "initialization": "initialisation",
}
TOLERANCE = 0.02
MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


def compare(results: StudyResults, section: Mapping[str, Any]) -> list[Block]:
    """Return the table of a section's rows, and the reasons of what differs below it."""
    columns = section.get("columns", ["train_accuracy", "valid_accuracy", "test_accuracy"])
    tolerance = section.get("tolerance", TOLERANCE)
    rows = section.get("row", [])
    is_published = any(row.get("published") for row in rows)
    lines, reasons, missing = [], [], []
    for row in rows:
        setting = results.select(row)
        if setting is None:
            missing.append(row["label"])
            continue
        published, epoch = row.get("published", {}), row.get("epoch")
        differs = False
        for name in columns:
            value = published.get(name)
            found = ours(results, setting, name, epoch)
            within = interval_of(results, setting, name, epoch)
            line = [_label(row, setting), WORDS[name], found, within]
            if is_published:
                verdict = judge(results, setting, (name, epoch), value, tolerance)
                differs |= verdict.startswith("differs")
                line = [*line[:2], number(results, name, value), *line[2:], verdict]
            lines.append(line)
        if differs and not results.study.is_quick:
            because = _filled(results, row.get("because") or "not explained")
            reasons.append(f"**Why {row['label']} differs:** {because}")
    blocks: list[Block] = []
    if lines:
        seeds = {len(setting.trials) for row in rows if (setting := results.select(row))}
        many = " or ".join(map(str, sorted(seeds)))
        near = number(results, "test_accuracy", tolerance)
        header = ["setting", "quantity", "ours", "95 %"]
        told = (
            f"Ours: mean {PLUS_MINUS} standard deviation over {many} "
            f"seed{'s' * (many != '1')}; 95 %: Wilson's interval of an accuracy by the size of its part."
        )
        if is_published:
            header = [*header[:2], "published", *header[2:], "verdict"]
            told += (
                " A published value agrees where one more training would end in 95 of 100 cases, by the spread over "
                f"seeds and that size together; where neither is known, within {near} of the mean."
            )
        blocks += [Table(header, lines), Paragraph(told)]
    blocks += [Paragraph(reason) for reason in reasons]
    if missing:
        blocks.append(Paragraph(f"Not run on this machine: {', '.join(missing)}."))
    return blocks


def follow(results: StudyResults, entry: Mapping[str, Any]) -> list[Block]:
    """Return the table of an ``epochs`` entry."""
    setting = results.select(entry)
    if setting is None:
        return [Paragraph("Not run on this machine.")]
    published, header = entry.get("published", {}), ["epochs"]
    for name in entry["quantities"]:
        if name in published:
            header.append(f"{WORDS[name]}: published")
        header.append(f"{WORDS[name]}: ours")
    rows = []
    for line, epoch in enumerate(entry["at"]):
        rows.append([str(epoch)])
        for name in entry["quantities"]:
            if name in published:
                value = published[name][line]
                rows[-1].append(number(results, name, None if math.isnan(value) else value))
            rows[-1].append(ours(results, setting, name, epoch))
    return [Table(header, rows)]


def list_all(results: StudyResults, part: str) -> list[Block]:
    """Return every setting of a part, the best by validation first."""
    settings = results.settings(part)
    names = varied(settings)
    sign = 1 if results.study.metric == "valid_loss" else -1

    def place(setting: Setting) -> tuple[bool, float]:
        mean = setting.mean(results.study.metric)
        return mean is None, 0.0 if mean is None else sign * mean

    quantities = ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "test_accuracy"]
    rows = []
    for rank, setting in enumerate(sorted(settings, key=place), 1):
        config = setting.config.as_dict()
        epochs = sorted({one.trial.epochs for one in setting.trials})
        span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
        cells = [ours(results, setting, name) for name in quantities]
        rows.append([str(rank), *(field_value(config[name]) for name in names), *cells, span])
    header = ["rank", *(FIELDS.get(name, name) for name in names)]
    header += [*(WORDS[name] for name in quantities), "epochs"]
    return [
        Details(f"All {len(settings)} settings of this study's {part} grid", Table(header, rows))
    ]


def clock(results: StudyResults, entry: Mapping[str, Any]) -> list[Block]:
    """Return how long a part took beside what was published, for the grid or an epoch of it.

    The entry has ``part``, ``per`` ("grid" or "epoch"), ``published`` (seconds) and ``says``.
    """
    trials = [one for one in results.trials if one.part == entry.get("part", MAIN)]
    if not trials:
        return []
    cores = results.machine["usable_cores"]
    if entry["per"] == "grid":
        first = min(one.config.seed for one in trials)
        chosen = [one.trial for one in trials if one.config.seed == first]
        at_once = min(cores, len(chosen))
        seconds = sum(trial.epochs * epoch_seconds(trial) for trial in chosen) / at_once
        words = f"{len(chosen)} trainings (one seed), {at_once} at a time"
    else:
        seconds = statistics.median(epoch_seconds(one.trial) for one in trials)
        words = f"an epoch on one core, median over {len(trials)} trainings"
    published = entry["published"]
    return [
        Table(
            ["time", "published", "ours", "times as fast"],
            [
                [
                    f"{entry['says']}: {words}",
                    _time(published),
                    _time(seconds),
                    f"{published / seconds:,.0f}",
                ]
            ],
        )
    ]


def judge(
    results: StudyResults,
    setting: Setting,
    quantity: tuple[str, int | None],
    published: float | None,
    tolerance: float,
) -> str:
    """Say whether ours agrees with a published value.

    It agrees if one more training would end there, by the spread over seeds and the size of the part, as far as its
    digits tell. Where neither is known, it agrees within the tolerance; beyond that the verdict names the spread.

    Parameters
    ----------
    results : StudyResults
    setting : Setting
    quantity : (str, int or None)
        Its name, and the epoch if it is not that of the end.
    published : float or None
    tolerance : float
    """
    name, epoch = quantity
    mean = setting.mean(name, epoch)
    if published is None:
        return "cannot be compared: not published"
    if mean is None:
        return "cannot be compared: not all of ours ended"
    difference = mean - published
    span = expected_interval(setting.values(name, epoch), results.rows(setting.part, name))
    low, high = (mean - tolerance, mean + tolerance) if span is None else span
    digits = 0.0 if span is None else half_digit(published)
    if low - digits <= published <= high + digits:
        return "agrees" if abs(difference) <= tolerance else "agrees, within the spread of seeds"
    shown = number(results, "test_accuracy", abs(difference))
    return f"differs by {'+' if difference > 0 else MINUS}{shown}"


def half_digit(value: float) -> float:
    """Return half a unit of a number's last digit: 0.005 of 0.86."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    return 0.5 * 10.0**exponent if isinstance(exponent, int) else 0.0


def interval_of(results: StudyResults, setting: Setting, name: str, epoch: int | None) -> str:
    """Return Wilson's interval of an accuracy by the size of its part, for a table; nothing for other numbers."""
    mean, count = setting.mean(name, epoch), results.rows(setting.part, name)
    if mean is None or count is None:
        return ""
    low, high = wilson(mean, count)
    return f"{number(results, name, low)} to {number(results, name, high)}"


def ours(results: StudyResults, setting: Setting, name: str, epoch: int | None = None) -> str:
    """Return the mean and standard deviation of a number over seeds, at the end or after an epoch."""
    lost = [one.trial.status for one in setting.trials if not one.trial.sound]
    if lost:
        return (
            f"{'failed' if 'failed' in lost else 'diverged'} ({len(lost)} of {len(setting.trials)})"
        )
    values = setting.values(name, epoch)
    return with_spread(results, name, values) if len(values) == len(setting.trials) else ""


def with_spread(results: StudyResults, name: str, values: Sequence[float]) -> str:
    """Return the mean of a number and, of several, their standard deviation."""
    if not values:
        return ""
    told = [statistics.fmean(values), *([statistics.stdev(values)] if len(values) > 1 else [])]
    return f" {PLUS_MINUS} ".join(number(results, name, one) for one in told)


def range_of(seconds: Sequence[float]) -> str:
    """Return the median of seconds and, of several, the least and the greatest."""
    span = f" ({min(seconds):.3g} to {max(seconds):.3g})" if len(seconds) > 1 else ""
    return f"{statistics.median(seconds):.3g}{span}" if seconds else ""


def number(results: StudyResults, name: str, value: float | None) -> str:
    """Return a number as the report prints that quantity."""
    if value is None:
        return "\N{EM DASH}"
    if name == "epoch_seconds":
        return f"{value:.3g}"
    if name.endswith("accuracy") and results.study.percent:
        return f"{100 * value:.2f} %"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.4g}"


def field_value(value: Any) -> str:
    """Return the value of a field of TrainConfig for a table or legend."""
    if isinstance(value, tuple):
        between = ", " if any(isinstance(one, str) for one in value) else "-"
        return between.join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _label(row: Mapping[str, Any], setting: Setting) -> str:
    """Return a row's label; where the best was searched for, with what was found."""
    if not row.get("best"):
        return str(row["label"])
    names = row.get("tell", [])
    config = setting.config.as_dict()
    told = ", ".join(f"{FIELDS.get(name, name)} {field_value(config[name])}" for name in names)
    return f"{row['label']} ({told})" if told else str(row["label"])


def _filled(results: StudyResults, text: str) -> str:
    """Replace each ``{label|quantity}`` by our value."""
    rows = {
        row["label"]: row for section in results.study.sections for row in section.get("row", [])
    }

    def value(match: re.Match[str]) -> str:
        label, name = match.groups()
        if label not in rows:
            raise ConfigError(f"because: found {label!r}, expected the label of a row")
        setting = results.select(rows[label])
        return "(not run)" if setting is None else ours(results, setting, name)

    return re.sub(r"\{([^|{}]+)\|(\w+)\}", value, text)


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return (
        f"{minutes:.1f} min" if minutes < 60 else f"{int(minutes // 60)} h {minutes % 60:.0f} min"
    )
