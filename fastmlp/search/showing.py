"""How a SearchResult shows itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from fastmlp.errors import ConfigError, shown
from fastmlp.reporting.showing import Showing, rows_to_frame
from fastmlp.reporting.tables import shown as setting
from fastmlp.search import insight
from fastmlp.search.record import RESULTS

if TYPE_CHECKING:
    import pandas

    from fastmlp.reporting.displays import Display

Kind = Literal["parallel", "heat_map", "importance"]


class SearchShowing(Showing):
    """What `fastmlp.SearchResult` shows."""

    points: Sequence[Any]
    metric: str
    trained: int
    skipped: int
    others: Sequence[Any]

    if TYPE_CHECKING:

        @property
        def best(self) -> Any:
            """The first point; None if no point is sound."""
            ...

    def _told(self) -> str:
        if self.best is None:
            return "none came to a regular end"
        score = self.best.mean(self.metric)
        settings = ", ".join(
            f"{name}={setting(value)}" for name, value in self.best.parameters.items()
        )
        return f"{self.metric.replace('_', ' ')} {score:.4f}" + (
            f" at {settings}" if settings else ""
        )

    def _line(self) -> str:
        trials = sum(len(point.trials) for point in self.points)
        return f"{len(self.points)} points, {trials} trials, best {self._told()}"

    def _facts(self) -> dict[str, str]:
        facts = {
            "points": f"{len(self.points):,}",
            "trials": f"{self.trained:,} trained, {self.skipped:,} found in the store",
            "best": self._told(),
        }
        for point in [point for point in self.points[1:4] if point.sound]:
            values = ", ".join(
                f"{name}={setting(value)}" for name, value in point.parameters.items()
            )
            facts[f"rank {point.rank}"] = f"{point.mean(self.metric):.4f} at {values}"
        lost = sum(not point.sound for point in self.points)
        return {**facts, **({"diverged or failed": f"{lost:,} points"} if lost else {})}

    def _picture(self) -> Display | None:
        return insight.parallel(self.points, self.metric) if insight.axes_of(self.points) else None

    def _display(self, kind: Kind) -> Display:
        axes = list(insight.axes_of(self.points))
        if not axes:
            raise ConfigError("plot: found one point, expected a search of several")
        if kind == "parallel":
            return insight.parallel(self.points, self.metric)
        if kind == "importance":
            found = insight.importances(self.points, self.metric)
            if found is None:
                raise ConfigError(
                    "kind: found importance of too few points, expected four that differ"
                )
            return found.display()
        if kind != "heat_map":
            raise ConfigError(
                f"kind: found {shown(kind)}, expected parallel, heat_map or importance"
            )
        if len(axes) < 2:
            raise ConfigError("kind: found heat_map of one setting, expected two that differ")
        return insight.heat_map(self, axes[0], axes[1])

    def plot(self, ax: Any = None, *, kind: Kind = "parallel") -> Display:
        """Draw the search.

        Parameters
        ----------
        ax : Axes, optional
            Where; by default in a new figure.
        kind : {"parallel", "heat_map", "importance"}
            All settings as parallel coordinates, the first two as a heat map, or what each explains of the metric.

        Returns
        -------
        Display
            Its ``figure_`` and ``axes_`` are what was drawn.

        Raises
        ------
        ConfigError
            If there are too few settings or points.
        """
        return self._display(kind).plot(ax)

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas data frame with a row a trial, those of the best point first.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        rows = [
            {
                "rank": point.rank,
                **{name: setting(value) if isinstance(value, tuple) else value
                   for name, value in point.parameters.items()},
                **{name: _finite(getattr(trial, name)) for name in RESULTS},
            }
            for point in self.points
            for trial in point.trials
        ]  # fmt: skip
        return rows_to_frame(rows)


def _finite(value: Any) -> Any:
    return math.nan if value is None else value
