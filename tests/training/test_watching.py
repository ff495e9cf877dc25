"""verbose=: what a training and a search show, and that it changes no result."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastmlp import Dataset, TrainConfig, grid_search, load_digits, train, train_many
from fastmlp.reporting.progress import ProgressDisplay, in_notebook

CONFIG = TrainConfig(hidden=(8,), epochs=2)


@pytest.fixture(scope="module")
def parts() -> tuple[Dataset, ...]:
    return load_digits().train.split([0.9, 0.1], 0)


def test_a_training_shows_its_epochs(
    parts: tuple[Dataset, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = train(CONFIG, *parts)
    assert capsys.readouterr() == ("", "")
    calls: list[int] = []
    told = train(CONFIG, *parts, on_epoch=lambda row: calls.append(row["epoch"]), verbose=True)
    lines = capsys.readouterr().err.splitlines()
    row = told.history[-1]
    assert calls == [1, 2]
    assert lines[-1].startswith(
        f"epoch 2/2  train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.4f}  valid loss"
    )
    np.testing.assert_array_equal(quiet.network.weights[0], told.network.weights[0])
    train(CONFIG, parts[0], verbose=True)
    assert "valid" not in capsys.readouterr().err


def test_on_epoch_still_ends_it(parts: tuple[Dataset, ...]) -> None:
    assert train(CONFIG, *parts, on_epoch=lambda row: True, verbose=True).status == "stopped"


def test_many_models_share_a_display(
    parts: tuple[Dataset, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    train_many([CONFIG, CONFIG.replace(seed=1)], *parts, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert sum(line.startswith("model 2/2, epoch") for line in lines) == 2


def test_a_search_shows_its_trials(
    parts: tuple[Dataset, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = {"momentum": [0.0, 0.5]}
    grid_search(CONFIG, grid, *parts, store=tmp_path, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "momentum 0" in lines[0] + lines[1]
    grid_search(CONFIG, grid, *parts, store=tmp_path)
    assert capsys.readouterr().err == ""


def test_a_notebook_has_the_bar_of_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_notebook()
    shell = SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not in_notebook()


def test_what_follows_a_bar_begins_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay(3, "trial", bar=True) as display:
        display.show(1, "", "best 0.9")
        display.close()
        print("interrupted", file=sys.stderr)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert lines[-1] == "interrupted"
    assert sum("1/3" in line for line in lines[lines.index("interrupted") :]) == 0
