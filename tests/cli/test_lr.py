"""``fastmlp lr`` and ``fastmlp train --learning-rate auto``."""

from pathlib import Path

import pytest

from fastmlp import TrainConfig, find_learning_rate
from fastmlp.cli import main
from fastmlp.search.experiment import DataTable, load_parts

SMALL = ["--hidden", "16", "--batch-size", "50"]


def test_the_rate_is_printed_drawn_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    part, *_ = load_parts(DataTable(name="digits"), None)
    rate = find_learning_rate(TrainConfig(hidden=(16,), batch_size=50), part).learning_rate
    assert main(["lr", *SMALL]) == 0
    out = capsys.readouterr().out
    assert out == f"learning rate {rate:g}\nlearning-rate.png\n"
    assert (tmp_path / "learning-rate.png").read_bytes().startswith(b"\x89PNG")
    run = ["train", *SMALL, "--epochs", "2", "--learning-rate", "auto", "--out", "run"]
    assert main(run) == 0
    assert f"learning rate: {rate:g}, found" in capsys.readouterr().err
    config = TrainConfig.from_toml(tmp_path / "run" / "config.toml")
    assert config.learning_rate == rate
    # The rate of a file counts unless it has to be found, and a number counts as before.
    run = ["train", "--config", "run/config.toml", "--epochs", "1", "--learning-rate", "0.5"]
    assert main([*run, "--out", "other"]) == 0
    assert TrainConfig.from_toml(tmp_path / "other" / "config.toml").learning_rate == 0.5


@pytest.mark.parametrize("command", ["train", "lr"])
def test_a_rate_that_is_none_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--learning-rate", "fast"]) == 2
    assert "found 'fast', expected a number or auto" in capsys.readouterr().err
