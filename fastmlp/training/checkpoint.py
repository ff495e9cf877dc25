"""Checkpoint: the state of a training between two epochs, in a file.

The file names the settings and data of the training. It is refused for any other training.
"""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmlp.datasets import Dataset
from fastmlp.errors import FormatError
from fastmlp.machine.files import Layout, read_tensors, write_tensors
from fastmlp.training.config import LATER_FIELDS, TrainConfig
from fastmlp.training.draws import Parameters, network_sizes
from fastmlp.training.engine import Engine
from fastmlp.training.history import Row
from fastmlp.training.network import Network
from fastmlp.training.schedule import SCHEDULES
from fastmlp.training.stopping import Patience

KIND = "checkpoint"  # the kind of file
# Groups of tensors: parameters, the optimiser's states, the best epoch's parameters.
GROUPS = ("", "velocity.", "squares.", "best.")


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


def write(path: str | Path, agreed: Mapping[str, Any], engine: Engine, progress: Progress) -> None:
    """Write a checkpoint.

    Parameters
    ----------
    path : path
    agreed : mapping
        What `agreement` returned.
    engine : Engine
        Its parameters and states are written.
    progress : Progress
    """
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
        "history": progress.history,
        "patience": progress.patience.as_dict(),
        "steps": engine.steps_taken,
        "groups": list(groups),
    }
    write_tensors(path, KIND, {**agreed, "state": state}, tensors)


def read(path: str | Path, agreed: Mapping[str, Any], engine: Engine) -> Progress:
    """Read a checkpoint into an engine, and return the rest of the training's state.

    Parameters
    ----------
    path, agreed, engine
        As for `write`.

    Raises
    ------
    FormatError
        If the file is damaged, or belongs to another configuration or data set.
    """

    def layout(description: Any) -> Layout:
        _check_agreement(description, agreed)
        return _layout(description, engine)

    description, tensors = read_tensors(path, KIND, layout)
    pairs = range(len(engine.weights()[0]))

    def group(prefix: str) -> Parameters:
        weights = [tensors[f"{prefix}{pair}.weight"] for pair in pairs]
        return weights, [tensors[f"{prefix}{pair}.bias"] for pair in pairs]

    state = description["state"]
    engine.load(*group(""))
    engine.steps_taken = state["steps"]
    for prefix in state["groups"]:
        if prefix not in ("", "best."):
            engine.load_state(prefix.removesuffix("."), *group(prefix))
    best = group("best.") if "best." in state["groups"] else None
    return Progress(state["history"], Patience.from_dict(state["patience"]), best)


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
                f"{key} {found[name].get(key)!r} (now {value[key]!r})"
                for key in value
                if found[name].get(key) != value[key]
            )
        raise FormatError(
            f"found a checkpoint of other settings or data ({different}), expected the same; "
            "use another path, or delete it to start again"
        )


def _layout(description: Mapping[str, Any], engine: Engine) -> Layout:
    """Return the type and shape of each tensor that the file must hold."""
    state = description.get("state")
    groups = state.get("groups") if isinstance(state, Mapping) else None
    if not isinstance(groups, list) or not groups or not all(one in GROUPS for one in groups):
        raise FormatError(
            f"found groups of tensors {reprlib.repr(groups)}, expected a checkpoint as written"
        )
    dtype = engine.dtype.name
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for prefix in groups:
        for pair, (weight, bias) in enumerate(zip(*engine.weights(), strict=True)):
            shapes[f"{prefix}{pair}.weight"] = (dtype, weight.shape)
            shapes[f"{prefix}{pair}.bias"] = (dtype, bias.shape)
    return shapes
