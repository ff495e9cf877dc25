"""train_many(): several models at once on the same images, as the machine runs them fastest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from fastmlp.config import TrainConfig
from fastmlp.datasets import Dataset
from fastmlp.machine import last_level_cache
from fastmlp.threads import usable_cores
from fastmlp.trainer import Row, TrainResult, train


def train_many(
    configs: Sequence[TrainConfig],
    train_part: Dataset,
    valid: Dataset | None = None,
    *,
    jobs: int | None = None,
    on_epoch: Callable[[int, Row], object] | None = None,
) -> list[TrainResult]:
    """Train one network a configuration, each with the bits that `train` gives it.

    All share the images, which stay uint8 in memory once, and their statistics. While the weights that are
    trained at the same time fit into the last-level cache, each model has a core of its own and none waits for
    another; beyond that the models take turns, each with a team of all cores.

    Parameters
    ----------
    configs : sequence of TrainConfig
        A configuration that names `threads` keeps its own number.
    train_part, valid : Dataset
        As for `train`.
    jobs : int, optional
        Models at the same time; by default as above.
    on_epoch : callable, optional
        Called with a configuration's index and the epoch's row; returning True ends that model's training.

    Returns
    -------
    list of TrainResult
        In the order of `configs`. After Ctrl-C, models not begun are missing from its end, and the others have
        the status "interrupted".
    """
    cores = usable_cores()
    if jobs is None:
        jobs = models_at_once(configs, train_part, cores)
    threads = max(1, cores // jobs)
    interrupted = threading.Event()

    def run(index: int) -> TrainResult | None:
        config = configs[index]
        if interrupted.is_set():
            return None

        def after_epoch(row: Row) -> bool:
            stop = on_epoch is not None and on_epoch(index, row) is True
            return stop or interrupted.is_set()

        config = config if config.threads is not None else config.replace(threads=threads)
        return train(config, train_part, valid, on_epoch=after_epoch)

    with ThreadPoolExecutor(jobs, "fastmlp-model") as pool:
        futures = [pool.submit(run, index) for index in range(len(configs))]
        try:
            results = [future.result() for future in futures]
        except KeyboardInterrupt:
            interrupted.set()
            results = [future.result() for future in futures]
        except BaseException:
            interrupted.set()
            raise
    return [result for result in results if result is not None]


def models_at_once(configs: Sequence[TrainConfig], train_part: Dataset, cores: int) -> int:
    """How many models to train side by side: as many as cores, unless their weights outgrow the cache."""
    cache = last_level_cache()
    largest = max((_state_bytes(config, train_part) for config in configs), default=0)
    if cache and largest * cores > cache:
        return 1
    return max(1, min(cores, len(configs)))


def _state_bytes(config: TrainConfig, train_part: Dataset) -> int:
    """Bytes that a step reads and writes: weights, and what the optimiser remembers of each."""
    sizes = (train_part.images.shape[1], *config.hidden, len(train_part.classes))
    weights = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
    states = {"sgd": int(config.momentum > 0), "adam": 2, "rmsprop": 1}[config.optimizer]
    return int(weights * (1 + states)) * (8 if config.dtype == "float64" else 4)
