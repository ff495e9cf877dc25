"""train(): batches -> kernels -> history, and what ends a run: its last epoch, patience, divergence, Ctrl-C."""

from __future__ import annotations

import hashlib
import math
import reprlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, DataError, FormatError
from fastmlp.machine.files import Layout, read_tensors, write_tensors
from fastmlp.machine.interrupts import held_interrupt
from fastmlp.training.config import TrainConfig
from fastmlp.training.engine import Engine
from fastmlp.training.layers import network_layers, sizes_of
from fastmlp.training.network import Network, forward
from fastmlp.training.optimizers import Steps, adam, rmsprop, sgd
from fastmlp.training.parameters import initialize
from fastmlp.training.samples import read_as_they_are, samples_of
from fastmlp.training.schedule import learning_rate
from fastmlp.training.stopping import Patience

Row = dict[str, Any]
Status = Literal["done", "stopped", "diverged", "interrupted"]
Parameters = tuple[list[np.ndarray], list[np.ndarray]]

# Streams of random numbers that a seed is split into: one for the start, then two an epoch. A resumed run draws
# what an undisturbed one would have drawn.
INITIALISATION, EPOCHS, DROPOUT = 0, 1, 3  # 2: `fastmlp.studies.special`


@dataclass(frozen=True)
class TrainResult:
    """What a training run ended with.

    Attributes
    ----------
    network : Network
        Of the epoch with the lowest validation loss if there is one and ``config.restore_best``, else of the last.
    history : list of dict
        One row an epoch: ``epoch`` (from 1), ``train_loss`` and ``train_accuracy`` (mean over the epoch of what
        each batch gave before its step), ``valid_loss`` and ``valid_accuracy`` (after the epoch; None without
        validation data), ``learning_rate``, ``seconds`` and ``samples_per_second`` (of training, without
        validation and compilation).
    status : {"done", "stopped", "diverged", "interrupted"}
        All epochs; early stopping; a loss or parameter that is not finite; Ctrl-C.
    reason : str
        The status in one line, with epoch and learning rate where it diverged.
    best_epoch : int
        The epoch of the lowest validation loss, 0 without validation data.
    config : TrainConfig
    """

    network: Network
    history: list[Row]
    status: Status
    reason: str
    best_epoch: int
    config: TrainConfig

    @property
    def seconds(self) -> float:
        """Seconds spent in training, without validation and compilation."""
        return float(sum(row["seconds"] for row in self.history))

    @property
    def samples_per_second(self) -> float:
        """Training images a second, the median over epochs."""
        rates = [row["samples_per_second"] for row in self.history]
        return float(np.median(rates)) if rates else 0.0


def train(
    config: TrainConfig,
    train: Dataset,
    valid: Dataset | None = None,
    *,
    start: Network | None = None,
    on_epoch: Callable[[Row], object] | None = None,
    checkpoint: str | Path | None = None,
) -> TrainResult:
    """Train a network.

    Parameters
    ----------
    config : TrainConfig
    train : Dataset
        Training images. Normalisation is measured on them and travels in the network.
    valid : Dataset, optional
        Validation images: needed for early stopping and for restoring the best epoch.
    start : Network, optional
        Whose weights and biases to begin with, instead of drawing them; its widths must be the configuration's.
    on_epoch : callable, optional
        Called with the epoch's row of the history; returning True ends training with status "stopped".
    checkpoint : path, optional
        A file to go on from, if it is there, and to write after every epoch: a run that was killed and started
        again gives the bits of one that was not.

    Returns
    -------
    TrainResult
        Also when the run diverged or was interrupted: neither is an exception.

    Raises
    ------
    ConfigError
        If patience is asked for without validation data, or flips of images that float32 cannot tell apart.
    DataError
        If the validation images, or the widths of `start`, do not fit.
    FormatError
        If the checkpoint is damaged, or of another configuration or data set.
    """
    if config.patience is not None and valid is None:
        raise ConfigError("patience: found without validation data, expected a validation part")
    if valid is not None and (valid.shape != train.shape or valid.classes != train.classes):
        raise DataError(
            f"valid: found {valid.shape} images of {valid.classes}, "
            f"expected {train.shape} of {train.classes} as in the training part"
        )
    run = _Run(config, train, valid, start, checkpoint)
    try:
        return run.to_the_end(on_epoch)
    finally:
        run.engine.close()


