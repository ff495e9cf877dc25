"""write_report(): a finished search as report.md, report.html, trials.csv and figures.

Matplotlib and scikit-learn are imported when figures are drawn, not when this module is imported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastmlp.datasets import Dataset
from fastmlp.machine.description import describe
from fastmlp.machine.files import naming, write_text
from fastmlp.machine.streams import drawing
from fastmlp.reporting.chance import interval
from fastmlp.reporting.pages import cell, embedded, render, rounded, thinned
from fastmlp.reporting.tables import csv_table, markdown_table, shown
from fastmlp.search.experiment import Point
from fastmlp.search.insight import (
    Importances,
    axes_of,
    best_metric,
    heat_map,
    importances,
    pairs_of,
    parallel,
    spread_near,
    suggestions,
    words,
)
from fastmlp.search.ranking import RankedPoint, SearchResult, rank
from fastmlp.search.record import NOT_IN_A_KEY, Trial
from fastmlp.training.config import TrainConfig
from fastmlp.training.metrics import words_of

REPORT_FILE, TRIALS_FILE = "report.md", "trials.csv"
PAGE_FILE = "report.html"
CURVES_FILE, CONFUSION_FILE = "curves.png", "confusion.png"
PARALLEL_FILE, IMPORTANCE_FILE = "parallel.png", "importance.png"
OVERVIEWS = (CURVES_FILE, CONFUSION_FILE, PARALLEL_FILE, IMPORTANCE_FILE)
BEST_CURVES, MOST_CURVES = 10, 100  # points whose curves the page shows at first, and can show
SHOWN_NUMBERS = ("train_accuracy", "valid_accuracy", "valid_loss")
NUMBERS = (
    *("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"),
    *("test_loss", "test_accuracy"),
)


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
    found = importances(store_points(result), result.metric)
    figures: list[str] = []
    with drawing():
        _draw(folder, result, parts, figures)
        if found is not None and figures:
            found.display().save(folder / IMPORTANCE_FILE)
            figures.append(IMPORTANCE_FILE)
    content = _content(title, result, parts, figures, found)
    write_text(folder / REPORT_FILE, _markdown(content))
    write_text(folder / PAGE_FILE, _page(folder, result.metric, len(parts["valid"]), content))
    return [REPORT_FILE, PAGE_FILE, TRIALS_FILE, *figures]


def draw_heat_map(result: SearchResult, down: str, across: str, path: str | Path) -> None:
    """Draw `best_by_pair` with an empty cell for each NaN.

    Parameters
    ----------
    result, down, across
        As for `best_by_pair`.
    path : str or Path
        The PNG file to write.
    """
    heat_map(result, down, across).save(path)


def store_points(result: SearchResult) -> tuple[RankedPoint, ...]:
    """Return all points of the store, those of other grids too, ranked together."""
    groups: dict[TrainConfig, list[Trial]] = {}
    for point in sorted(result.points, key=lambda point: point.index):
        groups.setdefault(point.config.replace(seed=0, threads=None), []).extend(point.trials)
    for config, trial in result.others:
        groups.setdefault(config.replace(seed=0, threads=None), []).append(trial)
    asked = _parameters(result)
    plain = next(iter(groups)).as_dict()
    differ = (
        name
        for config in groups
        for name, value in config.as_dict().items()
        if name not in NOT_IN_A_KEY and value != plain[name]
    )
    names = list(dict.fromkeys((*asked, *differ)))
    points = [Point({name: getattr(config, name) for name in names}, config) for config in groups]
    return rank(points, list(groups.values()), result.metric)


def _draw(
    folder: Path, result: SearchResult, parts: Mapping[str, Dataset], names: list[str]
) -> None:
    """Draw the figures, and add the name of each file to a list."""
    from fastmlp.reporting import figures

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
        for down, across in pairs_of(result.points):
            name = f"{down}-{across}.png"
            draw_heat_map(result, down, across, folder / name)
            names.append(name)
        points = store_points(result)
        if len(axes_of(points)) > 1:
            parallel(points, result.metric).save(folder / PARALLEL_FILE)
            names.append(PARALLEL_FILE)


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
    for place, config, trial in trials:
        values = [getattr(config, name) for name in names]
        values = [shown(value) if isinstance(value, tuple) else value for value in values]
        rows.append([place, *values, trial.seed, *(getattr(trial, name) for name in fields)])
    return csv_table(rows)


def _content(
    title: str,
    result: SearchResult,
    parts: Mapping[str, Dataset],
    figures: Sequence[str],
    found: Importances | None,
) -> dict[str, Any]:
    """Return what the report says, for its templates."""
    trials = [trial for point in result.points for trial in point.trials]
    counts = Counter(trial.status for trial in trials)
    ended = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    machine, points, word = describe(), store_points(result), result.score_word
    best = best_metric(result.metric).replace("accuracy", word)
    facts = [
        f"Images: {parts['train'].name}, {sizes}; classes {', '.join(parts['train'].classes)}",
        f"Trials: {len(trials)} ({ended}) of {len(result.points)} points, "
        f"{sum(trial.seconds for trial in trials):,.1f} seconds of training in all",
        f"Chosen by: {best}, mean over seeds",
        f"Machine: {machine['cpu']}, {machine['usable_cores']} cores, "
        f"fastmlp {machine['versions']['fastmlp']}",
    ]
    if result.others:
        facts.append(
            f"The best point is that of the grid that was asked for. The store holds {len(result.others)} more "
            f"trials, of other grids or seeds; {TRIALS_FILE} lists them without a rank, and the tables of all points, "
            "what matters and what to try next take them in."
        )
    return {
        "title": title,
        "facts": facts,
        "best": None if result.best is None else _best(result, result.best),
        "metric": best,
        "word": word,
        "numbers": list(dict.fromkeys((*SHOWN_NUMBERS, result.metric))),
        "judged": _judged(parts),
        "files": [name for name in figures if name in OVERVIEWS],
        "maps": [name for name in figures if name not in OVERVIEWS],
        "importances": found,
        "next": suggestions(points, result.metric),
        "points": points,
        "names": list(dict.fromkeys(name for point in points for name in point.parameters)),
    }


def _best(result: SearchResult, point: RankedPoint) -> dict[str, Any]:
    names = [
        name for name in dict.fromkeys((*NUMBERS, result.metric)) if point.mean(name) is not None
    ]
    several = len(point.trials) > 1
    rows = [["mean", *(_number(point.mean(name)) for name in names)]]
    if several:
        rows.append(["standard deviation", *(_number(point.deviation(name)) for name in names)])
    trial = result.best_trial
    assert trial is not None
    return {
        "settings": (_settings(point) or "The only one")
        + (f", mean of {len(point.trials)} seeds" if several else ""),
        "header": ["", *(_words(name, result.score_word) for name in names)],
        "rows": rows,
        "network": f"The network of seed {trial.seed} is `best/model.safetensors`: "
        f"{trial.reason}, kept is epoch {trial.epoch}.",
        "toml": point.config.to_toml().rstrip(),
    }


def _markdown(content: Mapping[str, Any]) -> str:
    best, points, names = content["best"], content["points"], content["names"]
    table = None if best is None else markdown_table(
        best["header"], best["rows"], "l" + "r" * (len(best["header"]) - 1)
    )  # fmt: skip
    numbers = [_words(name, content["word"]) for name in content["numbers"]]
    header = ["rank", *(name.replace("_", " ") for name in names), *numbers, "epochs", "ended"]
    rows = [_row(point, names, content["numbers"]) for point in points]
    every = markdown_table(header, rows, "r" * (len(header) - 1) + "l")
    return render("search.md", **content, best_table=table, every=every)


def _row(point: RankedPoint, names: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """Return the cells of a point."""
    cells = [str(point.rank), *(shown(getattr(point.config, name)) for name in names)]
    for name in numbers:
        spread = point.deviation(name)
        cells.append(_number(point.mean(name)) + ("" if spread is None else f" ± {spread:.4f}"))
    cells.append(", ".join(str(trial.epochs) for trial in point.trials))
    cells.append(", ".join(dict.fromkeys(trial.status for trial in point.trials)))
    return cells


def _page(folder: Path, metric: str, rows_of_part: int, content: Mapping[str, Any]) -> str:
    points, names = content["points"], content["names"]
    is_share = metric == "valid_accuracy" and content["word"] == "accuracy"
    count = rows_of_part if is_share else None
    numbers = [_words(name, content["word"]) for name in content["numbers"]]
    interval_name = f"95 % of {words(metric)}".replace("accuracy", content["word"])
    header = [
        *(name.replace("_", " ") for name in ("rank", *names)),
        *numbers,
        interval_name,
        "epochs",
        "ended",
    ]
    rows = []
    for point in points:
        texts = _row(point, names, content["numbers"])
        values = [point.rank, *(getattr(point.config, name) for name in names),
                  *(point.mean(name) for name in content["numbers"])]  # fmt: skip
        cells = [cell(text, value) for text, value in zip(texts, values, strict=False)]
        low, high = _interval(points, point, metric, count)
        cells.append(cell("" if math.isnan(low) else f"{low:.4f} to {high:.4f}", low))
        rows.append([*cells, cell(texts[-2], point.trials[0].epochs), cell(texts[-1])])
    curves = [_curve(point) for point in points]
    pictures = {
        name: embedded(_read(folder / name)) for name in (*content["files"], *content["maps"])
    }
    return render("search.html", **content, header=header, rows=rows, curves=curves,
                  pictures=pictures, most=BEST_CURVES)  # fmt: skip


def _curve(point: RankedPoint) -> dict[str, Any]:
    """Return the learning curves of a point's first trial, for the page; none of those that rank far behind."""
    history = point.trials[0].history if point.rank <= MOST_CURVES else []
    names = [
        name for name in (history[0] if history else {}) if name.startswith(("train_", "valid_"))
    ]
    return {
        "name": f"rank {point.rank}: {_settings(point)}",
        "epochs": thinned([row["epoch"] for row in history]),
        "curves": {name: rounded([row.get(name) for row in history]) for name in names},
    }


def _interval(
    points: Sequence[RankedPoint], point: RankedPoint, metric: str, count: int | None
) -> tuple[float, float]:
    mean = point.mean(metric) if point.sound else None
    if mean is None:
        return math.nan, math.nan
    spread, degrees = spread_near(points, metric, point.rank)
    return interval(mean, count, spread / math.sqrt(len(point.trials)), degrees)


def _parameters(result: SearchResult) -> list[str]:
    """Return the names of the fields that the grid sets."""
    return list(dict.fromkeys(name for point in result.points for name in point.parameters))


def _words(name: str, word: str) -> str:
    """Return the name of a number of `NUMBERS`, or of another metric of a part, in words; `word` is the accuracy's."""
    part, metric = name.split("_", 1)
    return f"{part} {word if metric == 'accuracy' else words_of(metric)}"


def _settings(point: RankedPoint) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {shown(value)}" for name, value in point.parameters.items()
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _read(path: Path) -> bytes:
    with naming(path):
        return path.read_bytes()
