"""Files that version 0.1 wrote: they load for good, and mean what they meant."""

import json
import shutil
from pathlib import Path

from test_digests import DATA, digest, of

from fastmlp import MLPClassifier, TrainConfig, grid_search, load, train
from fastmlp.kernels.tiles import TILE

OLD = Path(__file__).parents[1] / "golden" / "written_by_0.1"
EXPECTED = json.loads((OLD / "expected.json").read_text())
PART, VALID = DATA["odd"].split((0.8, 0.2), seed=1)


def test_models() -> None:
    network = load(OLD / "relu.safetensors")
    assert of(network) == EXPECTED["relu"]
    assert digest([network.predict(DATA["odd"])]) == EXPECTED["predictions"]
    residual = load(OLD / "residual.safetensors")
    assert of(residual) == EXPECTED["residual"]
    assert (residual.residual, residual.activation, residual.sizes) == (True, "tanh", (30, 9, 9, 5))


def test_a_model_written_again_is_the_same_network(tmp_path: Path) -> None:
    load(OLD / "residual.safetensors").save(tmp_path / "again.safetensors")
    assert of(load(tmp_path / "again.safetensors")) == EXPECTED["residual"]


def test_a_checkpoint_and_its_settings(tmp_path: Path) -> None:
    config = TrainConfig.from_toml(OLD / "config.toml")
    path = tmp_path / "checkpoint.safetensors"
    shutil.copy(OLD / "checkpoint.safetensors", path)
    seen: list[int] = []
    result = train(
        config, PART, VALID, checkpoint=path, on_epoch=lambda row: seen.append(row["epoch"])
    )
    assert seen == [3, 4]
    if TILE.fma:  # without, a multiply-add rounds twice
        assert of(result.network) == EXPECTED["resumed"]


def test_a_store_of_trials(tmp_path: Path) -> None:
    shutil.copytree(OLD / "store", tmp_path / "store")
    grid = {"learning_rate": [0.05, 0.005], "hidden": [[9], [20, 20]]}
    config = TrainConfig(epochs=2, batch_size=16)
    result = grid_search(config, grid, PART, VALID, store=tmp_path / "store", seeds=2)
    assert json.loads(json.dumps(dict(result.best.parameters))) == EXPECTED["best"]
    found = [[trial.seconds for trial in point.trials] for point in result.points]
    assert found == EXPECTED["seconds"]  # so none was trained again


def test_an_estimator() -> None:
    model = MLPClassifier.load(OLD / "estimator.safetensors")
    assert digest([*model.coefs_, *model.intercepts_]) == EXPECTED["estimator"]
