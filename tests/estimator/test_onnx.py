"""Models -> ONNX: ONNX Runtime predicts what the models, and PyTorch's modules, predict."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch_networks import outputs_of, sequential

import fastmlp
from fastmlp import DataError, MLPClassifier, MLPRegressor, Network, TrainConfig
from fastmlp.cli import main
from fastmlp.datasets import Normalization, Preparation
from fastmlp.estimator.export import to_onnx
from fastmlp.training.layers import ACTIVATIONS, has_images, network_layers
from fastmlp.training.parameters import initialize_layers

runtime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SHAPE = (2, 8, 6)
SAME = "conv 4 3 padding same"
NETS: dict[str, Any] = {
    "linear": ((9, 7), False),
    "residual": ((9, 9, 9), True),
    "batchnorm": ((9, "batchnorm", 7), False),
    "images": ((SAME, "maxpool 2", "conv 5 2 stride 2 padding 1", "avgpool 2", 6), False),
    "all": ((SAME, "batchnorm", SAME, "maxpool 3", SAME, "batchnorm", "dropout 0.5", 6, 6), True),
    "pool": (("avgpool 2",), False),
}

IMAGES, y = load_digits(return_X_y=True)
X, y = (IMAGES[:200] / 16).astype(np.float32), y[:200]
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 3, "random_state": 0}
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
MODELS: dict[str, Any] = {
    "digits": (MLPClassifier, X, y, {}),
    "names": (MLPClassifier, X, NAMES[y], {"activation": "tanh"}),
    "objects": (MLPClassifier, X, NAMES[y].astype(object), {"activation": "logistic"}),
    "two": (MLPClassifier, X, y % 2 == 1, {}),
    "float64": (MLPClassifier, X.astype(np.float64), y * 1.0, {"hidden_layer_sizes": ()}),
    "linear": (MLPClassifier, X, y, {"activation": "identity"}),
    "one class": (MLPClassifier, X, np.ones(200, np.int8), {}),
    "multilabel": (MLPClassifier, X, np.eye(10, dtype=int)[y], {}),
    "value": (MLPRegressor, X, y / 10, {}),
    "values": (MLPRegressor, X, np.stack([y / 10, y % 3], axis=1), {"activation": "tanh"}),
    "poisson": (MLPRegressor, X, y, {"loss": "poisson"}),
    "layers": (MLPClassifier, X, y, {"hidden_layer_sizes": [12, "tanh", "batchnorm", 8]}),
    "images": (
        MLPClassifier,
        X,
        y,
        {"hidden_layer_sizes": ["conv 4 3", "maxpool 2", 9], "image_shape": (1, 8, 8)},
    ),
}


PREPARED = {
    "columns": [{"name": f"x{one}", "median": 0.5, "indicator": False} for one in range(96)],
    "label": ["y"],
    "missing": "median",
}


def make(name: str, dtype: str, activation: str = "relu", outputs: int = 3) -> Network:
    hidden, residual = NETS[name]
    layers = network_layers(hidden, outputs, activation=activation, residual=residual)
    rng = np.random.default_rng(0)
    weights, biases = initialize_layers(layers, SHAPE, "torch", rng, dtype)
    for pair in zip(weights, biases, strict=True):
        if pair[0].ndim == 1:  # of a batchnorm
            for array in pair:
                array[:] = rng.uniform(0.5, 1.5, len(array))
    weights[-1] *= 2  # otherwise all probabilities are nearly alike
    return Network(
        weights,
        biases,
        layers=layers,
        normalization=Normalization(rng.uniform(100, 150, 96), rng.uniform(50, 70, 96)),
        classes=[f"class {number}" for number in range(outputs, 0, -1)],
        shape=SHAPE,
    )


def run(path: Path, rows: np.ndarray) -> list[Any]:
    """Return what ONNX Runtime makes of rows, in the type that the model takes."""
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = runtime.InferenceSession(path)
    (given,) = session.get_inputs()
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[given.type]
    outputs: list[Any] = session.run(None, {"X": rows.astype(dtype)})
    names = [one.name for one in session.get_outputs()]
    assert names in (["label", "probabilities"], ["variable"])
    return outputs


def by_torch(network: Network, rows: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch")
    shape = SHAPE if has_images(network.layers) else (96,)
    model = sequential(network.layers, shape).to(torch.float64).eval()
    state = {name: torch.from_numpy(one) for name, one in network.state_dict().items()}
    model.load_state_dict(state)
    x = torch.from_numpy(network.normalization.apply(rows)).reshape(-1, *shape)
    with torch.no_grad():
        logits = outputs_of(network.layers, model, x)
        return np.asarray(torch.softmax(logits, dim=1))


ROWS = np.random.default_rng(1).integers(0, 256, (40, 96), np.uint8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_networks_of_all_layers(name: str, dtype: str, tmp_path: Path) -> None:
    network = make(name, dtype)
    to_onnx(network, tmp_path / "model.onnx")
    labels, probabilities = run(tmp_path / "model.onnx", ROWS)
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities, by_torch(network, ROWS), rtol=0, atol=2e-6)
    assert labels.tolist() == [network.classes[i] for i in probabilities.argmax(axis=1)]
    assert np.ptp(probabilities, axis=0).max() > 0.02


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["linear", "images"])
def test_networks_of_all_tasks(name: str, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    plain = make(name, dtype)
    targets = Normalization(np.array([5e8, 0, -3]), np.array([100, 1e-3, 7]))
    preparation = Preparation.from_dict(PREPARED)
    regression = replace(plain, task="regression", targets=targets, preparation=preparation)
    to_onnx(regression, path)
    (values,) = run(path, ROWS)
    assert values.dtype == np.float64
    scaled = targets.apply(values)
    np.testing.assert_allclose(scaled, targets.apply(regression.predict(ROWS)), rtol=0, atol=1e-5)
    assert np.ptp(scaled, axis=0).max() > 0.1
    assert columns_of(path) == list(plain.classes)
    (said,) = [one.value for one in onnx.load(path).metadata_props if one.key == "preparation"]
    assert json.loads(said) == preparation.as_dict()
    labels = replace(plain, task="multilabel")
    to_onnx(labels, path)
    found, probabilities = run(path, ROWS)
    np.testing.assert_array_equal(found, labels.predict(ROWS))
    np.testing.assert_allclose(probabilities, labels.predict_proba(ROWS), rtol=0, atol=2e-6)
    assert 0 < found.mean() < 1
    assert columns_of(path) == list(plain.classes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_networks_of_all_activations(activation: str, dtype: str, tmp_path: Path) -> None:
    for name in ("residual", "images"):
        network = make(name, dtype, activation)
        to_onnx(network, tmp_path / "model.onnx")
        _, probabilities = run(tmp_path / "model.onnx", ROWS)
        np.testing.assert_allclose(probabilities, by_torch(network, ROWS), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_the_network_itself_predicts_the_same(name: str, dtype: str, tmp_path: Path) -> None:
    network = make(name, dtype, "gelu")
    to_onnx(network, tmp_path / "model.onnx")
    _, probabilities = run(tmp_path / "model.onnx", ROWS)
    np.testing.assert_allclose(probabilities, network.predict_proba(ROWS), rtol=0, atol=2e-6)


def test_plain_float64_networks_are_computed_in_float64(tmp_path: Path) -> None:
    network = make("residual", "float64", "silu")
    to_onnx(network, tmp_path / "model.onnx")
    found = run(tmp_path / "model.onnx", ROWS)[1]
    np.testing.assert_allclose(found, network.predict_proba(ROWS), rtol=1e-12)


def test_images_far_from_zero_are_taken_in_float64(tmp_path: Path) -> None:
    network = make("linear", "float32")
    scaling = Normalization(network.normalization.mean + 1e9, network.normalization.std)
    parts = {"weights": network.weights, "biases": network.biases, "layers": network.layers}
    far = Network(**parts, normalization=scaling, classes=network.classes, shape=SHAPE)
    to_onnx(far, tmp_path / "model.onnx")
    found = run(tmp_path / "model.onnx", ROWS + 1e9)[1]
    np.testing.assert_allclose(found, network.predict_proba(ROWS), rtol=0, atol=2e-6)


def test_a_trained_network_takes_raw_images(tmp_path: Path) -> None:
    digits = fastmlp.load_digits()
    network = fastmlp.train(TrainConfig(hidden=(16,), epochs=2), digits.train).network
    network.save(tmp_path / "model.safetensors")
    path = tmp_path / "model.onnx"
    assert main(["export", str(tmp_path / "model.safetensors"), "--onnx", str(path)]) == 0
    labels, found = run(path, digits.test.images)
    expected = network.predict_proba(digits.test.images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert labels.tolist() == [network.classes[i] for i in expected.argmax(axis=1)]


@pytest.mark.parametrize("name", MODELS)
def test_estimators_predict_the_same(name: str, tmp_path: Path) -> None:
    kind, features, target, settings = MODELS[name]
    model = kind(**{**SMALL, **settings}).fit(features, target)
    to_onnx(model, tmp_path / "model.onnx")
    outputs = run(tmp_path / "model.onnx", features)
    expected = model.predict(features)
    if kind is MLPRegressor:
        expected = expected.reshape(len(features), -1)
        np.testing.assert_allclose(outputs[0], expected, rtol=1e-5, atol=1e-5)
        return
    np.testing.assert_array_equal(outputs[0], expected)
    np.testing.assert_allclose(outputs[1], model.predict_proba(features), rtol=0, atol=1e-5)
    assert outputs[1].dtype == model.coefs_[0].dtype


# -- labels, and the order of columns ----------------------------------------------------------

LABELS: dict[str, Any] = {
    "beyond 2**31": [5, 2147483655, 3000000000],
    "beyond 2**53": [2**53 + 1, 2**53 + 2, 2**62],
    "ends of int64": [-(2**63), 0, 2**63 - 1],
    "uint32": np.array([5, 2147483655, 3000000000], np.uint32),
    "uint64": np.array([1, 2, 2**63 - 1], np.uint64),
    "int8": np.array([-128, 0, 127], np.int8),
    "float64": [1.0, 2.0**40, 3e9],
    "float32": np.array([1, 2, 3], np.float32),
    "float16": np.array([1, 2, 3], np.float16),
    "text": ["b", "\u00e9 \u4e2d", "a"],
    "objects": np.array(["b", "c", "a"], object),
}


def columns_of(path: Path) -> list[Any]:
    (said,) = [one.value for one in onnx.load(path).metadata_props if one.key == "classes"]
    classes: list[Any] = json.loads(said)
    return classes


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_any_type_are_right(name: str, tmp_path: Path) -> None:
    labels = np.asarray(LABELS[name])
    model = MLPClassifier(**SMALL).fit(X, labels[y % 3])

    to_onnx(model, tmp_path / "model.onnx")
    found, probabilities = run(tmp_path / "model.onnx", X)
    assert found.tolist() == model.predict(X).tolist()
    assert columns_of(tmp_path / "model.onnx") == model.classes_.tolist()
    assert [model.classes_[one] for one in probabilities.argmax(axis=1)] == found.tolist()


def test_labels_that_onnx_cannot_hold_are_refused(tmp_path: Path) -> None:
    labels = np.array([1, 2**63, 2**64 - 1], np.uint64)
    model = MLPClassifier(**SMALL).fit(X, labels[y % 3])
    for classes in (labels, np.array([b"a", b"b", b"c"]), np.array([1, "a", None], object)):
        model.classes_ = classes
        with pytest.raises(
            DataError, match=r"classes: found .* expected text, or numbers that int64"
        ):
            to_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("classes", [["bird", "airplane"], ["c", "a", "b"]])
def test_columns_are_in_the_order_of_classes_which_the_file_states(
    classes: list[str], tmp_path: Path
) -> None:
    network = replace(make("linear", "float32", outputs=len(classes)), classes=classes)
    to_onnx(network, tmp_path / "model.onnx")
    labels, probabilities = run(tmp_path / "model.onnx", ROWS)
    assert columns_of(tmp_path / "model.onnx") == list(network.classes) == classes
    assert [network.classes[one] for one in probabilities.argmax(axis=1)] == labels.tolist()
    np.testing.assert_allclose(probabilities, network.predict_proba(ROWS), rtol=0, atol=2e-6)
    assert len(set(labels.tolist())) > 1


def test_several_labels_a_row_state_their_order_too(tmp_path: Path) -> None:
    model = MLPClassifier(**SMALL).fit(X, np.eye(10, dtype=int)[y])
    to_onnx(model, tmp_path / "model.onnx")
    assert columns_of(tmp_path / "model.onnx") == list(range(10))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for model, message in (
        (make_pipeline(MLPClassifier()), r"found Pipeline, .*; give the last step of a pipeline, pipeline\[-1\]$"),
        (LogisticRegression(), "found LogisticRegression, expected a Network, MLPClassifier or MLPRegressor$"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"^model: {message}"):
            to_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(NotFittedError):
        to_onnx(MLPRegressor(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
