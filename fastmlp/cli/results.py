"""What a training leaves behind: its files, what is printed of them, and a report."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from fastmlp.cli.run_folder import CONFUSION, CURVES, RunFolder
from fastmlp.datasets import Dataset
from fastmlp.datasets.transforms import is_rows
from fastmlp.errors import line_of, printable
from fastmlp.machine import description as machine
from fastmlp.machine.interrupts import held_interrupt
from fastmlp.machine.streams import drawing, warn
from fastmlp.reporting import figures
from fastmlp.reporting.beside import Draw
from fastmlp.training.metrics import words_of

if TYPE_CHECKING:
    from fastmlp.training.loop import TrainResult

INTERRUPTED = 130  # an exit code
MOST_IN_CONFUSION = 50  # classes whose numbers can be read in a picture
HEADLINES = ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "r2", "mae", "rmse")


def keep(
    result: TrainResult,
    parts: Mapping[str, Dataset],
    folder: RunFolder,
    draw: Draw,
    *,
    report: bool,
) -> int:
    """Write and print the results, and return the exit code if Ctrl-C ended that.

    Parameters
    ----------
    result : TrainResult
    parts : mapping of str to Dataset
        "train", "valid" and "test".
    folder : RunFolder
    draw : callable
        What draws pictures; see `fastmlp.training.report.write_report`.
    report : bool
        Whether to write a report, once everything else is done.
    """
    code, is_whole = 0, False
    try:
        with held_interrupt():  # a second Ctrl-C must not lose what took long to train
            metrics, outputs = _save(result, parts, folder, draw)
            is_whole = True
        if report and outputs is not None:
            _report(result, parts, folder, metrics, outputs, draw)
    except KeyboardInterrupt:
        click.echo("interrupted while results were written", err=True)
        code = INTERRUPTED
    click.echo(f"{printable(folder.path)}: {', '.join(folder.written())}")
    # What was not told, the same command tells again.
    if is_whole and not getattr(sys.stdout, "is_lost", False):
        folder.end()
    if folder.failures:
        raise folder.failures[0]
    return code


def _save(
    result: TrainResult, parts: Mapping[str, Dataset], folder: RunFolder, draw: Draw
) -> tuple[dict[str, Any], NDArray[np.float64] | None]:
    """Write the network before anything is printed or scored, then write and print the results.

    They are returned, with the network's outputs for the test part; None if the network is of no use.
    """
    from fastmlp.training.evaluation import evaluate, outputs_of
    from fastmlp.training.metrics import metrics_of

    network, usable = result.network, _is_usable(result)
    with folder.trying():
        if usable:
            folder.keep(network)
    if result.status != "done":
        click.echo(result.reason, err=True)
    scores: dict[str, dict[str, Any]] = {
        name: evaluate(network, part) for name, part in parts.items()
    }
    outputs = None
    if usable and math.isfinite(scores["test"]["loss"]):
        outputs = outputs_of(network, parts["test"])
        scores["test"] = {"loss": scores["test"]["loss"], **metrics_of(parts["test"], outputs)}
    metrics = {
        **scores,
        "seconds": result.seconds,
        "samples_per_second": result.samples_per_second,
        "status": result.status,
        "reason": result.reason,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "machine": machine.describe(),
    }
    folder.finish(result.history, metrics)
    for line in lines_of(scores):
        click.echo(line)
    unit = "rows" if is_rows(parts["test"].shape) else "images"
    click.echo(
        f"{len(result.history)} epochs in {result.seconds:.2f} s, "
        f"{result.samples_per_second:,.0f} {unit} a second"
    )
    _draw(result, parts["test"], folder, outputs, draw)
    return metrics, outputs


def lines_of(scores: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield lines that say loss and accuracy, or R2, of each part, and the chief metrics of those that have more."""
    for name, score in scores.items():
        told = [one for one in ("loss", "accuracy", "r2") if one in score]  # one row has no R2
        yield f"{name:5}  {'  '.join(f'{words_of(one)} {score[one]:.4f}' for one in told)}"
    for name, score in scores.items():
        if "intervals" in score:
            told = [one for one in HEADLINES if one in score]
            texts = (f"{words_of(one)} {score[one]:.4f}{interval_of(score, one)}" for one in told)
            yield f"{name:5}  {'  '.join(texts)}"


def interval_of(score: Mapping[str, Any], name: str) -> str:
    """Return the interval of a metric in parentheses, if it has one."""
    if name not in score["intervals"]:
        return ""
    low, high = score["intervals"][name]
    return f" ({low:.4f} to {high:.4f})"


def _draw(
    result: TrainResult,
    test: Dataset,
    folder: RunFolder,
    outputs: NDArray[np.float64] | None,
    draw: Draw,
) -> None:
    """Draw the curves and, if there are outputs for the test part, how classes were taken for others."""
    restored = result.best_epoch if result.config.restore_best else 0
    drawn = test.task == "classification" and len(test.classes) <= MOST_IN_CONFUSION
    with drawing():
        with folder.trying():
            path = folder.path / CURVES
            draw(figures.draw_curves, result.history, path=path, best_epoch=restored)
        if outputs is not None and drawn:
            with folder.trying():
                path = folder.path / CONFUSION
                said = outputs.argmax(axis=1)
                draw(figures.draw_confusion, test.labels, said, test.classes, path=path)


def _report(
    result: TrainResult,
    parts: Mapping[str, Dataset],
    folder: RunFolder,
    metrics: Mapping[str, Any],
    outputs: NDArray[np.float64],
    draw: Draw,
) -> None:
    """Write the report; that it fails is a warning."""
    try:
        from fastmlp.training.report import Run, write_report

        captions = {CURVES: "Curves by epoch", CONFUSION: "Classes of the test part"}
        there = {name: text for name, text in captions.items() if (folder.path / name).is_file()}
        write_report(folder.path, Run(result, parts, metrics, outputs), there, draw)
    except Exception as error:  # of any kind: all results are there
        warn(f"the report could not be written: {line_of(error)}")


def _is_usable(result: TrainResult) -> bool:
    """Return whether the network is worth keeping: that of a best epoch if the run diverged."""
    restored = result.config.restore_best and result.best_epoch > 0
    return (result.status != "diverged" or restored) and all(
        np.isfinite(array).all() for array in result.network.state_dict().values()
    )
