"""What a person sees while waiting: a bar with the time left or plain lines; a compile notice."""

import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from fastmlp.datasets import Dataset
from fastmlp.training.config import TrainConfig

NOTICE_AFTER = 1.0  # seconds; machine code out of the cache is there before
NARROW = 8  # units: widths change no compiled function, and drawing wide weights takes time


def compile_kernels(config: TrainConfig, part: Dataset) -> float:
    """Compile what a training needs, or load it from the cache, saying so if it takes long.

    Parameters
    ----------
    config : TrainConfig
        Of the training.
    part : Dataset
        Data of the training's type; two images of it are trained on.

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
    hidden = tuple(min(width, NARROW) for width in config.hidden)
    brief = config.replace(hidden=hidden, epochs=1, threads=1, patience=None)
    notice = threading.Timer(NOTICE_AFTER, _say_compiling)
    notice.daemon = True
    notice.start()
    start = time.perf_counter()
    try:
        if train(brief, few, few).status == "interrupted":
            raise KeyboardInterrupt
    finally:
        notice.cancel()
    return time.perf_counter() - start


def _say_compiling() -> None:
    print("compiling kernels, once on this machine ...", file=sys.stderr, flush=True)


class Progress:
    """A bar on a terminal, else a line an epoch; both go to standard error.

    Parameters
    ----------
    epochs : int
        How many there will be at most.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=epochs, unit="epoch", dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, row: Mapping[str, Any]) -> None:
        """Show that an epoch of the history is done."""
        valid = f"valid loss {row['valid_loss']:.4f} accuracy {row['valid_accuracy']:.4f}"
        if self.bar is None:
            count = str(row["epoch"]).rjust(len(str(self.epochs)))
            print(
                f"epoch {count}/{self.epochs}  train loss {row['train_loss']:.4f} accuracy "
                f"{row['train_accuracy']:.4f}  {valid}  {row['seconds']:.3g} s",
                file=sys.stderr,
                flush=True,
            )
            return
        if self.bar.n == 0:
            self.bar.initial = row["epoch"] - 1  # a resumed run's rate counts its own epochs
        self.bar.set_postfix_str(valid, refresh=False)
        self.bar.update(row["epoch"] - self.bar.n)
