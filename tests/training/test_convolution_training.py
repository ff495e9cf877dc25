"""Training with convolutions: PyTorch's steps, equal bits however it is run, and everything around a training."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch_networks import outputs_of, sequential
from training_helpers import fingerprint

from fastmlp import (
    ConfigError,
    DataError,
    Dataset,
    MLPClassifier,
    MLPRegressor,
    Network,
    TrainConfig,
    evaluate,
    grid_search,
    load,
    train,
    train_many,
)
from fastmlp.training.draws import draw_epoch, draw_parameters
from fastmlp.training.layers import network_layers
from fastmlp.training.parameters import initialize_layers
from fastmlp.training.shapes import parameter_names

SHAPE = (2, 9, 8)


def bars(count: int, seed: int = 0) -> Dataset:
    """Draw images of bars that lie, stand or lean, anywhere: a linear network tells them badly apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    images = rng.integers(0, 60, (count, *SHAPE))
    rows, columns = rng.integers(6, size=count), rng.integers(5, size=count)
    for image, label, row, column in zip(images, labels, rows, columns, strict=True):
        for step in range(4):
            image[0, row + step * (label > 0), column + step * (label != 1)] += 180
    flat = images.reshape(count, -1).astype(np.uint8)
    return Dataset(flat, labels, SHAPE, ("lies", "stands", "leans"), f"bars {seed}")


TRAIN, VALID = bars(180), bars(90, seed=1)
SAME = "conv 4 3 padding same"
CONFIG = TrainConfig(
    hidden=("conv 4 3", "maxpool 2", "conv 6 2", 12),
    epochs=4,
    batch_size=16,
    learning_rate=0.05,
    seed=5,
)
VARIANTS: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "adam, batchnorm": {
        "hidden": ("conv 4 3", "batchnorm", "maxpool 2", 8, "batchnorm"),
        "optimizer": "adam",
        "learning_rate": 0.01,
    },
    "stride, padding, avgpool": {"hidden": ("conv 5 4 stride 2 padding 3", "avgpool 2", 7)},
    "residual, tanh": {"hidden": (SAME, SAME, "maxpool 3"), "residual": True, "activation": "tanh"},
    "dropout, flips": {"dropout": 0.2, "flip": True, "optimizer": "rmsprop", "learning_rate": 1e-3},
    "float64": {"dtype": "float64", "activation": "gelu"},
    "factors": {"learning_rate_factors": (0, 1, 2, 1), "decay_biases": False},
}


# -- what it starts from


@pytest.mark.parametrize("scheme", ["torch", "he", "glorot"])
def test_kernels_start_as_in_torch(scheme: Any) -> None:
    torch = pytest.importorskip("torch")
    layers = network_layers(("conv 40 5", "batchnorm", "conv 50 3"), 3)
    rng = np.random.default_rng(0)
    weights, biases = initialize_layers(layers, (3, 20, 20), scheme, rng, "float64")
    assert [one.shape for one in weights] == [
        (40, 3, 5, 5),
        (40,),
        (40,),
        (50, 40, 3, 3),
        (3, 9800),
    ]
    assert (weights[1] == 1).all()
    assert (biases[1] == 0).all()
    assert (weights[2] == 0).all()
    assert (biases[2] == 1).all()
    for place in (0, 3):
        twin = torch.empty(weights[place].shape)
        match scheme:
            case "torch":
                torch.nn.init.kaiming_uniform_(twin, a=5**0.5)  # the default of Conv2d
                bound = twin[0].numel() ** -0.5
                assert bound * 0.9 < np.abs(biases[place]).max() <= bound
                assert bound * 0.99 < np.abs(weights[place]).max() <= bound
            case "he":
                torch.nn.init.kaiming_normal_(twin)
            case "glorot":
                torch.nn.init.xavier_normal_(twin)
        if scheme != "torch":
            assert not biases[place].any()
        assert weights[place].std() == pytest.approx(float(twin.std()), rel=0.05)


def test_linear_layers_are_drawn_as_without_images() -> None:
    first = draw_parameters(TrainConfig(hidden=(8,)), TRAIN)
    rng = np.random.default_rng([0, 0])
    bound = 144**-0.5
    np.testing.assert_array_equal(first[0][0], rng.uniform(-bound, bound, (8, 144)).astype("f"))


# -- steps


