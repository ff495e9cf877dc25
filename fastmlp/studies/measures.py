"""What a report measures that is no trial: the ``measure`` entries of a section.

A measure is two functions: one measures, with the data at hand, and gives plain values for
``measured.json``; one turns those into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastmlp import autograd
from fastmlp.autograd import Tensor
from fastmlp.datasets import Dataset, Normalization
from fastmlp.reporting.document import Block, Paragraph, Picture, Table
from fastmlp.studies.results import Results
from fastmlp.studies.tables import PLUS_MINUS
from fastmlp.training.config import TrainConfig
from fastmlp.training.engine import Engine
from fastmlp.training.evaluation import score
from fastmlp.training.network import Network, initialize
from fastmlp.training.optimizers import sgd
from fastmlp.training.trainer import samples_of

ROWS, ENTRIES = 20, 40  # images, and parameters of each array, that gradients are checked on
DIFFERENCE = 1e-5  # the e of (f(t + e) - f(t - e)) / 2e
KINK = 1e-6  # relative change of that quotient by halving e, above which a ReLU bends in between
ROUNDING = 1e-10  # of that quotient


class Lab(Protocol):
    """What a measure may ask for."""

    results: Results

    def data(self, part: str) -> tuple[Dataset, Dataset, Dataset]:
        """Return the training, validation and test images of a part."""

    def networks(self, entry: Mapping[str, Any]) -> list[Network]:
        """Return the networks of the point that an entry means, one a seed."""


class Measure(NamedTuple):
    """How something is measured, and how that is shown."""

    take: Callable[[Lab], Any]
    show: Callable[[Results, Any], list[Block]]


# -- the data --------------------------------------------------------------------------------------


def _take_balance(lab: Lab) -> Any:
    return {
        name: {
            "shape": list(part.shape),
            "type": str(part.images.dtype),
            "levels": [int(part.images.min()), int(part.images.max())],
            "labels": [int(part.labels.min()), int(part.labels.max())],
            "counts": np.bincount(part.labels, minlength=len(part.classes)).tolist(),
            "classes": list(part.classes),
        }
        for name, part in zip(("train", "validation", "test"), lab.data("main"), strict=True)
    }


def _show_balance(results: Results, taken: Any) -> list[Block]:
    rows = [
        [
            name,
            f"{sum(part['counts']):,}",
            " x ".join(map(str, part["shape"])),
            f"{part['levels'][0]} to {part['levels'][1]} ({part['type']})",
            f"{part['labels'][0]} to {part['labels'][1]}",
            ", ".join(f"{a} {b:,}" for a, b in zip(part["classes"], part["counts"], strict=True)),
        ]
        for name, part in taken.items()
    ]
    header = ["part", "images", "channels x height x width", "grey levels", "labels", "balance"]
    return [Table(header, rows)]


# -- gradients -------------------------------------------------------------------------------------


def _take_gradients(lab: Lab) -> Any:
    results, (train, _, _) = lab.results, lab.data("main")
    config = results.study.parts["main"].points[-1].config
    return check_kernels(config, train)


def check_kernels(config: TrainConfig, train: Dataset) -> dict[str, float]:
    """Compare the compiled kernels' gradient in float64 with centred differences.

    Parameters
    ----------
    config : TrainConfig
        Decides network, start and decay; the penalty is part of the loss.
    train : Dataset
        Its first images are the batch.

    Returns
    -------
    dict
        ``entries`` compared, the largest ``absolute`` and ``relative`` difference, the latter
        |a - n| / max(|a|, |n|) where that maximum is above 1e-6; and ``kinks``: entries left out,
        because a ReLU bends within the difference, so that half of it gives another slope.
    """
    batch = train.take(range(min(ROWS, len(train))))
    rng = np.random.default_rng(config.seed)
    sizes = (train.images.shape[1], *config.hidden, len(train.classes))
    weights, biases = initialize(
        sizes, config.initialization, rng, "float64", std=config.initialization_std
    )
    engine = Engine(
        weights,
        biases,
        batch_size=len(batch),
        dtype="float64",
        threads=1,
        activation=config.activation,
        residual=config.residual,
    )
    samples = samples_of(engine, batch, Normalization.of(train, config.normalize))

    def loss() -> float:
        engine.load(weights, biases)
        decayed = weights + biases if config.decay_biases else weights
        penalty = sum(float(np.square(array).sum()) for array in decayed)
        cross_entropy = score(engine.logits(samples), batch.labels)["loss"]
        return cross_entropy + config.weight_decay / 2 * penalty

    def slope(array: np.ndarray, index: Any, difference: float) -> float:
        centre = array[index]
        array[index] = centre + difference
        rise = loss()
        array[index] = centre - difference
        rise -= loss()
        array[index] = centre
        return rise / (2 * difference)

    # A step of plain SGD with rate 1 is the gradient.
    step = sgd(1, 1.0, weight_decay=config.weight_decay, decay_biases=config.decay_biases)
    engine.epoch(samples, np.arange(len(batch)), step)
    arrays = [*weights, *biases]
    after = [*engine.weights()[0], *engine.weights()[1]]
    gradients = [array - stepped for array, stepped in zip(arrays, after, strict=True)]
    entries, kinks, absolute, relative = 0, 0, 0.0, 0.0
    for array, gradient in zip(arrays, gradients, strict=True):
        chosen = rng.choice(array.size, min(ENTRIES, array.size), replace=False)
        for index in zip(*np.unravel_index(chosen, array.shape), strict=True):
            numeric, halved = slope(array, index, DIFFERENCE), slope(array, index, DIFFERENCE / 2)
            if abs(numeric - halved) > KINK * abs(halved) + ROUNDING:
                kinks += 1
                continue
            analytic = float(gradient[index])
            size, gap = max(abs(numeric), abs(analytic)), abs(numeric - analytic)
            entries, absolute = entries + 1, max(absolute, gap)
            relative = max(relative, gap / size if size > 1e-6 else 0.0)
    engine.close()
    return {"entries": entries, "kinks": kinks, "absolute": absolute, "relative": relative}


def _show_gradients(results: Results, taken: Any) -> list[Block]:
    return [
        Paragraph(
            "Gradient check: the compiled kernels' gradient (float64) against centred differences, "
            f"on {taken['entries']} parameters drawn from all layers: largest absolute difference "
            f"{taken['absolute']:.1e}, largest relative difference {taken['relative']:.1e}. Left "
            f"out, because a ReLU bends within the difference: {taken['kinks']}."
        )
    ]


def _take_autograd(lab: Lab) -> Any:
    rng = np.random.default_rng(0)
    a, b, row = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.normal(size=4)
    weight = rng.normal(size=(4, 2))
    scale = Tensor(rng.normal(size=(3, 4)))  # tells apart entries that a plain sum would add up
    cases: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...]]] = {
        "add": (lambda x, y: ((x + y) * scale).sum(), (a, row)),
        "subtract": (lambda x, y: ((x - y) * scale).sum(), (a, row)),
        "multiply": (lambda x, y: (x * y).sum(), (a, row)),
        "divide": (lambda x, y: (x / y).sum(), (a, abs(b) + 1)),
        "matmul": (lambda x, y: ((x @ y) * (x @ y)).sum(), (a, weight)),
        "exp": (lambda x: (x.exp() * scale).sum(), (a,)),
        "log": (lambda x: (x.log() * scale).sum(), (abs(a) + 1,)),
        "sum": (lambda x: x.sum() * x.sum(), (a,)),
        "row max": (lambda x: (x.row_max() * x.row_max()).sum(), (a,)),
        "row sum": (lambda x: (x.row_sum() * x.row_sum()).sum(), (a,)),
        "normalise": (lambda x: (x.normalize() * scale).sum(), (abs(a) + 1,)),
        "expand": (lambda x: (x.expand((3, 4)) * scale).sum(), (row,)),
        "select": (lambda x: (x.select([0, 3, 1]) * x.select([0, 3, 1])).sum(), (a,)),
        "squeeze": (lambda x: (x.squeeze(0) * scale).sum(), (a[None],)),
        "unsqueeze": (lambda x: (x.unsqueeze(1) * scale.unsqueeze(1)).sum(), (a,)),
        "sigmoid": (lambda x: (x.sigmoid() * scale).sum(), (a,)),
        "ReLU": (lambda x: (x.relu() * scale).sum(), (a,)),
    }
    return {name: autograd.check_gradients(f, *inputs) for name, (f, inputs) in cases.items()}


def _show_autograd(results: Results, taken: Any) -> list[Block]:
    rows = [[name, f"{error:.1e}"] for name, error in taken.items()]
    return [Table(["operation", "largest relative difference from centred differences"], rows)]


# -- twins -----------------------------------------------------------------------------------------

# The last pair is one implementation in two types: how far rounding alone carries a training.
TWINS = (
    ("main", "torch32"),
    ("fused64", "torch64"),
    ("fused64", "autograd64"),
    ("torch64", "torch32"),
)
LIMITS = {"float32": 1e-4, "float64": 1e-9}
IMPLEMENTATIONS = {
    "main": "kernels, float32",
    "fused64": "kernels, float64",
    "torch32": "PyTorch's SGD, float32",
    "torch64": "PyTorch's SGD, float64",
    "autograd64": "update by hand on `fastmlp.autograd`, float64",
}


def _take_twins(lab: Lab) -> Any:
    rows = []
    for ours, theirs in TWINS:
        for other in lab.results.points(theirs):
            config = other.config
            same = {"epochs": config.epochs, "dtype": config.dtype}
            (point,) = (
                point
                for point in lab.results.points(ours)
                if point.config.replace(**same) == config
            )
            pairs = zip(point.runs[0].trial.history, other.runs[0].trial.history, strict=True)
            gaps = [abs(a["train_loss"] - b["train_loss"]) for a, b in pairs]
            limit = LIMITS[config.dtype] if point.config.dtype == config.dtype else None
            rows.append(
                {
                    "ours": ours,
                    "theirs": theirs,
                    "learning_rate": config.learning_rate,
                    "momentum": config.momentum,
                    "weight_decay": config.weight_decay,
                    "first": gaps[0],
                    "largest": max(gaps),
                    "within": max(gaps) < limit if limit else None,
                }
            )
    return rows


def _show_twins(results: Results, taken: Any) -> list[Block]:
    rows = [
        [
            f"({row['learning_rate']:g}, {row['momentum']:g}, {row['weight_decay']:g})",
            IMPLEMENTATIONS[row["ours"]],
            IMPLEMENTATIONS[row["theirs"]],
            f"{row['first']:.1e}",
            f"{row['largest']:.1e}",
            {True: "yes", False: "no", None: ""}[row["within"]],
        ]
        for row in taken
    ]
    header = [
        *("model (rate, momentum, decay)", "implementation", "another"),
        *("training loss differs after epoch 1 by", "at most, over all epochs", "within the limit"),
    ]
    limits = " and ".join(f"{limit:g} in {name}" for name, limit in LIMITS.items())
    blocks: list[Block] = [Table(header, rows), Paragraph(f"The limits are {limits}.")]
    if _rounding_explains(taken):
        blocks.append(
            Paragraph(
                "Beyond the limit are trainings that make the rounding of float32 grow: PyTorch parts "
                "from itself as far (no less than a third of it) when it changes its type, as the "
                "last rows show."
            )
        )
    if not any(row["theirs"].startswith("torch") for row in taken):
        blocks.append(Paragraph("PyTorch is not installed here: its twins were not trained."))
    return blocks


def _rounding_explains(taken: Any) -> bool:
    """Tell whether some twins part, and none by over thrice what PyTorch's own two types do."""
    settings = ("learning_rate", "momentum", "weight_decay")
    itself = {
        tuple(row[name] for name in settings): row["largest"]
        for row in taken
        if row["within"] is None
    }
    apart = [row for row in taken if row["within"] is False]
    return bool(apart) and all(
        row["ours"] == "main"
        and row["largest"] <= 3 * itself.get(tuple(row[name] for name in settings), 0)
        for row in apart
    )


