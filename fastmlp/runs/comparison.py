"""compare(): whether two sides differ by more than seeds and the size of the test part explain.

A side is a run, or a folder of runs that differ in nothing but their seeds. Each network predicts the test part
again, so that the same rows are compared.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, DataError, StoreError
from fastmlp.machine.folders import CONFIG, MODEL
from fastmlp.reporting.chance import CONFIDENCE, Difference, bootstrap, difference, mcnemar, wilson
from fastmlp.reporting.tables import shown
from fastmlp.runs.reading import Run, differing, find_runs
from fastmlp.search.experiment import DataTable, Experiment, load_parts
from fastmlp.training.network import Network, load

SEED = "seed"
NO_RESULT = {SEED, "threads"}  # settings of which results do not depend, or by chance alone
ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes
    ----------
    sides : (list of Run, list of Run)
    settings : list of str
        The settings that differ between the sides.
    measure : str
        What is compared: "accuracy", or "squared error" of a regression.
    rows : int
        Of the test part.
    scores : (list of float, list of float)
        The measure of each network.
    counts : (int, int) or None
        The rows that the first network alone, and the second alone, has right; None for several networks a side.
    difference : Difference
    interval : (float, float)
        Of the difference, by the paired bootstrap of rows.
    verdict : str
        In a sentence.
    """

    sides: tuple[list[Run], list[Run]]
    settings: list[str]
    measure: str
    rows: int
    scores: tuple[list[float], list[float]]
    counts: tuple[int, int] | None
    difference: Difference
    interval: tuple[float, float]
    verdict: str

    @property
    def p(self) -> float:
        """The p-value: of McNemar's exact test for one network a side, else that of `difference`."""
        return self.difference.p if self.counts is None else mcnemar(*self.counts)

    def to_text(self) -> str:
        """Return all of it as lines."""
        lines = []
        for letter, side, scores in zip("AB", self.sides, self.scores, strict=True):
            mean = float(np.mean(scores))
            told = f"{self.measure} {mean:.4f}"
            if self.measure == "accuracy":
                low, high = wilson(mean, self.rows)
                told += f" (95 % by the size of the test part: {low:.4f} to {high:.4f})"
            if len(scores) > 1:
                told += f", {len(scores)} seeds, standard deviation {np.std(scores, ddof=1):.4f}"
            lines.append(f"{letter}: {_place(side)}: {told}")
        for name in self.settings:
            first, second = (shown(side[0].settings.get(name)) for side in self.sides)
            lines.append(f"{name.replace('_', ' ')}: A {first}, B {second}")
        found, (low, high) = self.difference, self.interval
        lines.append(f"test part: {self.rows:,} rows")
        if self.counts is not None:
            only_first, only_second = self.counts
            lines.append(
                f"right in A alone {only_first:,}, in B alone {only_second:,}: McNemar's exact p = {self.p:.3g}"
            )
        lines.append(
            f"A less B: {found.mean:+.4f}; by resampling the test part 95 % lie from {low:+.4f} to {high:+.4f}"
        )
        if found.seeds is not None:
            lines.append(
                f"with the spread over seeds 95 % lie from {found.low:+.4f} to {found.high:+.4f}, p = {found.p:.3g} "
                f"(standard errors: test part {found.rows:.4f}, seeds {found.seeds:.4f})"
            )
        return "\n".join([*lines, self.verdict])


def compare(first: Path, second: Path, data_home: Path | None = None) -> Comparison:
    """Compare two runs, or two folders of runs, on the test part that they share.

    Parameters
    ----------
    first, second : Path
        Each a run's folder, or one with several runs below it that differ in their seeds alone.
    data_home : Path, optional
        As for `fastmlp.datasets.load`.

    Raises
    ------
    StoreError, ConfigError, DataError, FormatError
        If a folder holds no run, no network or runs of several settings, or if the test parts are not the same.
    """
    sides = _side(first), _side(second)
    parts: dict[DataTable, Dataset] = {}
    judged = [_judge(side, parts, data_home) for side in sides]
    _check_same_rows(sides, [part for part, _ in judged])
    part = judged[0][0]
    scores = [each for _, each in judged]
    settings = [name for name in differing([sides[0][0], sides[1][0]]) if name not in NO_RESULT]
    counts = None
    if _is_right_or_wrong(part) and all(len(side) == 1 for side in scores):
        right, other = (side[0].astype(bool) for side in scores)
        counts = int((right & ~other).sum()), int((other & ~right).sum())
    found = difference(*scores)
    interval = bootstrap(scores[0].mean(axis=0) - scores[1].mean(axis=0))
    p = found.p if counts is None else mcnemar(*counts)
    same = scores[0].shape == scores[1].shape and bool((scores[0] == scores[1]).all())
    return Comparison(
        sides=sides,
        settings=settings,
        measure="accuracy" if _is_right_or_wrong(part) else "squared error",
        rows=len(part),
        scores=([float(one.mean()) for one in scores[0]], [float(one.mean()) for one in scores[1]]),
        counts=counts,
        difference=found,
        interval=interval,
        verdict=_verdict(same, p, found, settings),
    )