def by_torch(config: TrainConfig, optimizer: Any) -> dict[str, np.ndarray]:
    """Return the state that PyTorch's modules end with."""
    torch = pytest.importorskip("torch")
    layers = config.layers(3)
    model = sequential(layers, SHAPE).to(torch.float64).train()
    arrays = [one for pair in zip(*draw_parameters(config, TRAIN), strict=True) for one in pair]
    start = dict(zip(parameter_names(layers), map(torch.from_numpy, arrays), strict=True))
    model.load_state_dict(start, strict=False)
    steps = optimizer(torch, model.parameters())
    X = torch.from_numpy(TRAIN.normalization(config.normalize).apply(TRAIN.images))
    y = torch.from_numpy(TRAIN.labels)
    for epoch in range(config.epochs):
        order, _ = draw_epoch(config, len(TRAIN), epoch)
        for first in range(0, len(order), config.batch_size):
            rows = order[first : first + config.batch_size]
            steps.zero_grad()
            outputs = outputs_of(layers, model, X[rows].reshape(-1, *SHAPE))
            torch.nn.functional.cross_entropy(outputs, y[rows]).backward()
            steps.step()
    return {name: one.numpy() for name, one in model.state_dict().items() if one.ndim}


@pytest.mark.peers
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden": ("conv 4 3", "batchnorm", "maxpool 2", "conv 6 2", "tanh", "batchnorm", 9)},
        {"hidden": (SAME, SAME, "batchnorm", "maxpool 2", 8, 8, "batchnorm"), "residual": True},
        {"hidden": ("avgpool 2", "conv 5 3 stride 2 padding 2", 7), "activation": "silu"},
        {"hidden": ("maxpool 3",)},
    ],
)
def test_steps_are_those_of_torch(changes: dict[str, Any], optimizer: str) -> None:
    made = {
        "sgd": lambda torch, p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
        "adam": lambda torch, p: torch.optim.Adam(p, lr=0.01, eps=1e-3),
        "rmsprop": lambda torch, p: torch.optim.RMSprop(p, lr=0.001, eps=1e-3),
    }
    settings: dict[str, Any] = {
        "sgd": {"momentum": 0.9, "weight_decay": 0.01},
        # The gradient of a bias before a batchnorm is nothing but rounding, which a small epsilon makes large.
        "adam": {"learning_rate": 0.01, "epsilon": 1e-3},
        "rmsprop": {"learning_rate": 0.001, "epsilon": 1e-3},
    }
    config = CONFIG.replace(
        optimizer=optimizer, dtype="float64", epochs=2, **settings[optimizer] | changes
    )
    network = train(config, TRAIN).network
    expected = by_torch(config, made[optimizer])
    found = {name: one for name, one in network.state_dict().items() if one.ndim}
    names = dict(zip(found, expected, strict=True))  # dropout, which shifts names, is left out
    for ours, theirs in names.items():
        bound = 1e-9 * max(1, np.abs(expected[theirs]).max())
        np.testing.assert_allclose(found[ours], expected[theirs], rtol=0, atol=bound)


def test_a_small_network_learns_what_a_linear_one_cannot() -> None:
    config = CONFIG.replace(epochs=40, optimizer="adam", learning_rate=0.01)
    assert evaluate(train(config, TRAIN).network, VALID)["accuracy"] > 0.85
    assert evaluate(train(config.replace(hidden=()), TRAIN).network, VALID)["accuracy"] < 0.7


# -- bits


@pytest.mark.parametrize("name", VARIANTS)
def test_a_seed_decides_every_bit(name: str) -> None:
    config = CONFIG.replace(**VARIANTS[name])
    expected = fingerprint(train(config, TRAIN, VALID))
    for threads in (None, 1, 2, 3):
        assert fingerprint(train(config.replace(threads=threads), TRAIN, VALID)) == expected
    assert fingerprint(train(config.replace(seed=6), TRAIN, VALID)) != expected


@pytest.mark.parametrize(
    "changes",
    [*VARIANTS.values(), {"patience": 2, "epochs": 30, "learning_rate": 0.3}],
    ids=[*VARIANTS, "patience"],
)
def test_resumed_from_any_epoch_it_is_the_same_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    config, path = CONFIG.replace(**changes), tmp_path / "run.checkpoint"
    whole = train(
        config,
        TRAIN,
        VALID,
        checkpoint=path,
        on_epoch=lambda row: shutil.copy(path, tmp_path / str(row["epoch"])) and None,
    )
    assert fingerprint(whole) == fingerprint(train(config, TRAIN, VALID))
    if config.patience:
        assert whole.status == "stopped"
    for epoch in range(1, len(whole.history) + 1):
        again = train(
            config.replace(threads=1 + epoch % 3), TRAIN, VALID, checkpoint=tmp_path / str(epoch)
        )
        assert fingerprint(again) == fingerprint(whole)


