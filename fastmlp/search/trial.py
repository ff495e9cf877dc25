"""run_trial(): one training as a value, which no error escapes from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from fastmlp.datasets import Dataset
from fastmlp.errors import line_of
from fastmlp.search.record import Trial, finite, score_in
from fastmlp.training.config import TrainConfig
from fastmlp.training.history import Row
from fastmlp.training.network import Network
from fastmlp.training.trainer import train

Parts = tuple[Dataset, Dataset]
"""The training and the validation part."""


class Outcome(NamedTuple):
    """What a trial ended with.

    Attributes
    ----------
    status : {"done", "stopped", "diverged", "failed", "pruned", "interrupted"}
        As in `fastmlp.search.record.Trial`; an interrupted trial is not stored.
    reason : str
        The status in one line.
    history : list of dict
        As in `fastmlp.TrainResult`.
    epoch : int
        The epoch that the network belongs to; 0 without a network.
    network : Network or None
        None if the training diverged, failed or was interrupted.
    seconds : float
    """

    status: Literal["done", "stopped", "diverged", "failed", "pruned", "interrupted"]
    reason: str
    history: Sequence[Mapping[str, Any]]
    epoch: int
    network: Network | None
    seconds: float


def run_trial(
    config: TrainConfig, parts: Parts, on_epoch: Callable[[Row], object] | None = None
) -> Outcome:
    """Train one network; an error becomes the outcome "failed".

    Parameters
    ----------
    config : TrainConfig
    parts : (Dataset, Dataset)
        The training and the validation part.
    on_epoch : callable, optional
        Called with each row of the history; if it returns True, the trial ends as "interrupted".

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    """
    start = time.perf_counter()
    interrupted = False

    def watch(row: Row) -> bool:
        nonlocal interrupted
        interrupted = on_epoch is not None and on_epoch(row) is True
        return interrupted

    try:
        result = train(config, *parts, on_epoch=watch)
    except Exception as error:  # of any kind: it concerns this trial alone
        seconds = time.perf_counter() - start
        return Outcome("failed", line_of(error), [], 0, None, seconds)
    if result.status == "interrupted":
        raise KeyboardInterrupt
    seconds = time.perf_counter() - start
    status = "interrupted" if interrupted else result.status
    if status not in ("done", "stopped"):
        return Outcome(status, result.reason, result.history, 0, None, seconds)
    epoch = (config.restore_best and result.best_epoch) or len(result.history)
    return Outcome(status, result.reason, result.history, epoch, result.network, seconds)


def trial_of(seed: int, outcome: Outcome) -> Trial:
    """Return what is stored of an outcome."""
    assert outcome.status != "interrupted"
    history = [{name: finite(value) for name, value in row.items()} for row in outcome.history]
    row = history[outcome.epoch - 1] if outcome.epoch else {}
    return Trial(
        seed=seed,
        status=outcome.status,
        reason=outcome.reason,
        epochs=len(history),
        epoch=outcome.epoch,
        train_loss=row.get("train_loss"),
        train_accuracy=score_in(row, "train_"),
        valid_loss=row.get("valid_loss"),
        valid_accuracy=score_in(row, "valid_"),
        seconds=outcome.seconds,
        history=history,
    )
