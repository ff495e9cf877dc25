"""The table of runs: which columns it has, which runs it keeps, and in which order."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastmlp.errors import ConfigError, suggest
from fastmlp.reporting.tables import aligned_table, csv_table, shown
from fastmlp.runs.reading import Run, differing
from fastmlp.training.metrics import lower_is_better

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*")
MAIN = ("valid_accuracy", "test_accuracy", "valid_r2", "test_r2", "valid_loss", "test_loss")
LAST = ("status", "epochs_trained", "seconds")


@dataclass(frozen=True)
class RunTable:
    """Runs and the columns that tell them apart.

    Attributes
    ----------
    runs : list of Run
    settings : list of str
        The settings that differ between the runs.
    """

    runs: list[Run]
    settings: list[str]

    @classmethod
    def of(
        cls,
        runs: Sequence[Run],
        where: Sequence[str] = (),
        sort: str | None = None,
        reverse: bool = False,
    ) -> RunTable:
        """Keep the runs that fulfil all conditions, in an order.

        Parameters
        ----------
        runs : sequence of Run
        where : sequence of str
            Conditions such as ``"learning_rate>=0.01"``, ``"status=done"``.
        sort : str, optional
            The name of a column. The best comes first: the lowest loss or error, the highest other metric; settings and
            times rise. Runs without a value come last.
        reverse : bool
            The other way round.

        Raises
        ------
        ConfigError
            For an unknown name, or a condition that cannot be read.
        """
        known = list(dict.fromkeys(name for run in runs for name in run.values()))
        kept = list(runs)
        for text in where:
            holds = _condition(text, known)
            kept = [run for run in kept if holds(run)]
        if sort is not None:
            _check("--sort", sort, known)
            metrics = {name for run in runs for name in run.metrics}
            falls = sort in metrics and not lower_is_better(sort.partition("_")[2])
            kept = _sorted(kept, sort, reverse != falls)
        return cls(kept, differing(kept))

    @property
    def metrics(self) -> list[str]:
        """The metrics that runs have, those of the test part last."""
        return list(dict.fromkeys(name for run in self.runs for name in run.metrics))

    def main(self) -> list[str]:
        """Return the columns that fit on a screen."""
        metrics = [name for name in MAIN if name in self.metrics]
        return ["run", *self.settings, *metrics, *LAST]

    def to_text(self) -> str:
        """Return the table as aligned lines."""
        names = self.main()
        values = [run.values() for run in self.runs]
        numbers = (any(isinstance(one.get(name), int | float) for one in values) for name in names)
        rows = [[shown_cell(one.get(name), name) for name in names] for one in values]
        header = [name.replace("_", " ") for name in names]
        return aligned_table([header, *rows], "".join("lr"[is_one] for is_one in numbers))

    def to_csv(self) -> str:
        """Return all that is known of each run as CSV, from which numbers read back the same."""
        values = [run.values() for run in self.runs]
        names = list(dict.fromkeys(name for one in values for name in one))
        rows = [
            [
                shown(cell) if isinstance(cell, tuple | bool) else cell
                for cell in map(one.get, names)
            ]
            for one in values
        ]
        return csv_table([names, *rows])


def shown_cell(value: Any, name: str) -> str:
    """Return a value as the table shows it."""
    if value is None:
        return ""
    if name == "seconds":
        return f"{value:.2f}"
    if isinstance(value, float) and name.startswith(("train_", "valid_", "test_")):
        return f"{value:.4f}"
    return shown(value)


def _check(where: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(
            f"{where}: found {name!r}, no column of these runs; {suggest(name, known)}"
        )


def _condition(text: str, known: Sequence[str]) -> Callable[[Run], bool]:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--where: found {text!r}, expected a name, one of {' '.join(OPERATORS)} and a value, "
            "such as learning_rate>=0.01"
        )
    name, sign, wanted = match.groups()
    _check("--where", name, known)

    def holds(run: Run) -> bool:
        value = run.values().get(name)
        number = _as_number(wanted)
        if isinstance(value, int | float) and not isinstance(value, bool) and number is not None:
            return OPERATORS[sign](value, number)
        if value is None and sign not in ("=", "!="):
            return False
        return OPERATORS[sign](shown(value), wanted)

    return holds


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _sorted(runs: Sequence[Run], name: str, falls: bool) -> list[Run]:
    having = [run for run in runs if run.values().get(name) is not None]
    missing = [run for run in runs if run.values().get(name) is None]

    def place(run: Run) -> tuple[bool, Any]:
        value = run.values()[name]
        is_number = isinstance(value, int | float)
        return (not is_number, value if is_number else shown(value))

    return [*sorted(having, key=place, reverse=falls), *missing]
