"""The one training loop: epochs, history, and the end of a training.

A training ends after its last epoch, when patience runs out, when it diverges, or on Ctrl-C. The loop knows neither
kernels nor files. `fastmlp.training.trainer` runs it with the compiled engine, and studies run it with other code for
the same arithmetic.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.datasets.transforms import is_finite
from fastmlp.errors import DataError
from fastmlp.machine.interrupts import held_interrupt
from fastmlp.training.config import TrainConfig
from fastmlp.training.draws import Parameters, draw_epoch, draw_parameters, network_sizes
from fastmlp.training.engine import EpochRecord
from fastmlp.training.evaluation import score
from fastmlp.training.history import Row, first_not_finite, make_row
from fastmlp.training.metrics import check_selected, loss_of, metric_of
from fastmlp.training.network import Network
from fastmlp.training.schedule import learning_rates
from fastmlp.training.shapes import parameter_shapes
from fastmlp.training.showing import ResultShowing
from fastmlp.training.stopping import Patience
from fastmlp.training.tasks import judged, meaning_of, targets_of
from fastmlp.training.weighting import Weighting

Status = Literal["done", "stopped", "diverged", "interrupted"]


@dataclass(frozen=True, repr=False)
class TrainResult(ResultShowing):
    """The result of a training.

    Parameters
    ----------
    network : Network
        From the best epoch if ``config.restore_best`` and there is one, else from the last.
    history : list of dict
        One row per epoch: ``epoch`` (from 1), ``train_loss`` and ``train_accuracy`` (means over the epoch, each batch
        measured before its step), ``valid_loss`` and ``valid_accuracy`` (after the epoch; None without
        validation data), ``learning_rate``, ``seconds`` and ``samples_per_second`` (of training, without
        validation and compilation), and such as ``valid_f1_macro`` if ``config.select`` names another metric. A
        regression has ``train_r2`` and ``valid_r2`` in place of accuracies. The losses are those of
        `fastmlp.training.evaluation`, but for smoothed labels and weighted classes in training.
    status : {"done", "stopped", "diverged", "interrupted"}
        All epochs; early stopping; a loss or parameter that is not finite; Ctrl-C.
    reason : str
        The status in one line; for a divergence with epoch and learning rate.
    best_epoch : int
        The epoch that is best by ``config.select``, by default that of the lowest validation loss; 0 without validation
        data.
    config : TrainConfig
        The settings of the training.
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


class Stepper(Protocol):
    """An object that holds a network's parameters and takes steps with them.

    `fastmlp.training.engine.Engine` is one. Each stepper has its own types of samples and steps.
    """

    @property
    def parameters(self) -> np.ndarray:
        """All parameters in one array, in any order."""

    def weights(self) -> Parameters:
        """Return copies of the weights and biases, in the shapes in which they were given."""

    def warm_up(self, samples: Any) -> None:
        """Prepare for training on these samples; this is not timed."""

    def epoch(
        self,
        samples: Any,
        order: np.ndarray,
        steps: Any,
        *,
        flips: np.ndarray | None = None,
        factors: np.ndarray | None = None,
        penalties: bool = False,
        dropout_key: int = 0,
    ) -> EpochRecord:
        """Take one step for each batch of ``samples[order]``."""

    def logits(self, samples: Any) -> np.ndarray:
        """Return the logits [n, classes] of all samples."""

    def close(self) -> None:
        """Release what the stepper holds, such as threads."""


