"""What a store keeps of a trial: its key, its numbers, its network as bytes, and the checksum of its data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

from safetensors.numpy import save as to_safetensors

from fastmlp.datasets import Dataset, Normalization
from fastmlp.machine.files import tensors_from
from fastmlp.machine.schema import items, none_or, number, one_of, require, table, text, whole
from fastmlp.training.config import TrainConfig
from fastmlp.training.history import Row
from fastmlp.training.layers import without_dropout
from fastmlp.training.network import Network
from fastmlp.training.shapes import parameter_names
from fastmlp.training.tasks import meaning_of

NUMBERS = (
    *("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"),
    *("test_loss", "test_accuracy"),
)
# What tables of trials say of each.
RESULTS = ("seed", "status", "epochs", "epoch", *NUMBERS, "seconds", "reason")
NOT_IN_A_KEY = ("seed", "threads")  # the seed has a field of its own; threads change no result


class Key(NamedTuple):
    """What distinguishes a trial from the others in a store of one data set and version."""

    parameters: str
    seed: int

    @classmethod
    def of(cls, config: TrainConfig) -> Self:
        """Return the key of a training with this configuration."""
        values = config.compatible_dict()
        for name in NOT_IN_A_KEY:
            del values[name]
        return cls(json.dumps(values, sort_keys=True), config.seed)

    def config(self) -> TrainConfig | None:
        """Return the configuration, but for threads; None if the key is not of one training by `fastmlp.train`."""
        try:
            return TrainConfig(**json.loads(self.parameters), seed=self.seed)
        except (TypeError, ValueError, RecursionError):
            return None


@dataclass(frozen=True)
class Trial:
    """A finished trial, as stored.

    Parameters
    ----------
    seed : int
        Of the training.
    status : {"done", "stopped", "diverged", "failed", "pruned"}
        All epochs done; stopped early; a loss that is not finite; an error, or a worker that died
        several times; given up by an adaptive search.
    reason : str
        The status in one line.
    epochs : int
        The number of epochs trained.
    epoch : int
        The epoch that the network and the next four numbers belong to.
    train_loss, train_accuracy, valid_loss, valid_accuracy : float or None
        None if not finite, or if no epoch was trained. Of a regression R2 stands in the place of the accuracy.
    seconds : float
        From the start of the trial to its end.
    history : list of dict
        As in `fastmlp.TrainResult`, with None for numbers that are not finite.
    test_data : str or None
        Checksum of the part that the network was tested on.
    test_loss, test_accuracy : float or None
        None if it was not tested.
    """

    seed: int
    status: Literal["done", "stopped", "diverged", "failed", "pruned"]
    reason: str
    epochs: int
    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    valid_loss: float | None
    valid_accuracy: float | None
    seconds: float
    history: Sequence[Mapping[str, Any]] = field(repr=False)
    test_data: str | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None

    def value(self, name: str) -> float | None:
        """Return a field, or what the history says of the epoch that the network belongs to; None without it.

        Parameters
        ----------
        name : str
            Of the field, or of the column of the history.
        """
        found: float | None
        if hasattr(self, name):
            found = getattr(self, name)
        else:
            found = self.history[self.epoch - 1].get(name) if self.epoch else None
        return found

    @property
    def sound(self) -> bool:
        """Whether the training came to a regular end."""
        return self.status in ("done", "stopped")


_NUMBER, _COUNT = none_or(number()), whole(0, 2**31 - 1)
_IN_HISTORY = tuple(name for name in Row.__annotations__ if name != "epoch")
_check_fields = table(
    {
        "seed": whole(),
        "status": one_of("done", "stopped", "diverged", "failed", "pruned"),
        "reason": text(),
        "epochs": _COUNT,
        "epoch": _COUNT,
        **dict.fromkeys(NUMBERS[:4], _NUMBER),
        "seconds": number(0),
        "history": items(
            table(
                {"epoch": whole(1, 2**31 - 1)},
                dict.fromkeys(_IN_HISTORY, _NUMBER),
            )
        ),
        "test_data": none_or(text()),
        "test_loss": _NUMBER,
        "test_accuracy": _NUMBER,
    }
)


def check_trial(name: str, fields: Mapping[str, Any]) -> None:
    """Raise a DataError unless the values of a row are those of a `Trial`."""
    _check_fields(name, fields)
    epochs = len(fields["history"])
    require(fields["epochs"] == epochs, f"{name}.epochs", fields["epochs"], f"{epochs}")
    require(fields["epoch"] <= epochs, f"{name}.epoch", fields["epoch"], f"at most {epochs}")


def finite(value: float | None) -> float | None:
    """Return a number that JSON and SQLite can hold: None if it is not finite, and no negative zero."""
    return value + 0 if value is not None and math.isfinite(value) else None


def score_in(values: Mapping[str, Any], part: str = "") -> float | None:
    """Return the accuracy among some results, or the R2 of a regression; None if there is none.

    Parameters
    ----------
    values : mapping
        A row of a history, or the answer of `fastmlp.evaluate`.
    part : str
        What stands before the name, such as "valid_".
    """
    score: float | None = values.get(f"{part}accuracy", values.get(f"{part}r2"))
    return score


def checksum_of(parts: Iterable[Dataset]) -> str:
    """Return the hex sha256 that identifies the training and validation parts of a store."""
    return hashlib.sha256(" ".join(part.checksum for part in parts).encode()).hexdigest()


def to_bytes(network: Network) -> bytes:
    """Return the tensors of a network in the form that the store keeps: safetensors."""
    scaling = network.normalization
    return to_safetensors(
        network.state_dict()
        | {"normalization.mean": scaling.mean, "normalization.std": scaling.std}
    )


def from_bytes(data: bytes, config: TrainConfig, train: Dataset) -> Network:
    """Return the network that `to_bytes` was given, which was trained with `config` on `train`.

    Raises
    ------
    FormatError, DataError
        If these are not such a network's.
    """
    tensors = tensors_from(data)
    layers = without_dropout(config.layers(len(train.classes)))
    names = parameter_names(layers)
    scales = ["normalization.mean", "normalization.std"]
    require(set(tensors) >= {*names, *scales}, "network", sorted(tensors), "all of its tensors")
    arrays, scaling = [tensors[name] for name in names], [tensors[name] for name in scales]
    return Network(
        arrays[::2],
        arrays[1::2],
        layers=layers,
        activation=config.activation,
        normalization=Normalization(*scaling),
        **meaning_of(train),
    )