def evaluate(network: Network, dataset: Dataset) -> dict[str, float]:
    """Mean cross-entropy and share of right answers: ``{"loss": ..., "accuracy": ...}``.

    Raises
    ------
    DataError
        If the data set's images or classes are not those of the network.
    """
    found, own = dataset.classes, tuple(network.classes)
    # Names may differ (those of a `state_dict` are numbers), but not the order of the same names.
    fits = len(found) == len(own) and (found == own or set(found) != set(own))
    if dataset.images.shape[1] != network.sizes[0] or not fits:
        raise DataError(
            f"dataset: found {dataset.shape} images of {reprlib.repr(found)}, expected "
            f"{network.shape} of {reprlib.repr(own)} as in the network's training"
        )
    return score(forward(network, dataset.images), dataset.labels)


def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy and accuracy of logits [N, C] for labels [N], in float64."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return {"loss": float(losses.mean()), "accuracy": float((logits.argmax(1) == labels).mean())}


def is_finite(array: np.ndarray) -> bool:
    """Return whether all elements are finite: one float64 sum, which keeps every NaN and infinity of float32."""
    with np.errstate(
        invalid="ignore", over="ignore"
    ):  # of infinities of both signs; of float64 near its limit
        return math.isfinite(array.sum(dtype=np.float64)) or bool(np.isfinite(array).all())


def parameter_type(config: TrainConfig) -> str:
    """The type of weights and biases: products may take bfloat16, parameters never are."""
    return "float32" if config.dtype == "bfloat16" else config.dtype


