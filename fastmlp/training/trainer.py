"""train(): the training loop on the compiled engine, with a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastmlp.datasets import Dataset, check_parts
from fastmlp.datasets.transforms import is_rows
from fastmlp.errors import ConfigError
from fastmlp.machine.streams import warn
from fastmlp.training.checkpoint import Checkpoint, Progress
from fastmlp.training.config import TrainConfig
from fastmlp.training.draws import (
    Parameters,
    alters,
    draw_mixes,
    draw_moves,
    dropout_key,
    parameter_type,
)
from fastmlp.training.engine import Engine, EpochRecord
from fastmlp.training.given import parts_of
from fastmlp.training.history import Row
from fastmlp.training.loop import Loop, TrainResult
from fastmlp.training.magnitudes import check_variation
from fastmlp.training.network import Network
from fastmlp.training.optimizers import STATES, Steps, steps_of
from fastmlp.training.samples import Given, read_as_they_are, samples_of
from fastmlp.training.shapes import spell_shape
from fastmlp.training.watching import watched
from fastmlp.training.weighting import LOSSES


def train(
    config: TrainConfig,
    train: Dataset | npt.ArrayLike,
    valid: Dataset | npt.ArrayLike | None = None,
    X_valid: npt.ArrayLike | None = None,
    y_valid: npt.ArrayLike | None = None,
    *,
    start: Network | None = None,
    on_epoch: Callable[[Row], object] | None = None,
    checkpoint: str | Path | None = None,
    verbose: bool = False,
) -> TrainResult:
    """Train a network: ``train(config, train_part, valid_part)``, or ``train(config, X, y, X_valid, y_valid)``.

    Parameters
    ----------
    config : TrainConfig
        The settings.
    train : Dataset, or array-like X
        Training images or rows. The normalisation is measured on them and becomes part of the network.
    valid : Dataset, optional; after X, array-like y
        Validation images, which early stopping and restoring the best epoch need; or the labels or targets of X.
    X_valid, y_valid : array-like, optional
        The validation part of arrays.
    start : Network, optional
        A network whose weights and biases are the initial ones, instead of random ones. Its parameters must have the
        shapes of those of the configuration.
    on_epoch : callable, optional
        Called with the epoch's row of the history. If it returns True, training ends with status "stopped".
    checkpoint : path, optional
        A file that is written after every epoch. If it exists, training continues from it: a run that was killed and
        started again has the same bits as one that was not. Of more than 255 epochs, the first ones are in a second
        file beside it, named ``*.history``. A checkpoint that cannot be written is a RuntimeWarning.

    verbose : bool
        Whether to show epochs: a bar on a terminal and in a notebook, else a line each on standard error.

    Returns
    -------
    TrainResult
        Also if the run diverged or was interrupted; neither raises an exception.

    Raises
    ------
    ConfigError
        If `config` is none, if patience is set without validation data, if images that float32 cannot represent are to
        be flipped, or if a layer cannot take the shape that reaches it.
    DataError
        If arrays are no data, or the validation images, or the parameters of `start`, do not fit.
    FormatError
        If the checkpoint is damaged, belongs to another configuration or data set, or is beyond the last epoch.
    OSError
        If the folder of the checkpoint is missing.
    """
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"config: found {type(config).__name__}, expected a TrainConfig")
    parts = parts_of(train, valid, X_valid, y_valid)
    training = Training(config, *parts, start, checkpoint)
    with watched(on_epoch, config.epochs, verbose, training.epoch) as watching:
        return training.run(watching)


class Training(Loop):
    """The training loop on the compiled engine.

    Parameters
    ----------
    config, train, valid, start
        As for `fastmlp.training.loop.Loop`.
    checkpoint : path, optional
        As for `fastmlp.train`.

    Raises
    ------
    ConfigError, DataError, FormatError
        As for `fastmlp.train`.
    """

    engine: Engine
    records_penalties = False

    def __init__(
        self,
        config: TrainConfig,
        train: Dataset,
        valid: Dataset | None = None,
        start: Network | None = None,
        checkpoint: str | Path | None = None,
    ) -> None:
        check_parts(train, valid)
        if config.patience is not None and valid is None:
            raise ConfigError("patience: found without validation data, expected a validation part")
        super().__init__(config, train, valid, start)
        self.checkpoint: Checkpoint | None = None
        if checkpoint is not None:
            self.checkpoint = Checkpoint(checkpoint, config, train, valid, start)
            if self.checkpoint.path.exists():
                states = STATES[self.steps(np.ones(1)).rule]
                progress = self.checkpoint.read(self.engine, states)
                self.history, self.best = progress.history, progress.best
                self.patience = progress.patience

    def make_engine(self, parameters: Parameters) -> Engine:
        """Return an engine with the configuration's settings."""
        config = self.config
        dtype = np.dtype(parameter_type(config))
        rows = is_rows(self.train.shape)
        images, preparation = self.train.images, self.train.preparation
        check_variation(images, self.normalization, dtype, preparation, each=rows)
        plain = read_as_they_are(self.train.images, self.normalization, dtype)
        _check_sides(config, self.train)
        turns = config.flip or config.shift
        name = "flip" if config.flip else "shift"
        if turns and (rows or config.normalize == "feature") and not plain:
            raise ConfigError(
                f"{name}: found with normalize='feature' and images far from zero, which are normalised "
                "before they are mirrored or moved, expected dtype='float64' or images nearer to 0"
            )
        return Engine(
            *parameters,
            layers=config.layers(len(self.train.classes)),
            shape=self.train.shape,
            batch_size=self.batch_size,
            dtype=config.dtype,
            threads=config.threads,
            loss=LOSSES[self.train.task].kernel,
            smoothing=config.label_smoothing,
            group_by_layer=config.layer_factors() is not None,
            alters=alters(config),
        )

    def samples(self, dataset: Dataset) -> Given:
        """Return a data set in the kernels' form."""
        return samples_of(self.engine, dataset, self.normalization, self.targets)

    def steps(self, rates: np.ndarray) -> Steps:
        """Return the optimiser's numbers for the next batches, one batch per rate."""
        return steps_of(self.config, len(rates), rates, self.engine.steps_taken)

    def take(self, order: np.ndarray, flips: np.ndarray, steps: Steps) -> EpochRecord:
        """Train one epoch, with the configuration's reduction and dropout."""
        config, altered = self.config, None
        if alters(config):
            moves = draw_moves(config, self.train.shape, flips, self.epoch)
            altered = moves, draw_mixes(config, len(order), self.epoch)
        return self.engine.epoch(
            self.train_samples,
            order,
            steps,
            flips=flips if altered is None else None,
            altered=altered,
            factors=self.weighting.factors(order, self.batch_size),
            penalties=self.records_penalties,
            dropout_key=dropout_key(config, self.epoch),
        )

    def keep(self) -> None:
        """Write the checkpoint, if one is wanted; a disk that does not take it ends no training."""
        if self.checkpoint is None:
            return
        try:
            self.checkpoint.write(self.engine, Progress(self.history, self.patience, self.best))
        except OSError as error:
            warn(
                f"{error.filename}: {error.strerror}; the training goes on without this checkpoint",
            )


def _check_sides(config: TrainConfig, train: Dataset) -> None:
    """Raise a ConfigError unless images are pictures that are larger than what they are moved by, or is cut out."""
    if config.flip and train.preparation is not None:
        raise ConfigError(
            "flip: found True with a table, whose columns have no sides, expected it with images"
        )
    for name, pixels in (("shift", config.shift), ("cutout", config.cutout)):
        if pixels and is_rows(train.shape):
            raise ConfigError(
                f"{name}: found {pixels} with rows of {train.shape[2]} values, expected pictures, images [N, channels, "
                "height, width]"
            )
        if pixels >= min(train.shape[1:]) and pixels:
            raise ConfigError(
                f"{name}: found {pixels} with images of {spell_shape(train.shape)}, expected fewer pixels than their "
                "smaller side"
            )
