"""What a person sees of a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastmlp.machine.streams import say
from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.reporting.tables import shown

if TYPE_CHECKING:
    from fastmlp.search.state import Progress


class SearchDisplay:
    """How far a search is: what was found, each trial's end, and what is kept after Ctrl-C.

    Parameters
    ----------
    folder : path
        Of the search.
    metric : str
    """

    def __init__(self, folder: str | Path, metric: str) -> None:
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
        if self._display is not None:
            self._display.close()
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
            f"{count}/{progress.total}  {settings_of(progress.parameters)}, seed {trial.seed}: "
            f"{trial.status}, {said}, {trial.seconds:.2f} s  ({self._standing(progress)})"
        )

    def _standing(self, progress: Progress) -> str:
        standing = f"{progress.failed} failed"
        if progress.diverged:
            standing += f", {progress.diverged} diverged"
        if progress.best is not None:
            standing += f", best {self._words} {progress.best:.4f}"
        if progress.remaining is not None:
            standing += f", {duration(progress.remaining)} left"
        return standing


def settings_of(parameters: Mapping[str, Any]) -> str:
    """Return the settings of a point as text."""
    return ", ".join(f"{name} {shown(value)}" for name, value in parameters.items()) or "one point"


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextmanager
def watched_search(
    store: str | Path, metric: str, on_trial: Callable[[Progress], object] | None, verbose: bool
) -> Iterator[Callable[[Progress], object] | None]:
    """Yield what is to be called after each trial: `on_trial`, after the trial is shown if that is wanted."""
    if not verbose:
        yield on_trial
        return
    with SearchDisplay(store, metric) as display:

        def show(progress: Progress) -> None:
            display.show(progress)
            if on_trial is not None:
                on_trial(progress)

        yield show
