"""train(): a seed gives the same bits with any threads, in another process, and resumed from any epoch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from training_helpers import SMALL, TRAIN, VALID, fingerprint

from fastmlp import FormatError
from fastmlp.training.trainer import train

VARIANTS: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "flips, nesterov, cosine": {"flip": True, "nesterov": True, "schedule": "cosine"},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "rmsprop, residual tanh": {"optimizer": "rmsprop", "activation": "tanh", "residual": True},
    "dropout": {"dropout": 0.2, "flip": True},
    "float64": {"dtype": "float64"},
    "bfloat16": {"dtype": "bfloat16"},
}
pytestmark = pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_seed_decides_every_bit(name: str) -> None:
    config = SMALL.replace(**{"learning_rate": 0.02} | VARIANTS[name])
    expected = fingerprint(train(config, TRAIN, VALID))
    for threads in (None, 1, 2, 5):
        assert fingerprint(train(config.replace(threads=threads), TRAIN, VALID)) == expected
    assert fingerprint(train(config.replace(seed=6), TRAIN, VALID)) != expected


def test_another_process_gives_the_same_bits() -> None:
    config = SMALL.replace(flip=True)
    program = (
        f"import runpy; module = runpy.run_path({__file__!r})\n"
        "config = module['SMALL'].replace(flip=True)\n"
        "result = module['train'](config, module['TRAIN'], module['VALID'])\n"
        "print(module['fingerprint'](result))"
    )
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | environment,
    )
    assert done.stdout.strip() == fingerprint(train(config, TRAIN, VALID)), done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        *VARIANTS.values(),
        {"learning_rate": 0.3, "patience": 2, "stopping": "rises", "epochs": 30},
        {"learning_rate": 0.3, "patience": 3, "epochs": 30, "momentum": 0.95},
        {"schedule": "step", "step_epochs": 2, "restore_best": False},
    ],
    ids=[*VARIANTS, "rises", "patience", "step decay"],
)
def test_resumed_from_any_epoch_it_is_the_same_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = SMALL.replace(**{"learning_rate": 0.02, "epochs": 5} | changes)
    path = tmp_path / "run.checkpoint"
    whole = train(
        config,
        TRAIN,
        VALID,
        checkpoint=path,
        on_epoch=lambda row: shutil.copy(path, tmp_path / str(row["epoch"])) and None,
    )
    epochs = len(whole.history)
    assert fingerprint(whole) == fingerprint(train(config, TRAIN, VALID))
    if config.patience:
        assert whole.status == "stopped"
        assert 2 < epochs < 30
    for epoch in range(1, epochs + 1):
        seen: list[int] = []
        threads = 1 + epoch % 3
        resumed = train(
            config.replace(threads=threads),
            TRAIN,
            VALID,
            checkpoint=tmp_path / str(epoch),
            on_epoch=lambda row, seen=seen: seen.append(row["epoch"]),
        )
        assert seen == list(range(epoch + 1, epochs + 1))
        assert fingerprint(resumed) == fingerprint(whole)


def test_a_checkpoint_knows_what_its_run_began_with(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    starts = [train(SMALL.replace(seed=seed, epochs=1), TRAIN).network for seed in (1, 2)]
    train(SMALL, TRAIN, start=starts[0], checkpoint=path)
    assert train(SMALL, TRAIN, start=starts[0], checkpoint=path).status == "done"
    for other in (starts[1], None):
        with pytest.raises(FormatError, match=r"other settings or data \(start\)"):
            train(SMALL, TRAIN, start=other, checkpoint=path)


def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    train(SMALL, TRAIN, checkpoint=path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(header):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FormatError, match="checkpoint"):
            train(SMALL, TRAIN, checkpoint=path)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    train(SMALL, TRAIN, VALID, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(FormatError, match=r"momentum 0\.9 \(now 0\.8\)"):
        train(SMALL.replace(momentum=0.8), TRAIN, VALID, checkpoint=path)
    with pytest.raises(FormatError, match="other settings or data"):
        train(SMALL, VALID, VALID, checkpoint=path)
    with pytest.raises(FormatError, match="other settings or data"):
        train(SMALL, TRAIN, None, checkpoint=path)
    assert path.read_bytes() == before
    longer = train(SMALL.replace(epochs=6), TRAIN, VALID, checkpoint=path)
    assert fingerprint(longer) == fingerprint(train(SMALL.replace(epochs=6), TRAIN, VALID))
