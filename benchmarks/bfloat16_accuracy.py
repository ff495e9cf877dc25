"""Compare test accuracies in float32 and bfloat16: the studies' networks, with many seeds.

    python benchmarks/bfloat16_accuracy.py reports/bfloat16      # real data; about a quarter of an hour on two cores

Writes results.csv (one row a run), and from it report.md (means, standard deviations, differences).
Five seeds are too few for study 2. A test accuracy spreads by half a point there: the differences of six groups of five
seeds of its model 5 went from -0.55 to +0.67 points, with a mean of -0.04.
"""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from fastmlp import TrainConfig, evaluate, load_mnist, train_many
from fastmlp.machine.description import describe
from fastmlp.reporting.tables import markdown_table
from fastmlp.search.experiment import Experiment, expand, load_parts
from fastmlp.studies.study import FOLDER

SEEDS, SEEDS_MNIST = 30, 5
DTYPES = ("float32", "bfloat16")
FIELDS = ("network", "dtype", "seed", "test_accuracy", "samples_per_second")


def experiments():
    """Yield (name, configuration, seeds, and the three parts of the data), settings and data as in the studies.

    One setting differs: networks are those of the best epoch, the default. The studies test those of the last epoch,
    where the curve may jump.
    """
    planes = Experiment.from_toml(FOLDER / "cifar2-bird-plane-128.toml")
    winner = {"learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.01, "restore_best": True}
    yield "study 1, winner", planes.config.replace(**winner), SEEDS, load_parts(planes.data)
    cars = Experiment.from_toml(FOLDER / "cifar2-car-cat-5.toml")
    parts = load_parts(cars.data)
    for number, point in enumerate(expand(cars.config, cars.grid), 1):
        yield f"study 2, model {number}", point.config.replace(restore_best=True), SEEDS, parts
    mnist = load_mnist()
    wide = TrainConfig(hidden=(3136,), epochs=20, batch_size=128, learning_rate=0.1, momentum=0.0)
    parts = (*mnist.train.split((0.9, 0.1), seed=0), mnist.test)
    yield "MNIST 784-3136-10", wide, SEEDS_MNIST, parts


def run(folder: Path) -> None:
    """Train everything and write the rows."""
    with (folder / "results.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, FIELDS)
        rows.writeheader()
        for name, config, seeds, (train, valid, test) in experiments():
            configs = [
                config.replace(seed=seed, dtype=dtype) for dtype in DTYPES for seed in range(seeds)
            ]
            for result in train_many(configs, train, valid):
                accuracy = evaluate(result.network, test)["accuracy"]
                values = (name, result.config.dtype, result.config.seed, accuracy)
                rate = round(result.samples_per_second)
                rows.writerow(dict(zip(FIELDS, (*values, rate), strict=True)))
            file.flush()
            print(name, "done", flush=True)
    (folder / "machine.json").write_text(json.dumps(describe(), indent=2) + "\n")


def report(folder: Path) -> str:
    """Render the rows as Markdown."""
    found = defaultdict(list)
    with (folder / "results.csv").open() as file:
        for row in csv.DictReader(file):
            found[row["network"], row["dtype"]].append(100 * float(row["test_accuracy"]))
    rows = []
    for network in dict.fromkeys(network for network, _ in found):
        single, half = (found[network, dtype] for dtype in DTYPES)
        cells = [f"{np.mean(one):.2f} ± {np.std(one, ddof=1):.2f}" for one in (single, half)]
        differences = np.subtract(half, single)
        error = np.std(differences, ddof=1) / np.sqrt(len(differences))
        cells.append(f"{np.mean(differences):+.2f} ± {error:.2f}")
        rows.append([network, str(len(single)), *cells])
    lines = [
        "# bfloat16 against float32: test accuracy",
        "",
        "Mean and standard deviation over seeds, in %, and the difference with its standard error. Made by",
        "`benchmarks/bfloat16_accuracy.py`.",
        "",
        markdown_table(["network", "seeds", "float32", "bfloat16", "difference"], rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    run(target)
    (target / "report.md").write_text(report(target))
