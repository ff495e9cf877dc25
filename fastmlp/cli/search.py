"""``fastmlp search``: a file with a grid in, a folder of finished trials and a report out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastmlp.cli.options import PARTS, data_changes, data_options, options
from fastmlp.cli.paths import FilePath
from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, printable
from fastmlp.machine.folders import check_owner
from fastmlp.search.experiment import DataTable, Experiment, load_parts
from fastmlp.search.watching import SearchDisplay, settings_of
from fastmlp.training.config import TrainConfig

if TYPE_CHECKING:
    from fastmlp.search.ranking import SearchResult
    from fastmlp.search.state import Progress
    from fastmlp.search.workers import Backend

EXAMPLE = Experiment(
    data=DataTable(name="digits"),
    config=TrainConfig(hidden=(64,), epochs=20),
    grid=({"learning_rate": (0.3, 0.1, 0.03, 0.01), "momentum": (0.0, 0.5, 0.9)},),
)
FOR_TABLES = {"learning_rate": (0.01, 0.003, 0.001), "hidden": ((64,), (256,), (128, 128))}
NO_BEST, INTERRUPTED = 1, 130  # exit codes
NUMBERS = ("valid_accuracy", "valid_loss")  # that are said of each point
SHOWN_POINTS = 10


search_options = options(
    click.argument("file", required=False, type=FilePath()),
    click.option(
        "--out",
        type=FilePath(),
        metavar="FOLDER",
        help="Where trials are kept; those that are there already are not trained again.  "
        "[default: runs/search-FILE]",
    ),
    click.option(
        "--seeds",
        type=click.INT,
        metavar="N",
        help="Trainings of each point.  [default: as the file says, or 1]",
    ),
    click.option(
        "--jobs", type=click.INT, metavar="N", help="Trials at once.  [default: usable cores]"
    ),
    click.option(
        "--backend",
        type=click.Choice(["threading", "loky"]),
        default="threading",
        show_default=True,
        help="Train in threads of this process, or in processes.",
    ),
    click.option(
        "--dask",
        metavar="ADDRESS",
        help="Train on the workers of a Dask scheduler, such as tcp://scheduler:8786.",
    ),
    data_options,
    click.option(
        "--optuna",
        type=click.INT,
        metavar="N",
        help="Let Optuna choose N points between the values of the grid, instead of training each of them.",
    ),
    click.option(
        "--optuna-storage",
        type=FilePath(dir_okay=False),
        metavar="FILE",
        help="Write the trials to a new Optuna storage, for optuna-dashboard sqlite:///FILE.",
    ),
)


@click.command()
@search_options
@click.pass_context
def search(
    context: click.Context,
    /,
    file: Path | None,
    out: Path | None,
    seeds: int | None,
    optuna: int | None,
    optuna_storage: Path | None,
    data_home: Path | None,
    **_: Any,
) -> int:
    """Train every point of a grid and rank them.

    FILE is TOML: [data] says which images, [config] what all trials share, [grid] lists the values
    to try, [search] seeds and metric; see fastmlp.search.experiment. Without it, a small grid is searched
    on digits.

    Each trial is stored when it ends, in FOLDER/trials.sqlite: the same command again goes on where
    this one was interrupted or killed. At the end there are report.md, trials.csv, figures and
    best/model.safetensors.
    """
    changes = data_changes(context)
    experiment = Experiment.from_toml(file, changes) if file else _example(changes)
    if seeds is not None:
        experiment = replace(experiment, seeds=seeds)
    name = file.stem if file else experiment.data.title
    folder = out or Path("runs", f"search-{name}")
    check_owner(folder, "search")
    parts = dict(zip(PARTS, load_parts(experiment.data, data_home), strict=True))
    with SearchDisplay(folder, experiment.metric) as display:
        try:
            if optuna is None:
                workers = {name: context.params[name] for name in ("jobs", "backend", "dask")}
                result = _searched(experiment, parts, folder, display, **workers)
            else:
                result = _suggested(experiment, parts, folder, display, optuna)
        except KeyboardInterrupt:
            display.interrupted()
            return INTERRUPTED
    _summarise(result)

    from fastmlp.search.report import write_report  # after the results: figures take seconds

    check_owner(folder, "search")  # a training may have begun there since
    written = write_report(folder, name, result, parts)
    click.echo(f"{printable(folder)}: {', '.join(written)}")
    if optuna_storage is not None:
        _export(result, name, optuna_storage)
    return 0 if result.best else NO_BEST


def _example(changes: Mapping[str, Any]) -> Experiment:
    """Return the small search that is made where no file says which."""
    data = replace(EXAMPLE.data, **changes)
    if data.base_config == TrainConfig():
        return replace(EXAMPLE, data=data)
    return Experiment(data, data.base_config, (FOR_TABLES,))


def _searched(
    experiment: Experiment,
    parts: dict[str, Dataset],
    folder: Path,
    display: SearchDisplay,
    *,
    jobs: int | None,
    backend: Backend,
    dask: str | None,
) -> SearchResult:
    """Search, and show how far it is."""
    from fastmlp.search.grid import grid_search
    from fastmlp.training.warm_up import warm_up

    if dask is not None:  # an error says in one line what its client logs of a lost cluster
        logging.getLogger("distributed").setLevel(logging.CRITICAL)

    def on_trial(progress: Progress) -> None:
        begins = progress.trial is None and progress.done < progress.total
        if begins and dask is None and backend == "threading":
            warm_up(experiment.config, parts["train"])  # before the bar measures
        display.show(progress)

    return grid_search(
        experiment.config,
        experiment.grid,
        parts["train"],
        parts["valid"],
        parts.get("test"),
        store=folder,
        jobs=jobs,
        seeds=experiment.seeds,
        metric=experiment.metric,
        backend=backend,
        dask=dask,
        on_trial=on_trial,
    )


def _suggested(
    experiment: Experiment,
    parts: dict[str, Dataset],
    folder: Path,
    display: SearchDisplay,
    trials: int,
) -> SearchResult:
    """Let Optuna choose the points."""
    from fastmlp.search.adaptive import adaptive_search
    from fastmlp.search.optuna_study import suggester

    if experiment.metric != "valid_accuracy" or experiment.seeds > 1:
        raise ConfigError(
            f"--optuna: found metric {experiment.metric} and {experiment.seeds} seeds, expected valid_accuracy and one "
            "seed, which is what an adaptive search can choose by"
        )
    return adaptive_search(
        experiment.config,
        suggester(experiment.grid),
        parts["train"],
        parts["valid"],
        parts.get("test"),
        store=folder,
        trials=trials,
        on_trial=display.show,
    )


def _export(result: SearchResult, name: str, path: Path) -> None:
    from fastmlp.search.insight import axes_of
    from fastmlp.search.optuna_study import export
    from fastmlp.search.report import store_points

    points = store_points(result)
    count = export(points, axes_of(points), result.metric, path, name)
    click.echo(f"{printable(path)}: {count} trials; optuna-dashboard sqlite:///{printable(path)}")


def _summarise(result: SearchResult) -> None:
    """Print the best points, and the test scores of the first."""
    points = [point for point in result.points[:SHOWN_POINTS] if point.sound]
    metric = result.metric
    for point in points:
        chosen = (
            "" if metric in NUMBERS else f"{metric.replace('_', ' ')} {point.mean(metric):.4f}  "
        )
        click.echo(
            f"{point.rank:3}  {chosen}valid {result.score_word} {point.mean('valid_accuracy'):.4f}  "
            f"loss {point.mean('valid_loss'):.4f}  {settings_of(point.parameters)}"
        )
    unsound = sum(not point.sound for point in result.points)
    if unsound:
        click.echo(f"{unsound} of {len(result.points)} points diverged or failed")
    if result.others:
        click.echo(f"{len(result.others)} more trials in the store are of other grids or seeds")
    if result.best is None:
        click.echo("no trial came to a regular end: there is no best model", err=True)
    elif result.best.mean("test_accuracy") is not None:
        click.echo(
            f"the best on the test part: {result.score_word} {result.best.mean('test_accuracy'):.4f}, "
            f"loss {result.best.mean('test_loss'):.4f}"
        )
