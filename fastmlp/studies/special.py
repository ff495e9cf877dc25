"""Trainings that are not `fastmlp.train`: study 4's puzzles, and the twins of study 2.

Each takes a configuration, the training and validation parts, and the settings that were trained
before it in the file's order, and returns an Outcome like that of `fastmlp.search.trial.run_trial`.
All start from the weights that `fastmlp.train` starts from and see its batches.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from fastmlp import autograd
from fastmlp.datasets import Dataset, Normalization
from fastmlp.errors import ConfigError
from fastmlp.search.trial import Outcome, Parts, run_trial
from fastmlp.training.config import TrainConfig
from fastmlp.training.engine import Engine, Samples
from fastmlp.training.network import Network, initialize
from fastmlp.training.optimizers import Steps, sgd
from fastmlp.training.schedule import learning_rate
from fastmlp.training.trainer import (
    INITIALISATION,
    Row,
    draw_epoch,
    parameter_type,
    samples_of,
    score,
)

Before = Sequence[TrainConfig]
Start = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]  # weights [out, in], biases
Kind = Callable[[TrainConfig, Parts, Before], Outcome]

_COINS = 2  # a stream of random numbers beside the trainer's
REVERSED_ROWS = 1000  # that are normalised and reversed at a time: 12 MB of float32


def train_as(kind: str, config: TrainConfig, parts: Parts, before: Before = ()) -> Outcome:
    """Train one network in the way that a part of a study asks for.

    Parameters
    ----------
    kind : str
        "" for `fastmlp.train`, or one of `KINDS`.
    config : TrainConfig
    parts : (Dataset, Dataset)
        To train and to validate.
    before : sequence of TrainConfig
        The settings before this one in its part; only "chain" reads them.

    Raises
    ------
    ConfigError
        If there is no such kind, or it cannot do what the configuration asks for.
    """
    if not kind:
        return run_trial(config, parts)
    refuse(kind, config)
    return KINDS[kind](config, parts, before)


def refuse(kind: str, config: TrainConfig) -> None:
    """Raise the ConfigError of `train_as`, if it has one for this kind of `KINDS` and configuration."""
    if kind not in KINDS:
        raise ConfigError(f"study.parts.kind: found {kind!r}, expected one of {', '.join(KINDS)}")
    unusual = {
        "optimizer": config.optimizer != "sgd",
        "nesterov": config.nesterov,
        "patience": config.patience is not None,
        "restore_best": config.restore_best,
        "reduction": config.reduction != "mean",
        "dropout": config.dropout > 0,
        "flip": config.flip and kind in ("reversed", *TWINS),
        "decay_biases": not config.decay_biases and kind in TWINS,
        "dtype": config.dtype == "bfloat16" and kind in TWINS,
        "residual": config.residual and kind == "torch",
    }
    for name, found in unusual.items():
        if found:
            raise ConfigError(f"{name}: found {getattr(config, name)!r}, which {kind!r} cannot do")


def available(kind: str) -> bool:
    """Tell whether what a kind needs is installed."""
    return kind != "torch" or find_spec("torch") is not None


# -- the penalised loss, from any start, under any flip --------------------------------------------


def penalised(config: TrainConfig, parts: Parts, before: Before = ()) -> Outcome:
    """Train as `fastmlp.train` does, and record the cost: the loss plus the decay's penalty."""
    return _penalised(config, parts)


def chain(config: TrainConfig, parts: Parts, before: Before = ()) -> Outcome:
    """Train as `penalised`, from where the setting before ended: nothing was reset."""
    return _link((*before, config), parts, True)


def weights_kept(config: TrainConfig, parts: Parts, before: Before = ()) -> Outcome:
    """Train as `chain`, but with biases drawn anew: only the weights were not reset."""
    return _link((*before, config), parts, False)


def reversed_batches(config: TrainConfig, parts: Parts, before: Before = ()) -> Outcome:
    """Train as `penalised`, each batch with probability 1/2 back to front.

    An image is stored as its red, its green, its blue values, row by row. Back to front it is
    turned by 180 degrees, and red and blue have changed places.
    """
    return _penalised(config, parts, reverse=True)


@functools.lru_cache(maxsize=8)
def _link(configs: tuple[TrainConfig, ...], parts: Parts, keep_biases: bool) -> Outcome:
    *before, config = configs
    last = _link(tuple(before), parts, keep_biases).network if before else None
    if last is None:
        return _penalised(config, parts)
    biases: Sequence[np.ndarray] = last.biases if keep_biases else _start(config, parts[0])[1]
    return _penalised(config, parts, start=(last.weights, biases))


