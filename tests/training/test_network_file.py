"""The description of a network's file: which one belongs to a network, and which tensors to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import FormatError, load
from fastmlp.datasets import Normalization
from fastmlp.datasets.preparation import Number, Preparation
from fastmlp.errors import DataError
from fastmlp.machine import files
from fastmlp.training.layers import network_layers
from fastmlp.training.network import Network
from fastmlp.training.network_file import layout_of

PLAIN: dict[str, Any] = {
    **{"activation": "relu", "classes": ["cat", "dog"], "dtype": "float64", "residual": False},
    **{"shape": [1, 1, 3], "sizes": [3, 4, 2]},
}
LAYERED: dict[str, Any] = {
    **{"activation": "mixed", "classes": ["0", "1"], "dtype": "float32", "residual": False},
    **{"shape": [1, 8, 8], "sizes": [64, 5, 2]},
    "layers": ["conv 2 3", "batchnorm", "maxpool 2", "linear 5", "tanh", "linear 2"],
}


def layered() -> Network:
    layers = network_layers(["conv 2 3", "batchnorm", "maxpool 2", 5, "tanh"], 2)
    shapes = [((2, 1, 3, 3), 2), ((2,), 2), ((2,), 2), ((5, 18), 5), ((2, 5), 2)]
    return Network(
        [np.ones(weight, np.float32) for weight, _ in shapes],
        [np.ones(bias, np.float32) for _, bias in shapes],
        layers=layers,
        normalization=Normalization(np.zeros(64), np.ones(64)),
        classes=("0", "1"),
        shape=(1, 8, 8),
    )


def written(path: Path) -> dict[str, Any]:
    layered().save(path)
    with files._opened(path, "model") as opened:
        description = json.loads(opened.metadata()["network"])
    assert isinstance(description, dict)
    return description


def test_tensors_follow_from_a_description() -> None:
    scaling = {f"normalization.{one}": ("float64", (3,)) for one in ("mean", "std")}
    layout = {"0.weight": ("float64", (4, 3)), "0.bias": ("float64", (4,))}
    layout |= {"2.weight": ("float64", (2, 4)), "2.bias": ("float64", (2,))} | scaling
    assert layout_of(PLAIN) == layout
    assert layout_of(PLAIN | {"task": "multilabel", "levels": [-1, 1e9]}) == layout
    targets = {f"targets.{one}": ("float64", (2,)) for one in ("mean", "std")}
    assert layout_of(PLAIN | {"task": "regression", "levels": [0, 0]}) == layout | targets


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [1, 1, 1, 3]}, "shape: found .*, expected three numbers above 0"),
        ({"shape": [3, 1]}, "shape: found"),
        ({"shape": [1, 1, 4]}, r"shape: found \[1, 1, 4\], expected a product of 3, the inputs"),
        ({"shape": [1, 0, 3]}, "shape: found"),
        ({"sizes": [3, 2**31, 2]}, "sizes: found .* two or more numbers above 0"),
        ({"sizes": [3]}, "sizes: found"),
        ({"classes": ["cat"]}, r"classes: found .*, expected a printable name for each of 2 outp"),
        ({"classes": ["cat", ""]}, "classes: found"),
        ({"activation": "mixed"}, "activation: found 'mixed', expected relu or"),
        ({"activation": "unheard"}, "activation: found"),
        ({"dtype": "bfloat16"}, "dtype: found .* expected float32 or float64"),
        ({"residual": 1}, "residual: found 1"),
        ({"levels": [1, 0]}, "levels: found .*, expected two finite numbers in order"),
        ({"levels": [0, 1, 2]}, "levels: found"),
        ({"levels": [0]}, "levels: found"),
        ({"task": "unheard"}, "task: found"),
        ({"preparation": []}, "preparation: found .* expected a table"),
        ({"preparation": {}}, "preparation"),
        ({"layers": ["linear 4", "relu", "linear 2"]}, "activation: found 'relu', expected"),
        ({"layers": 5, "activation": "mixed"}, "layers: found"),
        ({"more": 1}, "found .* expected the entries"),
    ],
)
def test_what_describes_no_network_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        layout_of(PLAIN | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [1, 1, 64]}, "^layers: "),
        ({"layers": ["conv 2 9", "linear 5", "tanh", "linear 2"]}, "^layers: "),
        ({"layers": ["conv 2 3", "linear 6", "tanh", "linear 2"]}, r"widths \[2, 5, 2\]"),
        ({"layers": ["unheard 3", "linear 2"]}, "layers: found .* expected layers of a network"),
        ({"layers": ["linear 5", "tanh"]}, "layers: found"),
        ({"layers": []}, "layers: found"),
        ({"layers": ["linear x", "linear 2"]}, "layers: found"),
        ({"sizes": [64, 4, 2]}, r"layers: found .* of the widths \[4, 2\]"),
    ],
)
def test_layers_that_make_no_network_are_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "model"
    description = written(path)
    assert layout_of(description).keys() >= {"0.weight", "1.weight", "normalization.std"}
    with pytest.raises(DataError, match=words) as raised:
        layout_of(description | change)
    assert "hidden" not in str(raised.value)


def test_a_preparation_has_a_feature_an_input() -> None:
    sound = Preparation(tuple(Number(name, 1.0, False) for name in "abc")).as_dict()
    assert layout_of(PLAIN | {"preparation": sound}) == layout_of(PLAIN)
    columns = sound["columns"]
    with pytest.raises(
        DataError, match=r"preparation: found .*, expected 3 features, one an input"
    ):
        layout_of(PLAIN | {"preparation": sound | {"columns": columns[:2]}})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("0.weight", np.nan, "0.weight: found values that are not finite, expected a network"),
        ("normalization.mean", np.inf, "normalization.mean: found values that are not finite"),
        ("normalization.std", 0.0, "normalization.std: found a value of 0 or less"),
        ("normalization.std", -1e-300, "normalization.std: found a value of 0 or less"),
    ],
)
def test_values_that_no_network_has_are_refused(
    tmp_path: Path, name: str, value: float, words: str
) -> None:
    path = tmp_path / "model"
    description = written(path)
    with files._opened(path, "model") as opened:
        tensors = {one: opened.get_tensor(one).copy() for one in opened.keys()}  # noqa: SIM118
    tensors["normalization.mean"][0] = -1.0  # a mean may be below 0
    files.write_tensors(path, "network", description, tensors)
    load(path)
    tensors[name].reshape(-1)[-1] = value
    files.write_tensors(path, "network", description, tensors)
    with pytest.raises(FormatError, match=f"^{path}: {words}"):
        load(path)
