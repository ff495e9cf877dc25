"""The results of a study: its trials as values, and the few small files that a report is made of.

``trials.csv`` has a line a trial, ``histories.csv.gz`` a line an epoch (six digits, for figures),
``measured.json`` what is no trial (gradient checks, counts), ``machine.json`` what it ran on.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from fastmlp.errors import ConfigError
from fastmlp.machine.files import write_atomic, write_text
from fastmlp.reporting.tables import csv_table, plain_cell
from fastmlp.search.record import NOT_IN_A_KEY, NUMBERS, Trial
from fastmlp.studies.study import MAIN, Study
from fastmlp.training.config import TrainConfig

TRIALS, HISTORIES, MEASURED, MACHINE = (
    "trials.csv",
    "histories.csv.gz",
    "measured.json",
    "machine.json",
)
# Of trials.csv and of Trial. "epochs" in the file is TrainConfig's, the most that there could have been.
TRIAL_COLUMNS = {
    **{name: name for name in ("seed", "status", "reason")},
    **{"epochs_trained": "epochs", "epoch_kept": "epoch"},
    **{name: name for name in (*NUMBERS, "seconds")},
}
HISTORY_COLUMNS = (*NUMBERS[:4], "train_cost", "valid_cost", "seconds")
LOSS_SUM = "train_loss_sum"  # the mean training loss of each batch, added up over an epoch
IMAGES = "images"  # in measured.json: how many images each part trains on
ROWS = "rows"  # there: how many each part trains on, is validated and tested on
UNITS = ("epochs", "steps", "seconds")


@dataclass(frozen=True)
class StudyTrial:
    """A trial of a part of a study: its configuration and what came of it."""

    part: str
    config: TrainConfig
    trial: Trial


@dataclass(frozen=True)
class Setting:
    """The trials of one configuration, one a seed, each trained on so many images."""

    part: str
    trials: tuple[StudyTrial, ...]
    images: int

    @property
    def config(self) -> TrainConfig:
        """The settings, with the first seed."""
        return self.trials[0].config

    @property
    def sound(self) -> bool:
        """Whether every training came to a regular end."""
        return all(one.trial.sound for one in self.trials)

    @property
    def steps(self) -> int:
        """The steps of an epoch."""
        return math.ceil(self.images / self.config.batch_size)

    def values(self, name: str, epoch: int | None = None) -> list[float]:
        """Return a number of each trial that came to a regular end, or of one of its epochs."""
        sound = [one.trial for one in self.trials if one.trial.sound]
        if name == LOSS_SUM:
            return [self.steps * value for value in self.values("train_loss", epoch)]
        if name == "epoch_seconds":
            return [epoch_seconds(trial) for trial in sound]
        if epoch is not None:
            rows = [trial.history[epoch - 1] for trial in sound if len(trial.history) >= epoch]
            found = [row.get(name) for row in rows]
        else:
            found = [getattr(trial, name, None) for trial in sound]
        return [value for value in found if value is not None]

    def training_seconds(self) -> list[float]:
        """Return the seconds that the epochs of each trial took that came to a regular end."""
        sound = [one.trial for one in self.trials if one.trial.sound]
        return [math.fsum(row["seconds"] for row in trial.history) for trial in sound]

    def curve(self, name: str, trial: Trial) -> list[float]:
        """Return a number of each epoch of a trial; NaN where there is none."""
        column, factor = ("train_loss", self.steps) if name == LOSS_SUM else (name, 1)
        found = [row.get(column) for row in trial.history]
        return [math.nan if value is None else factor * value for value in found]

    def reached(self, name: str, level: float) -> list[dict[str, float]]:
        """Return how long each trial took to reach a level, in each of `UNITS`; infinity if it never did.

        A loss reaches a level from above, an accuracy from below.
        """
        found = []
        for one in self.trials:
            curve = self.curve(name, one.trial)
            there = [value >= level if "accuracy" in name else value <= level for value in curve]
            if not one.trial.sound or True not in there:
                found.append(dict.fromkeys(UNITS, math.inf))
                continue
            epochs = 1 + there.index(True)
            seconds = sum(row["seconds"] for row in one.trial.history[:epochs])
            counts = (epochs, epochs * self.steps, seconds)
            found.append(dict(zip(UNITS, counts, strict=True)))
        return found

    def mean(self, name: str, epoch: int | None = None) -> float | None:
        """Return the mean over seeds; None if a trial has no such number."""
        values = self.values(name, epoch)
        return statistics.fmean(values) if len(values) == len(self.trials) else None

    def deviation(self, name: str) -> float:
        """Return the sample standard deviation over seeds; 0 for one seed."""
        values = self.values(name)
        return statistics.stdev(values) if len(values) > 1 else 0.0

    def matches(self, where: Mapping[str, Any]) -> bool:
        """Return whether the settings have these values; "none" stands for None."""
        config = self.config.as_dict()
        for name, value in where.items():
            if name not in config:
                raise ConfigError(f"where: found {name!r}, expected parameters of TrainConfig")
            wanted = tuple(value) if isinstance(value, list) else value
            if config[name] != (None if value == "none" else wanted):
                return False
        return True


@dataclass(frozen=True)
class StudyResults:
    """All that a report is made of, with the study that asked for it."""

    study: Study
    trials: Sequence[StudyTrial]
    measured: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, part: str = MAIN, where: Mapping[str, Any] | None = None) -> list[Setting]:
        """Return the settings of a part whose fields have the values of `where`."""
        groups: dict[TrainConfig, list[StudyTrial]] = {}
        for one in self.trials:
            if one.part == part:
                groups.setdefault(one.config.replace(seed=0), []).append(one)
        images = self.measured.get(IMAGES, {}).get(part, 0)
        settings = [Setting(part, tuple(trials), images) for trials in groups.values()]
        return [setting for setting in settings if setting.matches(where or {})]

    def rows(self, part: str, name: str) -> int | None:
        """Return how many images an accuracy was measured on; None if it is no accuracy, or that is not known."""
        counts = self.measured.get(ROWS, {}).get(part, {})
        return counts.get(name.partition("_")[0]) if name.endswith("accuracy") else None

    def select(self, entry: Mapping[str, Any]) -> Setting | None:
        """Return the one setting that an entry of the study file means; None if it was not run.

        ``part`` and ``where`` narrow the choice; ``best = true`` takes the best of what is left by
        validation, a diverged one never.
        """
        part, where = entry.get("part", MAIN), entry.get("where", {})
        settings = self.settings(part, where)
        if entry.get("best"):
            loss = self.study.metric == "valid_loss"
            scores = {
                (-score if loss else score): setting
                for setting in reversed(settings)
                if setting.sound and (score := setting.mean(self.study.metric)) is not None
            }
            return scores[max(scores)] if scores else None
        if len(settings) > 1:
            raise ConfigError(
                f"{self.study.name}: where = {dict(where)} means {len(settings)} points of {part}, "
                "expected one; add fields, or best = true"
            )
        return settings[0] if settings else None

    def write(self, folder: Path) -> None:
        """Write the four files."""
        # `read` begins with a part's own settings, from which a grid of one value differs, too.
        parts = [self.study.parts[name].config for name in {one.part: None for one in self.trials}]
        varied = _varied([*parts, *(one.config for one in self.trials)])
        table = [
            {
                "part": one.part,
                **{name: json.dumps(getattr(one.config, name)) for name in varied},
                **{column: getattr(one.trial, name) for column, name in TRIAL_COLUMNS.items()},
            }
            for one in self.trials
        ]
        curves = [
            {"trial": number, "epoch": row["epoch"]}
            | {name: _short(row.get(name)) for name in HISTORY_COLUMNS}
            for number, one in enumerate(self.trials)
            for row in one.trial.history
        ]
        header = ["part", *varied, *TRIAL_COLUMNS]
        write_text(folder / TRIALS, _csv(header, table))
        text = _csv(["trial", "epoch", *HISTORY_COLUMNS], curves)
        write_atomic(folder / HISTORIES, gzip.compress(text.encode(), mtime=0))
        for name, value in ((MEASURED, self.measured), (MACHINE, self.machine)):
            write_atomic(folder / name, (json.dumps(value, indent=1) + "\n").encode())

    @classmethod
    def read(cls, study: Study, folder: Path) -> Self:
        """Read what `write` wrote for this study."""
        histories: dict[int, list[dict[str, Any]]] = {}
        with gzip.open(folder / HISTORIES, "rt", encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                row = {name: float(line[name]) if line[name] else None for name in HISTORY_COLUMNS}
                history = histories.setdefault(int(line["trial"]), [])
                history.append({"epoch": int(line["epoch"]), **row})
        known = {one.name for one in fields(TrainConfig)}
        trials = []
        with (folder / TRIALS).open(encoding="utf-8", newline="") as file:
            for number, line in enumerate(csv.DictReader(file)):
                changes = {
                    name: json.loads(value)
                    for name, value in line.items()
                    if name in known and name not in NOT_IN_A_KEY
                }
                seed = int(line["seed"])
                config = study.parts[plain_cell(line["part"])].config.replace(**changes, seed=seed)
                trial = Trial(
                    seed=seed,
                    status=line["status"],  # type: ignore[arg-type]
                    reason=plain_cell(line["reason"]),
                    epochs=int(line["epochs_trained"]),
                    epoch=int(line["epoch_kept"]),
                    history=histories.get(number, []),
                    **{
                        name: float(line[name]) if line[name] else None
                        for name in (*NUMBERS, "seconds")
                    },  # type: ignore[arg-type]
                )
                trials.append(StudyTrial(plain_cell(line["part"]), config, trial))
        measured, machine = (
            json.loads((folder / name).read_text("utf-8")) for name in (MEASURED, MACHINE)
        )
        return cls(study, trials, measured, machine)


def epoch_seconds(trial: Trial) -> float:
    """Return what an epoch of training takes: the median, which no interruption changes."""
    return float(statistics.median(row["seconds"] for row in trial.history))


def varied(settings: Iterable[Setting]) -> list[str]:
    """Return the fields in which some settings differ."""
    return _varied([setting.config for setting in settings])


def _varied(configs: Sequence[TrainConfig]) -> list[str]:
    return [
        one.name
        for one in fields(TrainConfig)
        if one.name not in NOT_IN_A_KEY
        and len({getattr(config, one.name) for config in configs}) > 1
    ]


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _csv(header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    return csv_table([header, *([row.get(name) for name in header] for row in rows)])
