"""train_many(): several models at once on the same images, arranged so that the machine is fastest.

Each model gathers its own batches, even if models with the same seed have the same ones. Gathering is 1 % of a step of
3072-512-128-32-2 and a fifth of a step of 3072-10 (batch 100, one core). If models shared it, they would have to wait
for each other at every step.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait

from fastmlp.datasets import Dataset, check_parts
from fastmlp.errors import check_count
from fastmlp.machine.cores import usable_cores
from fastmlp.machine.description import last_level_cache
from fastmlp.machine.interrupts import held_interrupt
from fastmlp.machine.threads import started_pool
from fastmlp.training.config import TrainConfig
from fastmlp.training.history import Row
from fastmlp.training.loop import TrainResult
from fastmlp.training.optimizers import OPTIMIZERS
from fastmlp.training.shapes import multiply_adds, parameter_shapes
from fastmlp.training.team import team_size
from fastmlp.training.trainer import train
from fastmlp.training.watching import watched_models

Models = Mapping[int, TrainConfig]  # by index among all configurations


def train_many(
    configs: Sequence[TrainConfig],
    train_part: Dataset,
    valid: Dataset | None = None,
    *,
    jobs: int | None = None,
    on_epoch: Callable[[int, Row], object] | None = None,
    verbose: bool = False,
) -> list[TrainResult]:
    """Train one network per configuration; each has the same bits as from `train`.

    All models share the images, which are in memory once, as uint8, and their statistics. If models are so small that
    one for each core fits into the last-level cache, each has a core of its own and never waits for others. Larger
    models are trained after them, one at a time, each by a team of all cores.

    Parameters
    ----------
    configs : sequence of TrainConfig
        A configuration with `threads` keeps its own number.
    train_part, valid : Dataset
        As for `train`.
    jobs : int, optional
        How many models are trained at the same time; by default as above.
    on_epoch : callable, optional
        Called with the index of the configuration and the epoch's row. If it returns True, that model's training ends.
    verbose : bool
        Whether to show epochs, as for `train`.

    Returns
    -------
    list of TrainResult
        In the order of `configs`. After Ctrl-C the others have the status "interrupted", and models that had not been
        started are missing.

    Raises
    ------
    ConfigError
        If `jobs` is not a positive integer.
    """
    if jobs is not None:
        check_count("jobs", jobs)
    interrupted = threading.Event()

    def run(index: int, config: TrainConfig) -> TrainResult | None:
        if interrupted.is_set():
            return None

        def after_epoch(row: Row) -> bool:
            stop = watching is not None and watching(index, row) is True
            if interrupted.is_set():
                raise KeyboardInterrupt  # which `train` answers with the status
            return stop

        return train(config, train_part, valid, on_epoch=after_epoch)

    results: dict[int, TrainResult] = {}
    with watched_models(on_epoch, configs, verbose) as watching:
        for at_once, models in arrange(dict(enumerate(configs)), train_part, jobs):
            results |= _run_group(run, models, at_once, interrupted)
    return [results[index] for index in sorted(results)]


def _run_group(
    run: Callable[[int, TrainConfig], TrainResult | None],
    models: Models,
    at_once: int,
    interrupted: threading.Event,
) -> dict[int, TrainResult]:
    """Train some models, `at_once` at a time; after Ctrl-C, set `interrupted` and wait for those already started."""
    pool, _ = started_pool(at_once, "fastmlp-model")
    if pool is None:  # no thread can start
        return _run_here(run, models, interrupted)
    futures: dict[int, Future[TrainResult | None]] = {}
    with pool:
        try:
            with held_interrupt():  # every model that is started is also waited for
                futures |= {index: pool.submit(run, index, one) for index, one in models.items()}
            for future in futures.values():
                # In slices of a second: a signal that arrives just before a wait is handled only after it.
                while wait([future], timeout=1).not_done:
                    pass
                future.result()
        except KeyboardInterrupt:
            interrupted.set()
            _outlast(futures.values())
        except BaseException:
            interrupted.set()
            raise
    ended = {index: future.result() for index, future in futures.items()}
    return {index: result for index, result in ended.items() if result is not None}


def _run_here(
    run: Callable[[int, TrainConfig], TrainResult | None],
    models: Models,
    interrupted: threading.Event,
) -> dict[int, TrainResult]:
    """Train some models one after the other in this thread; after Ctrl-C, set `interrupted` and begin no other."""
    results: dict[int, TrainResult] = {}
    for index, config in models.items():
        result = run(index, config)
        if result is None:
            break
        results[index] = result
        if result.status == "interrupted":
            interrupted.set()
    return results


def _outlast(futures: Iterable[Future[TrainResult | None]]) -> None:
    """Wait for models that have been told to end, in spite of further Ctrl-C: no epoch in a thread can be cut short."""
    while True:
        try:
            wait(futures)
            return
        except KeyboardInterrupt:
            continue


def arrange(
    configs: Models, train_part: Dataset, jobs: int | None = None
) -> list[tuple[int, dict[int, TrainConfig]]]:
    """Decide which models are trained at the same time, and with how many threads.

    Parameters
    ----------
    configs : mapping of int to TrainConfig
    train_part : Dataset
    jobs : int, optional
        As for `train_many`.

    Returns
    -------
    list of (int, dict)
        Groups to be trained one after the other: how many models at once, and their configurations with `threads` set.
        Where a configuration has none, it gets its share of the cores, or 1 if a step is too small to share.
    """
    check_parts(train_part)
    cores, cache = usable_cores(), last_level_cache()

    def fits(config: TrainConfig) -> bool:
        return not cache or cores * _state_bytes(config, train_part) <= cache

    def group(members: Models, most: int) -> tuple[int, dict[int, TrainConfig]]:
        wanted = max(config.threads or 1 for config in members.values())
        at_once = min(len(members), jobs or max(1, most // wanted))
        share = max(1, cores // at_once)
        return at_once, {
            index: config.replace(threads=config.threads or _threads(config, train_part, share))
            for index, config in members.items()
        }

    beside = {i: one for i, one in configs.items() if jobs is not None or fits(one)}
    in_turn = {i: one for i, one in configs.items() if i not in beside}
    return [group(members, most) for members, most in ((beside, cores), (in_turn, 1)) if members]


def _threads(config: TrainConfig, train_part: Dataset, share: int) -> int:
    """Return the number of threads of a model that may use `share` cores."""
    batch = min(config.batch_size, len(train_part))
    work = sum(multiply_adds(config.layers(len(train_part.classes)), train_part.shape))
    return team_size(work, batch, share)


def _state_bytes(config: TrainConfig, train_part: Dataset) -> int:
    """Return the bytes of weights and optimiser's states, all of which a step reads and writes."""
    pairs = parameter_shapes(config.layers(len(train_part.classes)), train_part.shape)
    weights = sum(math.prod(weight) for weight, _ in pairs)
    states = OPTIMIZERS[config.optimizer].states(config)
    return weights * (1 + states) * (8 if config.dtype == "float64" else 4)
