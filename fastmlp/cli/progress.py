"""A notice while kernels compile."""

import threading
import time
from contextlib import suppress

from fastmlp.datasets import Dataset
from fastmlp.machine.streams import say
from fastmlp.training.config import TrainConfig

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
    hidden = tuple(min(item, NARROW) if isinstance(item, int) else item for item in config.hidden)
    brief = config.replace(hidden=hidden, epochs=1, threads=1, patience=None)
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
