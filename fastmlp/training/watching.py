"""What a person sees of a training: a bar on a terminal and in a notebook, elsewhere a line for each epoch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastmlp.errors import ConfigError, shown
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.training.config import TrainConfig
from fastmlp.training.metrics import words_of

if TYPE_CHECKING:
    from fastmlp.training.history import Row


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
    train, valid = (_scores(row, part) for part in ("train", "valid"))
    both = "  ".join(text for text in (train, valid) if text)
    display.show(
        row["epoch"], f"epoch {count}/{epochs}  {both}  {row['seconds']:.3g} s", valid or train
    )


def _scores(row: Mapping[str, Any], part: str) -> str:
    """Return the loss and the score of a part, such as "valid loss 0.1 accuracy 0.9"; nothing without it."""
    names = [name for name in row if name.startswith(part) and not name.endswith("_cost")]
    scores = [
        f"{words_of(name.removeprefix(f'{part}_'))} {row[name]:.4f}"
        for name in names
        if row[name] is not None
    ]
    return f"{part} {' '.join(scores)}" if scores else ""


@contextmanager
def watched(
    on_epoch: Callable[[Row], object] | None, epochs: int, verbose: bool, done: int = 0
) -> Iterator[Callable[[Row], object] | None]:
    """Yield what is to be called after each epoch: `on_epoch`, after the epoch is shown if that is wanted.

    Parameters
    ----------
    on_epoch : callable, optional
    epochs : int
        How many there will be at most.
    verbose : bool
        Whether to show epochs.
    done : int
        How many were done before.

    Raises
    ------
    ConfigError
        If `on_epoch` is no function.
    """
    if on_epoch is not None and not callable(on_epoch):
        raise ConfigError(f"on_epoch: found {shown(on_epoch)}, expected a function of a row")
    if not verbose:
        yield on_epoch
        return
    with ProgressDisplay(epochs, "epoch", done=done) as display:

        def show(row: Row) -> object:
            show_epoch(display, row, epochs)
            return None if on_epoch is None else on_epoch(row)

        yield show


@contextmanager
def watched_models(
    on_epoch: Callable[[int, Row], object] | None, configs: Sequence[TrainConfig], verbose: bool
) -> Iterator[Callable[[int, Row], object] | None]:
    """Yield what is to be called after each epoch of each model, as `watched` does; several threads may call it."""
    if not verbose:
        yield on_epoch
        return
    total, done, lock = sum(config.epochs for config in configs), 0, threading.Lock()
    with ProgressDisplay(total, "epoch") as display:

        def show(index: int, row: Row) -> object:
            nonlocal done
            with lock:
                done += 1
                told = f"model {index + 1}/{len(configs)}, epoch {row['epoch']}"
                told += f"  {_scores(row, 'valid') or _scores(row, 'train')}"
                display.show(done, told, told)
            return None if on_epoch is None else on_epoch(index, row)

        yield show