def _verdict(same: bool, p: float, found: Difference, settings: Sequence[str]) -> str:
    """Say whether chance explains a difference."""
    if same:
        return "No difference: every row is answered alike."
    if p >= ALPHA:
        known = (
            "the size of the test part" if found.seeds is None else "seeds and the test part's size"
        )
        return f"No difference shown: it is no more than {known} explain{'s' if found.seeds is None else ''}."
    if not settings:
        return "No difference shown: the settings are the same but for the seed, which explains it."
    if found.seeds is None:
        return (
            "A difference of these two networks: it is more than the size of the test part explains. One seed a side "
            "does not show how far seeds alone carry: train several, and give folders of runs."
        )
    return "A difference: it is more than seeds and the test part's size explain."


def _side(folder: Path) -> list[Run]:
    runs = find_runs([folder])
    for run in runs:
        if run.problems:
            raise StoreError(run.problems[0])
        if not (run.folder / MODEL).is_file():
            raise StoreError(
                f"{run.folder}: found no {MODEL} ({run.status}), expected a run that kept its network; "
                "leave it out, or train it again"
            )
    if apart := [name for name in differing(runs) if name not in NO_RESULT]:
        raise ConfigError(
            f"{folder}: found runs of different {', '.join(apart)}, expected runs that differ in their seeds "
            "alone; name one of the folders in it"
        )
    return runs


def _judge(
    side: Sequence[Run], parts: dict[DataTable, Dataset], data_home: Path | None
) -> tuple[Dataset, NDArray[np.float64]]:
    """Return the test part of a side, and each network's score of each of its rows, [networks, N]."""
    table = Experiment.from_toml(side[0].folder / CONFIG).data
    if table not in parts:
        parts[table] = load_parts(table, data_home)[-1]
    part = parts[table]
    return part, np.stack([_score(load(run.folder / MODEL), part, run) for run in side])


def _score(network: Network, part: Dataset, run: Run) -> NDArray[np.float64]:
    try:
        predicted = network.predict(part)
    except DataError as error:
        raise DataError(f"{run.folder}: {error}") from None
    labels = part.labels
    if _is_right_or_wrong(part):
        right = np.asarray(predicted == labels).reshape(len(labels), -1)
        return np.asarray(right.all(axis=1), np.float64)
    squares = (np.asarray(predicted, np.float64) - labels) ** 2
    return np.asarray(squares.reshape(len(labels), -1).mean(axis=1), np.float64)


def _is_right_or_wrong(part: Dataset) -> bool:
    return getattr(part, "task", "classification") != "regression"


def _check_same_rows(sides: Sequence[Sequence[Run]], parts: Sequence[Dataset]) -> None:
    """Raise a DataError unless the test parts hold the same rows; their pictures may have other sizes."""
    first, second = parts
    same = first.classes == second.classes and np.array_equal(first.labels, second.labels)
    if same and first.shape == second.shape:
        same = first.checksum == second.checksum
    if not same:
        raise DataError(
            f"{sides[1][0].folder}: found a test part of {len(second):,} rows of {second.name}, expected the same "
            f"{len(first):,} rows of {first.name} as in {sides[0][0].folder}; only networks of the same rows can "
            "be compared"
        )


def _place(side: Sequence[Run]) -> str:
    return side[0].folder.as_posix() if len(side) == 1 else f"{len(side)} runs in {_common(side)}"


def _common(side: Sequence[Run]) -> str:
    return Path(os.path.commonpath([run.folder for run in side])).as_posix()