class Loop(ABC):
    """One training, epoch by epoch.

    A subclass provides the stepper and its arguments (`make_engine`, `samples`, `steps`). It may also change how an
    epoch is trained (`take`), what else the history records (`measure`), and what is kept after an epoch (`keep`).

    Parameters
    ----------
    config : TrainConfig
    train : Dataset
    valid : Dataset, optional
    start : Network, optional
        A network whose parameters are the initial ones, instead of random ones.

    Attributes
    ----------
    normalization : Normalization
        Measured on the training part.
    targets : Normalization or None
        Mean and standard deviation of the targets of a regression, measured on the training part.
    weighting : Weighting
        How much each row of the training part counts.
    engine : Stepper
    history : list of Row
    patience : Patience
    best : (weights, biases) or None
        Parameters of the best epoch, if the configuration restores them.

    Raises
    ------
    DataError
        If the parameters of `start` do not fit.
    """

    def __init__(
        self,
        config: TrainConfig,
        train: Dataset,
        valid: Dataset | None = None,
        start: Network | None = None,
    ) -> None:
        self.config, self.train, self.valid = config, train, valid
        check_selected(config.select, valid, train.task)
        if start is not None:
            _check_start(start, config, train)
        self.normalization = train.normalization(config.normalize)
        self.targets = targets_of(train)
        self.weighting = Weighting(config, train)
        self.batch_size = min(config.batch_size, len(train))
        given = None if start is None else (list(start.weights), list(start.biases))
        self.engine: Stepper = self.make_engine(given or draw_parameters(config, train))
        self.train_samples = self.samples(train)
        self.valid_samples = None if valid is None else self.samples(valid)
        self.patience = Patience(config.patience, config.stopping)
        self.best: Parameters | None = None
        self.history: list[Row] = []

    # -- what a subclass provides --------------------------------------------------------------------------

    @abstractmethod
    def make_engine(self, parameters: Parameters) -> Stepper:
        """Return a stepper with these parameters."""

    @abstractmethod
    def samples(self, dataset: Dataset) -> Any:
        """Return a data set in the engine's form."""

    @abstractmethod
    def steps(self, rates: np.ndarray) -> Any:
        """Return an epoch's steps in the engine's form, at these learning rates."""

    def take(self, order: np.ndarray, flips: np.ndarray, steps: Any) -> EpochRecord:
        """Train one epoch."""
        return self.engine.epoch(self.train_samples, order, steps, flips=flips)

    def measure(self, row: Row, record: EpochRecord) -> None:
        """Add further results to an epoch's row; by default none."""
        return

    def keep(self) -> None:
        """Store the state after an epoch; by default nothing is stored."""
        return

    # -- the loop ------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""
        return len(self.history)

    def run(self, on_epoch: Callable[[Row], object] | None = None) -> TrainResult:
        """Train the remaining epochs, and close the engine.

        Parameters
        ----------
        on_epoch : callable, optional
            Called with the epoch's row of the history; returning True ends training with status "stopped".
        """
        try:
            return self._run(on_epoch)
        except KeyboardInterrupt:
            told = f"interrupted after epoch {self.epoch}"
            problem = self._divergence(self.history[-1]) if self.history else None
            return self._result("interrupted", f"{told}; {problem}" if problem else told)
        finally:
            self.engine.close()

    def warm_up(self) -> None:
        """Prepare the engine for these samples, which `run` also does: no epoch's time contains it."""
        self.engine.warm_up(self.train_samples)
        if self.valid_samples is not None:
            self.engine.warm_up(self.valid_samples)

    def _run(self, on_epoch: Callable[[Row], object] | None) -> TrainResult:
        self.warm_up()
        while (ended := self._ended()) is None:
            with held_interrupt():
                row = self._epoch()
                self.history.append(row)
                if problem := self._divergence(row):
                    return self._result("diverged", problem)
                self.keep()
                if on_epoch is not None and on_epoch(row.copy()) is True:
                    return self._result("stopped", f"stopped by on_epoch at epoch {row['epoch']}")
        return self._result(*ended)

    def _ended(self) -> tuple[Status, str] | None:
        if self.history and self.patience.verdict == "stop":
            kind = "rises in a row" if self.config.stopping == "rises" else "epochs without a best"
            return "stopped", (
                f"stopped at epoch {self.epoch}: {self.patience.waited} {kind}, best was epoch "
                f"{self.patience.best_epoch}"
            )
        if self.epoch >= self.config.epochs:
            return "done", f"all {self.epoch} epochs done"
        return None

    def _epoch(self) -> Row:
        order, flips = draw_epoch(self.config, len(self.train), self.epoch)
        rates = learning_rates(self.config, self.epoch, -(-len(order) // self.batch_size))
        steps = self.steps(rates)
        start = time.perf_counter()
        record = self.take(order, flips, steps)
        seconds = time.perf_counter() - start
        scores = None
        if self.valid is not None:
            outputs = self.engine.logits(self.valid_samples)
            scores = score(outputs, self.valid.labels, self.valid.weights, self.targets)
            self.patience = self.patience.update(self._judged(outputs, scores))
            if self.patience.verdict == "improved" and self.config.restore_best:
                self.best = self.engine.weights()
        trained = self.weighting.scores(record, order)
        row = make_row(self.epoch + 1, float(rates[0]), trained, seconds, len(order), scores)
        self.measure(row, record)
        return row

    def _judged(self, outputs: np.ndarray, scores: dict[str, float]) -> float:
        """Return what the configuration selects by as a loss; `scores` gets it, unless it is one of them."""
        name = self.config.select
        if name not in scores:
            assert self.valid is not None
            said = judged(self.valid.task, outputs, self.targets)
            value = metric_of(name, self.valid, said)
            scores[name] = math.nan if value is None else value
        return loss_of(name, scores[name])

    def _divergence(self, row: Row) -> str | None:
        """Return a message if a loss or a parameter is not finite, else None."""
        name = first_not_finite(row)
        if name is None:
            if is_finite(self.engine.parameters):
                return None
            name = "parameters"
        return (
            f"{name.replace('_', ' ')} not finite at epoch {row['epoch']}, learning rate "
            f"{row['learning_rate']:g}; try a smaller one"
        )

    def _result(self, status: Status, reason: str) -> TrainResult:
        network = Network(
            *(self.best or self.engine.weights()),
            layers=self.config.layers(len(self.train.classes)),
            activation=self.config.activation,
            normalization=self.normalization,
            **meaning_of(self.train),
        )
        best_epoch = self.patience.best_epoch
        return TrainResult(network, self.history, status, reason, best_epoch, self.config)


def _check_start(start: Network, config: TrainConfig, train: Dataset) -> None:
    """Raise a DataError unless a network's parameters have the shapes of those that are trained."""
    if not isinstance(start, Network):
        raise DataError(
            f"start: found {type(start).__name__}, expected a Network; fastmlp.load(path) reads one"
        )
    sizes = network_sizes(config, train)
    if start.sizes != sizes:
        raise DataError(f"start: found a network of widths {start.sizes}, expected {sizes}")
    expected = parameter_shapes(config.layers(len(train.classes)), train.shape)
    found = parameter_shapes(start.layers, start.shape)
    if found != expected:
        raise DataError(f"start: found parameters of the shapes {found}, expected {expected}")
