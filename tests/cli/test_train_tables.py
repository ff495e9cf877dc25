"""Tables from the command line to predictions: as good as scikit-learn's pipeline, and the same numbers everywhere."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import metrics, run
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastmlp
from fastmlp.cli.options import from_file
from fastmlp.datasets import own
from fastmlp.datasets.options import OwnOptions
from fastmlp.training.defaults import FOR_TABLES

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytestmark = pytest.mark.usefixtures("elsewhere")
Capture = pytest.CaptureFixture[str]
TEXTS = ["Sex", "Embarked"]


def passengers(rows: int = 891, seed: int = 0) -> Any:
    """Return a table like that of the Titanic's passengers: numbers, text, names, and values that are missing."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["male", "female"], rows, p=[0.65, 0.35])
    ranks = rng.choice([1, 2, 3], rows, p=[0.24, 0.21, 0.55])
    age = np.clip(rng.normal(30, 14, rows), 0.4, 80).round(1)
    siblings, port = rng.poisson(0.5, rows), rng.choice(["S", "C", "Q"], rows, p=[0.7, 0.2, 0.1])
    wish = 4 * (sex == "female") - 1.6 * (ranks - 2) - 0.04 * (age - 30) - 0.6 * siblings - 1
    frame = pd.DataFrame(
        {
            "PassengerId": np.arange(1, rows + 1),
            "Survived": (rng.random(rows) < 1 / (1 + np.exp(-wish))).astype(int),
            "Pclass": ranks,
            "Name": [f"Name {number}, Mr. William" for number in range(rows)],
            "Sex": sex,
            "Age": np.where(rng.random(rows) < 0.2, np.nan, age),
            "SibSp": siblings,
            "Parch": rng.poisson(0.4, rows),
            "Ticket": [f"A/5 {number}" for number in rng.integers(1000, 99999, rows)],
            "Fare": np.exp(rng.normal(4.5 - 0.8 * ranks, 0.6)).round(4),
            "Cabin": [f"C{number}" if number < 200 else None for number in range(rows)],
            "Embarked": port,
        }
    )
    frame.loc[:20, "Embarked"] = None
    return frame


def houses(rows: int, seed: int = 0) -> Any:
    """Return a table like that of California's houses: eight numbers, and a value that depends on them in curves."""
    rng = np.random.default_rng(seed)
    income, age = np.exp(rng.normal(1.2, 0.45, rows)), rng.integers(1, 53, rows)
    rooms, people = np.exp(rng.normal(1.65, 0.25, rows)), np.exp(rng.normal(1, 0.25, rows))
    north, west = rng.uniform(32, 42, rows), rng.uniform(-124, -114, rows)
    value = 0.45 * income + 0.01 * age - 0.3 * np.log(people) + 0.1 * rooms * np.sin(income)
    value += 2 * np.exp(-((north - 34) ** 2 + (west + 118) ** 2) / 3)
    return pd.DataFrame(
        {
            "MedInc": income,
            "HouseAge": age,
            "AveRooms": rooms,
            "AveBedrms": rooms / 5,
            "Population": np.exp(rng.normal(7, 0.7, rows)).round(),
            "AveOccup": people,
            "Latitude": north,
            "Longitude": west,
            "MedHouseVal": value + rng.normal(0, 0.3, rows),
        }
    )


def scores(path: str, label: str, name: str) -> list[tuple[float, float]]:
    """Return test scores of ours and of scikit-learn's pipeline, with the same parts, for some seeds."""
    frame = pd.read_csv(path) if path.endswith("csv") else pd.read_parquet(path)
    found = []
    for seed in range(3):
        Path("run.toml").write_text(f'[data]\npath = "{path}"\nlabel = "{label}"\nseed = {seed}\n')
        out = f"out-{seed}"
        assert run("train", "--config", "run.toml", "--seed", seed, "--out", out) == 0
        rows = frame.assign(row=np.arange(len(frame)))
        rows.to_parquet("rows.parquet")
        parts = own.load("rows.parquet", OwnOptions(label=label, seed=seed))
        train, _, test = (
            part.images[:, list(part.preparation.features).index("row")] for part in parts
        )  # type: ignore[union-attr]
        kind = MLPClassifier if name == "accuracy" else MLPRegressor
        texts = [one for one in TEXTS if one in frame]
        numbers = [one for one in frame if one != label and frame[one].dtype.kind in "if"]
        columns = make_column_transformer(
            (
                make_pipeline(
                    SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
                ),
                numbers,
            ),
            (OneHotEncoder(handle_unknown="ignore"), texts),
        )
        model = make_pipeline(columns, kind(hidden_layer_sizes=(256,), random_state=seed))
        given, held = (frame.iloc[part.astype(int)] for part in (train, test))
        model.fit(given, given[label])
        found.append((metrics(Path(out))["test"][name], model.score(held, held[label])))
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("table", ["passengers", "houses"])
def test_one_command_is_as_good_as_a_pipeline_of_scikit_learn(table: str) -> None:
    if table == "passengers":
        passengers().to_csv("passengers.csv", index=False)
        found = np.array(scores("passengers.csv", "Survived", "accuracy"))
    else:
        houses(3000).to_parquet("houses.parquet")
        found = np.array(scores("houses.parquet", "MedHouseVal", "r2"))
    ours, theirs = found.mean(axis=0)
    assert ours >= theirs - 0.005, found


