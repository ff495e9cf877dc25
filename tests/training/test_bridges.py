"""Bridges to other loggers, against the real packages, offline."""

import json
from pathlib import Path
from typing import Any

import pytest

import fastmlp
from fastmlp.errors import ConfigError
from fastmlp.training import bridges

CONFIG = fastmlp.TrainConfig(hidden=(8,), epochs=3)


def trained(on_epoch: Any) -> fastmlp.TrainResult:
    return fastmlp.train(
        CONFIG, *fastmlp.load_digits().train.split([0.9, 0.1], 0), on_epoch=on_epoch
    )


@pytest.mark.filterwarnings("ignore")  # those of the packages themselves
def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = trained(bridges.to_tensorboard(str(tmp_path)))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    found = events.Scalars("loss/valid")
    assert [one.step for one in found] == [1, 2, 3]
    expected = [row["valid_loss"] for row in result.history]
    assert [one.value for one in found] == pytest.approx(expected, rel=1e-6)
    assert {"loss/train", "accuracy/valid", "learning_rate", "seconds"} <= set(
        events.Tags()["scalars"]
    )


@pytest.mark.filterwarnings("ignore")  # those of the packages themselves
def test_mlflow_reads_what_was_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    with mlflow.start_run() as run:
        result = trained(bridges.to_mlflow())
    found = mlflow.MlflowClient().get_metric_history(run.info.run_id, "valid_accuracy")
    assert [(one.step, one.value) for one in found] == [
        (row["epoch"], row["valid_accuracy"]) for row in result.history
    ]


@pytest.mark.filterwarnings("ignore")  # those of the packages themselves
def test_wandb_reads_what_was_logged(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    with wandb.init(mode="offline", dir=str(tmp_path), project="test") as run:
        result = trained(bridges.to_wandb(run))
        last = dict(run.summary)
    assert (
        last["valid_loss"] == result.history[1]["valid_loss"]
    )  # it takes a step over when the next begins
    assert list(tmp_path.rglob("*.wandb"))


def test_a_writer_is_asked_for_each_number() -> None:
    told: list[tuple[str, float, int]] = []

    class Writer:
        def add_scalar(self, tag: str, value: float, step: int, /) -> None:
            told.append((tag, value, step))

    row = {"epoch": 4, "train_loss": 0.5, "valid_loss": None, "seconds": 1.0}
    bridges.to_tensorboard(Writer())(row)
    assert told == [("loss/train", 0.5, 4), ("seconds", 1.0, 4)]
    logged: dict[str, Any] = {}

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            logged[str(step)] = json.loads(json.dumps(values))

    bridges.to_wandb(Run())(row)
    assert logged == {"4": {"train_loss": 0.5, "seconds": 1.0}}


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ConfigError, match=r'mlflow: not installed; install "fastmlp\[loggers\]"'):
        bridges.to_mlflow()
    with pytest.raises(ConfigError, match="tensorboard: not installed"):
        bridges.to_tensorboard(str(tmp_path))