def test_many_at_once_have_the_bits_of_each_alone() -> None:
    configs = [CONFIG.replace(**changes) for changes in VARIANTS.values()]
    together = train_many([*configs, CONFIG.replace(hidden=(8,))], TRAIN, VALID)
    for config, result in zip(configs, together, strict=False):
        assert fingerprint(result) == fingerprint(train(config, TRAIN, VALID))


# -- around it


def test_a_trained_network_is_stored_and_read_back(tmp_path: Path) -> None:
    result = train(CONFIG.replace(**VARIANTS["adam, batchnorm"]), TRAIN, VALID)
    best = min(row["valid_loss"] for row in result.history)
    assert evaluate(result.network, VALID)["loss"] == pytest.approx(best, rel=1e-6)
    result.network.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    expected = result.network.predict_proba(VALID)
    np.testing.assert_array_equal(again.predict_proba(VALID), expected)
    on = train(CONFIG.replace(**VARIANTS["adam, batchnorm"]), TRAIN, VALID, start=again)
    assert on.history[0]["train_loss"] < result.history[0]["train_loss"]
    assert not np.array_equal(on.network.weights[2], again.weights[2])  # running means move on


def test_a_start_of_another_shape_is_refused() -> None:
    network = train(CONFIG.replace(epochs=1), TRAIN).network
    for hidden, words in (
        (("conv 5 3", "maxpool 2", "conv 6 2", 12), r"widths \(144, 4, 6, 12, 3\), expected"),
        (("conv 4 2", "maxpool 2", "conv 6 2", 12), r"parameters of the shapes \[\(\(4, 2, 3, 3\)"),
    ):
        with pytest.raises(DataError, match=f"^start: found .*{words}"):
            train(CONFIG.replace(hidden=hidden), TRAIN, start=network)


def test_a_layer_that_does_not_fit_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    config = CONFIG.replace(hidden=("maxpool 4", "conv 4 3"))
    message = r"^hidden: 'conv 4 3' is given 2 x 2 x 2 \(channels x height x width\): the kernel"
    with pytest.raises(ConfigError, match=message):
        train(config, TRAIN)
    with pytest.raises(ConfigError, match=message):
        train_many([CONFIG, config], TRAIN)
    grid = {"hidden": [CONFIG.hidden, config.hidden]}
    with pytest.raises(ConfigError, match=message):
        grid_search(CONFIG, grid, TRAIN, VALID, store=tmp_path)


def test_a_grid_of_networks(tmp_path: Path) -> None:
    grid = {"hidden": [["conv 4 3", "batchnorm", "maxpool 2", 12], ["maxpool 2", 8], [8]]}
    config = CONFIG.replace(optimizer="adam", learning_rate=0.01, epochs=8)
    result = grid_search(config, grid, TRAIN, VALID, VALID, store=tmp_path)
    assert result.best is not None
    assert result.best.parameters["hidden"] == tuple(grid["hidden"][0])
    alone = train(config.replace(hidden=grid["hidden"][0]), TRAIN, VALID).network
    assert result.network is not None
    for mine, other in zip(result.network.weights, alone.weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    again = grid_search(config, grid, TRAIN, VALID, VALID, store=tmp_path)
    assert again.trained == 0
    assert again.network is not None
    assert again.network.layers == alone.layers


# -- estimators


FEATURES = (TRAIN.images / 255).astype(np.float32)
SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": ["conv 8 3", "maxpool 2", 12],
    "image_shape": SHAPE,
    "learning_rate_init": 0.01,
    "max_iter": 80,
    "random_state": 0,
}
quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@quick
@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
def test_an_estimator_learns_images(solver: str, tmp_path: Path) -> None:
    hidden = ["conv 8 3", "batchnorm", "maxpool 2", 12]
    model = MLPClassifier(**SETTINGS | {"hidden_layer_sizes": hidden}, solver=solver)
    model.set_params(learning_rate_init={"sgd": 0.05, "adam": 0.01, "rmsprop": 0.003}[solver])
    target = np.asarray(TRAIN.classes)[TRAIN.labels]
    model.fit(FEATURES, target)
    assert model.score(VALID.images / 255, np.asarray(VALID.classes)[VALID.labels]) > 0.8
    assert model.coefs_[0].shape == (8, 2, 3, 3)
    shares = model.predict_proba(FEATURES)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    network = model.to_network()
    np.testing.assert_allclose(network.predict_proba(FEATURES), shares, rtol=0, atol=1e-5)

    model.save(tmp_path / "model.safetensors")
    loaded = MLPClassifier.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(FEATURES), shares)
    np.testing.assert_array_equal(loaded.predict(FEATURES), model.predict(FEATURES))
    loaded.partial_fit(FEATURES, target)
    assert not np.array_equal(loaded.coefs_[0], model.coefs_[0])


