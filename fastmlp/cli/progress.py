"""What a person sees of a training: a line for each epoch, and a notice while kernels compile."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.machine.streams import say
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.training.config import TrainConfig
from fastmlp.training.metrics import words_of

NOTICE_AFTER = 1.0  # seconds; machine code out of the cache is there sooner
NARROW = 8  # units: compiled functions are the same for all widths, and few weights are drawn fast


def compile_kernels(config: TrainConfig, part: Dataset) -> float:
    """Compile what a training needs, or load it from the cache, and say so if it takes long.

    Parameters
    ----------
    config : TrainConfig
        Of the training.
    part : Dataset
        Data of the training's type; it trains on two images of it.

    Returns
    -------
    float
        Seconds it took.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    """
    from fastmlp.training.trainer import train

    few = part.take([0, 0])
    labels, weights = few.labels, few.weights
    if part.task == "regression":  # which has two values at least
        labels = np.zeros_like(labels)
        labels[1] = 1
    few = replace(few, labels=labels, weights=None if weights is None else np.ones(2))
    hidden = tuple(min(item, NARROW) if isinstance(item, int) else item for item in config.hidden)
    brief = config.replace(hidden=hidden, epochs=1, threads=1, patience=None, select="loss")
    notice = threading.Timer(NOTICE_AFTER, say, ["compiling kernels, once on this machine ..."])
    notice.daemon = True
    with suppress(RuntimeError):  # the system allows no more threads
        notice.start()
    start = time.perf_counter()
    try:
        if train(brief, few, few).status == "interrupted":
            raise KeyboardInterrupt
    finally:
        notice.cancel()
    return time.perf_counter() - start


def show_epoch(display: ProgressDisplay, row: Mapping[str, Any], epochs: int) -> None:
    """Show that an epoch is done.

    Parameters
    ----------
    display : ProgressDisplay
    row : mapping
        The epoch's row of the history.
    epochs : int
        How many there will be at most.
    """
    count = str(row["epoch"]).rjust(len(str(epochs)))
    train, valid = (f"{part} {_scores(row, part)}" for part in ("train", "valid"))
    line = f"epoch {count}/{epochs}  {train}  {valid}  {row['seconds']:.3g} s"
    display.show(row["epoch"], line, valid)


def _scores(row: Mapping[str, Any], part: str) -> str:
    """Return the scores of a part in an epoch's row, such as "loss 0.5000 accuracy 0.9000"."""
    names = (name.removeprefix(f"{part}_") for name in row if name.startswith(f"{part}_"))
    return " ".join(f"{words_of(name)} {row[f'{part}_{name}']:.4f}" for name in names)
