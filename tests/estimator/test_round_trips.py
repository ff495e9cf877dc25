"""Estimators -> pickles, plain scikit-learn, PyTorch, Networks, files, ONNX; and back."""

from __future__ import annotations

import dataclasses
import json
import pickle
import pickletools
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, Network
from fastmlp.cli import main
from fastmlp.datasets import Normalization
from fastmlp.errors import DataError, FormatError
from fastmlp.estimator.export import load_model
from fastmlp.machine.files import read_tensors, write_tensors
from fastmlp.training.config import TrainConfig

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IMAGES, y = load_digits(return_X_y=True)
X, y = (IMAGES[:300] / 16).astype(np.float32), y[:300]
SMALL = {"hidden_layer_sizes": (24, 16), "max_iter": 6, "random_state": 0}
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])

CLASSIFIERS: dict[str, Any] = {
    "digits": (X, y, {}),
    "names": (X, NAMES[y], {"activation": "tanh"}),
    "objects": (X, NAMES[y].astype(object), {"activation": "logistic"}),
    "two": (X, y % 2 == 1, {}),
    "float64": (X.astype(np.float64), y / 2 * 2, {"hidden_layer_sizes": ()}),
}
OTHERS: dict[str, Any] = {
    "linear": (MLPClassifier, X, y, {"activation": "identity"}),
    "one class": (MLPClassifier, X, np.ones(300, np.int8), {}),
    "multilabel": (MLPClassifier, X, np.eye(10, dtype=int)[y], {}),
    "value": (MLPRegressor, X, y / 10, {}),
    "values": (MLPRegressor, X, np.stack([y / 10, y % 3], axis=1), {"activation": "tanh"}),
    "poisson": (MLPRegressor, X, y, {"loss": "poisson"}),
}


def fitted(name: str) -> Any:
    if name in CLASSIFIERS:
        features, target, settings = CLASSIFIERS[name]
        return MLPClassifier(**{**SMALL, **settings}).fit(features, target)
    kind, features, target, settings = OTHERS[name]
    return kind(**{**SMALL, **settings}).fit(features, target)


def answers(model: Any) -> np.ndarray:
    """Return probabilities or values, and check that predictions are alike in kind."""
    found: np.ndarray = getattr(model, "predict_proba", model.predict)(X)
    return found


def assert_predicts_the_same(found: Any, expected: Any, tolerance: float = 0) -> None:
    np.testing.assert_allclose(answers(found), answers(expected), rtol=0, atol=tolerance)
    labels = found.predict(X), expected.predict(X)
    if hasattr(expected, "classes_"):
        np.testing.assert_array_equal(*labels)
        assert labels[0].dtype == labels[1].dtype


# -- pickles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
def test_a_pickle_goes_on_training_as_if_it_had_never_been_one(solver: str, tmp_path: Path) -> None:
    model = MLPClassifier(**SMALL, solver=solver).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        again = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
        copy.partial_fit(X, y)
        np.testing.assert_array_equal(copy.coefs_[0], again.coefs_[0])
        assert copy.loss_curve_[:-1] == model.loss_curve_


def test_a_pickle_holds_nothing_that_is_compiled() -> None:
    data = pickle.dumps(fitted("digits"), protocol=0)
    words = {str(argument).split()[0] for _, argument, _ in pickletools.genops(data) if argument}
    modules = {word for word in words if word.startswith(("fastmlp", "numba", "sklearn"))}
    assert "fastmlp.estimator.classifier" in modules
    assert not [one for one in modules if "engine" in one or "kernels" in one or "numba" in one]


