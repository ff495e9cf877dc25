"""Checkpoint: the state of a training between two epochs, in a file.

The file names the settings and data of the training. It is refused for any other training. Its header holds the latest
epochs of the history; `fastmlp.training.history_file` describes the file beside it that holds the others.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.datasets.transforms import is_finite
from fastmlp.errors import FormatError, shown
from fastmlp.machine.files import Layout, read_tensors, write_tensors
from fastmlp.machine.schema import items, none_or, number, one_of, require, table, whole
from fastmlp.training.config import LATER_FIELDS, Stopping, TrainConfig
from fastmlp.training.draws import Parameters, network_sizes
from fastmlp.training.engine import Engine
from fastmlp.training.history import Row
from fastmlp.training.history_file import (
    BLOCK,
    MOST_EPOCHS,
    HistoryFile,
    check_described,
    check_row,
)
from fastmlp.training.network import Network
from fastmlp.training.schedule import SCHEDULES
from fastmlp.training.stopping import Patience

KIND = "checkpoint"  # the kind of file
# Groups of tensors: parameters, the optimiser's states, the best epoch's parameters.
GROUPS = ("", "velocity.", "squares.", "best.")

_COUNT = whole(0, MOST_EPOCHS)
_check_state = table(
    {
        "groups": items(one_of(*GROUPS), least=1, most=len(GROUPS)),
        "history": items(check_row),
        "patience": table(
            {
                "patience": none_or(whole(1, MOST_EPOCHS)),
                "stopping": one_of(*get_args(Stopping)),
                "epoch": _COUNT,
                "best_epoch": _COUNT,
                "best_loss": none_or(number()),
                "last_loss": none_or(number()),
                "rises": _COUNT,
            }
        ),
        "steps": whole(),
    },
    {"earlier": check_described},
)


@dataclass(frozen=True)
class Progress:
    """The state of a training, apart from what its engine holds.

    Attributes
    ----------
    history : list of Row
    patience : Patience
    best : (weights, biases) or None
        Parameters of the best epoch, if the training keeps them.
    """

    history: list[Row]
    patience: Patience
    best: Parameters | None


def agreement(
    config: TrainConfig, train: Dataset, valid: Dataset | None, start: Network | None
) -> dict[str, Any]:
    """Return what must be equal in a checkpoint and in the training that continues from it.

    The number of threads may differ: it changes no bit. The number of epochs may differ too, unless the schedule
    depends on it.
    """
    settings = _as_in_json(config.as_dict())
    del settings["threads"]
    if not SCHEDULES[config.schedule].uses_epochs:
        del settings["epochs"]
    return {
        "config": settings,
        "sizes": list(network_sizes(config, train)),
        "start": None if start is None else _digest(start),
        "train": train.checksum,
        "valid": None if valid is None else valid.checksum,
    }


def _as_in_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON gives them back: with lists instead of tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }


class Checkpoint:
    """The checkpoint of one training.

    Parameters
    ----------
    path : path
    config : TrainConfig
    train : Dataset
    valid : Dataset or None
    start : Network or None
        All as of the training that writes it or goes on from it.

    Raises
    ------
    OSError
        If the folder is missing.
    """

    def __init__(
        self,
        path: str | Path,
        config: TrainConfig,
        train: Dataset,
        valid: Dataset | None,
        start: Network | None,
    ) -> None:
        self.path, self.config = Path(path), config
        if not self.path.name:
            raise FormatError(f"checkpoint: found {os.fspath(path)!r}, expected the path of a file")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        self._agreed = agreement(config, train, valid, start)
        self._batches = -(-len(train) // config.batch_size)
        self._validates = valid is not None
        self._earlier = HistoryFile(self.path.with_name(f"{self.path.name}.history"))

    def write(self, engine: Engine, progress: Progress) -> None:
        """Write the state of a training: the engine's parameters and states, and the rest.

        Raises
        ------
        OSError
            Names the file that cannot be written. The checkpoint before is as it was.
        """
        history = progress.history
        in_file = len(history) // BLOCK * BLOCK
        if in_file > self._earlier.rows:
            self._earlier.add(history[self._earlier.rows : in_file])
        groups = {"": engine.weights()}
        groups |= {f"{name}.": state for name, state in engine.states().items()}
        if progress.best is not None:
            groups["best."] = progress.best
        tensors = {
            f"{prefix}{pair}.{kind}": array
            for prefix, parameters in groups.items()
            for kind, arrays in zip(("weight", "bias"), parameters, strict=True)
            for pair, array in enumerate(arrays)
        }
        state = {
            "history": history[in_file:],
            "patience": progress.patience.as_dict(),
            "steps": engine.steps_taken,
            "groups": list(groups),
            **({"earlier": self._earlier.described()} if in_file else {}),
        }
        write_tensors(self.path, KIND, {**self._agreed, "state": state}, tensors)

    def read(self, engine: Engine, states: tuple[str, ...]) -> Progress:
        """Read the state of a training into an engine, and return the rest of it.

        Parameters
        ----------
        engine : Engine
        states : tuple of str
            What the optimiser remembers: names of `Engine.states`.

        Raises
        ------
        FormatError
            If a file is missing or damaged, belongs to another configuration or data set, or is beyond the last epoch.
        """

        def layout(description: Any) -> Layout:
            _check_agreement(description, self._agreed)
            _check_state("state", description.get("state"))
            self._check_counts(description["state"], states)
            return _layout(description["state"]["groups"], engine)

        description, tensors = read_tensors(self.path, KIND, layout)
        self._check_values(tensors)
        pairs = range(len(engine.weights()[0]))

        def group(prefix: str) -> Parameters:
            weights = [tensors[f"{prefix}{pair}.weight"] for pair in pairs]
            return weights, [tensors[f"{prefix}{pair}.bias"] for pair in pairs]

        state = description["state"]
        earlier = self._earlier.read(state["earlier"]) if "earlier" in state else []
        history = [*earlier, *state["history"]]
        if [row["epoch"] for row in history] != list(range(1, len(history) + 1)):
            raise FormatError(f"{self.path}: found epochs out of order, expected each once")
        engine.load(*group(""))
        engine.steps_taken = state["steps"]
        for prefix in state["groups"]:
            if prefix not in ("", "best."):
                engine.load_state(prefix.removesuffix("."), *group(prefix))
        best = group("best.") if "best." in state["groups"] else None
        return Progress(history, Patience.from_dict(state["patience"]), best)

    def _check_counts(self, state: Mapping[str, Any], states: tuple[str, ...]) -> None:
        """Raise a FastMLPError unless the numbers in a state fit each other and this training."""
        epochs = len(state["history"]) + state.get("earlier", {}).get("rows", 0)
        if epochs > self.config.epochs:
            raise FormatError(
                f"found a checkpoint of {epochs} epochs, expected at most {self.config.epochs}, those of this "
                f"training; ask for {epochs} or more, or use another path"
            )
        groups, patience = state["groups"], Patience.from_dict(state["patience"])
        steps = epochs * self._batches
        require(state["steps"] == steps, "steps", state["steps"], f"{steps}, of {epochs} epochs")
        seen = epochs if self._validates else 0
        expected = self.config.patience, self.config.stopping, seen
        found = patience.patience, patience.stopping, patience.epoch
        require(found == expected, "patience", found, f"{expected}, as the settings say")
        needed = {"", *(f"{name}." for name in states)}
        needed |= {"best."} if self.config.restore_best and patience.best_epoch else set()
        fits = len(set(groups)) == len(groups) and needed <= set(groups)
        fits = fits and ("best." in groups) == ("best." in needed)
        require(fits, "groups", groups, f"{sorted(needed)}")

    def _check_values(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Raise a FormatError if a parameter is not finite, or a state cannot be one."""
        for name, array in tensors.items():
            if name.startswith("squares."):
                fits = not array.size or bool(array.min() >= 0)  # false for NaN
            else:
                fits = name.startswith("velocity.") or is_finite(array)
            if not fits:
                raise FormatError(
                    f"{self.path}: {name}: found values that no training has, expected a checkpoint as written"
                )


