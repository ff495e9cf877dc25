"""The report of one training: report.md, report.html with all its pictures inside, and these pictures.

Everything comes from the values of a run. Names out of data are given as `fastmlp.reporting.document.literal`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset
from fastmlp.datasets.transforms import is_rows
from fastmlp.machine.files import write_text
from fastmlp.reporting.beside import Draw, draw_here
from fastmlp.reporting.document import (
    Block,
    Details,
    Heading,
    Paragraph,
    Picture,
    Table,
    literal,
    to_html,
    to_markdown,
)
from fastmlp.training import report_data
from fastmlp.training.answers import answers_of
from fastmlp.training.importance import importance_of
from fastmlp.training.layers import Residual, spell_layer
from fastmlp.training.loop import TrainResult
from fastmlp.training.metrics import METRICS, words_of
from fastmlp.training.report_data import number
from fastmlp.training.shapes import spell_shape
from fastmlp.training.summary import HEADER, lines_of

MARKDOWN, PAGE = "report.md", "report.html"
SAMPLES, MISTAKES, PREDICTIONS = "samples.png", "mistakes.png", "predictions.png"
FILES = (MARKDOWN, PAGE, SAMPLES, MISTAKES, PREDICTIONS)
MOST_ROWS = 30  # of a table that is not folded away
MOST_WRONG = 20  # examples
MOST_CONFUSED = 10  # pairs of classes
MOST_COLUMNS = 20  # whose importance is shown
NARROW = "\u00a0"  # a space at which no line ends


@dataclass(frozen=True)
class Run:
    """What a report is about.

    Parameters
    ----------
    result : TrainResult
    parts : mapping of str to Dataset
        ``"train"``, ``"valid"`` and ``"test"``.
    metrics : mapping
        For each part its ``loss`` and so on; for the test part those of `fastmlp.training.evaluation.measure`; and
        ``"machine"``.
    outputs : float64 array [N, T]
        Of the test part, as `fastmlp.training.evaluation.outputs_of` returns them.
    """

    result: TrainResult
    parts: Mapping[str, Dataset]
    metrics: Mapping[str, Any]
    outputs: NDArray[np.float64]

    @property
    def test(self) -> Dataset:
        """The test part."""
        return self.parts["test"]

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """How wrong the answer to each row [N] of the test part is."""
        truth = self.test.labels
        if self.test.task == "regression":
            assert self.result.network.targets is not None
            errors = (self.outputs - truth) / self.result.network.targets.std
            return np.asarray((errors**2).mean(axis=1))
        if self.test.task == "classification":
            return np.asarray(1 - self.outputs[np.arange(len(truth)), truth])
        return np.asarray(np.abs(self.outputs - truth).max(axis=1))

    @cached_property
    def worst(self) -> NDArray[np.int64]:
        """The rows of the test part whose answers are wrong, the most wrong first, at most `MOST_WRONG`."""
        order = np.argsort(-self.losses, kind="stable")[:MOST_WRONG]
        if self.test.task == "regression":
            return order
        said = answers_of(self.test.task, self.outputs)
        wrong = (said != self.test.labels).reshape(len(said), -1).any(axis=1)
        return np.asarray(order[wrong[order]])

    @cached_property
    def importance(self) -> dict[str, tuple[float, float]]:
        """The permutation importance of each column of a table; empty without one."""
        if self.test.preparation is None:
            return {}
        return importance_of(self.result.network, self.test)


def write_report(
    folder: Path, run: Run, pictures: Mapping[str, str], draw: Draw = draw_here
) -> None:
    """Write the report of a run, and the pictures that only it shows.

    Parameters
    ----------
    folder : Path
    run : Run
    pictures : mapping of str to str
        Files in the folder that are there already, with their captions.
    draw : callable
        What draws the others; `fastmlp.reporting.beside.Beside.draw` does it in another process.

    Raises
    ------
    OSError
        If a file cannot be written; the error names it.
    """
    if not is_rows(run.test.shape):
        report_data.draw_samples(run.parts["train"], folder / SAMPLES, draw)
        if len(run.worst):
            captions = list(report_data.told(run.test, run.outputs, run.worst))
            report_data.draw_mistakes(run.test, run.worst, captions, folder / MISTAKES, draw)
    if run.test.task == "regression":
        report_data.draw_regression(run.test, run.outputs, folder / PREDICTIONS, draw)
    blocks = list(blocks_of(run, pictures))
    write_text(folder / MARKDOWN, to_markdown(blocks))
    write_text(folder / PAGE, to_html(blocks, folder))


def blocks_of(run: Run, pictures: Mapping[str, str]) -> Iterator[Block]:
    """Yield the report's blocks."""
    yield Heading(f"{literal(run.test.name)}: {run.test.task}", 1)
    yield from _summary(run)
    yield Heading("Data")
    yield from _data(run)
    yield Heading("Network")
    yield from _network(run)
    yield Heading("Training and answers")
    for file, caption in pictures.items():
        yield Picture(file, caption)
    if run.test.task == "regression":
        yield Picture(PREDICTIONS, "Predicted against true values of the test part")
    yield from _each(run)
    yield from _wrong(run)
    yield from _columns(run)
    yield Heading("Settings")
    settings = run.result.config.as_dict().items()
    rows = [[name, literal(value)] for name, value in settings]
    yield Details("All settings of the training", Table(["setting", "value"], rows))
    machine = run.metrics["machine"]
    yield Paragraph(
        f"Trained on {literal(machine['cpu'])}, {machine['usable_cores']} cores, with fastmlp "
        f"{machine['versions']['fastmlp']}: {run.result.seconds:.2f} seconds, "
        f"{run.result.samples_per_second:,.0f} rows a second."
    )


