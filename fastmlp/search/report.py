"""write_report(): a finished search as report.md, trials.csv and figures.

Matplotlib and scikit-learn are imported when figures are drawn, not when this module is imported.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.machine.description import describe
from fastmlp.machine.files import write_text
from fastmlp.reporting.tables import csv_table, markdown_table
from fastmlp.search.ranking import RankedPoint, SearchResult, merit_of
from fastmlp.search.record import NOT_IN_A_KEY, Trial
from fastmlp.training.config import TrainConfig
from fastmlp.training.metrics import lower_is_better, words_of

REPORT_FILE, TRIALS_FILE = "report.md", "trials.csv"
CURVES_FILE, CONFUSION_FILE = "curves.png", "confusion.png"
NUMBERS = (
    *("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"),
    *("test_loss", "test_accuracy"),
)
MOST_LABELS = 16  # values of an axis, up to which the cells of a heat map show their numbers


def write_report(
    folder: str | Path, title: str, result: SearchResult, parts: Mapping[str, Dataset]
) -> list[str]:
    """Write the table of all trials, the figures, and the report that shows them.

    Parameters
    ----------
    folder : path
        The folder of the search.
    title : str
        The first line of the report.
    result : SearchResult
        What the search found.
    parts : mapping of str to Dataset
        ``"train"``, ``"valid"`` and, if the best point was tested, ``"test"``.

    Returns
    -------
    list of str
        The names of the files written to `folder`.

    Raises
    ------
    OSError
        If a file cannot be written; the error names it.
    """
    folder = Path(folder)
    write_text(folder / TRIALS_FILE, _csv(result))
    figures = _draw(folder, result, parts)
    write_text(folder / REPORT_FILE, _markdown(title, result, parts, figures))
    return [REPORT_FILE, TRIALS_FILE, *figures]


def axes_of(points: Sequence[RankedPoint]) -> dict[str, list[Any]]:
    """Return the settings that differ between points, each with its values in the grid's order.

    A setting that always changes together with an earlier one is no axis of its own.
    """
    ordered = sorted(points, key=lambda point: point.index)
    columns = {
        name: [getattr(point.config, name) for point in ordered]
        for name in dict.fromkeys(name for point in ordered for name in point.parameters)
    }
    axes: dict[str, list[Any]] = {}
    for name, column in columns.items():
        choices = list(dict.fromkeys(column))
        together = (
            len(set(zip(column, columns[other], strict=True))) == len(choices) == len(values)
            for other, values in axes.items()
        )
        if len(choices) > 1 and not any(together):
            axes[name] = choices
    return axes


def shown(value: Any) -> str:
    """Return a setting in the way that people write it."""
    match value:
        case None | ():
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            # Layers of images come first, and have spaces in their names.
            return (", " if isinstance(value[0], str) else "-").join(map(str, value))
        case float():
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def best_by_pair(result: SearchResult, down: str, across: str) -> np.ndarray:
    """Return the best mean metric for each pair of values of two settings, whatever the others.

    Parameters
    ----------
    result : SearchResult
    down, across : str
        Two of the `axes_of` its points, for rows and columns.

    Returns
    -------
    float64 array [rows, columns]
        NaN if no point with these values came to a regular end.
    """
    axes = axes_of(result.points)
    best = np.full((len(axes[down]), len(axes[across])), np.nan)
    for point in reversed(result.points):  # the best last
        if merit_of(point.trials, result.metric) is not None:
            row = axes[down].index(getattr(point.config, down))
            column = axes[across].index(getattr(point.config, across))
            best[row, column] = point.mean(result.metric)
    return best


def draw_heat_map(result: SearchResult, down: str, across: str, path: str | Path) -> None:
    """Draw `best_by_pair` with an empty cell for each NaN.

    Parameters
    ----------
    result, down, across
        As for `best_by_pair`.
    path : str or Path
        The PNG file to write.
    """
    from fastmlp.reporting.figures import new_figure

    axes = axes_of(result.points)
    rows, columns = axes[down], axes[across]
    best = best_by_pair(result, down, across)
    with new_figure(path, 3.2 + 0.7 * len(columns), 1.8 + 0.45 * len(rows)) as figure:
        plot = figure.subplots()
        plot.grid(visible=False)
        shades = "Greys_r" if lower_is_better(result.metric) else "Greys"  # dark is good
        picture = plot.imshow(np.ma.masked_invalid(best), cmap=shades, aspect="auto")
        figure.colorbar(picture, label=_best_metric(result))
        plot.set_xticks(range(len(columns)), list(map(shown, columns)))
        plot.set_yticks(range(len(rows)), list(map(shown, rows)))
        plot.set_xlabel(across.replace("_", " "))
        plot.set_ylabel(down.replace("_", " "))
        if max(best.shape) <= MOST_LABELS:
            for (row, column), value in np.ndenumerate(best):
                text = "" if np.isnan(value) else f"{value:.3f}"
                shade = picture.cmap(picture.norm(value))[0] if text else 1.0
                plot.text(
                    *(column, row, text),
                    color="white" if shade < 0.5 else "black",
                    ha="center",
                    va="center",
                )


def _draw(folder: Path, result: SearchResult, parts: Mapping[str, Dataset]) -> list[str]:
    from fastmlp.reporting import figures

    names = []
    trial = result.best_trial
    if trial is not None and result.network is not None:
        kept = trial.epoch if trial.epoch < trial.epochs else 0
        figures.draw_curves(trial.history, folder / CURVES_FILE, best_epoch=kept)
        part = parts[_judged(parts)]
        names.append(CURVES_FILE)
        if part.task == "classification":
            predicted = result.network.predict(part)
            figures.draw_confusion(part.labels, predicted, part.classes, folder / CONFUSION_FILE)
            names.append(CONFUSION_FILE)
        for down, across in itertools.combinations(axes_of(result.points), 2):
            names.append(f"{down}-{across}.png")
            draw_heat_map(result, down, across, folder / names[-1])
    return names


def _judged(parts: Mapping[str, Dataset]) -> str:
    """Return the name of the part that the confusion matrix is about."""
    return "test" if "test" in parts else "valid"


def _csv(result: SearchResult) -> str:
    """Return a line for each trial, those of the best point first; those of other searches have no rank."""
    grid = _parameters(result)
    plain = result.points[0].config.as_dict()
    differ = (
        name
        for config, _ in result.others
        for name, value in config.as_dict().items()
        if name not in NOT_IN_A_KEY and value != plain[name]
    )
    names = list(dict.fromkeys((*grid, *differ)))
    fields = ("status", "epochs", "epoch", *NUMBERS, "seconds", "reason")
    trials: list[tuple[int | None, TrainConfig, Trial]] = [
        (point.rank, point.config, trial) for point in result.points for trial in point.trials
    ]
    trials += [(None, config, trial) for config, trial in result.others]
    rows: list[list[Any]] = [["rank", *names, "seed", *fields]]
    for rank, config, trial in trials:
        values = [getattr(config, name) for name in names]
        values = [shown(value) if isinstance(value, tuple) else value for value in values]
        rows.append([rank, *values, trial.seed, *(getattr(trial, name) for name in fields)])
    return csv_table(rows)


def _markdown(
    title: str, result: SearchResult, parts: Mapping[str, Dataset], figures: Sequence[str]
) -> str:
    trials = [trial for point in result.points for trial in point.trials]
    counts = Counter(trial.status for trial in trials)
    ended = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    machine = describe()
    best = _best_metric(result)
    lines = [
        f"# {title}",
        "",
        f"- Images: {parts['train'].name}, {sizes}; classes {', '.join(parts['train'].classes)}",
        f"- Trials: {len(trials)} ({ended}) of {len(result.points)} points, "
        f"{sum(trial.seconds for trial in trials):,.1f} seconds of training in all",
        f"- Chosen by: {best}, mean over seeds",
        f"- Machine: {machine['cpu']}, {machine['usable_cores']} cores, "
        f"fastmlp {machine['versions']['fastmlp']}",
    ]
    if result.others:
        lines.append(
            f"- This report is of the grid that was asked for. The store holds {len(result.others)} more "
            f"trials, of other grids or seeds; {TRIALS_FILE} lists them without a rank."
        )
    lines.append("")
    lines += _best(result, parts, figures)
    lines += ["## All points", "", _all_points(result), ""]
    maps = [name for name in figures if name not in (CURVES_FILE, CONFUSION_FILE)]
    if maps:
        lines += [
            "## Two settings at a time",
            "",
            f"The {best} for each pair of values, whatever the other settings; empty "
            "where no point came to a regular end.",
            "",
            *(f"![{name.removesuffix('.png')}]({name})" for name in maps),
            "",
        ]
    return "\n".join(lines)


def _best(result: SearchResult, parts: Mapping[str, Dataset], figures: Sequence[str]) -> list[str]:
    if result.best is None or result.best_trial is None:
        return ["No trial came to a regular end: there is no best point.", ""]
    point = result.best
    names = [
        name for name in dict.fromkeys((*NUMBERS, result.metric)) if point.mean(name) is not None
    ]
    several = f", mean of {len(point.trials)} seeds" if len(point.trials) > 1 else ""
    header = ["", *(_words(name, result) for name in names)]
    rows = [["mean", *(_number(point.mean(name)) for name in names)]]
    if several:
        deviations = (_number(point.deviation(name)) for name in names)
        rows.append(["standard deviation", *deviations])
    lines = [
        "## The best point",
        "",
        f"{_settings(point) or 'The only one'}{several}:",
        "",
        markdown_table(header, rows, "l" + "r" * len(names)),
        "",
        f"The network of seed {result.best_trial.seed} is `best/model.safetensors`: "
        f"{result.best_trial.reason}, kept is epoch {result.best_trial.epoch}.",
        "",
    ]
    if CURVES_FILE in figures:
        lines += [f"![Loss and {result.score_word} by epoch]({CURVES_FILE})", ""]
    if CONFUSION_FILE in figures:
        lines += [f"![Confusion matrix of the {_judged(parts)} part]({CONFUSION_FILE})", ""]
    return [*lines, "```toml", "[config]", point.config.to_toml().rstrip(), "```", ""]


def _all_points(result: SearchResult) -> str:
    """Return a table with a row for each point, the best first."""
    names = _parameters(result)
    numbers = ["train_accuracy", "valid_accuracy", "valid_loss"]
    numbers += [result.metric] if result.metric not in numbers else []
    header = [name.replace("_", " ") for name in names]
    header = ["rank", *header, *(_words(name, result) for name in numbers), "epochs", "ended"]
    rows = []
    for point in result.points:
        cells = [str(point.rank), *(shown(getattr(point.config, name)) for name in names)]
        for name in numbers:
            spread = point.deviation(name)
            cells.append(_number(point.mean(name)) + ("" if spread is None else f" ± {spread:.4f}"))
        cells.append(", ".join(str(trial.epochs) for trial in point.trials))
        cells.append(", ".join(dict.fromkeys(trial.status for trial in point.trials)))
        rows.append(cells)
    return markdown_table(header, rows, "r" * (len(header) - 1) + "l")


def _parameters(result: SearchResult) -> list[str]:
    """Return the names of the fields that the grid sets."""
    return list(dict.fromkeys(name for point in result.points for name in point.parameters))


def _best_metric(result: SearchResult) -> str:
    """Return what the best point has, such as "highest validation accuracy"."""
    extreme = "lowest" if lower_is_better(result.metric) else "highest"
    return f"{extreme} validation {_words(result.metric, result).removeprefix('valid ')}"


def _words(name: str, result: SearchResult) -> str:
    """Return the name of a number of `NUMBERS`, or of another metric of a part, in words."""
    part, metric = name.split("_", 1)
    return f"{part} {result.score_word if metric == 'accuracy' else words_of(metric)}"


def _settings(point: RankedPoint) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {shown(value)}" for name, value in point.parameters.items()
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
