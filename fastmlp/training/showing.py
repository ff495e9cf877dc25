"""How settings, networks and results of trainings show themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.datasets.transforms import is_rows
from fastmlp.reporting.showing import Showing, rows_to_frame
from fastmlp.reporting.tables import shown
from fastmlp.training.layers import spell_layer
from fastmlp.training.shapes import spell_shape
from fastmlp.training.summary import lines_of

if TYPE_CHECKING:
    import pandas

    from fastmlp.reporting.displays import CurvesDisplay, PicturesDisplay, RatesDisplay

PICTURE_CHANNELS = (1, 3)
SHORT_SIDE = 3  # pixels; smaller pictures show nothing


class ConfigShowing(Showing):
    """What `fastmlp.TrainConfig` shows: what differs from the defaults."""

    if TYPE_CHECKING:

        def as_dict(self) -> dict[str, Any]:
            """Return all fields by name."""
            ...

    def changed(self) -> dict[str, Any]:
        """Return the fields that differ from the defaults, by name."""
        plain = {field.name: field.default for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in self.as_dict().items() if value != plain[name]}

    def __repr__(self) -> str:
        """Return what makes an equal configuration: ``TrainConfig(hidden=(64,), epochs=5)``."""
        return f"TrainConfig({', '.join(f'{name}={value!r}' for name, value in self.changed().items())})"

    def _facts(self) -> dict[str, str]:
        changed = self.changed()
        facts = {name.replace("_", " "): shown(value) for name, value in changed.items()}
        left = len(self.as_dict()) - len(changed)
        return {**facts, "" if changed else "settings": f"{left} settings have their defaults"}

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas data frame with a row a setting: its value, and whether it is the default."""
        changed = self.changed()
        rows = [
            {"setting": name, "value": value, "default": name not in changed}
            for name, value in self.as_dict().items()
        ]
        return rows_to_frame(rows)


class NetworkShowing(Showing):
    """What `fastmlp.Network` shows beside its repr."""

    weights: Sequence[Any]
    layers: Sequence[Any]
    classes: Sequence[str]
    shape: Sequence[int]

    def _facts(self) -> dict[str, str]:
        lines = list(lines_of(self.layers, tuple(self.shape)))
        layers = ", ".join(map(spell_layer, self.layers))
        few = ", ".join(list(self.classes)[:10]) + (" ..." if len(self.classes) > 10 else "")
        one = "a row" if is_rows(self.shape) else "an image"
        return {
            "input": spell_shape(self.shape),
            "layers": layers,
            "parameters": f"{sum(line.parameters for line in lines):,}",
            f"multiply-adds {one}": f"{sum(line.multiply_adds for line in lines):,}",
            "type": str(self.weights[0].dtype),
            "output" if len(self.classes) == 1 else f"{len(self.classes):,} outputs": few,
        }

    def _picture(self) -> PicturesDisplay | None:
        first = self.weights[0]
        side = min(first.shape[2:] if first.ndim == 4 else tuple(self.shape)[1:])
        channels = first.shape[1] if first.ndim == 4 else self.shape[0]
        return self._weights() if side >= SHORT_SIDE and channels in PICTURE_CHANNELS else None

    def _weights(self) -> PicturesDisplay:
        from fastmlp.reporting.displays import PicturesDisplay

        first = np.asarray(self.weights[0], np.float64)
        pictures = first if first.ndim == 4 else first.reshape(-1, *self.shape)
        titles = list(self.classes) if len(self.weights) == 1 else []
        return PicturesDisplay(pictures, titles)

    def plot(self, ax: Any = None) -> PicturesDisplay:
        """Draw the weights of the first layer as pictures; see `fastmlp.reporting.displays.PicturesDisplay`.

        Parameters
        ----------
        ax : Axes, optional
            Where; by default in a new figure.

        Returns
        -------
        PicturesDisplay
            Its ``figure_`` and ``axes_`` are what was drawn.
        """
        return self._weights().plot(ax)

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas data frame with a row a layer: its output, parameters and multiply-adds an image."""
        rows = [
            {
                "layer": spell_layer(line.layer)
                if line.parameters or not line.depth
                else "residual",
                "output": spell_shape(line.output),
                "parameters": line.parameters,
                "multiply_adds": line.multiply_adds,
            }
            for line in lines_of(self.layers, tuple(self.shape))
        ]
        return rows_to_frame(rows)


class RateShowing(Showing):
    """What `fastmlp.FoundRate` shows."""

    learning_rate: float
    rates: Any
    losses: Any

    def _line(self) -> str:
        return f"{self.learning_rate:g}, of {len(self.rates)} from {self.rates[0]:g} to {self.rates[-1]:g}"

    def _facts(self) -> dict[str, str]:
        return {
            "learning rate": f"{self.learning_rate:g}",
            "tried": f"{len(self.rates)} rates from {self.rates[0]:g} to {self.rates[-1]:g}",
        }

    def _picture(self) -> RatesDisplay:
        from fastmlp.reporting.displays import RatesDisplay

        return RatesDisplay(self.rates, self.losses, self.learning_rate)

    def plot(self, ax: Any = None) -> RatesDisplay:
        """Draw the loss at each rate.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where; by default in a new figure.

        Returns
        -------
        RatesDisplay
            With ``figure_`` and ``axes_``.
        """
        return self._picture().plot(ax)


class ResultShowing(Showing):
    """What `fastmlp.TrainResult` shows."""

    history: Sequence[Mapping[str, Any]]
    reason: str
    status: str
    best_epoch: int
    network: Any
    config: Any

    if TYPE_CHECKING:

        @property
        def seconds(self) -> float:
            """Seconds of training."""
            ...

    def _row(self) -> Mapping[str, Any]:
        """Return the epoch that the network is of."""
        if not self.history:
            return {}
        kept = self.best_epoch if self.config.restore_best else 0
        return self.history[kept - 1]

    def _line(self) -> str:
        scores = [
            f"{name.replace('_', ' ')} {value:.4f}"
            for name, value in self._row().items()
            if name.startswith(("train_", "valid_")) and value is not None
        ]
        part = [one for one in scores if one.startswith("valid")] or scores
        return f"{self.status}: {', '.join([self.reason, *part])}, {self.seconds:.2f} s"

    def _facts(self) -> dict[str, str]:
        row = self._row()
        numbers = {
            name.replace("_", " ")
            .replace("valid", "validation")
            .replace("train", "training"): f"{value:.4f}"
            for name, value in row.items()
            if name.startswith(("train_", "valid_")) and value is not None
        }
        kept = {"epoch kept": f"{row['epoch']} of {len(self.history)}"} if row else {}
        return {
            "status": f"{self.status}: {self.reason}",
            "network": repr(self.network),
            **kept,
            **numbers,
            "training": f"{self.seconds:.2f} s",
            "settings": repr(self.config),
        }

    def _picture(self) -> CurvesDisplay:
        from fastmlp.reporting.displays import CurvesDisplay

        kept = self.best_epoch if self.config.restore_best else 0
        return CurvesDisplay(self.history, kept)

    def plot(self, ax: Any = None) -> CurvesDisplay:
        """Draw loss and accuracy by epoch; see `fastmlp.reporting.displays.CurvesDisplay`.

        Parameters
        ----------
        ax : Axes, optional
            Where; by default in a new figure.

        Returns
        -------
        CurvesDisplay
            Its ``figure_`` and ``axes_`` are what was drawn.
        """
        return self._picture().plot(ax)

    def to_frame(self) -> pandas.DataFrame:
        """Return the history as a pandas data frame, a row an epoch.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        return rows_to_frame(self.history)
