"""write_report(): a finished search as report.md, report.html, trials.csv and figures.

Matplotlib and scikit-learn are imported when figures are drawn, not when this module is imported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastmlp.datasets import Dataset
from fastmlp.errors import printable
from fastmlp.machine.description import describe
from fastmlp.machine.files import write_text
from fastmlp.machine.streams import drawing
from fastmlp.reporting.chance import interval
from fastmlp.reporting.document import (
    Block,
    Bullets,
    Code,
    Details,
    Heading,
    Paragraph,
    Picture,
    Table,
    Written,
    literal,
    to_html,
    to_markdown,
)
from fastmlp.reporting.pages import cell, curves_of, render
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
from fastmlp.search.record import NOT_IN_A_KEY, NUMBERS, RESULTS, Trial
from fastmlp.training.config import TrainConfig
from fastmlp.training.metrics import words_of

REPORT_FILE, TRIALS_FILE = "report.md", "trials.csv"
PAGE_FILE = "report.html"
CURVES_FILE, CONFUSION_FILE = "curves.png", "confusion.png"
PARALLEL_FILE, IMPORTANCE_FILE = "parallel.png", "importance.png"
OVERVIEWS = (CURVES_FILE, CONFUSION_FILE, PARALLEL_FILE, IMPORTANCE_FILE)
MOST_CURVES = 100  # points whose curves the page can show
SHOWN_NUMBERS = ("train_accuracy", "valid_accuracy", "valid_loss")


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
    figures: dict[str, str] = {}
    with drawing():
        _draw(folder, result, parts, found, figures)
    blocks = list(_blocks(title, result, parts, figures, found))
    write_text(folder / REPORT_FILE, to_markdown(blocks))
    write_text(folder / PAGE_FILE, to_html(blocks, folder))
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
    names = _parameters(result)
    points = [Point({name: getattr(config, name) for name in names}, config) for config in groups]
    return rank(points, list(groups.values()), result.metric)


def _draw(
    folder: Path,
    result: SearchResult,
    parts: Mapping[str, Dataset],
    found: Importances | None,
    drawn: dict[str, str],
) -> None:
    """Draw the figures, and add their files with captions to `drawn`; none without a best network."""
    from fastmlp.reporting import figures

    trial = result.best_trial
    if trial is None or result.network is None:
        return
    kept = trial.epoch if trial.epoch < trial.epochs else 0
    figures.draw_curves(trial.history, folder / CURVES_FILE, best_epoch=kept)
    drawn[CURVES_FILE] = f"Loss and {result.score_word} by epoch"
    judged = "test" if "test" in parts else "valid"
    part = parts[judged]
    if part.task == "classification":
        predicted = result.network.predict(part)
        figures.draw_confusion(part.labels, predicted, part.classes, folder / CONFUSION_FILE)
        drawn[CONFUSION_FILE] = f"Confusion matrix of the {judged} part"
    for down, across in pairs_of(result.points):
        draw_heat_map(result, down, across, folder / f"{down}-{across}.png")
        drawn[f"{down}-{across}.png"] = f"{down} and {across}".replace("_", " ")
    points = store_points(result)
    if len(axes_of(points)) > 1:
        parallel(points, result.metric).save(folder / PARALLEL_FILE)
        told = "A line for each point, from its settings to its metric; dark is good"
        drawn[PARALLEL_FILE] = told
    if found is not None:
        found.display().save(folder / IMPORTANCE_FILE)
        drawn[IMPORTANCE_FILE] = "Shares of the settings"


def _csv(result: SearchResult) -> str:
    """Return a line for each trial, those of the best point first; those of other searches have no rank."""
    names = _parameters(result)
    trials: list[tuple[int | None, TrainConfig, Trial]] = [
        (point.rank, point.config, trial) for point in result.points for trial in point.trials
    ]
    trials += [(None, config, trial) for config, trial in result.others]
    rows: list[list[Any]] = [["rank", *names, *RESULTS]]
    for place, config, trial in trials:
        values = [getattr(config, name) for name in names]
        values = [shown(value) if isinstance(value, tuple) else value for value in values]
        rows.append([place, *values, *(getattr(trial, name) for name in RESULTS)])
    return csv_table(rows)


def _blocks(
    title: str,
    result: SearchResult,
    parts: Mapping[str, Dataset],
    figures: Mapping[str, str],
    found: Importances | None,
) -> Iterator[Block]:
    """Yield what the report says."""
    points = store_points(result)
    yield Heading(printable(title), 1)
    yield Bullets(list(_facts(result, parts)))
    if result.best is None:
        yield Paragraph("No trial came to a regular end: there is no best point.")
    else:
        yield Heading("The best point")
        yield from _best(result, result.best)
        yield from _pictures(figures, CURVES_FILE, CONFUSION_FILE)
        text = result.best.config.to_toml().rstrip()
        yield Details("Its settings", Code(f"[config]\n{text}", "toml"))
    if told := suggestions(points, result.metric):
        yield Heading("What to try next")
        yield Bullets(told)
    yield Heading("All points")
    yield _every(result, points, len(parts["valid"]))
    if found is not None:
        yield Heading("What matters")
        yield Paragraph(
            f"The share of each setting in the differences between points, by {found.by}."
        )
        yield from _pictures(figures, IMPORTANCE_FILE)
        if found.pairs:
            yield Paragraph("What two settings explain together and neither alone:")
            pairs = {" and ".join(pair): share for pair, share in found.pairs.items()}
            yield Bullets([f"{two.replace('_', ' ')}: {share:.2f}" for two, share in pairs.items()])
    if PARALLEL_FILE in figures:
        yield Heading("All settings at once")
        yield from _pictures(figures, PARALLEL_FILE)
    if maps := [name for name in figures if name not in OVERVIEWS]:
        yield Heading("Two settings at a time")
        yield Paragraph(
            f"The {_chosen_by(result)} for each pair of values, whatever the other settings; empty where no point "
            "came to a regular end."
        )
        yield from _pictures(figures, *maps)


def _facts(result: SearchResult, parts: Mapping[str, Dataset]) -> Iterator[str]:
    trials = [trial for point in result.points for trial in point.trials]
    counts = Counter(trial.status for trial in trials)
    ended = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    machine, train = describe(), parts["train"]
    yield f"Images: {literal(train.name)}, {sizes}; classes {literal(', '.join(train.classes))}"
    yield (
        f"Trials: {len(trials)} ({ended}) of {len(result.points)} points, "
        f"{sum(trial.seconds for trial in trials):,.1f} seconds of training in all"
    )
    yield f"Chosen by: {_chosen_by(result)}, mean over seeds"
    yield (
        f"Machine: {literal(machine['cpu'])}, {machine['usable_cores']} cores, "
        f"fastmlp {machine['versions']['fastmlp']}"
    )
    if result.others:
        yield (
            f"The best point is that of the grid that was asked for. The store holds {len(result.others)} more "
            f"trials, of other grids or seeds; {TRIALS_FILE} lists them without a rank, and the tables of all points, "
            "what matters and what to try next take them in."
        )


def _chosen_by(result: SearchResult) -> str:
    return best_metric(result.metric).replace("accuracy", result.score_word)


def _best(result: SearchResult, point: RankedPoint) -> Iterator[Block]:
    names = [
        name for name in dict.fromkeys((*NUMBERS, result.metric)) if point.mean(name) is not None
    ]
    several = len(point.trials) > 1
    yield Paragraph(
        (_settings(point) or "The only one")
        + (f", mean of {len(point.trials)} seeds" if several else "")
        + ":"
    )
    rows = [["mean", *(_number(point.mean(name)) for name in names)]]
    if several:
        rows.append(["standard deviation", *(_number(point.deviation(name)) for name in names)])
    header = ["", *(_words(name, result.score_word) for name in names)]
    yield Table(header, rows, "l" + "r" * len(names))
    trial = result.best_trial
    assert trial is not None
    yield Paragraph(
        f"The network of seed {trial.seed} is `best/model.safetensors`: "
        f"{trial.reason}, kept is epoch {trial.epoch}."
    )


def _pictures(figures: Mapping[str, str], *names: str) -> Iterator[Block]:
    return (Picture(name, figures[name]) for name in names if name in figures)


def _every(result: SearchResult, points: Sequence[RankedPoint], rows_of_part: int) -> Block:
    """Return the table of all points, in the page with their learning curves."""
    metric, word = result.metric, result.score_word
    is_share = metric == "valid_accuracy" and word == "accuracy"
    settings = list(points[0].parameters)
    numbers = list(dict.fromkeys((*SHOWN_NUMBERS, metric)))
    header = [
        *(name.replace("_", " ") for name in ("rank", *settings)),
        *(_words(name, word) for name in numbers),
        f"95 % of {words(metric)}".replace("accuracy", word),
        *("epochs", "ended"),
    ]
    rows = []
    for point in points:
        low, high = _interval(points, point, metric, rows_of_part if is_share else None)
        values = (getattr(point.config, name) for name in settings)
        epochs = [trial.epochs for trial in point.trials]
        rows.append(
            [
                cell(str(point.rank), point.rank),
                *(cell(shown(value), value) for value in values),
                *(cell(_with_spread(point, name), point.mean(name)) for name in numbers),
                cell("" if math.isnan(low) else f"{low:.4f} to {high:.4f}", low),
                cell(", ".join(map(str, epochs)), epochs[0]),
                cell(", ".join(dict.fromkeys(trial.status for trial in point.trials))),
            ]
        )
    texts = ([one["text"] for one in row] for row in rows)
    table = markdown_table(header, texts, "r" * (len(header) - 1) + "l")
    curves = [_curve(point) for point in points]
    return Written(table, render("curves.html", header=header, rows=rows, curves=curves))


def _with_spread(point: RankedPoint, name: str) -> str:
    spread = point.deviation(name)
    return _number(point.mean(name)) + ("" if spread is None else f" ± {spread:.4f}")


def _curve(point: RankedPoint) -> dict[str, Any]:
    """Return the learning curves of a point's first trial, for the page; none of those that rank far behind."""
    history = point.trials[0].history if point.rank <= MOST_CURVES else []
    names = history[0] if history else ()
    columns = {name: [row.get(name) for row in history] for name in names}
    return curves_of(f"rank {point.rank}: {_settings(point)}", columns)


def _interval(
    points: Sequence[RankedPoint], point: RankedPoint, metric: str, count: int | None
) -> tuple[float, float]:
    mean = point.mean(metric) if point.sound else None
    if mean is None:
        return math.nan, math.nan
    spread, degrees = spread_near(points, metric, point.rank)
    return interval(mean, count, spread / math.sqrt(len(point.trials)), degrees)


def _parameters(result: SearchResult) -> list[str]:
    """Return the names of the fields that the grid sets, and of those in which other trials of the store differ."""
    plain = result.points[0].config.as_dict()
    asked = (name for point in result.points for name in point.parameters)
    differ = (
        name
        for config, _ in result.others
        for name, value in config.as_dict().items()
        if name not in NOT_IN_A_KEY and value != plain[name]
    )
    return list(dict.fromkeys((*asked, *differ)))


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