def _summary(run: Run) -> Iterator[Block]:
    result, tested = run.result, run.metrics["test"]
    kept = f"; kept is epoch {result.best_epoch}" if _restored(run) else ""
    yield Paragraph(f"{literal(result.reason).capitalize()}{kept}.")
    intervals = tested.get("intervals", {})
    rows = []
    for name in ("loss", *METRICS[run.test.task]):
        if name in tested:
            ends = intervals.get(name)
            span = "" if ends is None else f"{ends[0]:.4f}{NARROW}to{NARROW}{ends[1]:.4f}"
            others = [number(run.metrics[part].get(name)) for part in ("train", "valid")]
            rows.append([words_of(name), f"**{tested[name]:.4f}**", span, *others])
    header = ["metric", "test part", "95 % interval", "training part", "validation part"]
    yield Table(header, rows)
    if intervals:
        text = (
            f"Intervals are those of the bootstrap: rows of the test part drawn again {intervals['draws']:,} "
            "times."
        )
        if "calibration_bins" in tested:
            text += (
                f" The calibration error is the expected one, of {tested['calibration_bins']} bins of equal "
                "width."
            )
        yield Paragraph(text)


def _restored(run: Run) -> bool:
    return run.result.config.restore_best and run.result.best_epoch > 0


def _data(run: Run) -> Iterator[Block]:
    counts = ", ".join(f"{len(part):,} in the {name} part" for name, part in run.parts.items())
    shape = run.test.shape
    what = f"{shape[2]:,} features a row" if is_rows(shape) else f"Images of {spell_shape(shape)}"
    yield Paragraph(f"{what}: {counts}.")
    yield _folded("Balance", report_data.balance(run.parts))
    if run.test.preparation is not None:
        for line in run.test.preparation.lines():
            kind, _, names = line.partition(": ")
            yield Paragraph(f"{kind.capitalize()}: {literal(names)}.")
    if not is_rows(run.test.shape):
        kinds = "each class" if run.test.task == "classification" else "the training part"
        yield Picture(SAMPLES, f"Samples of {kinds}")


def _folded(summary: str, table: Table) -> Block:
    """Return a table, behind a click if it is long."""
    if len(table.rows) <= MOST_ROWS:
        return table
    return Details(f"{summary}: {len(table.rows):,} rows", table)


def _network(run: Run) -> Iterator[Block]:
    network = run.result.network
    rows = [["input", spell_shape(network.shape), "", ""]]
    total = 0
    for line in lines_of(network.layers, tuple(network.shape)):
        name = "residual" if isinstance(line.layer, Residual) else spell_layer(line.layer)
        counts = [f"{one:,}" if one else "" for one in (line.parameters, line.multiply_adds)]
        rows.append([f"{'· ' * line.depth}{name}", spell_shape(line.output), *counts])
        total += line.parameters
    yield Table(HEADER, rows)
    yield Paragraph(f"{total:,} parameters of the type {network.dtype}.")


def _each(run: Run) -> Iterator[Block]:
    header, rows = report_data.each_of(run.metrics["test"])
    yield Heading("Each target" if run.test.task == "regression" else "Each class", 3)
    yield _folded("Each of them", Table(header, [[literal(name), *cells] for name, *cells in rows]))
    if run.test.task == "classification":
        pairs = report_data.confused(run.test, run.outputs)[:MOST_CONFUSED]
        if pairs:
            yield Heading("Taken for another", 3)
            texts = [[literal(true), literal(said), f"{count:,}"] for true, said, count in pairs]
            yield Table(["true class", "predicted class", "rows"], texts)


def _wrong(run: Run) -> Iterator[Block]:
    yield Heading("Most wrong")
    if not len(run.worst):
        yield Paragraph("All answers to the test part are right.")
        return
    if not is_rows(run.test.shape):
        yield Picture(
            MISTAKES, "Of the test part: above the true answer, below what the network says"
        )
        return
    header, rows = report_data.wrong_rows(run.test, run.outputs, run.worst, list(run.importance))
    yield Table([literal(one) for one in header], [[literal(one) for one in row] for row in rows])
    yield Paragraph("Rows are numbered from 0 in the test part.")


def _columns(run: Run) -> Iterator[Block]:
    if not run.importance:
        return
    score = "R2" if run.test.task == "regression" else "accuracy"
    yield Heading("What the columns tell")
    yield Paragraph(
        f"By how much {score} on the test part falls when a column is shuffled, with the standard deviation over "
        "shuffles."
    )
    most = max(0.0, *(mean for mean, _ in run.importance.values()))
    rows: list[Sequence[str]] = []
    for name, (mean, spread) in list(run.importance.items())[:MOST_COLUMNS]:
        bar = "█" * round(12 * max(mean, 0.0) / (most or 1))
        rows.append([literal(name), f"{mean:.4f} ± {spread:.4f}", bar])
    yield Table(["column", f"{score} lost", ""], rows)
