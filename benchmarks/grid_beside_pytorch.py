"""Time the grid of 128 networks on one core, on all, and in PyTorch: a sample of it, measured in turns.

    python benchmarks/grid_beside_pytorch.py reports/grid      # real data; about three minutes on two cores

Trains networks drawn from the first study's grid with `grid_search`, as the study does, validation and store
included, and with PyTorch's eager SGD, which only trains. Writes results.json, and from it report.md.
"""

import json
import os
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

from fastmlp.bench.footprint import peak_bytes
from fastmlp.bench.problem import Problem
from fastmlp.bench.torch_peer import TorchPeer
from fastmlp.machine.cores import usable_cores
from fastmlp.machine.description import describe
from fastmlp.search.experiment import Experiment, expand, load_parts
from fastmlp.search.grid import grid_search
from fastmlp.studies.study import FOLDER

STUDY = FOLDER / "cifar2-bird-plane-128.toml"
DRAWN, EPOCHS, ROUNDS = 8, 4, 5


def grid_rate(experiment, points, parts, cores):
    """Return images trained on in a second by a search of `points` on some cores."""
    grid = [{name: [value] for name, value in one.parameters.items()} for one in points]
    config = experiment.config.replace(epochs=EPOCHS)
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(everywhere)[:cores])
    try:
        with tempfile.TemporaryDirectory() as store:
            start = time.perf_counter()
            found = grid_search(config, grid, *parts[:2], store=store)
            seconds = time.perf_counter() - start
    finally:
        os.sched_setaffinity(0, everywhere)
    epochs = sum(trial.epochs for point in found.points for trial in point.trials)
    return epochs * len(parts[0]) / seconds


def torch_rate(config, part):
    """Return the images a second of training one network in PyTorch, on all cores."""
    problem = Problem(
        (part.images.shape[1], *config.hidden, len(part.classes)),
        config.batch_size,
        len(part),
        config.learning_rate,
        config.momentum,
        config.weight_decay,
    )
    training = TorchPeer("PyTorch eager").prepare(problem, usable_cores())
    start = time.perf_counter()
    training.run(problem.steps_per_epoch)
    return problem.steps_per_epoch * problem.batch_size / (time.perf_counter() - start)


def run():
    """Measure in turns and return the results."""
    experiment = Experiment.from_toml(STUDY)
    parts = load_parts(experiment.data)
    everyone = expand(experiment.config, experiment.grid)
    points = random.Random(0).sample(everyone, DRAWN)
    cores = usable_cores()
    rates = {"one core": [], "all cores": [], "PyTorch": []}
    grid_rate(experiment, points[:1], parts, 1)  # compiles
    grid_rate(experiment, points[:1], parts, cores)
    memory = peak_bytes()  # before PyTorch is loaded
    for number in range(ROUNDS):
        rates["one core"].append(grid_rate(experiment, points, parts, 1))
        rates["all cores"].append(grid_rate(experiment, points, parts, cores))
        rates["PyTorch"].append(torch_rate(points[number].config, parts[0]))
        print({name: round(one[-1]) for name, one in rates.items()}, flush=True)
    return {
        "machine": describe(),
        "cores": cores,
        "networks": [asdict(one.config) for one in points],
        "rates": rates,
        "peak_bytes": memory,
    }


def report(results):
    """Render the results as Markdown."""
    rates, cores = results["rates"], results["cores"]

    def ratio(base):
        found = [a / b for a, b in zip(rates["all cores"], rates[base], strict=True)]
        return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})"

    return "\n".join(
        [
            "# The grid of 128 networks: speed",
            "",
            f"{DRAWN} networks drawn from the grid of `cifar2-bird-plane-128` (3072-512-128-32-2, batch 32),",
            f"{EPOCHS} epochs each: the whole search, with validation and store, beside the training alone of one of",
            f"them by PyTorch's eager SGD on all cores. Median (least to most) of {ROUNDS} rounds, in turns. Made by",
            "`benchmarks/grid_beside_pytorch.py`.",
            "",
            "| images a second | |",
            "| --- | --: |",
            f"| fastmlp, one core | {median(rates['one core']):,.0f} |",
            f"| fastmlp, {cores} cores | {median(rates['all cores']):,.0f} |",
            f"| PyTorch eager, {cores} cores | {median(rates['PyTorch']):,.0f} |",
            f"| {cores} cores against one | {ratio('one core')} |",
            f"| fastmlp against PyTorch, {cores} cores each | {ratio('PyTorch')} |",
            f"| most memory, without PyTorch | {results['peak_bytes'] / 1e6:,.0f} MB |",
            "",
        ]
    )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    results = run()
    (target / "results.json").write_text(json.dumps(results, indent=1, default=str) + "\n")
    (target / "report.md").write_text(report(results))
    print(report(results))
