"""What a report shows beside trials: the ``measure`` entries of a section.

A measure is two functions. One measures, with the data at hand, and returns plain values for
``measured.json``. The other turns those into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmlp import autograd
from fastmlp.autograd import Tensor
from fastmlp.errors import ConfigError
from fastmlp.reporting.document import Block, Paragraph, Picture, Table
from fastmlp.studies.agreement import show_twins, take_twins
from fastmlp.studies.front import show_front, take_front
from fastmlp.studies.gradients import check_kernels
from fastmlp.studies.laboratory import Laboratory
from fastmlp.studies.likelihood import show_likelihoods, take_likelihoods
from fastmlp.studies.record import show_record, take_record
from fastmlp.studies.results import StudyResults
from fastmlp.studies.study import MAIN, Study
from fastmlp.studies.tables import MINUS, PLUS_MINUS
from fastmlp.training.config import TrainConfig

Section = Mapping[str, Any]

MOST_CONFUSED = 10  # pairs of classes that are told where no matrix was published


class Measure(NamedTuple):
    """How a section measures something, and how that is shown."""

    take: Callable[[Laboratory, Section], Any]
    show: Callable[[StudyResults, Section, Any], list[Block]]


# -- the data --------------------------------------------------------------------------------------


def _take_balance(lab: Laboratory, section: Section) -> Any:
    return {
        name: {
            "shape": list(part.shape),
            "type": str(part.images.dtype),
            "levels": [int(part.images.min()), int(part.images.max())],
            "labels": [int(part.labels.min()), int(part.labels.max())],
            "counts": np.bincount(part.labels, minlength=len(part.classes)).tolist(),
            "classes": list(part.classes),
        }
        for name, part in zip(("train", "validation", "test"), lab.data(MAIN), strict=True)
    }


def _show_balance(results: StudyResults, section: Section, taken: Any) -> list[Block]:
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


def _take_gradients(lab: Laboratory, section: Section) -> Any:
    return check_kernels(checked(lab.results.study), lab.data(MAIN)[0])


def checked(study: Study) -> TrainConfig:
    """Return the settings of the network whose gradients are compared with differences."""
    return study.parts[MAIN].points[-1].config


def _show_gradients(results: StudyResults, section: Section, taken: Any) -> list[Block]:
    return [
        Paragraph(
            "Gradient check: the compiled kernels' gradient (float64) against centred differences, "
            f"on {taken['entries']} parameters drawn from all layers: largest absolute difference "
            f"{taken['absolute']:.1e}, largest relative difference {taken['relative']:.1e}. Left "
            f"out, because a ReLU bends within the difference: {taken['kinks']}."
        )
    ]


def _take_autograd(lab: Laboratory, section: Section) -> Any:
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


def _show_autograd(results: StudyResults, section: Section, taken: Any) -> list[Block]:
    rows = [[name, f"{error:.1e}"] for name, error in taken.items()]
    return [Table(["operation", "largest relative difference from centred differences"], rows)]


# -- confusion -------------------------------------------------------------------------------------


def _take_confusion(lab: Laboratory, section: Section) -> Any:
    """Count, for each seed of the row marked ``confusion``, what was taken for what."""
    entry = confused(lab.results)
    test = lab.data(entry.get("part", MAIN))[2]
    classes, published = len(test.classes), entry["confusion"]
    if published is not True and {len(published), *map(len, published)} != {classes}:
        raise ConfigError(
            f"row.confusion: found {len(published)} rows of {sorted(set(map(len, published)))} numbers, "
            f"expected a square of {classes}, the classes"
        )
    counts = [
        np.bincount(test.labels * classes + network.predict(test), minlength=classes**2)
        .reshape(classes, classes)
        .tolist()
        for network in lab.networks(entry)
    ]
    return {"classes": list(test.classes), "counts": counts}


def _show_confusion(results: StudyResults, section: Section, taken: Any) -> list[Block]:
    entry, counts = confused(results), np.array(taken["counts"], np.float64)
    published = entry["confusion"]
    lines = _most_confused(counts) if published is True else list(np.ndindex(counts.shape[1:]))
    spread = counts.std(axis=0, ddof=1) if len(counts) > 1 else np.zeros(counts.shape[1:])
    rows = []
    for true, found in lines:
        name, other = taken["classes"][true], taken["classes"][found]
        mean = counts[:, true, found].mean()
        label = f"{name} taken for {other}" if true != found else f"{name} right"
        ours = f"{mean:.1f} {PLUS_MINUS} {spread[true, found]:.1f}"
        if published is True:
            rows.append([label, ours])
            continue
        gap = mean - published[true][found]
        agrees = abs(gap) / counts[0, true].sum() <= entry.get("tolerance", 0.02)
        differs = f"differs by {gap:+.0f}".replace("-", MINUS)
        rows.append([label, str(published[true][found]), ours, "agrees" if agrees else differs])
    matrix = Picture(
        "confusion.png", f"Confusion matrix of {entry['label']} on the test part, first seed"
    )
    if published is True:
        return [Table([f"{len(rows)} most frequent errors", "test images"], rows), matrix]
    return [
        Table(["test images", "published", "ours", "verdict"], rows),
        Paragraph("A count within 2 % of the class's images agrees."),
        matrix,
    ]


def _most_confused(counts: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs (true, found) of the most frequent errors, over all seeds."""
    errors = counts.sum(axis=0)
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:MOST_CONFUSED]
    rows, columns = np.unravel_index(order, errors.shape)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def confused(results: StudyResults) -> Mapping[str, Any]:
    """Return the row that the confusion matrix is about: ``confusion`` is the published one, or true."""
    rows = (row for section in results.study.sections for row in section.get("row", []))
    return next(row for row in rows if "confusion" in row)


MEASURES: Mapping[str, Measure] = {
    "balance": Measure(_take_balance, _show_balance),
    "gradients": Measure(_take_gradients, _show_gradients),
    "autograd": Measure(_take_autograd, _show_autograd),
    "twins": Measure(take_twins, show_twins),
    "confusion": Measure(_take_confusion, _show_confusion),
    "front": Measure(take_front, show_front),
    "likelihoods": Measure(take_likelihoods, show_likelihoods),
    "record": Measure(take_record, show_record),
}
