"""Does bfloat16 keep the accuracy? The studies' networks in float32 and bfloat16, five seeds each.

    python benchmarks/bfloat16_accuracy.py reports/bfloat16      # real data; about ten minutes on two cores

Writes results.csv (one row a run) and report.md (means, standard deviations, differences), the report from the rows.
"""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.machine import describe

SEEDS = range(5)
DTYPES = ("float32", "bfloat16")
FIELDS = ("network", "dtype", "seed", "test_accuracy", "samples_per_second")
CIFAR2 = fastmlp.TrainConfig(hidden=(512, 128, 32), epochs=30, batch_size=64)
STUDY2 = ((0.01, 0, 0), (0.01, 0, 0.01), (0.01, 0.85, 0), (0.01, 0.85, 0.01), (0.05, 0.85, 0.01))


def experiments():
    """Yield (name, configuration, training part, test part)."""
    cifar10, mnist = fastmlp.load_cifar10(), fastmlp.load_mnist()
    planes = cifar10.pick(("bird", "airplane"))
    winner = CIFAR2.replace(learning_rate=0.01, momentum=0.0, epochs=21)
    yield "study 1, winner", winner, planes.train, planes.test
    cars = cifar10.pick(("automobile", "cat")).resize(16)
    for number, (rate, momentum, decay) in enumerate(STUDY2, 1):
        changes = {"learning_rate": rate, "momentum": momentum, "weight_decay": decay}
        yield f"study 2, model {number}", CIFAR2.replace(**changes), cars.train, cars.test
    wide = fastmlp.TrainConfig(
        hidden=(3136,), epochs=20, batch_size=128, learning_rate=0.1, momentum=0.0
    )
    yield "MNIST 784-3136-10", wide, mnist.train, mnist.test


def run(folder: Path) -> None:
    """Train everything and write the rows."""
    with (folder / "results.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, FIELDS)
        rows.writeheader()
        for name, config, train, test in experiments():
            configs = [config.replace(seed=seed, dtype=dtype) for dtype in DTYPES for seed in SEEDS]
            for result in fastmlp.train_many(configs, train):
                accuracy = fastmlp.evaluate(result.network, test)["accuracy"]
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
    lines = [
        "# bfloat16 against float32: test accuracy",
        "",
        f"Mean and standard deviation over {len(SEEDS)} seeds, in %. Made by `benchmarks/bfloat16_accuracy.py`.",
        "",
        "| network | float32 | bfloat16 | difference |",
        "|---|---|---|---|",
    ]
    for network in dict.fromkeys(network for network, _ in found):
        single, half = (found[network, dtype] for dtype in DTYPES)
        cells = [f"{np.mean(one):.2f} ± {np.std(one, ddof=1):.2f}" for one in (single, half)]
        difference = np.mean(half) - np.mean(single)
        lines.append(f"| {network} | {cells[0]} | {cells[1]} | {difference:+.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    run(target)
    (target / "report.md").write_text(report(target))
