"""What the report of a training shows of its data: balance, samples, confusions and the most wrong answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset
from fastmlp.datasets.preparation import Number
from fastmlp.reporting.beside import Draw
from fastmlp.reporting.document import Table, literal
from fastmlp.reporting.mosaics import draw_mosaic, draw_predictions, levels_of
from fastmlp.training.answers import answers_of
from fastmlp.training.levels import WHITE
from fastmlp.training.metrics import words_of

SAMPLES = 6  # of each class
SAMPLE_ROWS = 12  # classes that samples are drawn of
ACROSS = 4  # examples beside each other
SHOWN_COLUMNS = 4  # of a table, beside a wrong answer
MOST_TARGETS = 3  # squares of predictions


def balance(parts: Mapping[str, Dataset]) -> Table:
    """Return how often each class or label is in each part; of a regression, how its targets are spread."""
    first = next(iter(parts.values()))
    if first.task == "regression":
        rows = [
            [literal(target), name, *(f"{one:.6g}" for one in _spread(part.labels[:, column]))]
            for column, target in enumerate(first.classes)
            for name, part in parts.items()
        ]
        return Table(["target", "part", "mean", "deviation", "least", "median", "greatest"], rows)
    columns = []
    for part in parts.values():
        labels, count = part.labels, len(part.classes)
        found = labels.sum(axis=0) if labels.ndim > 1 else np.bincount(labels, minlength=count)
        columns.append([f"{one:,} ({one / len(part):.1%})" for one in found.tolist()])
    rows = [[literal(name), *cells] for name, *cells in zip(first.classes, *columns, strict=True)]
    return Table(["class" if first.task == "classification" else "label", *parts], rows)


def each_of(tested: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return a header, and a row of texts for each class or target, of what `metrics_of` says of it alone."""
    each = tested["classes"] if "classes" in tested else tested["targets"]
    names = list(dict.fromkeys(name for one in each.values() for name in one))
    rows = [[name, *(number(one.get(key)) for key in names)] for name, one in each.items()]
    return ["name", *map(words_of, names)], rows


def number(value: float | None) -> str:
    """Return a number for a table, with four digits behind the point; nothing for None."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _spread(values: NDArray[np.float64]) -> list[float]:
    return [values.mean(), values.std(), values.min(), float(np.median(values)), values.max()]


def draw_samples(part: Dataset, path: Path, draw: Draw) -> None:
    """Draw the first pictures of each class, or of the whole part where rows have no single class."""
    if part.task == "classification":
        rows = [np.flatnonzero(part.labels == one)[:SAMPLES] for one in range(len(part.classes))]
        named = [(name, row) for name, row in zip(part.classes, rows, strict=True) if len(row)]
        named = named[:SAMPLE_ROWS]
    else:
        few = np.arange(min(len(part), 4 * SAMPLES))
        named = [("", few[first : first + SAMPLES]) for first in range(0, len(few), SAMPLES)]
    across = max(len(row) for _, row in named)
    pictures = np.full((len(named), across, *part.shape), WHITE, np.uint8)
    for line, (_, row) in zip(pictures, named, strict=True):
        line[: len(row)] = _pictures(part, row)
    draw(draw_mosaic, _shown(pictures), path=path, rows=[name for name, _ in named])


def draw_mistakes(
    part: Dataset, rows: NDArray[np.int64], captions: Sequence[str], path: Path, draw: Draw
) -> None:
    """Draw pictures of a part beside each other, with a caption above each."""
    across = min(ACROSS, len(rows))
    down = -(-len(rows) // across)
    pictures = np.full((down * across, *part.shape), WHITE, np.uint8)
    pictures[: len(rows)] = _pictures(part, rows)
    shown = _shown(pictures.reshape(down, across, *part.shape))
    draw(draw_mosaic, shown, path=path, captions=captions)


def draw_regression(part: Dataset, outputs: NDArray[np.float64], path: Path, draw: Draw) -> None:
    """Draw predicted against true values of the first targets."""
    count = min(len(part.classes), MOST_TARGETS)
    values = part.labels[:, :count], outputs[:, :count]
    draw(draw_predictions, *values, part.classes[:count], path=path)


def _pictures(part: Dataset, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    images = part.images[rows].reshape(-1, *part.shape)
    levels = part.levels or (0, WHITE)
    if part.images.dtype == np.uint8 and levels[1] > WHITE / 2:
        return images
    return levels_of(images, levels)  # also bytes such as 0..16, which would all be dark


def _shown(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures whose channels can be shown: grey, or red, green and blue."""
    return pictures if pictures.shape[2] in (1, 3) else pictures[:, :, :1]


def told(part: Dataset, outputs: NDArray[np.float64], rows: NDArray[np.int64]) -> Iterator[str]:
    """Yield two lines for each row: its true answer, and what the network says."""
    for row in rows.tolist():
        yield "\n".join(_told(part, outputs[row], part.labels[row]))


def _told(part: Dataset, output: NDArray[np.float64], truth: Any) -> tuple[str, str]:
    """Return the true answer and what the network says, both in words."""
    classes = part.classes
    if part.task == "regression":
        true, said = (", ".join(f"{one:.4g}" for one in values) for values in (truth, output))
        return true, said
    if part.task == "classification":
        likeliest = int(output.argmax())
        return classes[truth], f"{classes[likeliest]} {output[likeliest]:.2f}"
    has, said = (
        ", ".join(classes[one] for one in np.flatnonzero(row)) or "none"
        for row in (truth, output > 0.5)
    )
    return has, said


def confused(part: Dataset, outputs: NDArray[np.float64]) -> list[tuple[str, str, int]]:
    """Return the pairs of a true class and another that was predicted, with their rows, the most frequent first."""
    said = answers_of(part.task, outputs)
    wrong = np.flatnonzero(said != part.labels)
    pairs, counts = np.unique(
        np.stack([part.labels[wrong], said[wrong]]), axis=1, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")
    return [
        (part.classes[pairs[0, one]], part.classes[pairs[1, one]], int(counts[one]))
        for one in order
    ]


def wrong_rows(
    part: Dataset, outputs: NDArray[np.float64], rows: NDArray[np.int64], important: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Return a header and a line for each row: number, true answer, what the network says, some of its columns.

    Parameters
    ----------
    part : Dataset
    outputs : float64 array [N, T]
    rows : int64 array
        Which ones.
    important : sequence of str
        Columns of the table, those to show first.
    """
    columns = list(important[:SHOWN_COLUMNS])
    lines = []
    for row in rows.tolist():
        truth, said = _told(part, outputs[row], part.labels[row])
        values = [_value(part, name, part.images[row]) for name in columns]
        lines.append([str(row), truth, said, *values])
    return ["row", "true", "predicted", *columns], lines


def _value(part: Dataset, name: str, features: NDArray[Any]) -> str:
    """Return what stood in a column of the table, as far as its features say."""
    assert part.preparation is not None
    column = next(one for one in part.preparation.columns if one.name == name)
    values = features[part.preparation.spans[name]]
    if column.indicator and values[-1]:
        return "missing"
    if isinstance(column, Number):
        return f"{values[0]:.6g}"
    known = np.flatnonzero(values[: len(column.categories)])
    return column.categories[known[0]] if len(known) else "another"
