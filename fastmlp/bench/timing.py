"""Timing in turns: a round calls everyone once, so that a busy moment slows all of them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fastmlp.bench.ceiling import flops_per_second, spend_flops
from fastmlp.bench.measurements import Contest, Entry
from fastmlp.bench.peer import Peer, Training
from fastmlp.bench.problem import Problem
from fastmlp.machine.cores import usable_cores

# OpenBLAS and OpenMP threads keep their cores busy for some 100 ms after their last work.
PAUSE = 0.2

# Each implementation trains on as many samples before it is timed. This warms it up, and its loss
# afterwards shows that it does the same mathematics.
CHECK_SAMPLES = 2000

CEILING = "FMA ceiling"


class Timing(NamedTuple):
    """What a call took, round by round.

    Attributes
    ----------
    seconds : list of float
        Wall time of the call.
    busy : list of float
        CPU seconds of the process in each second of the call: the cores kept busy.
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
        Each begins one call later than the one before, so that no call is always the first.
    pause : float
        Seconds before each call, in which the threads of the call before fall asleep.

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
    """Let everyone train the same problem in turn, and measure the FMA ceiling among them.

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
        About how long a timed run takes: each contender takes as many steps as it manages in it.

    Returns
    -------
    Contest
    dict
        Who did not take part, and why.
    """
    check_steps = -(-CHECK_SAMPLES // problem.batch_size)
    entered, missing = _entered(contenders, problem, threads, check_steps, seconds)
    calls: dict[str, Callable[[], object]] = {
        entry["name"]: functools.partial(training.run, entry["steps"])
        for training, entry in entered
    }
    cores = min(threads, usable_cores())
    spend_flops(cores)
    calls[CEILING] = functools.partial(spend_flops, cores)
    timings = in_turns(calls, rounds)
    for _, entry in entered:
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
        entries=[entry for _, entry in entered],
    )
    return found, missing


def repeats(call: Callable[[int], object], times: int, seconds: float) -> int:
    """Return how many times the warm ``call(times)`` repeats its work in `seconds`, about.

    Begins with `times`, and tries more while that takes too little time to measure.
    """
    while (took := _seconds(call, times)) < seconds / 4:
        times = max(2 * times, round(times * seconds / 3 / took))
    return max(1, round(times * seconds / took))


def _seconds(call: Callable[[int], object], times: int) -> float:
    start = time.perf_counter()
    call(times)
    return time.perf_counter() - start


def _entered(
    contenders: Sequence[Peer], problem: Problem, threads: int, check_steps: int, seconds: float
) -> tuple[list[tuple[Training, Entry]], dict[str, str]]:
    """Return those that are ready to train, and why the others are not."""
    entered, missing = [], {}
    for one in contenders:
        if not one.available():
            missing[one.name] = "not installed, or cannot run here"
            continue
        try:
            entered.append(_enter(one, problem, threads, check_steps, seconds))
        except Exception as error:  # a failure must not cost the measurements of the others
            missing[one.name] = f"{type(error).__name__}: {error}"
    return entered, missing


def _enter(
    contender: Peer, problem: Problem, threads: int, check_steps: int, seconds: float
) -> tuple[Training, Entry]:
    """Prepare, check and warm up one contender, and find how many steps its runs take."""
    _ = (
        problem.images,
        problem.inputs,
        problem.labels,
        problem.start,
    )  # made before the clock starts
    start = time.perf_counter()
    training = contender.prepare(problem, threads)
    prepare_seconds = time.perf_counter() - start
    took = _seconds(training.run, check_steps)
    loss = problem.loss(training.parameters())
    time.sleep(PAUSE)
    steps = round(check_steps * seconds / took)
    if took < seconds / 2:  # too short to tell: little of it was training
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
