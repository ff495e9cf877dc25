"""A record: how long one setting trains, beside PyTorch and what the machine can do; the ``record`` of a section.

The entry says which setting it is, like a row of a table, and what it shall reach::

    [study.section.record]
    accuracy = 0.99                  # the least mean test accuracy over seeds
    seconds = 1                      # the most seconds of a training
    all_seconds = 60                 # the most seconds of all trainings together

The trials of the setting are trained side by side, as those of every study. So the measure ``record`` trains each seed
again, one after another, each on all cores. Between them PyTorch trains some of the seeds, a few new processes do it
all from their start, and the machine's most multiply-adds a second are measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np

from fastmlp.bench.ceiling import flops_per_second, spend_flops
from fastmlp.bench.timing import PAUSE
from fastmlp.bench.work import flops_per_sample
from fastmlp.datasets import Dataset
from fastmlp.errors import FastMLPError
from fastmlp.machine.cores import usable_cores
from fastmlp.reporting.chance import interval
from fastmlp.reporting.document import Block, Details, Paragraph, Table
from fastmlp.search.data_table import DataTable, load_parts
from fastmlp.studies.laboratory import Laboratory
from fastmlp.studies.peer import Peer, can_train, take_threads
from fastmlp.studies.results import Setting, StudyResults
from fastmlp.studies.study import StudyPart
from fastmlp.studies.tables import number, range_of, with_spread
from fastmlp.training.config import TrainConfig
from fastmlp.training.evaluation import evaluate
from fastmlp.training.network import Network
from fastmlp.training.trainer import train

EVERY = 6  # of so many seeds PyTorch, and a process of its own, train one; the first always
ALONE = "import sys; from fastmlp.studies.record import run_alone; run_alone(sys.argv[1])"
LONGEST = 600  # seconds of a process

Section = Mapping[str, Any]
Round = dict[str, Any]


# -- measuring -------------------------------------------------------------------------------------


def take_record(lab: Laboratory, section: Section) -> Any:
    """Train each seed of the section's record again, and return what each round took."""
    entry = section["record"]
    networks = lab.networks(entry)
    setting = lab.results.select(entry)
    if setting is None or len(networks) < len(setting.trials):
        return None
    part = lab.results.study.parts[setting.part]
    images, _, test = lab.data(part.name)
    config, cores = setting.config, usable_cores()
    has_peer = find_spec("torch") is not None and can_train(
        config, config.layers(len(images.classes))
    )
    _warm_up(config, images, has_peer)
    rounds = []
    for place, (one, network) in enumerate(zip(setting.trials, networks, strict=True)):
        found: Round = {"seed": one.config.seed}
        calls: list[Callable[[], Round]] = [
            partial(_ours, one.config, images, network),
            partial(_ceiling, cores),
        ]
        if place % EVERY == 0:
            calls += [partial(_theirs, one.config, images, test)] if has_peer else []
            calls.append(partial(_new_process, part, one.config, lab.data_home))
        shift = place % len(calls)
        for call in calls[shift:] + calls[:shift]:
            time.sleep(PAUSE)
            found |= call()
        rounds.append(found)
        lab.say(f"seed {one.config.seed} again: {found['seconds']:.3f} s")
    sizes = (images.shape, *config.hidden, len(images.classes))
    flops = flops_per_sample(sizes) * len(images) * config.epochs
    return {"cores": cores, "flops": flops, "rounds": rounds}


def _warm_up(config: TrainConfig, images: Dataset, has_peer: bool) -> None:
    """Compile, load PyTorch and wake its threads, which no training's time shall contain."""
    short = config.replace(epochs=1)
    train(short, images)
    if has_peer:
        take_threads(usable_cores())
        Peer(short, images.take(range(min(len(images), 4 * config.batch_size)))).run()
    spend_flops(usable_cores())


def _ours(config: TrainConfig, images: Dataset, network: Network) -> Round:
    result = train(config, images)
    pairs = zip(result.network.weights, network.weights, strict=True)
    same = all(np.array_equal(a, b) for a, b in pairs)
    return {"seconds": result.seconds, "same": same}


def _theirs(config: TrainConfig, images: Dataset, test: Dataset) -> Round:
    result = Peer(config, images).run()
    accuracy = evaluate(result.network, test)["accuracy"]
    return {"peer_seconds": result.seconds, "peer_test_accuracy": accuracy}


def _ceiling(cores: int) -> Round:
    start = time.perf_counter()
    spend_flops(cores)
    return {"ceiling": flops_per_second(cores, time.perf_counter() - start)}


def _new_process(part: StudyPart, config: TrainConfig, data_home: Path | None) -> Round:
    """Train and test in a new process, and return what that took from its start to its end."""
    told = {
        "data": asdict(part.data),
        "quick": part.quick,
        "config": config.as_dict(),
        "home": None if data_home is None else str(data_home),
    }
    command = [sys.executable, "-c", ALONE, json.dumps(told)]
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", timeout=LONGEST
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise FastMLPError(f"record: found a process that failed ({last[0]}), expected a training")
    return {"process_seconds": seconds}


def run_alone(text: str) -> None:
    """Read the data, train once and test: all that a new process does.

    Parameters
    ----------
    text : str
        JSON: the fields of `DataTable` and `TrainConfig`, whether few images are taken, and the data folder.
    """
    told = json.loads(text)
    config, data = TrainConfig(**told["config"]), DataTable.from_table(told["data"])
    part = StudyPart("", "", "", data, config, ({},), 1, told["quick"])
    images, _, test = part.cut(load_parts(data, told["home"]))
    evaluate(train(config, images).network, test)


# -- telling ---------------------------------------------------------------------------------------


