"""Time MLPClassifier's fits beside scikit-learn's, in turns, with the same settings and losses.

    python benchmarks/estimator_beside_sklearn.py reports/estimator     # real data; about twenty minutes on two cores

Trains the network with a promised speed on every row of the digits, of MNIST and of CIFAR-10's training part, and
networks of one layer, which must not be slower, on fewer rows. Each fit gets all cores. A short fit comes first, so
that compiling is not timed. Losses of two epochs must agree on 4,000 rows. On all rows rounding has longer to grow, and
the distance of the losses is reported. Writes results.json and machine.json, and from them report.md.
"""

import json
import sys
import time
import warnings
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp.bench.timing import PAUSE
from fastmlp.datasets import load
from fastmlp.machine.description import describe
from fastmlp.reporting.tables import markdown_table

ROUNDS, FEW_ROWS = 3, 4_000
EPOCHS = {"digits": 20, "mnist": 2, "cifar10": 2}
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
HEADER = (
    *("data, rows", "hidden", "type", "solver", "batch", "fastmlp", "sklearn", "times as fast"),
    *("promised", "apart"),
)
KINDS = {"fastmlp": fastmlp.MLPClassifier, "scikit-learn": neural_network.MLPClassifier}

# Data, rows (None: all), hidden layers, type, solver, batch, and the least factor of speed.
PROMISED = [
    (data, None, (512, 128, 32), "float32", solver, batch, 3 if batch == "auto" else 4)
    for data in EPOCHS
    for solver in ("sgd", "adam")
    for batch in (10, 32, 100, "auto")
]
OTHERS = [
    (data, FEW_ROWS, (width,), dtype, solver, batch, 1)
    for data in ("digits", "mnist")
    for solver in ("sgd", "adam")
    for width in (16, 128, 1024)
    for dtype in ("float32", "float64")
    for batch in (10, 32, 100, "auto")
]


@cache
def examples(name, dtype):
    """Return scaled images and labels: MNIST's 70,000, and the training part of the others."""
    data = load(name)
    parts = [data.train, data.test] if name == "mnist" else [data.train]
    images = np.concatenate([part.images for part in parts]).astype(dtype)
    images /= images.max()
    return images, np.concatenate([part.labels for part in parts])


def timed(kind, X, y, **settings):
    """Return the seconds of a fit, and its losses."""
    model = kind(random_state=0, **settings)
    time.sleep(PAUSE)  # threads of the fit before fall asleep
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - start, model.loss_curve_


def apart(ours, theirs):
    """Return the largest relative difference between the losses of the first two epochs."""
    ours, theirs = np.array(ours[:2]), np.array(theirs[:2])
    return float(np.max(abs(ours - theirs) / theirs))


def measure(data, rows, hidden, dtype, solver, batch, floor):
    """Return one row of the results, from a few fits of both in turns."""
    X, y = (each[:rows] for each in examples(data, dtype))
    settings = {"hidden_layer_sizes": hidden, "solver": solver, "batch_size": batch}
    timed(KINDS["fastmlp"], X[:200], y[:200], max_iter=1, **settings)
    few = [
        timed(kind, X[:FEW_ROWS], y[:FEW_ROWS], max_iter=2, **settings)[1]
        for kind in KINDS.values()
    ]
    assert apart(*few) <= TOLERANCE[dtype], "losses differ"
    seconds, losses = {name: [] for name in KINDS}, {}
    for _ in range(ROUNDS):
        for name, kind in KINDS.items():
            taken, losses[name] = timed(kind, X, y, max_iter=EPOCHS[data], **settings)
            seconds[name].append(taken)
    return {
        "data": data,
        "rows": len(X),
        "hidden": hidden,
        "dtype": dtype,
        "solver": solver,
        "batch": batch,
        "epochs": EPOCHS[data],
        "floor": floor,
        "seconds": seconds,
        "apart": apart(*losses.values()),
    }


def ratios(row):
    """Return how many times as fast fastmlp was, in each round."""
    return [b / a for a, b in zip(*(row["seconds"][name] for name in KINDS), strict=True)]


def cells_of(row):
    """Return the cells of a row."""
    network, found = "-".join(map(str, row["hidden"])), ratios(row)
    seconds = (f"{median(row['seconds'][name]):.2f}" for name in KINDS)
    short = "" if median(found) >= row["floor"] else " **slower than promised**"
    cells = (
        f"{row['data']}, {row['rows']:,}",
        network,
        row["dtype"],
        row["solver"],
        row["batch"],
        *seconds,
        f"{median(found):.1f} ({min(found):.1f} to {max(found):.1f}){short}",
        row["floor"],
        f"{row['apart']:.0e}",
    )
    return list(map(str, cells))


def report(rows):
    """Render the results as Markdown."""
    return "\n".join(
        [
            "# MLPClassifier beside scikit-learn's",
            "",
            f"Seconds of a whole fit, median of {ROUNDS}, both with all cores and the same settings, in turns; how",
            "many times as fast is a median (least to most) over the rounds. The last column is how far apart the",
            "losses of the first two epochs are, relatively. Made by `benchmarks/estimator_beside_sklearn.py`.",
            "",
            markdown_table(HEADER, map(cells_of, rows), "llllrrrrrr"),
            "",
        ]
    )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    results = []
    for case in (*PROMISED, *OTHERS):
        results.append(measure(*case))
        print(*cells_of(results[-1]), flush=True)
    (target / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (target / "machine.json").write_text(json.dumps(describe(), indent=2) + "\n")
    (target / "report.md").write_text(report(results))
