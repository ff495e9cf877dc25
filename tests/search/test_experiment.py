"""What a search file says, and what it must not say."""

import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import ParameterGrid

import fastmlp
from fastmlp.datasets import load_digits
from fastmlp.errors import ConfigError, DataError
from fastmlp.search.experiment import DataTable, Experiment, expand, load_parts
from fastmlp.training.config import TrainConfig

STUDIES = Path(fastmlp.__file__).parent / "studies"
FILE = """
[data]
name = "digits"
classes = ["3", "8"]
size = [4, 6]
seed = 5

[config]
hidden = [16]
epochs = 2

[[grid]]
learning_rate = [0.1, 0.01]
hidden = [[8], [8, 8]]

[[grid]]
momentum = [0.5]

[search]
seeds = 2
metric = "valid_loss"

[study]
title = "somebody else's"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "search.toml"
    path.write_text(text)
    return path


def test_a_file_says_all_of_a_search(tmp_path):
    experiment = Experiment.from_toml(write(tmp_path, FILE))
    assert experiment.data == DataTable(name="digits", classes=("3", "8"), size=(4, 6), seed=5)
    assert experiment.config == TrainConfig(hidden=(16,), epochs=2)
    assert (experiment.seeds, experiment.metric) == (2, "valid_loss")
    points = expand(experiment.config, experiment.grid)
    assert [point.parameters for point in points] == [
        {"hidden": (8,), "learning_rate": 0.1},
        {"hidden": (8,), "learning_rate": 0.01},
        {"hidden": (8, 8), "learning_rate": 0.1},
        {"hidden": (8, 8), "learning_rate": 0.01},
        {"momentum": 0.5},
    ]
    assert points[-1].config == experiment.config.replace(momentum=0.5)
    train, valid, test = load_parts(experiment.data)
    assert train.shape == valid.shape == test.shape == (1, 4, 6)
    assert train.classes == ("3", "8")


def test_only_data_is_required(tmp_path):
    experiment = Experiment.from_toml(write(tmp_path, '[data]\nname = "digits"'))
    assert experiment == Experiment(DataTable(name="digits"), TrainConfig(), ({},))
    assert [point.parameters for point in expand(experiment.config, experiment.grid)] == [{}]


@pytest.mark.parametrize(
    "grid",
    [
        {"momentum": [0.0, 0.9], "learning_rate": [1.0, 0.1, 0.01], "epochs": [3]},
        [{"momentum": [0.5, 0.1]}, {"weight_decay": [0.1], "epochs": [1, 2]}],
        {},
    ],
)
def test_points_are_those_of_scikit_learn_in_its_order(grid):
    points = expand(TrainConfig(), grid)
    assert [point.parameters for point in points] == list(ParameterGrid(grid))
    for point in points:
        assert point.config == TrainConfig(**point.parameters)


def test_a_point_that_comes_twice_is_taken_once():
    points = expand(TrainConfig(), [{"momentum": [0.5, 0.5]}, {"momentum": np.array([0.1, 0.5])}])
    assert [point.parameters for point in points] == [{"momentum": 0.5}, {"momentum": 0.1}]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate", "lerning_rate", "lerning_rate: no such parameter; did you mean learning"),
        ("momentum = [0.5]", "momentum = 0.5", "grid.momentum: found 0.5, expected a list"),
        ("momentum = [0.5]", "momentum = []", "grid.momentum: found [], expected a list"),
        ("momentum = [0.5]", "momentum = [1.5]", "momentum: found 1.5, expected a finite number"),
        ("momentum = [0.5]", "seed = [1]", "grid.seed: cannot be searched over; use [search] seeds"),
        ("momentum = [0.5]", "threads = [1]", "grid.threads: cannot be searched over"),
        ("momentum = [0.5]", "nesterov = [true]\nmomentum = [0.0]", "nesterov: found with"),
        ("[[grid]]", "[[gird]]", "gird: no such name; did you mean grid?"),
        ("seeds = 2", "seed = 2", "search.seed: no such name; did you mean seeds?"),
        ("seeds = 2", "seeds = 0", "seeds: found 0, expected an integer from 1"),
        ("seeds = 2", "seeds = true", "seeds: found True, expected an integer from 1"),
        ("valid_loss", "test_loss", "metric: found 'test_loss', expected one of valid_loss, valid_accuracy"),
        ('"digits"', '"didgits"', "data.name: found 'didgits', expected one of digits"),
        ('name = "digits"', "", "data.name: not found"),
        ("[4, 6]", "[4, 6, 8]", "data.size: found (4, 6, 8), expected pixels"),
        ('["3", "8"]', '"3"', "data.classes: found '3', expected a list of names"),
        ('["3", "8"]', "3", "data.classes: found 3, expected a list of names"),
        ('["3", "8"]', "1979-05-27", "data.classes: found datetime.date(1979, 5, 27), expected a list"),
        ('"digits"', f'"{"x" * 5000}"', "data.name: found 'xxx"),
        ("seed = 5", "seed = -5", "data.seed: found -5, expected a whole number from 0"),
        ("seed = 5", "split = [0.5, 0.5]", "data.split: found (0.5, 0.5), expected three shares"),
        ("seed = 5", "train = [0, 5]", "data.train: found alone, expected both train and valid"),
        ("seed = 5", "slit = [1]", "data.slit: no such name; did you mean split?"),
        ("seed = 5", "zzz = 5", "data.zzz: no such name; expected one of name, classes, size"),
        ("epochs = 2", "epochs = 2.5", "epochs: found 2.5, expected an integer"),
        ("epochs = 2", "epochs = ", "found no valid TOML"),
    ],
)  # fmt: skip
def test_a_slip_is_named_in_one_line_with_its_file(tmp_path, old, new, message):
    assert old in FILE
    path = write(tmp_path, FILE.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        Experiment.from_toml(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_path_that_no_system_takes_is_named():
    with pytest.raises(DataError, match=r"xx\.csv: cannot be read: File name too long"):
        load_parts(DataTable(name=f"{'x' * 5000}.csv"))


def test_a_grid_of_absurd_size_is_refused_at_once():
    grid = {name: [0.1] * 1000 for name in ("learning_rate", "momentum", "weight_decay")}
    with pytest.raises(ConfigError, match=r"grid: found 1,000,000,000 points, expected at most"):
        expand(TrainConfig(), grid)


@pytest.mark.parametrize("grid", [[], [1], "momentum", [["momentum"]]])
def test_what_is_no_grid_is_refused(grid):
    with pytest.raises(ConfigError, match="grid: found"):
        expand(TrainConfig(), grid)


def test_parts_by_default_are_the_official_ones_and_a_tenth_to_validate():
    digits = load_digits()
    train, valid, test = load_parts(DataTable(name="digits", seed=3))
    expected = digits.train.split([0.9, 0.1], 3)
    assert [train.checksum, valid.checksum] == [part.checksum for part in expected]
    assert test.checksum == digits.test.checksum


def test_images_are_dealt_out_before_classes_are_picked():
    digits = load_digits()
    shares = (0.75, 0.0834, 0.1666)
    parts = load_parts(DataTable(name="digits", classes=("8", "3"), split=shares, seed=1))
    dealt = [part.pick(["8", "3"]) for part in digits.split(shares, 1)]
    picked = digits.pick(["8", "3"]).split(shares, 1)
    assert [part.checksum for part in parts] == [part.checksum for part in dealt]
    assert parts[0].checksum != picked[0].checksum


def test_rows_choose_parts():
    digits = load_digits()
    parts = load_parts(DataTable(name="digits", train=(0, 1000), valid=(1000, 1437)))
    expected = (digits.take(range(1000)), digits.take(range(1000, 1437)), digits.test)
    assert [part.checksum for part in parts] == [part.checksum for part in expected]
    with pytest.raises(DataError, match=r"data.valid: found rows \[1000, 1798\], expected first <"):
        load_parts(DataTable(name="digits", train=(0, 1000), valid=(1000, 1798)))
    with pytest.raises(ConfigError, match="found beside train and valid"):
        DataTable(name="digits", train=(0, 1), valid=(1, 2), split=(0.8, 0.1, 0.1))


@pytest.mark.filterwarnings("ignore::fastmlp.datasets.DataWarning")
def test_the_study_of_128_models_has_128_points_and_the_published_shares(real_data):
    experiment = Experiment.from_toml(STUDIES / "cifar2-bird-plane-128.toml")
    points = expand(experiment.config, experiment.grid)
    assert len(points) == 128
    assert sum(point.config.patience is None for point in points) == 64
    sizes = np.array([len(part) for part in load_parts(experiment.data, real_data)])
    assert np.allclose(sizes / sizes.sum(), [0.7514, 0.0819, 0.1666], atol=0.005)


def test_a_grid_can_say_none(tmp_path):
    file = tmp_path / "stops.toml"
    file.write_text('[data]\nname = "digits"\n[grid]\npatience = ["none", 2]')
    experiment = Experiment.from_toml(file)
    points = expand(experiment.config, experiment.grid)
    assert [point.config.patience for point in points] == [None, 2]


@pytest.mark.parametrize("seeds", [101, 10_000])
def test_points_times_seeds_are_counted_at_once(seeds):
    grid = {"learning_rate": [n / 1000 for n in range(1, 1001)]}
    start = time.process_time()
    message = (
        f"found 1,000 points with {seeds:,} seeds each, {1000 * seeds:,} trials, expected at most"
    )
    with pytest.raises(ConfigError, match=message):
        expand(TrainConfig(), grid, seeds)
    assert time.process_time() - start < 0.5
    with pytest.raises(ConfigError, match=message):
        Experiment(DataTable(name="digits"), TrainConfig(), (grid,), seeds=seeds)


@pytest.mark.parametrize("text", ["seeds = 0x" + "f" * 5000, "metric = [[[1]]]"])
def test_values_that_python_does_not_print_are_named(tmp_path, text):
    path = tmp_path / "grid.toml"
    path.write_text(f'[data]\nname = "digits"\n[search]\n{text}')
    with pytest.raises(ConfigError, match=r"grid\.toml: (seeds|metric): found"):
        Experiment.from_toml(path)
