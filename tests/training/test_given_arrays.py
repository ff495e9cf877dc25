"""``fastmlp.train(config, X, y)``: arrays become data sets, and what cannot is named."""

from typing import Any

import numpy as np
import pytest

from fastmlp import ConfigError, DataError, Dataset, TrainConfig, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
CONFIG = TrainConfig(hidden=(5,), epochs=2, batch_size=10)
LABELS: dict[str, Any] = {
    "classes": (X[:, 0] > 0).astype(int),
    "texts": np.where(X[:, 0] > 0, "yes", "no"),
    "columns": X[:, :2] > 0,
    "numbers": X[:, :2] * 3 + 1,
}


@pytest.mark.parametrize("name", LABELS)
def test_arrays_are_trained_on_as_data_sets(name: str) -> None:
    y = LABELS[name]
    data, valid = Dataset.from_arrays(X[:20], y[:20]), Dataset.from_arrays(X[20:], y[20:])
    expected = train(CONFIG, data, valid)
    found = train(CONFIG, X[:20], y[:20], X[20:], y[20:])
    alone = train(CONFIG.replace(restore_best=False), X[:20].tolist(), y[:20].tolist())
    for one, two in zip(found.network.weights, expected.network.weights, strict=True):
        assert one.tobytes() == two.tobytes()
    assert found.history[-1]["valid_loss"] == expected.history[-1]["valid_loss"]
    assert alone.history[-1]["valid_loss"] is None
    assert alone.network.task == found.network.task == data.task
    assert alone.network.classes == data.classes


def test_pictures_keep_their_shape() -> None:
    pictures = RNG.integers(0, 256, (30, 6, 6, 3), np.uint8)
    network = train(CONFIG, pictures, LABELS["classes"]).network
    assert network.shape == (3, 6, 6)


Y = LABELS["classes"]
WRONG: dict[str, tuple[tuple[Any, ...], str]] = {
    "no labels": ((X,), r"^train: found ndarray, expected a Dataset, which .*from_arrays\(X, y\)"),
    "few labels": ((X, Y[:9]), r"^X, y: labels are int64 \[9\], expected int64 \[30\]"),
    "one class": ((X, np.zeros(30, int)), "expected at least two"),
    "one number": ((X, np.full(30, 0.5)), r"only the value 0\.5 of 'target'"),
    "not finite": ((np.where(X[3, 1] == X, np.nan, X), Y), "image 3 holds nan at value 1"),
    "no rows": ((X[:0], Y[:0]), "found no images"),
    "half": ((X, Y, X), "^y_valid: found None, expected it together with X_valid"),
    "other half": ((X, Y, None, Y), "^X_valid: found None"),
    "other width": ((X, Y, X[:, :2], Y), r"^X_valid, y_valid: shape is \(1, 1, 4\)"),
    "another class": ((X, Y, X, Y + 1), "^X_valid, y_valid: label 2 at row .*0..1"),
    "another task": ((X, Y, X, X[:, 0]), "^X_valid, y_valid: labels are float64"),
    "mixed": ((Dataset.from_arrays(X, Y), X), "^valid: found ndarray"),
    "mixed more": ((X, Dataset.from_arrays(X, Y)), "^train: found ndarray"),
    "too much": ((Dataset.from_arrays(X, Y), None, X, Y), "^X_valid: found beside a Dataset"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_data_is_named(name: str) -> None:
    arguments, words = WRONG[name]
    with pytest.raises(DataError, match=words):
        train(CONFIG, *arguments)


def test_a_forgotten_configuration_is_named() -> None:
    with pytest.raises(ConfigError, match="config: found ndarray, expected a TrainConfig"):
        train(X, Y)  # type: ignore[arg-type]
