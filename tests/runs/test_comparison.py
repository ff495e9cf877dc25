"""`fastmlp compare`: right on pairs whose answer is known."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import run

import fastmlp
from fastmlp.errors import ConfigError, DataError, StoreError
from fastmlp.runs.comparison import compare

BRIEF = ["--hidden", "8", "--epochs", "2"]


def trained(out: Path, *options: object) -> Path:
    assert run("train", *BRIEF, "--out", out, *options) == 0
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        trained(folder / "good" / f"{seed}", "--learning-rate", 0.1, "--seed", seed)
        trained(folder / "same" / f"{seed}", "--learning-rate", 0.1, "--seed", 10 + seed)
        trained(folder / "bad" / f"{seed}", "--learning-rate", 0.003, "--seed", seed)
    trained(folder / "twin", "--learning-rate", 0.1, "--seed", 0, "--threads", 1)
    return folder


def test_the_same_network_twice(runs: Path) -> None:
    found = compare(runs / "good" / "0", runs / "twin")
    assert found.verdict == "No difference: every row is answered alike."
    assert (found.counts, found.p, found.settings, found.difference.mean) == ((0, 0), 1.0, [], 0.0)
    assert found.interval == (0.0, 0.0)


@pytest.mark.parametrize("pair", [("good", "same"), ("good/0", "good/1"), ("good/2", "same/0")])
def test_other_seeds(runs: Path, pair: tuple[str, str]) -> None:
    assert compare(*(runs / one for one in pair)).verdict.startswith("No difference shown")


@pytest.mark.parametrize("pair", [("good", "bad"), ("good", "bad/1"), ("good/0", "bad/0")])
def test_a_real_difference(runs: Path, pair: tuple[str, str]) -> None:
    found = compare(*(runs / one for one in pair))
    assert found.verdict.startswith("A difference")
    assert ("One seed a side" in found.verdict) == (pair == ("good/0", "bad/0"))
    assert found.settings == ["learning_rate"]
    assert found.difference.low > 0


def test_the_numbers_are_those_of_the_networks(runs: Path) -> None:
    found = compare(runs / "good" / "0", runs / "bad" / "0")
    test = fastmlp.load_digits().test
    right = [
        fastmlp.load(runs / name / "0/model.safetensors").predict(test) == test.labels
        for name in ("good", "bad")
    ]
    assert found.counts == (int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    assert found.scores == ([right[0].mean()], [right[1].mean()])
    assert found.rows == len(test)
    assert found.difference.mean == pytest.approx(np.subtract(*map(np.mean, right)))


def test_the_command_tells_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", runs / "good", runs / "bad") == 0
    output = capsys.readouterr().out
    assert "learning rate: A 0.1, B 0.003" in output
    assert "3 seeds" in output
    assert output.splitlines()[-1].startswith("A difference: it is more than seeds")


def test_what_cannot_be_compared_is_told(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found runs of different learning_rate"):
        compare(runs, runs / "twin")
    other = trained(tmp_path / "other", "--classes", "1,2")
    with pytest.raises(DataError, match=r"expected the same .* rows of digits"):
        compare(runs / "twin", other)
    (other / "model.safetensors").unlink()
    with pytest.raises(StoreError, match=r"found no model.safetensors \(done\)"):
        compare(runs / "twin", other)
    with pytest.raises(StoreError, match="found nothing"):
        compare(runs / "twin", tmp_path / "nowhere")
    shutil.copytree(runs / "twin", tmp_path / "copy")
    (tmp_path / "copy/config.toml").write_text("x")
    with pytest.raises(StoreError, match="no valid TOML"):
        compare(runs / "twin", tmp_path / "copy")
    assert run("compare", runs / "twin", tmp_path / "copy") == 2


def test_pictures_of_another_size_are_the_same_rows(runs: Path, tmp_path: Path) -> None:
    smaller = trained(tmp_path / "smaller", "--learning-rate", 0.1, "--size", 4)
    found = compare(runs / "good", smaller)
    assert "data.size" in found.settings
    assert found.difference.seeds is not None