def _penalised(
    config: TrainConfig, parts: Parts, *, start: Start | None = None, reverse: bool = False
) -> Outcome:
    began = time.perf_counter()
    data, valid = parts
    normalization = Normalization.of(data, config.normalize)
    engine = Engine(
        *(start or _start(config, data)),
        batch_size=min(config.batch_size, len(data)),
        dtype=config.dtype,
        threads=config.threads,
        activation=config.activation,
        residual=config.residual,
    )
    samples = samples_of(engine, data, normalization)
    checked = samples_of(engine, valid, normalization)
    engine.warm_up(samples)
    history: list[Row] = []
    for epoch in range(config.epochs):
        order, flips = draw_epoch(config, len(data), epoch)
        rate = learning_rate(config, epoch)
        steps = sgd(
            -(-len(order) // engine.plan.batch),
            rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            decay_biases=config.decay_biases,
        )
        seconds = time.perf_counter()
        if reverse:
            coins = np.random.default_rng([_COINS, config.seed, epoch])
            pieces = _reversed(engine, data, normalization, order, steps, coins)
            records = [engine.epoch(*piece, penalties=True) for piece in pieces]
        else:
            records = [engine.epoch(samples, order, steps, flips=flips, penalties=True)]
        seconds = time.perf_counter() - seconds
        losses = np.concatenate([record.losses for record in records])
        penalty = np.concatenate([record.penalties for record in records]).mean()
        weights, biases = engine.weights()
        after = sum(float(np.square(one, dtype=np.float64).sum()) for one in weights)
        scores = score(engine.logits(checked), valid.labels)
        row: Row = {
            "epoch": epoch + 1,
            "train_loss": float(losses.mean()),
            "train_accuracy": float(np.concatenate([one.correct for one in records]).mean()),
            "valid_loss": scores["loss"],
            "valid_accuracy": scores["accuracy"],
            "learning_rate": rate,
            "seconds": seconds,
            "samples_per_second": len(order) / seconds,
            "train_cost": float(losses.mean() + config.weight_decay / 2 * penalty),
            "valid_cost": scores["loss"] + config.weight_decay / 2 * after,
        }
        history.append(row)
        if not _is_finite(row):
            break
    engine.close()
    network = _network(config, data, normalization, weights, biases)
    return _outcome(history, network, began)


def _reversed(
    engine: Engine,
    data: Dataset,
    normalization: Normalization,
    order: np.ndarray,
    steps: Steps,
    coins: np.random.Generator,
) -> Iterator[tuple[Samples, np.ndarray, Steps]]:
    """Yield an epoch's batches in pieces, each batch reversed or not, after normalisation."""
    batch = engine.plan.batch
    flipped = np.repeat(coins.random(len(steps.hyper)) < 0.5, batch)[: len(order)]
    width = data.images.shape[1]
    at_a_time = max(1, REVERSED_ROWS // batch)
    for first in range(0, len(steps.hyper), at_a_time):
        part = slice(first * batch, (first + at_a_time) * batch)
        rows = order[part]
        images = normalization.apply(data.images[rows]).astype(engine.dtype)
        images[flipped[part]] = images[flipped[part], ::-1]
        samples = engine.samples(images, np.ones(width), np.zeros(width), labels=data.labels[rows])
        yield samples, np.arange(len(rows)), Steps(steps.rule, steps.hyper[first:][:at_a_time])


# -- twins: the same start, the same batches, other code -------------------------------------------


def with_torch(config: TrainConfig, parts: Parts, before: Before = ()) -> Outcome:
    """Train with PyTorch's modules, cross-entropy and ``torch.optim.SGD``."""
    import torch

    began = time.perf_counter()
    data, valid = parts
    kind = torch.float64 if config.dtype == "float64" else torch.float32
    normalization = Normalization.of(data, config.normalize)
    X, X_valid = (
        torch.from_numpy(normalization.apply(part.images)).to(kind) for part in (data, valid)
    )
    y = torch.from_numpy(data.labels)
    layers: list[Any] = []
    for W, b in zip(*_start(config, data), strict=True):
        layer = torch.nn.Linear(W.shape[1], W.shape[0], dtype=kind)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(W))
            layer.bias.copy_(torch.from_numpy(b))
        layers += [
            layer,
            {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}[
                config.activation
            ](),
        ]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )

    def step(rows: np.ndarray, rate: float) -> np.ndarray:
        index = torch.from_numpy(rows)
        logits = model(X[index])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, y[index]).backward()
        optimizer.step()
        found: np.ndarray = logits.detach().numpy()
        return found

    def logits_of_valid() -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = model(X_valid).numpy()
            return found

    history = _epochs(config, parts, step, logits_of_valid)
    weights = [layer.weight.detach().numpy().copy() for layer in model[::2]]
    biases = [layer.bias.detach().numpy().copy() for layer in model[::2]]
    return _outcome(history, _network(config, data, normalization, weights, biases), began)


