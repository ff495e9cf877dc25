"""The whole benchmark: the machine's ceilings, trainings, single kernels, start-up and memory."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from fastmlp.bench import footprint
from fastmlp.bench.ceiling import bytes_per_second, flops_per_second, spend_flops
from fastmlp.bench.contender import CONTENDERS
from fastmlp.bench.kernels import layer_kernels
from fastmlp.bench.measurements import Bandwidth, Comparison, KernelRow, Measurements
from fastmlp.bench.peer import Peer
from fastmlp.bench.peers import peers_of
from fastmlp.bench.problem import NETWORKS, Problem
from fastmlp.bench.settings import EPOCHS, KERNEL_RATES, START, Settings
from fastmlp.bench.timing import CEILING, contest, in_turns, repeats
from fastmlp.datasets import Dataset
from fastmlp.machine import description as machine
from fastmlp.machine.cores import usable_cores
from fastmlp.training.config import TrainConfig
from fastmlp.training.side_by_side import train_many
from fastmlp.training.trainer import train

# A timed run of a kernel: thousands of calls on the smallest layers, a few on the largest.
KERNEL_SECONDS = 0.005

# What the comparisons train.
COMPARED, COMPARED_BATCH, COMPARED_EPOCHS = "A", 100, 2

# The working set of one core that no cache holds, where the sizes of caches are unknown.
MEMORY_BYTES = 256 * 2**20


def run(settings: Settings, tell: Callable[[str, float], object]) -> Measurements:
    """Measure everything that the settings want.

    Parameters
    ----------
    settings : Settings
    tell : callable
        Gets a line about what is measured next, and about which share of all work is done.

    Returns
    -------
    Measurements
    """
    results = Measurements(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        machine=machine.describe(),
        settings=dataclasses.asdict(settings),
        missing={},
        footprint=None,
        bandwidth=[],
        comparisons=[],
        contests=[],
        one_core=[],
        kernels=[],
    )
    stages = list(_stages(settings, results))
    done, whole = 0.0, sum(one.weight for one in stages)
    for stage in stages:
        tell(stage.title, done / whole)
        stage.measure()
        done += stage.weight
    return results


class _Stage(NamedTuple):
    """Something to measure, and how long that takes beside the others."""

    title: str
    weight: float
    measure: Callable[[], object]


def _stages(settings: Settings, results: Measurements) -> Iterator[_Stage]:
    """Yield what is to be measured, in order."""

    def start() -> None:
        results["footprint"] = footprint.measure()

    def bandwidth() -> None:
        results["bandwidth"] = bandwidths(settings.threads, settings.rounds)

    def compare() -> None:
        results["comparisons"] = [many_models(settings), more_threads_than_cores(settings)]

    if START in settings.parts:  # first, before compiling leaves anything that could disturb it
        yield _Stage("starting up and memory", 4, start)
    if set(settings.parts) != {START}:
        yield _Stage("bandwidth", 1, bandwidth)
    if EPOCHS in settings.parts:
        yield _Stage("many models, many threads", 2, compare)
    for name, problem in settings.problems():
        what = f"network {name}, batch {problem.batch_size}"
        if EPOCHS in settings.parts:
            everyone = (*CONTENDERS, *peers_of(problem))
            beside = functools.partial(_compete, settings, results, name, problem, everyone)
            yield _Stage(f"{what}: {settings.threads} threads", len(everyone) / 2, beside)
            alone = functools.partial(_compete_alone, settings, results, name, problem)
            yield _Stage(f"{what}: one core", 1, alone)
        if KERNEL_RATES in settings.parts:
            rows = functools.partial(_add_kernels, settings, results, name, problem)
            yield _Stage(f"{what}: kernels", 0.5, rows)


def _compete(
    settings: Settings,
    results: Measurements,
    name: str,
    problem: Problem,
    everyone: Sequence[Peer],
) -> None:
    found, missing = contest(
        name, problem, settings.threads, everyone, settings.rounds, settings.seconds
    )
    results["contests"].append(found)
    results["missing"] |= missing


def _compete_alone(settings: Settings, results: Measurements, name: str, problem: Problem) -> None:
    found, _ = contest(name, problem, 1, CONTENDERS, settings.rounds, settings.seconds)
    results["one_core"].append(found)


def _add_kernels(settings: Settings, results: Measurements, name: str, problem: Problem) -> None:
    results["kernels"] += kernel_rows(name, problem, settings.rounds)


def bandwidths(threads: int, rounds: int) -> list[Bandwidth]:
    """Measure the bytes a second of one core in each cache and in memory, and of all in memory."""
    caches = machine.describe()["caches"]
    places = [(place, 1, caches[place] // 2) for place in ("L2", "L3") if place in caches]
    beyond = max(MEMORY_BYTES, 4 * max(caches.values(), default=0))
    cores = min(threads, usable_cores())
    places += [("memory", count, beyond * count) for count in sorted({1, cores})]
    return [
        Bandwidth(
            place=place,
            threads=count,
            working_set=size,
            rates=[bytes_per_second(count, size) for _ in range(rounds)],
        )
        for place, count, size in places
    ]


def kernel_rows(network: str, problem: Problem, rounds: int) -> list[KernelRow]:
    """Time all kernels of a network in turns, with the FMA ceiling of one core among them."""
    kernels = list(layer_kernels(problem))
    counts = [one.calls_in(KERNEL_SECONDS) for one in kernels]
    calls: dict[str, Callable[[], object]] = {
        str(number): functools.partial(one.call, count)
        for number, (one, count) in enumerate(zip(kernels, counts, strict=True))
    }
    timings = in_turns(calls | {CEILING: functools.partial(spend_flops, 1)}, rounds, pause=0)
    ceiling = [flops_per_second(1, one) for one in timings.pop(CEILING).seconds]
    return [
        KernelRow(
            network=network,
            kernel=one.work.name,
            inputs=one.work.inputs,
            outputs=one.work.outputs,
            batch=problem.batch_size,
            flops=one.work.flops,
            bytes=one.work.bytes,
            seconds=[seconds / count for seconds in timing.seconds],
            ceiling=ceiling,
        )
        for one, count, timing in zip(kernels, counts, timings.values(), strict=True)
    ]


def many_models(settings: Settings) -> Comparison:
    """Compare a model for each core, by `train_many`, with one model on one core.

    Whole calls are timed. Grey levels are 0 to 2 and enter the network as they are: a pass over the
    images to normalise them would not be training.
    """
    problem = NETWORKS[COMPARED].problem(COMPARED_BATCH, settings.samples)
    data = Dataset(
        images=problem.images % 3,
        labels=problem.labels,
        shape=(3, 32, 32),
        classes=tuple(str(label) for label in range(problem.classes)),
        name="noise",
    )
    config = TrainConfig(
        hidden=problem.hidden,
        learning_rate=1e-3,
        momentum=problem.momentum,
        weight_decay=problem.weight_decay,
        batch_size=COMPARED_BATCH,
        epochs=COMPARED_EPOCHS,
        normalize="none",
    )
    cores = usable_cores()
    base, other = "one model on one core", f"{cores} models on {cores} cores, train_many"
    configs = [config.replace(seed=seed) for seed in range(cores)]
    alone = functools.partial(train, config.replace(threads=1), data)
    together = functools.partial(train_many, configs, data)
    alone()
    together()
    timings = in_turns({base: alone, other: together}, settings.rounds)
    trained = COMPARED_EPOCHS * settings.samples
    return Comparison(
        base=base,
        other=other,
        network=COMPARED,
        batch=COMPARED_BATCH,
        base_rates=[trained / one for one in timings[base].seconds],
        other_rates=[cores * trained / one for one in timings[other].seconds],
    )


def more_threads_than_cores(settings: Settings) -> Comparison:
    """Compare a team of two threads for each core with a team of one for each."""
    problem = NETWORKS[COMPARED].problem(COMPARED_BATCH, settings.samples)
    cores = usable_cores()
    base, other = f"{cores} threads on {cores} cores", f"{2 * cores} threads on {cores} cores"
    calls: dict[str, Callable[[], object]] = {}
    steps = 0
    for name, threads in ((base, cores), (other, 2 * cores)):
        training = CONTENDERS[0].prepare(problem, threads)
        training.run(problem.steps_per_epoch)
        steps = steps or repeats(training.run, problem.steps_per_epoch, settings.seconds)
        calls[name] = functools.partial(training.run, steps)
    timings = in_turns(calls, settings.rounds)
    base_rates, other_rates = (
        [steps * COMPARED_BATCH / one for one in timings[name].seconds] for name in (base, other)
    )
    return Comparison(
        base=base,
        other=other,
        network=COMPARED,
        batch=COMPARED_BATCH,
        base_rates=base_rates,
        other_rates=other_rates,
    )
