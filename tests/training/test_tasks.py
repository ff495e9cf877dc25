"""Several labels a row and regression: what networks of other tasks keep, answer and refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastmlp import DataError, Dataset, Network, Normalization, load
from fastmlp.datasets.preparation import Number, Preparation

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=(4, 5)).astype(np.float32), RNG.normal(size=(2, 4)).astype(np.float32)]
BIASES = [np.zeros(4, np.float32), np.ones(2, np.float32)]
ROWS = RNG.normal(size=(7, 5))
PREPARATION = Preparation(tuple(Number(name, 0.0, False) for name in "abcde"))
COMMON = {
    "normalization": Normalization(np.zeros(5), np.ones(5)),
    "classes": ("a", "b"),
    "shape": (1, 1, 5),
}


def outputs() -> np.ndarray:
    hidden = np.maximum(ROWS @ WEIGHTS[0].T.astype(float), 0)
    return hidden @ WEIGHTS[1].T + BIASES[1]


@pytest.fixture(params=["multilabel", "regression"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Network:
    """Return a network of a task, as read from its file."""
    targets = Normalization(np.array([10.0, -3]), np.array([2.0, 5]))
    network = Network(
        WEIGHTS,
        BIASES,
        **COMMON,
        task=request.param,
        targets=targets if request.param == "regression" else None,
        preparation=PREPARATION,
    )
    network.save(tmp_path / "m.safetensors")
    return load(tmp_path / "m.safetensors")


def test_a_network_answers_in_the_form_of_its_task(network: Network) -> None:
    assert network.preparation == PREPARATION
    found = network.predict(ROWS)
    if network.task == "regression":
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, outputs() * [2, 5] + [10, -3], rtol=1e-5, atol=1e-5)
        with pytest.raises(DataError, match="call of predict"):
            network.predict_proba(ROWS)
    else:
        np.testing.assert_array_equal(found, (outputs() > 0).astype(np.int64))
        assert found.dtype == np.int64
        chances = 1 / (1 + np.exp(-outputs()))
        np.testing.assert_allclose(network.predict_proba(ROWS), chances, rtol=1e-5)


def test_targets_belong_to_a_regression_alone() -> None:
    targets = Normalization(np.zeros(2), np.ones(2))
    for task, given in (("regression", None), ("classification", targets), ("multilabel", targets)):
        with pytest.raises(DataError, match="targets: found a"):
            Network(WEIGHTS, BIASES, **COMMON, task=task, targets=given)
    with pytest.raises(DataError, match="task"):
        Network(WEIGHTS, BIASES, **COMMON, task="ranking")
    wrong = Normalization(np.zeros(3), np.ones(3))
    with pytest.raises(DataError, match=r"targets\.mean: found float64 \(3,\)"):
        Network(WEIGHTS, BIASES, **COMMON, task="regression", targets=wrong)


def test_the_file_of_a_classification_does_not_say_so(tmp_path: Path) -> None:
    Network(WEIGHTS, BIASES, **COMMON).save(tmp_path / "m.safetensors")
    header = (tmp_path / "m.safetensors").read_bytes()
    length = int.from_bytes(header[:8], "little")
    names = json.loads(header[8 : 8 + length])
    assert "task" not in names["__metadata__"]["network"]
    assert not [name for name in names if name.startswith("targets")]


LABELS = {
    "fractions": (np.array([0.5, 1, 2]), None, "regression", np.float64, (3, 1)),
    "two targets": (np.array([[0.5, 1], [1, 2], [3, 4]]), None, "regression", np.float64, (3, 2)),
    "whole, said": (np.array([1.0, 5, 9]), "regression", "regression", np.float64, (3, 1)),
    "integers, said": (np.array([1, 5, 9]), "regression", "regression", np.float64, (3, 1)),
    "columns": (np.array([[0, 1], [1, 1], [0, 0]]), None, "multilabel", np.uint8, (3, 2)),
    "true columns": (np.eye(3, dtype=bool), None, "multilabel", np.uint8, (3, 3)),
    "texts": (np.array(["cat", "dog", "cat"]), None, "classification", np.int64, (3,)),
    "objects": (np.array(["b", "a", "b"], object), None, "classification", np.int64, (3,)),
    "booleans": (np.array([True, False, True]), None, "classification", np.int64, (3,)),
    "a column": (np.array([[2], [0], [1]]), None, "classification", np.int64, (3,)),
}


@pytest.mark.parametrize("name", LABELS)
def test_the_type_of_labels_says_which_task_it_is(name: str) -> None:
    given, said, task, dtype, shape = LABELS[name]
    data = Dataset.from_arrays(ROWS[:3], given, task=said)
    assert (data.task, data.labels.dtype, data.labels.shape) == (task, dtype, shape)
    if name == "texts":
        assert data.classes == ("cat", "dog")
        assert data.labels.tolist() == [0, 1, 0]


WRONG = {
    "whole floats": (([0.0, 1, 2],), {}, "say task='regression'"),
    "three axes": ((np.zeros((3, 2, 2)),), {"task": "regression"}, r"\[N\] or \[N, T\]"),
    "missing": (([0.5, np.nan, 1],), {}, "label nan at row 1 of 'target'"),
    "a two": (([[0, 1], [2, 0], [1, 1]],), {"task": "multilabel"}, "label 2 at row 1, column 0"),
    "a stranger": ((["a", "b", "c"],), {"classes": ["a", "b"]}, "label 'c' at row 2"),
    "another task": (([0, 1, 0],), {"task": "ranking"}, "task: found 'ranking'"),
    "names": (([0.5, 1, 2],), {"classes": ["a", "b"]}, r"expected float64 \[3, 2\]"),
    "negative weight": (([0, 1, 0],), {"weights": [1, -1, 1]}, r"weight -1\.0 at row 1"),
    "weight missing": (([0, 1, 0],), {"weights": [1, np.nan, 1]}, "weight nan at row 1"),
    "few weights": (([0, 1, 0],), {"weights": [1, 1]}, r"expected float64 \[3\]"),
    "no weight": (([0, 1, 0],), {"weights": [0, 0, 0]}, "only weights of 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_labels_and_weights_are_named(name: str) -> None:
    arguments, options, words = WRONG[name]
    with pytest.raises(DataError, match=words):
        Dataset.from_arrays(ROWS[:3], *arguments, **options)


def test_weights_task_and_preparation_are_part_of_the_checksum() -> None:
    plain = Dataset.from_arrays(ROWS[:3], [0, 1, 0])
    weighted = [
        Dataset.from_arrays(ROWS[:3], [0, 1, 0], weights=one) for one in ([1, 2, 1], [1] * 3)
    ]
    assert len({one.checksum for one in (plain, *weighted)}) == 3
    part = weighted[0].take([1, 0])
    assert part.weights is not None
    assert part.weights.tolist() == [2, 1]