def with_autograd(config: TrainConfig, parts: Parts, before: Before = ()) -> Outcome:
    """Train with `fastmlp.autograd` and the update written by hand, in float64."""
    began = time.perf_counter()
    data, valid = parts
    normalization = Normalization.of(data, config.normalize)
    X, X_valid = (normalization.apply(part.images) for part in (data, valid))
    parameters = []
    for W, b in zip(*_start(config, data), strict=True):
        parameters += [autograd.Tensor(W.T), autograd.Tensor(b)]
    velocities = [np.zeros(one.shape) for one in parameters]

    def step(rows: np.ndarray, rate: float) -> np.ndarray:
        logits = autograd.mlp(parameters, X[rows], config.activation, config.residual)
        autograd.cross_entropy(logits, data.labels[rows]).backward()
        for parameter, velocity in zip(parameters, velocities, strict=True):
            velocity *= config.momentum
            velocity += parameter.grad + config.weight_decay * parameter.data
            parameter.data -= rate * velocity
        return logits.data

    def logits_of_valid() -> np.ndarray:
        return autograd.mlp(parameters, X_valid, config.activation, config.residual).data

    history = _epochs(config, parts, step, logits_of_valid)
    weights = [np.ascontiguousarray(one.data.T) for one in parameters[::2]]
    biases = [one.data for one in parameters[1::2]]
    return _outcome(history, _network(config, data, normalization, weights, biases), began)


def _epochs(
    config: TrainConfig,
    parts: Parts,
    step: Callable[[np.ndarray, float], np.ndarray],
    logits_of_valid: Callable[[], np.ndarray],
) -> list[Row]:
    """Train epoch by epoch; `step` takes rows and rate, and gives the logits before its update."""
    data, valid = parts
    history: list[Row] = []
    for epoch in range(config.epochs):
        order, _ = draw_epoch(config, len(data), epoch)
        rate = learning_rate(config, epoch)
        start = time.perf_counter()
        logits = np.concatenate(
            [
                step(order[first : first + config.batch_size], rate)
                for first in range(0, len(order), config.batch_size)
            ]
        )
        seconds = time.perf_counter() - start
        scores, checked = score(logits, data.labels[order]), score(logits_of_valid(), valid.labels)
        history.append(
            {
                "epoch": epoch + 1,
                "train_loss": scores["loss"],
                "train_accuracy": scores["accuracy"],
                "valid_loss": checked["loss"],
                "valid_accuracy": checked["accuracy"],
                "learning_rate": rate,
                "seconds": seconds,
                "samples_per_second": len(order) / seconds,
            }
        )
    return history


KINDS: Mapping[str, Kind] = {
    "penalised": penalised,
    "chain": chain,
    "weights kept": weights_kept,
    "reversed": reversed_batches,
    "torch": with_torch,
    "autograd": with_autograd,
}

CHAINS = ("chain", "weights kept")  # kinds that go on from the settings before
TWINS = ("torch", "autograd")


def _start(config: TrainConfig, data: Dataset) -> Start:
    """Return the weights [out, in] and biases that `fastmlp.train` starts from."""
    return initialize(
        (data.images.shape[1], *config.hidden, len(data.classes)),
        config.initialization,
        np.random.default_rng([INITIALISATION, config.seed]),
        parameter_type(config),
        std=config.initialization_std,
    )


def _network(
    config: TrainConfig,
    data: Dataset,
    normalization: Normalization,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
) -> Network:
    return Network(
        weights,
        biases,
        activation=config.activation,
        residual=config.residual,
        normalization=normalization,
        classes=data.classes,
        shape=data.shape,
    )


def _is_finite(row: Row) -> bool:
    return all(math.isfinite(row[name]) for name in row if name.endswith(("_loss", "_cost")))


def _outcome(history: list[Row], network: Network, began: float) -> Outcome:
    seconds, epochs = time.perf_counter() - began, len(history)
    if not _is_finite(history[-1]):
        reason = f"loss not finite at epoch {epochs}"
        return Outcome("diverged", reason, history, 0, None, seconds)
    return Outcome("done", f"all {epochs} epochs done", history, epochs, network, seconds)
