"""Predict how fast teams of 4 to 64 threads train, from what one and two cores can be seen to do.

    python benchmarks/many_cores.py reports/many-cores      # an idle machine with two cores; about five minutes

A step of a team takes as long as its slowest thread computes, and as its meetings and what the threads hand to each
other take:

- computing is measured: the program of a team of T threads is executed as one of its threads would, alone, with the
  meetings left out, and so with exactly the parts of T threads, however small;
- a meeting is measured for two threads. Arrivals are counted in one place, one after the other, so that T threads are
  taken to need T / 2 times as long;
- of a layer's activations and weights a thread reads what others wrote, at the bandwidth from one core to another,
  which is measured.

What is not in it: memory and caches that cores share, cores of different speed, lower clocks when many cores work.
For one and two threads the prediction stands beside the measured speed. Writes results.json, and from it report.md
and speed.png.
"""

import json
import math
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from fastmlp.bench.contender import load, steps_of
from fastmlp.bench.problem import NETWORKS
from fastmlp.bench.work import stages
from fastmlp.kernels import codes
from fastmlp.kernels.arguments import Batches, Record, Rule, Team, World
from fastmlp.kernels.builder import PANELS_FROM_BYTES
from fastmlp.kernels.emit.barrier import WORDS
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.program import needs_of
from fastmlp.kernels.run import run
from fastmlp.kernels.team import meet
from fastmlp.machine.cores import take_own_core
from fastmlp.machine.description import describe
from fastmlp.reporting.style import COLOURS, DASHES, MARKERS, legend_below, new_figure
from fastmlp.training.chosen import numbered
from fastmlp.training.memory import aligned
from fastmlp.training.shapes import multiply_adds
from fastmlp.training.team import team_size

MEASURED = (("A", 100), ("A", 256), ("C", 128), ("D", 100), ("E", 64), ("E", 256))
TEAMS = (1, 2, 4, 8, 16, 32, 64)
SEEN = TEAMS[:2]  # that two cores can run
SECONDS, ROUNDS = 0.1, 5
MEETINGS = 20_000
SHARED_BYTES = 1 << 19  # handed from core to core: they fit into a core's own cache
ITEM = 4  # bytes of a float32


@kernel
def meetings(barrier, size, times):
    """Meet again and again."""
    for _ in range(times):
        meet(barrier, size)


def on_two_cores(work):
    """Call ``work(rank)`` on two cores at once, and return what the second call returned."""

    def begin(rank):
        take_own_core(rank, 2)
        return work(rank)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(begin, range(2)))[1]


def seconds_of_meeting():
    """Measure a meeting of two threads."""
    barrier = aligned(WORDS, np.dtype(np.int64))
    meetings(barrier, 1, 1)  # compiles

    def timed(_):
        start = time.perf_counter()
        meetings(barrier, 2, MEETINGS)
        return (time.perf_counter() - start) / MEETINGS

    return median(on_two_cores(timed) for _ in range(ROUNDS))


def bytes_a_second_between_cores():
    """Measure how fast a core copies what another one has just written."""
    written, copied = (np.zeros(SHARED_BYTES, np.uint8) for _ in range(2))
    both = threading.Barrier(2)

    def hand_over(rank):
        seconds = []
        for number in range(200):
            if rank == 0:
                written.fill(number % 256)
            both.wait()
            if rank == 1:
                start = time.perf_counter()
                np.copyto(copied, written)
                seconds.append(time.perf_counter() - start)
            both.wait()
        return SHARED_BYTES / median(seconds) if seconds else None

    return median(on_two_cores(hand_over) for _ in range(ROUNDS))


class Training:
    """A network whose program is that of a team of some threads."""

    def __init__(self, problem, threads):
        still = replace(problem, learning_rate=0.0)
        self.engine, samples = load(problem, "float32", threads)
        self.samples, _ = numbered(samples, None)
        self.problem, self.threads = still, threads
        count = problem.order(0).size
        self.order = problem.order(0).ravel()
        nothing = np.zeros(0)
        self.record = Record(
            np.zeros(count),
            np.zeros(count, np.bool_),
            nothing,
            nothing,
            np.zeros((0, 0), np.float32),
        )
        self.steps = count // problem.batch_size
        self.meetings = int((self.program.code["operation"] == codes.MEET).sum())

    @property
    def program(self):
        """Of one step."""
        return self.engine.plan.program

    def seconds_alone(self, rank):
        """Return the seconds of a step of one thread, which meets nobody."""
        code = self.program.code
        program = self.program._replace(code=code[code["operation"] != codes.MEET])
        numbers = steps_of(self.problem, self.steps, 1)
        rule = Rule(np.int64(numbers.rule), numbers.hyper.astype(np.float32))
        factors = np.full(len(self.order), 1 / self.problem.batch_size, np.float32)
        flips = np.zeros(len(self.order), np.bool_)
        empty = np.empty((self.threads, 1, 1), self.samples.images.dtype)
        room = self.engine.room._replace(mirrored=empty)
        team = Team(rank, self.threads, aligned(WORDS, np.dtype(np.int64)))

        def steps(count):
            batches = Batches(
                self.order, flips, factors, self.problem.batch_size, 0, count, np.uint64(0)
            )
            world = World(self.samples, batches, self.engine.model, room, rule, self.record)
            start = time.perf_counter()
            run(program, world, team, *needs_of(self.program))
            return (time.perf_counter() - start) / count

        count = min(self.steps, max(1, math.ceil(SECONDS / steps(3))))
        return median(steps(count) for _ in range(ROUNDS))

    def seconds_together(self):
        """Return the seconds of a step of the whole team."""
        order = self.order[: self.steps * self.problem.batch_size]

        def epoch():
            numbers = steps_of(self.problem, self.steps, self.engine.steps_taken)
            start = time.perf_counter()
            self.engine.epoch(self.samples, order, numbers)
            return (time.perf_counter() - start) / self.steps

        epoch()
        return median(epoch() for _ in range(ROUNDS))