def test_predicting_loads_no_compiler(tmp_path: Path) -> None:
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps(fitted("digits")))
    script = (
        "import pickle, sys, numpy; model = pickle.load(open(sys.argv[1], 'rb'));"
        "model.predict(numpy.zeros((1, 64))); print('numba' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_a_clone_is_unfitted_and_equal() -> None:
    model = MLPClassifier(class_weight={0: 2}, n_jobs=2, monitor="loss")
    assert clone(model).get_params() == model.get_params()
    assert "class_weight={0: 2}" in repr(model)


# -- plain scikit-learn ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CLASSIFIERS, *OTHERS])
def test_a_plain_estimator_predicts_the_same_without_us(name: str) -> None:
    model = fitted(name)
    plain = model.to_sklearn()
    assert type(plain).__module__ == "sklearn.neural_network._multilayer_perceptron"
    assert_predicts_the_same(plain, model)
    assert b"fastmlp" not in pickle.dumps(plain)
    plain.partial_fit(X, CLASSIFIERS[name][1] if name in CLASSIFIERS else OTHERS[name][2])
    assert not np.array_equal(plain.coefs_[0], model.coefs_[0])  # they share nothing


def test_a_plain_estimator_of_what_scikit_learn_lacks() -> None:
    model = MLPClassifier(**SMALL, solver="rmsprop", learning_rate="step", verbose="progress")
    plain = model.fit(X, y, X_val=X, y_val=y).to_sklearn()
    assert (plain.solver, plain.learning_rate, plain.verbose) == ("adam", "constant", True)
    assert_predicts_the_same(plain, model)
    assert b"fastmlp" not in pickle.dumps(plain)
    plain.partial_fit(X, y)


# -- PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "two", "values"])
def test_the_state_loads_into_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    model = fitted(name)
    sizes = [64, 24, 16, model.n_outputs_]
    activation = torch.nn.Tanh if model.activation == "tanh" else torch.nn.ReLU
    layers = [
        layer
        for inputs, outputs in pairwise(sizes)
        for layer in (torch.nn.Linear(inputs, outputs), activation())
    ]
    twin = torch.nn.Sequential(*layers[:-1])
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in model.state_dict().items()})
    output = twin(torch.from_numpy(X)).detach()
    expected = answers(model)
    if name == "digits":
        output = output.softmax(dim=1)
        back = Network.from_state_dict(twin.state_dict(), activation="relu")
        restored = MLPClassifier.from_network(back, classes=range(10))
        assert_predicts_the_same(restored, model)
    elif name == "two":
        output, expected = output.sigmoid().ravel(), expected[:, 1]
    np.testing.assert_allclose(output.numpy(), expected, rtol=0, atol=1e-5)


# -- Network --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_network_predicts_the_same_there_and_back(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    network = model.to_network()
    np.testing.assert_allclose(network.predict_proba(X), model.predict_proba(X), atol=1e-5)
    assert [network.classes[i] for i in network.predict(X)] == [str(c) for c in model.predict(X)]
    network.save(tmp_path / "model.safetensors")
    stored = fastmlp.load(tmp_path / "model.safetensors")
    back = MLPClassifier.from_network(stored, classes=model.classes_)
    assert_predicts_the_same(back, model, 1e-6)
    back.set_params(max_iter=2, warm_start=True, early_stopping=True)
    back.fit(*CLASSIFIERS[name][:2])  # goes on from there
    assert len(back.loss_curve_) == 2


def test_a_trained_network_becomes_an_estimator_of_raw_images() -> None:
    digits = fastmlp.load_digits()
    for classes in (digits.classes, digits.classes[7:9][::-1]):  # not in sorted order
        part = digits.pick(classes)
        config = TrainConfig(hidden=(16,), epochs=3, activation="sigmoid", normalize="feature")
        network = fastmlp.train(config, part.train).network
        model = MLPClassifier.from_network(network)
        order = np.argsort(network.classes)
        found = model.predict_proba(part.test.images)
        expected = network.predict_proba(part.test.images)[:, order]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        names = np.asarray(network.classes)[network.predict(part.test.images)]
        np.testing.assert_array_equal(model.predict(part.test.images), names)


@pytest.mark.parametrize("hidden", [(16,), (16, "tanh", 12, "silu")])
def test_activations_scikit_learn_lacks_are_kept(hidden: Any) -> None:
    digits = fastmlp.load_digits()
    config = TrainConfig(hidden=hidden, epochs=2, activation="gelu")
    network = fastmlp.train(config, digits.train).network
    model = MLPClassifier.from_network(network)
    found = model.predict_proba(digits.test.images)
    np.testing.assert_allclose(found, network.predict_proba(digits.test), rtol=0, atol=1e-5)
    assert model.to_network().layers == network.layers
    with pytest.raises(DataError, match="to_sklearn: found the layers"):
        model.to_sklearn()