def draw_epoch(config: TrainConfig, count: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """The order in which an epoch (counted from 0) sees `count` samples, and which of them it mirrors.

    Returns
    -------
    order : array [count] of int64
        Batches are consecutive stretches of ``config.batch_size``.
    flips : array [count] of bool
    """
    rng = np.random.default_rng([EPOCHS, config.seed, epoch])
    order = rng.permutation(count)
    return order, rng.random(count) < 0.5 if config.flip else np.zeros(count, np.bool_)


def dropout_key(config: TrainConfig, epoch: int) -> int:
    """What an epoch's dropout follows from: 64 random bits."""
    return int(
        np.random.default_rng([DROPOUT, config.seed, epoch]).integers(2**64, dtype=np.uint64)
    )


def _digest(network: Network) -> str:
    """Hex sha256 of a network's parameters."""
    digest = hashlib.sha256()
    for array in (*network.weights, *network.biases):
        digest.update(array.data)
    return digest.hexdigest()


class _Run:
    """The state of one training run between epochs."""

    def __init__(
        self,
        config: TrainConfig,
        train: Dataset,
        valid: Dataset | None,
        start: Network | None,
        checkpoint: str | Path | None,
    ) -> None:
        self.config, self.data, self.valid = config, train, valid
        self.normalization = train.normalization(config.normalize)
        self.start = None if start is None else _digest(start)
        self.layers = network_layers(
            config.hidden,
            len(train.classes),
            activation=config.activation,
            residual=config.residual,
            dropout=config.dropout,
        )
        sizes = sizes_of(self.layers, train.images.shape[1])
        if start is None:
            rng = np.random.default_rng([INITIALISATION, config.seed])
            scheme, std = config.initialization, config.initialization_std
            parameters = initialize(sizes, scheme, rng, parameter_type(config), std=std)
        elif start.sizes == sizes:
            parameters = list(start.weights), list(start.biases)
        else:
            raise DataError(f"start: found a network of widths {start.sizes}, expected {sizes}")
        self.engine = Engine(
            *parameters,
            layers=self.layers,
            batch_size=min(config.batch_size, len(train)),
            dtype=config.dtype,
            threads=config.threads,
        )
        plain = read_as_they_are(train.images, self.normalization, self.engine.dtype)
        if config.flip and config.normalize == "feature" and not plain:
            raise ConfigError(
                "flip: found with normalize='feature' and float64 images far from zero, which are "
                "normalised before they are mirrored, expected dtype='float64' or images nearer to 0"
            )
        self.train_samples = samples_of(self.engine, train, self.normalization)
        self.valid_samples = (
            None if valid is None else samples_of(self.engine, valid, self.normalization)
        )
        self.patience = Patience(config.patience, config.stopping)
        self.best: Parameters | None = None
        self.history: list[Row] = []
        self.checkpoint = checkpoint
        if checkpoint is not None and Path(checkpoint).exists():
            self._resume(checkpoint)

    def to_the_end(self, on_epoch: Callable[[Row], object] | None) -> TrainResult:
        """Train the epochs that are left."""
        try:
            self.engine.warm_up(self.train_samples)
            while (ended := self._ended()) is None:
                with held_interrupt():
                    row = self._epoch()
                    self.history.append(row)
                    if problem := self._divergence(row):
                        return self._result("diverged", problem)
                    if self.checkpoint is not None:
                        self._save(self.checkpoint)
                    if on_epoch is not None and on_epoch(dict(row)) is True:
                        told = f"stopped by on_epoch at epoch {row['epoch']}"
                        return self._result("stopped", told)
            return self._result(*ended)
        except KeyboardInterrupt:
            told = f"interrupted after epoch {len(self.history)}"
            problem = self._divergence(self.history[-1]) if self.history else None
            return self._result("interrupted", f"{told}; {problem}" if problem else told)

    def _ended(self) -> tuple[Status, str] | None:
        epoch = len(self.history)
        if self.history and self.patience.verdict == "stop":
            kind = "rises in a row" if self.config.stopping == "rises" else "epochs without a best"
            return "stopped", (
                f"stopped at epoch {epoch}: {self.patience.waited} {kind}, best was epoch "
                f"{self.patience.best_epoch}"
            )
        if epoch >= self.config.epochs:
            return "done", f"all {epoch} epochs done"
        return None

    def _epoch(self) -> Row:
        config, epoch = self.config, len(self.history)
        order, flips = draw_epoch(config, len(self.data), epoch)
        rate = learning_rate(config, epoch)
        steps = self._steps(-(-len(order) // self.engine.batch_size), rate)
        start = time.perf_counter()
        record = self.engine.epoch(
            self.train_samples,
            order,
            steps,
            flips=flips,
            factors=np.ones(len(order)) if config.reduction == "sum" else None,
            dropout_key=dropout_key(config, epoch),
        )
        seconds = time.perf_counter() - start
        row: Row = {
            "epoch": epoch + 1,
            "train_loss": float(record.losses.mean()),
            "train_accuracy": float(record.correct.mean()),
            "valid_loss": None,
            "valid_accuracy": None,
            "learning_rate": rate,
            "seconds": seconds,
            "samples_per_second": len(order) / seconds,
        }
        if self.valid is not None and self.valid_samples is not None:
            scores = score(self.engine.logits(self.valid_samples), self.valid.labels)
            row["valid_loss"], row["valid_accuracy"] = scores["loss"], scores["accuracy"]
            self.patience = self.patience.update(scores["loss"])
            if self.patience.verdict == "improved" and config.restore_best:
                self.best = self.engine.weights()
        return row

    def _steps(self, count: int, rate: float) -> Steps:
        """The optimiser's numbers for the next `count` batches."""
        config = self.config
        decay: dict[str, Any] = {
            "weight_decay": config.weight_decay,
            "decay_biases": config.decay_biases,
        }
        if config.optimizer == "adam":
            return adam(count, rate, before=self.engine.steps_taken, **decay)
        if config.optimizer == "rmsprop":
            return rmsprop(count, rate, **decay)
        return sgd(count, rate, momentum=config.momentum, nesterov=config.nesterov, **decay)

    def _divergence(self, row: Row) -> str | None:
        """Say what is not finite."""
        for name in ("train_loss", "valid_loss"):
            if row[name] is not None and not math.isfinite(row[name]):
                break
        else:
            if is_finite(self.engine.parameters):
                return None
            name = "parameters"
        return (
            f"{name.replace('_', ' ')} not finite at epoch {row['epoch']}, learning rate "
            f"{row['learning_rate']:g}; try a smaller one"
        )

    def _result(self, status: Status, reason: str) -> TrainResult:
        weights, biases = self.best or self.engine.weights()
        network = Network(
            weights,
            biases,
            layers=self.layers,
            activation=self.config.activation,
            normalization=self.normalization,
            classes=self.data.classes,
            shape=self.data.shape,
        )
        best_epoch = self.patience.best_epoch
        return TrainResult(network, self.history, status, reason, best_epoch, self.config)

    # -- checkpoints ---------------------------------------------------------------------------------------

    def _description(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be gone on from; threads change no bit."""
        config = self.config.as_dict()
        for name in ("threads", "epochs") if self.config.schedule != "cosine" else ("threads",):
            del config[name]
        config["hidden"] = list(config["hidden"])
        return {
            "config": config,
            "sizes": list(self.engine.sizes),
            "start": self.start,
            "train": self.data.checksum,
            "valid": None if self.valid is None else self.valid.checksum,
        }

    def _save(self, path: str | Path) -> None:
        groups = {"": self.engine.weights()}
        groups |= {f"{name}.": state for name, state in self.engine.states().items()}
        if self.best is not None:
            groups["best."] = self.best
        tensors = {
            f"{prefix}{layer}.{kind}": array
            for prefix, parameters in groups.items()
            for kind, arrays in zip(("weight", "bias"), parameters, strict=True)
            for layer, array in enumerate(arrays)
        }
        state = {
            "history": self.history,
            "patience": self.patience.as_dict(),
            "steps": self.engine.steps_taken,
            "groups": list(groups),
        }
        write_tensors(path, "checkpoint", {**self._description(), "state": state}, tensors)

    def _resume(self, path: str | Path) -> None:
        description, tensors = read_tensors(path, "checkpoint", self._layout)
        layers = range(len(self.engine.sizes) - 1)

        def group(prefix: str) -> Parameters:
            weights = [tensors[f"{prefix}{layer}.weight"] for layer in layers]
            return weights, [tensors[f"{prefix}{layer}.bias"] for layer in layers]

        state = description["state"]
        self.engine.load(*group(""))
        for prefix in state["groups"]:
            if prefix == "best.":
                self.best = group(prefix)
            elif prefix:
                self.engine.load_state(prefix.removesuffix("."), *group(prefix))
        self.engine.steps_taken = state["steps"]
        self.history = state["history"]
        self.patience = Patience.from_dict(state["patience"])

    def _layout(self, description: Any) -> Layout:
        own = self._description()
        found = description if isinstance(description, Mapping) else {}
        for name, value in own.items():
            if found.get(name) != value:
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
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
        dtype = self.engine.dtype.name
        state = found.get("state")
        groups = state.get("groups") if isinstance(state, Mapping) else None
        known = ("", "velocity.", "squares.", "best.")
        if not isinstance(groups, list) or not groups or not all(one in known for one in groups):
            raise FormatError(
                f"found groups of tensors {reprlib.repr(groups)}, expected a checkpoint as written"
            )
        for prefix in groups:
            for layer, (inputs, outputs) in enumerate(pairwise(self.engine.sizes)):
                shapes[f"{prefix}{layer}.weight"] = (dtype, (outputs, inputs))
                shapes[f"{prefix}{layer}.bias"] = (dtype, (outputs,))
        return shapes