def show_record(results: StudyResults, section: Section, taken: Any) -> list[Block]:
    """Return the table of the record, whether it reaches its goals, and every seed's numbers."""
    setting = results.select(section["record"])
    if setting is None or taken is None:
        return [Paragraph("Not run on this machine, or not all trainings came to their end.")]
    blocks: list[Block] = [_summary(results, setting, taken), Paragraph(_explained(taken))]
    if not results.study.is_quick:
        blocks += [Paragraph(one) for one in _verdicts(results, setting, section["record"], taken)]
    return [*blocks, _every_seed(results, setting, taken)]


def column(taken: Any, name: str) -> list[float]:
    """Return a number of each round that has it."""
    return [one[name] for one in taken["rounds"] if name in one]


def _summary(results: StudyResults, setting: Setting, taken: Any) -> Table:
    ours, theirs = column(taken, "seconds"), column(taken, "peer_seconds")
    images = setting.images * setting.config.epochs
    share = [taken["flops"] / one["seconds"] / one["ceiling"] for one in taken["rounds"]]
    ceiling = median(column(taken, "ceiling"))
    rows = [
        [
            "mean test accuracy",
            with_spread(results, "test_accuracy", setting.values("test_accuracy")),
            with_spread(results, "test_accuracy", column(taken, "peer_test_accuracy")),
        ],
        ["seconds of a training", range_of(ours), range_of(theirs)],
        ["seconds from the start of a process", range_of(column(taken, "process_seconds")), ""],
        ["images a second", _rate(images, ours), _rate(images, theirs)],
        [
            "share of the machine's multiply-adds",
            f"{100 * median(share):.0f} %",
            f"{100 * taken['flops'] / median(theirs) / ceiling:.0f} %" if theirs else "",
        ],
        ["trainings", str(len(ours)), str(len(theirs))],
        ["seconds of all trainings", f"{sum(ours):.1f}", f"{sum(theirs):.1f}" if theirs else ""],
    ]  # fmt: skip
    return Table(["", "fastmlp", "PyTorch" if theirs else "PyTorch: not run"], rows)


def _explained(taken: Any) -> str:
    equal, most = sum(column(taken, "same")), median(column(taken, "ceiling"))
    threads = f"{taken['cores']} thread{'s' * (taken['cores'] != 1)}"
    return (
        f"On {threads}, in turns; seconds: median (least to greatest). A training's seconds are those "
        "of its epochs; a process also starts Python, reads the data, loads the compiled kernels and tests. A "
        f"training takes {taken['flops'] / 1e9:,.1f} GFLOP of multiply-adds in its layers, and the machine does at "
        f"most {most / 1e9:,.0f} GFLOP/s in float32. PyTorch has the same start, batches and rates, is handed "
        f"normalised float32 images, and its Adam is the fused one. {equal} of these {len(taken['rounds'])} "
        "trainings ended with the weights, to the last bit, of those that were trained side by side and tested."
    )


def _verdicts(
    results: StudyResults, setting: Setting, entry: Mapping[str, Any], taken: Any
) -> list[str]:
    """Say for each goal whether it is reached, or what is missing."""
    found = []
    if "accuracy" in entry:
        values = setting.values("test_accuracy")
        mean, error = fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        count = results.rows(setting.part, "test_accuracy")
        seeds = interval(mean, None, error, len(values) - 1)
        both = interval(mean, count, error, len(values) - 1)
        told = [
            " to ".join(number(results, "test_accuracy", one) for one in ends)
            for ends in (seeds, both)
        ]
        below = sum(value < entry["accuracy"] for value in values)
        gap = number(results, "test_accuracy", entry["accuracy"] - mean)
        verdict = "reached" if mean >= entry["accuracy"] else f"not reached, {gap} are missing"
        goal, ours = (number(results, "test_accuracy", one) for one in (entry["accuracy"], mean))
        found.append(
            f"**A mean test accuracy of at least {goal}: {verdict}.** The mean of {len(values)} seeds is {ours}, in "
            f"95 of 100 cases {told[0]} by the spread over seeds, {told[1]} by it and the size of the test part; "
            f"{below} seeds are below."
        )
    seconds = column(taken, "seconds")
    for name, value, words in (
        ("seconds", median(seconds), "A training within"),
        ("all_seconds", sum(seconds), f"All {len(seconds)} trainings within"),
    ):
        if name in entry:
            gap = value - entry[name]
            verdict = "reached" if gap <= 0 else f"not reached, {gap:.2f} s are missing"
            found.append(f"**{words} {entry[name]:g} s: {verdict}.** Here {value:.2f} s.")
    return found


def _every_seed(results: StudyResults, setting: Setting, taken: Any) -> Details:
    rounds = {one["seed"]: one for one in taken["rounds"]}
    rows = []
    for one in setting.trials:
        again = rounds.get(one.config.seed, {})
        ours, theirs = one.trial.test_accuracy, again.get("peer_test_accuracy")
        texts = {
            name: f"{again[name]:.3f}" for name in ("seconds", "peer_seconds") if name in again
        }
        if "process_seconds" in again:
            texts["process_seconds"] = f"{again['process_seconds']:.2f}"
        if theirs is not None:
            texts["peer_test_accuracy"] = number(results, "test_accuracy", theirs)
        columns = ("seconds", "peer_test_accuracy", "peer_seconds", "process_seconds")
        told = (texts.get(name, "") for name in columns)
        rows.append([str(one.config.seed), number(results, "test_accuracy", ours), *told])
    header = [
        *("seed", "test accuracy", "seconds"),
        *("PyTorch: test accuracy", "PyTorch: seconds", "seconds of a process"),
    ]
    return Details("Every seed", Table(header, rows))


def _rate(images: int, seconds: list[float]) -> str:
    return f"{images / median(seconds):,.0f}" if seconds else ""