def test_networks_scikit_learn_cannot_be() -> None:
    network = fitted("digits").to_network()
    residual = Network(
        network.weights,
        network.biases,
        activation="relu",
        residual=True,
        normalization=network.normalization,
        classes=network.classes,
        shape=network.shape,
    )
    with pytest.raises(DataError, match="residual"):
        MLPClassifier.from_network(residual)
    mean, std = network.normalization.mean + 1e6, network.normalization.std
    far = dataclasses.replace(network, normalization=Normalization(mean, std))
    with pytest.raises(DataError, match="too far from zero for weights of float32"):
        MLPClassifier.from_network(far)
    for classes in (["a"] * 10, range(9)):
        with pytest.raises(DataError, match=r"classes: found .* expected 10 different labels"):
            MLPClassifier.from_network(network, classes=classes)
    for name in ("linear", "one class", "multilabel"):
        with pytest.raises(DataError, match="to_network: found"):
            fitted(name).to_network()


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CLASSIFIERS, *OTHERS])
def test_a_file_holds_all_that_predicting_needs(name: str, tmp_path: Path) -> None:
    model, path = fitted(name), tmp_path / "model.safetensors"
    model.save(path)
    loaded = type(model).load(path)
    assert_predicts_the_same(loaded, model)
    assert loaded.coefs_[0].dtype == model.coefs_[0].dtype
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    target = CLASSIFIERS[name][1] if name in CLASSIFIERS else OTHERS[name][2]
    assert loaded.partial_fit(X, target).n_iter_ == 1


def test_a_file_keeps_the_names_of_features(tmp_path: Path) -> None:
    model = fitted("digits")
    model.feature_names_in_ = np.array([f"pixel{i}" for i in range(64)], dtype=object)
    model.save(tmp_path / "model")
    loaded = MLPClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.feature_names_in_, model.feature_names_in_)


def test_files_of_something_else_say_so(tmp_path: Path) -> None:
    path = tmp_path / "model"
    fitted("value").save(path)
    with pytest.raises(FormatError, match=r"model: found an MLPRegressor, expected an MLPClassifi"):
        MLPClassifier.load(path)
    with pytest.raises(FormatError, match="expected 'network' in it"):
        fastmlp.load(path)
    fitted("digits").to_network().save(path)
    with pytest.raises(FormatError, match="expected 'estimator' in it"):
        MLPClassifier.load(path)
    with pytest.raises(FormatError, match="no such file"):
        MLPClassifier.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    "change",
    [
        {"estimator": "MLPTransformer"},
        {"estimator": ["MLPClassifier"]},
        {"output": "exp"},
        {"activation": "gelu"},
        {"dtype": "float16"},
        {"sizes": [64, 24, 16]},
        {"sizes": [64, 24, 16, 10.0]},
        {"sizes": []},
        {"feature_names": ["one"]},
        {"labels": None},
        {"labels": {"dtype": "int64", "multilabel": False, "values": list(range(9))}},
        {"labels": {"dtype": "int64", "multilabel": False, "values": ["0"] * 10}},
        {"labels": {"dtype": "int64", "multilabel": False, "values": [*range(-8, 1), True]}},
        {"labels": {"dtype": "V8", "multilabel": False, "values": list(range(10))}},
        {"labels": {"dtype": "int64", "multilabel": 1, "values": list(range(10))}},
        {"more": 1},
    ],
    ids=json.dumps,
)
def test_malformed_descriptions_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model"
    fitted("digits").save(path)
    description, tensors = read_tensors(path, "estimator", _whatever(path))
    write_tensors(path, "estimator", {**description, **change}, tensors)
    with pytest.raises(FormatError, match=r"model: .*found .*expected"):
        MLPClassifier.load(path)


def _whatever(path: Path) -> Any:
    from safetensors.numpy import load_file

    tensors = load_file(path)
    return lambda _: {name: (str(one.dtype), one.shape) for name, one in tensors.items()}


def test_labels_no_file_can_hold(tmp_path: Path) -> None:
    model = MLPClassifier(**SMALL).fit(X, np.array(["a", "b"] * 150, dtype=object))
    model.classes_ = np.array(["a", 1], dtype=object)
    with pytest.raises(DataError, match="classes_: found"):
        model.save(tmp_path / "model")


# -- ONNX -----------------------------------------------------------------------------------------


def test_the_command_line_exports_what_train_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    model = fitted("digits")
    model.to_network().save(path)
    assert isinstance(load_model(path), Network)
    model.save(path)
    assert isinstance(load_model(path), MLPClassifier)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for arguments, message in (
        ([str(path), "--onnx", str(out)], "pip install 'fastmlp[export]'"),
        ([str(tmp_path / "none"), "--onnx", str(out)], "none: found no such file"),
        ([str(path)], "Missing option '--onnx'"),
    ):
        assert main(["export", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not out.exists()