def bytes_from_others(problem, threads):
    """Return what a thread reads in a step that other threads wrote: at most activations, their gradients, weights."""
    total = 0
    for stage in stages(problem.layers, problem.shape):
        rows = problem.batch_size * (math.prod(stage.inputs) + math.prod(stage.outputs))
        # The weights of large layers stay with their thread, which needs all rows; of small ones it is the other way.
        is_large = stage.weights * ITEM > PANELS_FROM_BYTES
        total += ITEM * (2 * rows if is_large else stage.weights)
    return total * (1 - 1 / threads)


def measure(name, batch, meeting, bandwidth):
    """Return a network's samples a second by the number of threads: predicted, and measured where that is possible."""
    problem = NETWORKS[name].problem(batch, 4096)
    work = sum(multiply_adds(problem.layers, problem.shape))
    found = {"network": name, "batch": batch, "predicted": {}, "measured": {}, "meetings": {}}
    found["chosen"] = team_size(work, batch, TEAMS[-1])
    for threads in TEAMS:
        training = Training(problem, threads)
        ranks = sorted({0, threads // 2, threads - 1})
        seconds = max(training.seconds_alone(rank) for rank in ranks)
        if threads > 1:
            seconds += training.meetings * meeting * threads / 2
            seconds += bytes_from_others(problem, threads) / bandwidth
        found["predicted"][threads] = batch / seconds
        found["meetings"][threads] = training.meetings if threads > 1 else 0
        if threads in SEEN:
            found["measured"][threads] = batch / training.seconds_together()
        training.engine.close()
    print(name, batch, {key: round(value) for key, value in found["predicted"].items()}, flush=True)
    return found


def report(results):
    """Render the results as Markdown."""
    lines = [
        "# Many cores: a prediction",
        "",
        "How many times as fast as one thread a team trains, in float32. **No machine with more than two cores was "
        "measured**: of 4 to 64 threads this is a model, made of what one and two cores of "
        f"{results['machine']['cpu']} do: each thread's own part, timed alone; {results['meeting'] * 1e6:.2f} us for a "
        f"meeting of two, T / 2 times that for T; {results['bandwidth'] / 1e9:.1f} GB/s from core to core. What it "
        "leaves out (memory and caches that cores share, clocks, cores of different speed) makes real teams slower. "
        "`benchmarks/many_cores.py` says more, and made this page.",
        "",
        "![Speed by the number of threads](speed.png)",
        "",
        "| network | batch | measured: 1 thread, samples/s | 2 threads | predicted: "
        + " | ".join(f"{'2 threads' if team == 2 else team}" for team in TEAMS[1:])
        + " | threads that fastmlp takes of 64 |",
        "| --- | " + " | ".join("--:" for _ in range(len(TEAMS) + 3)) + " |",
    ]
    for one in results["networks"]:
        first = one["predicted"]["1"]
        rates = [one["predicted"][str(team)] / first for team in TEAMS[1:]]
        alone, pair = (one["measured"][str(team)] for team in SEEN)
        cells = [one["network"], one["batch"], f"{alone:,.0f}", f"{pair / alone:.2f}"]
        cells += [*(f"{rate:.2f}" for rate in rates), one["chosen"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def draw(results, path):
    """Draw the curves."""
    with new_figure(path, 6.4, 4.4) as figure:
        axes = figure.subplots()
        for number, one in enumerate(results["networks"]):
            first = one["predicted"]["1"]
            rates = [one["predicted"][str(team)] / first for team in TEAMS]
            look = {"color": COLOURS[number], "linestyle": DASHES[number]}
            axes.plot(
                TEAMS,
                rates,
                marker=MARKERS[number],
                label=f"{one['network']}, batch {one['batch']}",
                **look,
            )
        axes.plot(TEAMS, TEAMS, color="#999999", linewidth=0.8, label="threads")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(TEAMS, map(str, TEAMS))
        axes.set_yticks(TEAMS, map(str, TEAMS))
        axes.set_xlabel("threads")
        axes.set_ylabel("times as fast as one thread, predicted")
        legend_below(figure, *axes.get_legend_handles_labels(), columns=3)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    meeting, bandwidth = seconds_of_meeting(), bytes_a_second_between_cores()
    results = {
        "machine": describe(),
        "meeting": meeting,
        "bandwidth": bandwidth,
        "networks": [measure(name, batch, meeting, bandwidth) for name, batch in MEASURED],
    }
    written = json.dumps(results, indent=1, default=str) + "\n"
    (target / "results.json").write_text(written)
    (target / "report.md").write_text(report(json.loads(written)))
    draw(json.loads(written), target / "speed.png")