# -- confusion -------------------------------------------------------------------------------------


def _take_confusion(lab: Lab) -> Any:
    """Count, for each seed of the row marked ``confusion``, what was taken for what."""
    entry = confused(lab.results)
    test = lab.data(entry.get("part", "main"))[2]
    classes = len(test.classes)
    counts = [
        np.bincount(test.labels * classes + network.predict(test), minlength=classes**2)
        .reshape(classes, classes)
        .tolist()
        for network in lab.networks(entry)
    ]
    return {"classes": list(test.classes), "counts": counts}


def _show_confusion(results: Results, taken: Any) -> list[Block]:
    entry, counts = confused(results), np.array(taken["counts"], np.float64)
    spread = counts.std(axis=0, ddof=1) if len(counts) > 1 else np.zeros(counts.shape[1:])
    rows = []
    for true, name in enumerate(taken["classes"]):
        for found, other in enumerate(taken["classes"]):
            mean = counts[:, true, found].mean()
            published = entry["confusion"][true][found]
            share = abs(mean - published) / counts[0, true].sum()
            gap = f"differs by {mean - published:+.0f}".replace("-", "\N{MINUS SIGN}")
            rows.append(
                [
                    f"{name} taken for {other}" if true != found else f"{name} right",
                    str(published),
                    f"{mean:.1f} {PLUS_MINUS} {spread[true, found]:.1f}",
                    "agrees" if share <= entry.get("tolerance", 0.02) else gap,
                ]
            )
    return [
        Table(["test images", "published", "ours", "verdict"], rows),
        Paragraph("A count within 2 % of the class's images agrees."),
        Picture(
            "confusion.png", f"Confusion matrix of {entry['label']} on the test part, first seed"
        ),
    ]


def confused(results: Results) -> Mapping[str, Any]:
    """Return the row that the confusion matrix is about."""
    rows = (row for section in results.study.sections for row in section.get("row", []))
    return next(row for row in rows if "confusion" in row)


MEASURES: Mapping[str, Measure] = {
    "balance": Measure(_take_balance, _show_balance),
    "gradients": Measure(_take_gradients, _show_gradients),
    "autograd": Measure(_take_autograd, _show_autograd),
    "twins": Measure(_take_twins, _show_twins),
    "confusion": Measure(_take_confusion, _show_confusion),
}
