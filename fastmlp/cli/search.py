"""``fastmlp search``: a file with a grid in, a folder of finished trials and a report out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from fastmlp.cli.options import PARTS, data_changes, data_options, options
from fastmlp.datasets import Dataset
from fastmlp.errors import printable
from fastmlp.machine.folders import check_owner
from fastmlp.machine.streams import say
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.search.experiment import DataTable, Experiment, load_parts
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
    click.argument("file", required=False, type=click.Path(path_type=Path)),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
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
    data_home: Path | None,
    jobs: int | None,
    backend: Backend,
    dask: str | None,
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
    with _SearchDisplay(folder, experiment.metric) as display:
        try:
            result = _searched(
                experiment, parts, folder, display, jobs=jobs, backend=backend, dask=dask
            )
        except KeyboardInterrupt:
            display.interrupted()
            return INTERRUPTED
    _summarise(result)

    from fastmlp.search.report import write_report  # after the results: figures take seconds

    check_owner(folder, "search")  # a training may have begun there since
    written = write_report(folder, name, result, parts)
    click.echo(f"{printable(folder)}: {', '.join(written)}")
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
    display: _SearchDisplay,
    *,
    jobs: int | None,
    backend: Backend,
    dask: str | None,
) -> SearchResult:
    """Search, and show how far it is."""
    from fastmlp.cli.progress import compile_kernels
    from fastmlp.search.grid import grid_search

    if dask is not None:  # an error says in one line what its client logs of a lost cluster
        logging.getLogger("distributed").setLevel(logging.CRITICAL)

    def on_trial(progress: Progress) -> None:
        begins = progress.trial is None and progress.done < progress.total
        if begins and dask is None and backend == "threading":
            compile_kernels(experiment.config, parts["train"])
        display.show(progress)

    return grid_search(
        experiment.config,
        experiment.grid,
        **parts,
        store=folder,
        jobs=jobs,
        seeds=experiment.seeds,
        metric=experiment.metric,
        backend=backend,
        dask=dask,
        on_trial=on_trial,
    )


class _SearchDisplay:
    """How far a search is: what was found, each trial's end, and what is kept after Ctrl-C."""

    def __init__(self, folder: Path, metric: str) -> None:
        self._folder, self._metric = folder, metric
        self._words = metric.replace("_", " ")
        self._display: ProgressDisplay | None = None
        self._latest: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._display is not None:
            self._display.__exit__(kind, error, traceback)

    def show(self, progress: Progress) -> None:
        """Show how far the search is."""
        self._latest = progress
        if progress.trial is None:
            self._begin(progress)
        elif self._display is not None:
            self._display.show(progress.done, self._line(progress), self._standing(progress))

    def interrupted(self) -> None:
        """Say what is kept."""
        if self._latest is not None:
            say(
                f"interrupted: {self._latest.done} of {self._latest.total} trials are kept in "
                f"{self._folder}; the same command again goes on from here"
            )

    def _begin(self, progress: Progress) -> None:
        if progress.skipped:
            failed = f" ({progress.failed} failed)" if progress.failed else ""
            say(f"{progress.skipped} of {progress.total} trials{failed} found in {self._folder}")
        if progress.done < progress.total:
            # The search knows better than a bar's clock how long the rest takes.
            self._display = ProgressDisplay(
                progress.total, "trial", done=progress.done, timed=False
            )

    def _line(self, progress: Progress) -> str:
        trial = progress.trial
        assert trial is not None
        score = trial.value(self._metric)
        count = str(progress.done).rjust(len(str(progress.total)))
        said = trial.reason if score is None else f"{self._words} {score:.4f}"
        return (
            f"{count}/{progress.total}  {_settings(progress.parameters)}, seed {trial.seed}: "
            f"{trial.status}, {said}, {trial.seconds:.2f} s  ({self._standing(progress)})"
        )

    def _standing(self, progress: Progress) -> str:
        standing = f"{progress.failed} failed"
        if progress.diverged:
            standing += f", {progress.diverged} diverged"
        if progress.best is not None:
            standing += f", best {self._words} {progress.best:.4f}"
        if progress.remaining is not None:
            standing += f", {_duration(progress.remaining)} left"
        return standing


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
            f"loss {point.mean('valid_loss'):.4f}  {_settings(point.parameters)}"
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


def _settings(parameters: Any) -> str:
    from fastmlp.search.report import shown

    return ", ".join(f"{name} {shown(value)}" for name, value in parameters.items()) or "one point"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