@quick
def test_a_copy_of_an_estimator_goes_on_to_the_same_bits() -> None:
    model = MLPClassifier(**SETTINGS | {"max_iter": 3}, early_stopping=True)
    model.fit(FEATURES, TRAIN.labels)
    assert clone(model).get_params() == model.get_params()
    again = clone(model).fit(FEATURES, TRAIN.labels)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    for one in (model, again):
        one.set_params(early_stopping=False).partial_fit(FEATURES, TRAIN.labels)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])


@quick
def test_a_grid_search_of_scikit_learn_over_layers() -> None:
    choices = [["conv 8 3", "maxpool 2", 12], (8,), [8, "tanh", "batchnorm"]]
    search = GridSearchCV(
        MLPClassifier(**SETTINGS | {"max_iter": 40}), {"hidden_layer_sizes": choices}, cv=2
    )
    search.fit(FEATURES, TRAIN.labels)
    assert search.best_params_["hidden_layer_sizes"] == choices[0]


@quick
def test_two_classes_and_numbers() -> None:
    two = MLPClassifier(**SETTINGS).fit(FEATURES, TRAIN.labels == 0)
    assert two.coefs_[-1].shape == (12, 1)
    assert two.score(FEATURES, TRAIN.labels == 0) > 0.9
    network = two.to_network()
    np.testing.assert_allclose(
        network.predict_proba(FEATURES), two.predict_proba(FEATURES), rtol=0, atol=1e-5
    )
    target = np.where(TRAIN.labels == 0, 1.0, -1.0)
    values = MLPRegressor(**SETTINGS).fit(FEATURES, target)
    assert values.predict(FEATURES).shape == (len(TRAIN),)
    assert values.score(FEATURES, target) > 0.8


def test_widths_among_layers_start_as_widths_alone() -> None:
    settings: dict[str, Any] = {"max_iter": 2, "random_state": 0, "tol": 0}
    plain = MLPClassifier((9, 7), **settings)
    named = MLPClassifier([9, "relu", 7], **settings)
    for model in (plain, named):
        with pytest.warns(match="Maximum iterations"):
            model.fit(FEATURES, TRAIN.labels)
    for mine, other in zip(named.coefs_, plain.coefs_, strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_allclose(
        named.predict_proba(FEATURES), plain.predict_proba(FEATURES), rtol=0, atol=1e-6
    )
    with pytest.raises(DataError, match=r"to_sklearn: found the layers \[9, 'relu', 7\]"):
        named.to_sklearn()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_shape": None}, r"image_shape: found None with layers of images"),
        ({"image_shape": (2, 9)}, r"image_shape: found \(2, 9\), expected \(channels, height"),
        ({"image_shape": (2, 9, 0)}, r"image_shape: found \(2, 9, 0\)"),
        ({"image_shape": (2, 9, 9)}, r"X: found 144 columns, expected 162, .*\(2, 9, 9\)"),
        ({"hidden_layer_sizes": ["conv 4"]}, r"hidden_layer_sizes: found \['conv 4'\], expected"),
        ({"hidden_layer_sizes": ["relu"]}, r"hidden_layer_sizes: found 'relu' first"),
        ({"hidden_layer_sizes": ["maxpool 2", 0]}, r"hidden_layer_sizes: found .* above 0"),
        (
            {"hidden_layer_sizes": ["conv 4 3", "conv 4 9"]},
            r"hidden_layer_sizes: 'conv 4 9' is given 4 x 7 x 6",
        ),
        ({"solver": "lbfgs"}, r"layers in hidden_layer_sizes: found with solver='lbfgs'"),
    ],
)
def test_wrong_layers_of_an_estimator_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        MLPClassifier(**SETTINGS | changes).fit(FEATURES, TRAIN.labels)


def test_images_are_no_linear_estimator() -> None:
    layers = network_layers(("conv 4 3",), 3)
    network = Network(
        *initialize_layers(layers, SHAPE, "torch", np.random.default_rng(0), "float64"),
        layers=layers,
        normalization=TRAIN.normalization("channel"),
        classes=TRAIN.classes,
        shape=SHAPE,
    )
    with pytest.raises(DataError, match="network: found layers of images"):
        MLPClassifier.from_network(network)


def test_a_network_with_batchnorms_becomes_an_estimator() -> None:
    network = train(CONFIG.replace(hidden=(9, "batchnorm", "gelu", 7), epochs=2), TRAIN).network
    model = MLPClassifier.from_network(network, classes=range(3))
    found = model.predict_proba(TRAIN.images)
    np.testing.assert_allclose(found, network.predict_proba(TRAIN), rtol=0, atol=1e-5)
    assert model.to_network().layers == network.layers
