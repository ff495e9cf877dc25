"""Timing in turns: every round visits everyone once, so that a noisy moment hits all alike."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fastmlp.bench.ceiling import flops_per_second, spend_flops
from fastmlp.bench.peers import Peer, Training
from fastmlp.bench.problem import Problem
from fastmlp.bench.results import Contest, Entry
from fastmlp.machine.cores import usable_cores

# OpenBLAS and OpenMP threads keep their cores busy for some 100 ms after their last work.
PAUSE = 0.2

# Samples that each implementation trains on before it is timed, the same number for all: this warms
# it up, and its loss afterwards shows that it does the same mathematics.
CHECK_SAMPLES = 2000

CEILING = "FMA ceiling"


class Timing(NamedTuple):
    """What each round took.

    Attributes
    ----------
    seconds : list of float
        Wall time of the call.
    busy : list of float
        CPU seconds of the whole process in a second of the call: cores kept busy.
    """

    seconds: list[float]
    busy: list[float]


def in_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, pause: float = PAUSE
) -> dict[str, Timing]:
    """Time every call once a round.

    Parameters
    ----------
    calls : mapping of str to callable
        Each of them warm.
    rounds : int
        Each begins one call further on, so that nobody always follows the same moment.
    pause : float
        Seconds of sleep before each call, for the threads of the one before to fall asleep.

    Returns
    -------
    dict
        A `Timing` by name.
    """
    timings = {name: Timing([], []) for name in calls}
    names = list(calls)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            time.sleep(pause)
            wall, cpu = time.perf_counter(), time.process_time()
            calls[name]()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            timings[name].seconds.append(wall)
            timings[name].busy.append(cpu / wall)
    return timings


def contest(
    network: str,
    problem: Problem,
    threads: int,
    contenders: Sequence[Peer],
    rounds: int,
    seconds: float,
) -> tuple[Contest, dict[str, str]]:
    """Let everyone train the same problem in turn, the FMA ceiling in their midst.

    Parameters
    ----------
    network : str
        Its name.
    problem : Problem
    threads : int
        The same for all.
    contenders : sequence of Peer
    rounds : int
    seconds : float
        Length of a timed run, about: each takes as many steps as it manages in it.

    Returns
    -------
    Contest
    dict
        Who did not take part, and why.
    """
    check_steps = -(-CHECK_SAMPLES // problem.batch_size)
    calls: dict[str, Callable[[], object]] = {}
    entries: list[Entry] = []
    missing = {}
    for one in contenders:
        if not one.available():
            missing[one.name] = "not installed, or cannot run here"
            continue
        try:
            training, entry = _enter(one, problem, threads, check_steps, seconds)
        except (
            Exception
        ) as error:  # one that fails here must not cost the measurements of the others
            missing[one.name] = f"{type(error).__name__}: {error}"
            continue
        entries.append(entry)
        calls[one.name] = functools.partial(training.run, entry["steps"])
    cores = min(threads, usable_cores())
    spend_flops(cores)
    calls[CEILING] = functools.partial(spend_flops, cores)
    timings = in_turns(calls, rounds)
    for entry in entries:
        entry["seconds"] = [one / entry["steps"] for one in timings[entry["name"]].seconds]
        entry["busy"] = timings[entry["name"]].busy
    found = Contest(
        network=network,
        sizes=list(problem.sizes),
        batch=problem.batch_size,
        threads=threads,
        check_steps=check_steps,
        start_loss=problem.loss(problem.start),
        ceiling=[flops_per_second(cores, one) for one in timings[CEILING].seconds],
        ceiling_busy=timings[CEILING].busy,
        entries=entries,
    )
    return found, missing


def repeats(call: Callable[[int], object], times: int, seconds: float) -> int:
    """Return how many times the warm ``call(times)`` repeats its work in `seconds`, about.

    Begins with `times`, and tries more as long as that is over too soon to tell.
    """
    while (took := _seconds(call, times)) < seconds / 4:
        times = max(2 * times, round(times * seconds / 3 / took))
    return max(1, round(times * seconds / took))


def _seconds(call: Callable[[int], object], times: int) -> float:
    start = time.perf_counter()
    call(times)
    return time.perf_counter() - start


def _enter(
    contender: Peer, problem: Problem, threads: int, check_steps: int, seconds: float
) -> tuple[Training, Entry]:
    """Prepare, check and warm up one contender, and find how many steps its runs take."""
    _ = problem.images, problem.inputs, problem.labels, problem.start  # made here, timed nowhere
    start = time.perf_counter()
    training = contender.prepare(problem, threads)
    prepare_seconds = time.perf_counter() - start
    took = _seconds(training.run, check_steps)
    loss = problem.loss(training.parameters())
    time.sleep(PAUSE)
    steps = round(check_steps * seconds / took)
    if took < seconds / 2:  # little of it was training
        steps = repeats(training.run, check_steps, seconds)
    entry = Entry(
        name=contender.name,
        prepare_seconds=prepare_seconds,
        loss=loss,
        steps=max(1, steps),
        seconds=[],
        busy=[],
    )
    time.sleep(PAUSE)
    return training, entry