def test_a_table_in_one_command(capsys: Capture) -> None:
    passengers(300).to_csv("passengers.csv", index=False)
    assert run("train", "--data", "passengers.csv", "--label", "Survived") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "passengers.csv: 240 train, 30 valid, 30 test rows of 14 features"
    assert lines[1] == (
        "task: classification, 2 classes (0, 1); chosen by the labels' type, --task says another"
    )
    assert "left out, because nearly all values differ: Name, Ticket, Cabin" in lines
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("passengers-")
    config, table = from_file(folder / "config.toml")
    assert {name: getattr(config, name) for name in FOR_TABLES} == FOR_TABLES
    assert (table.name, table.label) == ("passengers.csv", "Survived")
    assert metrics(folder)["test"]["accuracy"] > 0.7
    assert run("train", "--config", folder / "config.toml", "--out", "again") == 0
    again = Path("again", "model.safetensors").read_bytes()
    assert again == (folder / "model.safetensors").read_bytes()


SCRIPT = """
import sys, numpy, pandas, fastmlp
network = fastmlp.load("out/model.safetensors")
numpy.save("answers.npy", network.predict(pandas.read_csv("table.csv")))
"""


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_a_row_has_one_prediction_everywhere(task: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    frame = passengers(200).assign(old=lambda frame: (frame["Fare"] > 12).astype(int))
    label = {"classification": "Sex", "regression": "Fare", "multilabel": "Survived,old"}[task]
    frame.to_csv("table.csv", index=False)
    parts = own.load("table.csv", OwnOptions(label=label))
    config = fastmlp.TrainConfig(epochs=3, hidden=(16,))
    Path("out").mkdir()
    fastmlp.train(config, parts.train, parts.valid).network.save("out/model.safetensors")
    network = fastmlp.load("out/model.safetensors")
    assert network.task == task
    expected = network.predict(frame)
    np.testing.assert_array_equal(network.predict(frame[frame.columns[::-1]]), expected)
    one = np.concatenate([network.predict(frame.iloc[row : row + 1]) for row in range(9)])
    np.testing.assert_array_equal(one, expected[:9])
    with pytest.raises(fastmlp.DataError, match="found no column 'Age'"):
        network.predict(frame.drop(columns="Age"))

    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
    np.testing.assert_array_equal(np.load("answers.npy"), expected)

    assert run("export", "out", "--onnx", "m.onnx") == 0
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    stated = json.loads(session.get_modelmeta().custom_metadata_map["preparation"])
    rows, _ = fastmlp.datasets.Preparation.from_dict(stated).apply(frame)
    (given,) = session.get_inputs()
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[given.type]
    found, *_ = session.run(None, {"X": rows.astype(dtype)})
    if task == "regression":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    else:
        names = np.array(network.classes)
        answers = names[expected] if task == "classification" else expected
        np.testing.assert_array_equal(found, answers)


def test_a_search_over_a_table(capsys: Capture) -> None:
    houses(200).to_parquet("houses.parquet")
    Path("search.toml").write_text(
        '[data]\npath = "houses.parquet"\nlabel = "MedHouseVal"\n'
        "[config]\nepochs = 2\n[grid]\nhidden = [[8], [16]]\n"
    )
    assert run("search", "search.toml", "--out", "found") == 0
    network = fastmlp.load("found/best/model.safetensors")
    assert network.task == "regression"
    assert network.predict(houses(5)).shape == (5, 1)
    assert network.preparation is not None
    other = ("--out", "other", "--label", "AveRooms", "--split", ".6,.2,.2")
    assert run("search", "search.toml", *other) == 0
    preparation = fastmlp.load("other/best/model.safetensors").preparation
    assert preparation is not None
    assert "MedHouseVal" in preparation.spans
    assert "AveRooms" not in preparation.spans


def test_an_odd_name_of_a_file_comes_back_from_the_settings() -> None:
    name = "a\x7f'\"é😀.csv"
    passengers(100).to_csv(name, index=False)
    assert run("train", "--data", name, "--label", "Survived", "--epochs", 1, "--out", "a") == 0
    assert from_file(Path("a/config.toml"))[1].name == name


def test_a_path_may_have_a_built_in_name() -> None:
    Path("data.toml").write_text('[data]\npath = "digits"\n')
    table = from_file(Path("data.toml"))[1]
    assert (table.is_own, table.title) == (True, "digits")
    with pytest.raises(fastmlp.ConfigError, match="found with digits"):
        from_file(Path("data.toml"), {"name": "digits", "group": "g"})
