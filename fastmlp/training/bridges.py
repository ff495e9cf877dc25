"""Bridges to other loggers: callables for ``on_epoch`` of `fastmlp.train`, each around an object that you made.

A writer is what has ``add_scalar``, such as ``torch.utils.tensorboard.SummaryWriter``:

>>> class Printer:
...     def add_scalar(self, tag, value, step):
...         print(tag, value, step)
>>> to_tensorboard(Printer())({"epoch": 1, "train_loss": 0.5, "valid_loss": None})
loss/train 0.5 1

No package is needed to import this module. ``pip install "fastmlp[loggers]"`` installs TensorBoard, MLflow and
Weights & Biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fastmlp.errors import ConfigError

Bridge = Callable[[Mapping[str, Any]], None]
"""Takes a row of the history."""


class Writer(Protocol):
    """What TensorBoard's writers have in common, as those of torch, tensorboardX and flax do."""

    def add_scalar(self, tag: str, value: float, step: int, /) -> object:
        """Write a number."""


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what is logged of a row: all its numbers but the epoch."""
    return {name: value for name, value in row.items() if name != "epoch" and value is not None}


def to_tensorboard(writer: Writer | str) -> Bridge:
    """Return a callable that logs each epoch to TensorBoard, losses of both parts in one plot.

    Parameters
    ----------
    writer : writer or str
        A ``SummaryWriter``, or a folder for one of TensorBoard's own writers.

    Raises
    ------
    ConfigError
        For a folder, if the package ``tensorboard`` is not installed.
    """
    target = _own_writer(writer) if isinstance(writer, str) else writer

    def log(row: Mapping[str, Any]) -> None:
        for name, value in numbers_of(row).items():
            part, _, quantity = name.partition("_")
            tag = f"{quantity}/{part}" if part in ("train", "valid") else name
            target.add_scalar(tag, value, row["epoch"])

    return log


def to_mlflow(run_id: str | None = None) -> Bridge:
    """Return a callable that logs each epoch to MLflow.

    Parameters
    ----------
    run_id : str, optional
        By default the active run.

    Raises
    ------
    ConfigError
        If the package ``mlflow`` is not installed.
    """
    try:
        import mlflow
    except ImportError:
        raise ConfigError('mlflow: not installed; install "fastmlp[loggers]"') from None

    def log(row: Mapping[str, Any]) -> None:
        mlflow.log_metrics(numbers_of(row), step=row["epoch"], run_id=run_id)

    return log


def to_wandb(run: Any) -> Bridge:
    """Return a callable that logs each epoch to Weights & Biases.

    Parameters
    ----------
    run : wandb.Run
        What ``wandb.init`` returned.
    """

    def log(row: Mapping[str, Any]) -> None:
        run.log(numbers_of(row), step=row["epoch"])

    return log


def _own_writer(folder: str) -> Writer:
    """Return a writer of the package tensorboard alone, without torch or TensorFlow."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise ConfigError('tensorboard: not installed; install "fastmlp[loggers]"') from None
    import time

    events = EventFileWriter(folder)

    class Own:
        def add_scalar(self, tag: str, value: float, step: int, /) -> None:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            events.add_event(Event(wall_time=time.time(), step=step, summary=summary))
            events.flush()

    return Own()
