"""``fastmlp search``: a file with a grid in, a folder of finished trials and a report out."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from fastmlp.cli.options import data_home_option
from fastmlp.search.experiment import DataTable, Experiment, load_parts
from fastmlp.training.config import TrainConfig

if TYPE_CHECKING:
    from fastmlp.search.ranking import SearchResult
    from fastmlp.search.state import Progress

EXAMPLE = Experiment(
    data=DataTable(name="digits"),
    config=TrainConfig(hidden=(64,), epochs=20),
    grid=({"learning_rate": (0.3, 0.1, 0.03, 0.01), "momentum": (0.0, 0.5, 0.9)},),
)
NO_BEST, INTERRUPTED = 1, 130  # exit codes
SHOWN_POINTS = 10


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where trials are kept; those that are there already are not trained again.  "
    "[default: runs/search-FILE]",
)
@click.option(
    "--seeds",
    type=click.INT,
    metavar="N",
    help="Trainings of each point.  [default: as the file says, or 1]",
)
@click.option(
    "--jobs", type=click.INT, metavar="N", help="Trials at once.  [default: usable cores]"
)
@click.option(
    "--backend",
    type=click.Choice(["threading", "loky"]),
    default="threading",
    show_default=True,
    help="Train in threads of this process, or in processes.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Train on the workers of a Dask scheduler, such as tcp://scheduler:8786.",
)
@data_home_option
def search(
    file: Path | None,
    out: Path | None,
    seeds: int | None,
    jobs: int | None,
    backend: str,
    dask: str | None,
    data_home: Path | None,
) -> int:
    """Train every point of a grid and rank them.

    FILE is TOML: [data] says which images, [config] what all trials share, [grid] lists the values
    to try, [search] seeds and metric; see fastmlp.search.experiment. Without it, a small grid is searched
    on digits.

    Each trial is stored when it ends, in FOLDER/trials.sqlite: the same command again goes on where
    this one was interrupted or killed. At the end there are report.md, trials.csv, figures and
    best/model.safetensors.
    """
    experiment = Experiment.from_toml(file) if file else EXAMPLE
    name = file.stem if file else experiment.data.name
    folder = out or Path("runs", f"search-{name}")
    parts = dict(
        zip(("train", "valid", "test"), load_parts(experiment.data, data_home), strict=True)
    )

    from fastmlp.cli.progress import compile_kernels
    from fastmlp.search.grid import grid_search

    if dask is not None:  # what the client logs of a lost cluster, an error says in one line
        logging.getLogger("distributed").setLevel(logging.CRITICAL)

    def on_trial(progress: Progress) -> None:
        begins = progress.trial is None and progress.done < progress.total
        if begins and dask is None and backend == "threading":
            compile_kernels(experiment.config, parts["train"])
        display.show(progress)

    with _Display(folder, experiment.metric) as display:
        try:
            result = grid_search(
                experiment.config,
                experiment.grid,
                **parts,
                store=folder,
                jobs=jobs,
                seeds=experiment.seeds if seeds is None else seeds,
                metric=experiment.metric,
                backend=backend,  # type: ignore[arg-type]
                dask=dask,
                on_trial=on_trial,
            )
        except KeyboardInterrupt:
            display.interrupted()
            return INTERRUPTED
    _summarise(result)

    from fastmlp.search.report import write_report  # after the results: figures take seconds

    written = write_report(folder, name, result, parts)
    click.echo(f"{folder}: {', '.join(written)}")
    return 0 if result.best else NO_BEST


class _Display:
    """A bar on a terminal, else a line a trial; both go to standard error."""

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder, self.metric = folder, metric
        self.words = metric.replace("_", " ")
        self.bar: Any = None
        self.latest: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, progress: Progress) -> None:
        """Show how far the search is."""
        self.latest = progress
        if progress.trial is None:
            self._begin(progress)
        elif self.bar is None:
            trial = progress.trial
            score = getattr(trial, self.metric)
            count = str(progress.done).rjust(len(str(progress.total)))
            said = trial.reason if score is None else f"{self.words} {score:.4f}"
            _say(
                f"{count}/{progress.total}  {_settings(progress.parameters)}, seed {trial.seed}: "
                f"{trial.status}, {said}, {trial.seconds:.2f} s  ({self._standing(progress)})"
            )
        else:
            self.bar.set_postfix_str(self._standing(progress), refresh=False)
            self.bar.update(progress.done - self.bar.n)

    def interrupted(self) -> None:
        """Say what is kept."""
        if self.latest is not None:
            _say(
                f"interrupted: {self.latest.done} of {self.latest.total} trials are kept in "
                f"{self.folder}; the same command again goes on from here"
            )

    def _begin(self, progress: Progress) -> None:
        if progress.skipped:
            failed = f" ({progress.failed} failed)" if progress.failed else ""
            _say(f"{progress.skipped} of {progress.total} trials{failed} found in {self.folder}")
        if sys.stderr.isatty() and progress.done < progress.total:
            from tqdm import tqdm

            self.bar = tqdm(
                total=progress.total,
                initial=progress.done,
                dynamic_ncols=True,
                bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} trials{postfix}",
            )

    def _standing(self, progress: Progress) -> str:
        standing = f"{progress.failed} failed"
        if progress.diverged:
            standing += f", {progress.diverged} diverged"
        if progress.best is not None:
            standing += f", best {self.words} {progress.best:.4f}"
        if progress.remaining is not None:
            standing += f", {_duration(progress.remaining)} left"
        return standing


def _summarise(result: SearchResult) -> None:
    """Print the best points, and what the best of all came to."""
    points = [point for point in result.points[:SHOWN_POINTS] if point.sound]
    for point in points:
        click.echo(
            f"{point.rank:3}  valid accuracy {point.mean('valid_accuracy'):.4f}  "
            f"loss {point.mean('valid_loss'):.4f}  {_settings(point.parameters)}"
        )
    unsound = sum(not point.sound for point in result.points)
    if unsound:
        click.echo(f"{unsound} of {len(result.points)} points diverged or failed")
    if result.best is None:
        click.echo("no trial came to a regular end: there is no best model", err=True)
    elif result.best.mean("test_accuracy") is not None:
        click.echo(
            f"the best on the test part: accuracy {result.best.mean('test_accuracy'):.4f}, "
            f"loss {result.best.mean('test_loss'):.4f}"
        )


def _settings(parameters: Any) -> str:
    from fastmlp.search.report import shown

    return ", ".join(f"{name} {shown(value)}" for name, value in parameters.items()) or "one point"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
