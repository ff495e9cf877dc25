"""Trials as joblib's calls: numbered, each handed out alone, its outcome returned the moment it ends."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from joblib import Parallel

from fastmlp.search.trial import Outcome, Parts, run_trial
from fastmlp.training.config import TrainConfig
from fastmlp.training.history import Row

Tasks = Mapping[int, TrainConfig]
"""What is to be trained, by the number of the trial."""

Numbered = tuple[int, Outcome]

MOST_DEATHS = 4  # of workers during one trial, which then has failed


def run_numbered(
    index: int, config: TrainConfig, parts: Parts, on_epoch: Callable[[Row], object] | None = None
) -> Numbered:
    """Run a trial and return its number with its outcome."""
    return index, run_trial(config, parts, on_epoch)


def parallel_calls(**options: Any) -> Parallel:
    """Return a Parallel that yields each result as soon as it is there, and batches no calls."""
    options = {"pre_dispatch": "n_jobs", **options}
    return Parallel(return_as="generator_unordered", batch_size=1, **options)


@contextmanager
def closing_quietly(outcomes: Any) -> Iterator[Any]:
    """Close a joblib generator without its warning about unfinished calls."""
    try:
        yield outcomes
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes.close()


def given_up(cause: str) -> Outcome:
    """Return the outcome of a trial during which too many workers died."""
    reason = f"its worker died {MOST_DEATHS} times ({cause}), perhaps for want of memory"
    return Outcome("failed", reason, [], 0, None, 0.0)