def _digest(network: Network) -> str:
    """Return the hex SHA-256 of a network's parameters."""
    digest = hashlib.sha256()
    for array in (*network.weights, *network.biases):
        digest.update(array.data)
    return digest.hexdigest()


def _check_agreement(description: Any, agreed: Mapping[str, Any]) -> None:
    found = dict(description) if isinstance(description, Mapping) else {}
    if isinstance(found.get("config"), Mapping):
        # A field that came after the checkpoint had its default.
        plain = _as_in_json(TrainConfig().as_dict())
        found["config"] = {name: plain[name] for name in LATER_FIELDS} | found["config"]
    for name, value in agreed.items():
        if found.get(name) == value:
            continue
        different = name
        if name == "config" and isinstance(found.get(name), Mapping):
            different = ", ".join(
                f"{key} {shown(found[name].get(key))} (now {value.get(key)!r})"
                for key in {**value, **found[name]}
                if found[name].get(key) != value.get(key)
            )
        raise FormatError(
            f"found a checkpoint of other settings or data ({different}), expected the same; "
            "use another path, or delete it to start again"
        )


def _layout(groups: list[str], engine: Engine) -> Layout:
    """Return the type and shape of each tensor that the file must hold."""
    dtype = engine.dtype.name
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for prefix in groups:
        for pair, (weight, bias) in enumerate(zip(*engine.weights(), strict=True)):
            shapes[f"{prefix}{pair}.weight"] = (dtype, weight.shape)
            shapes[f"{prefix}{pair}.bias"] = (dtype, bias.shape)
    return shapes
