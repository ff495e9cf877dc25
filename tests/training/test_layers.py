"""Layers as values: one spelling, one order, and all that follows from the list."""

from itertools import pairwise

import numpy as np
import pytest

from fastmlp import ConfigError, DataError, Dataset, Network, TrainConfig, load, train
from fastmlp.training.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Residual,
    common_kind,
    network_layers,
    parse_layer,
    sizes_of,
    spell_layer,
    without_dropout,
)
from fastmlp.training.shapes import parameter_names

LAYERS: list[Layer] = [
    Linear(7),
    Activation("tanh"),
    Dropout(0.25),
    Residual((Linear(3), Activation("relu"), Dropout(0.5))),
    Convolution(6, 5),
    Convolution(6, 5, 2, 1),
    Convolution(6, 3, padding="same"),
    MaxPool(2),
    AvgPool(3),
    BatchNorm(),
    Flatten(),
    Residual((Convolution(4, 3, padding=1), BatchNorm(), Activation("tanh"))),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_read_as_it_is_spelled(layer: Layer) -> None:
    assert parse_layer(spell_layer(layer)) == layer


@pytest.mark.parametrize(
    "text",
    [
        *("", "linear", "linear 0", "linear x", "dropout", "dropout 1", "dropout -0.1", "ReLU"),
        *("conv", "conv 6", "conv 6 0", "conv 6 5 stride 0", "conv 6 5 padding -1", "conv 6 5 2"),
        *("conv 6 5 stride 2 padding same", "conv 6 4 padding same", "conv 6 5 stride 1 stride 1"),
        *("conv 6 5 stride", "conv 6 5 dilation 2", "maxpool", "maxpool 0", "avgpool 2 2"),
        *("batchnorm 6", "flatten 2", f"conv {2**31} 5"),
    ],
)
def test_what_is_no_layer_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_layer(text)


def test_objects_texts_and_numbers_are_the_same_configuration() -> None:
    objects = (Linear(8), Activation("tanh"), 4, Dropout(0.5))
    config = TrainConfig(hidden=objects)  # type: ignore[arg-type]
    assert config == TrainConfig(hidden=("linear 8", "tanh", 4, "dropout 0.50"))
    assert config.hidden == (8, "tanh", 4, "dropout 0.5")


@pytest.mark.parametrize(
    "hidden",
    [
        *(("relu",), ("dropout 0.5", 8), (8, "relu", "tanh"), (8, "dropout 0.1", "dropout 0.1")),
        *(
            ("batchnorm",),
            (8, "conv 6 5"),
            (8, "maxpool 2"),
            ("maxpool 2", "relu"),
            ("batchnorm", 8),
        ),
        *((8, "batchnorm", "batchnorm"), ("conv 6 5", "dropout 0.1", "batchnorm")),
        ("conv 6 5", "tanh", "batchnorm", "relu"),
    ],
)
def test_an_order_that_makes_no_network_is_refused(hidden: tuple[int | str, ...]) -> None:
    with pytest.raises(
        ConfigError, match=r"^hidden: found '.*' (first|after '.*'), expected an act"
    ):
        TrainConfig(hidden=hidden)
    with pytest.raises(ConfigError, match=r"^hidden: found"):
        TrainConfig(hidden=(Residual((Linear(3),)),))  # type: ignore[arg-type]


def test_the_layers_of_a_configuration() -> None:
    config = TrainConfig(hidden=(8, 8, "tanh", 4, "dropout 0.5"), residual=True, dropout=0.1)
    relu, tanh, tenth = Activation("relu"), Activation("tanh"), Dropout(0.1)
    assert config.layers(3) == (
        *(Linear(8), relu, tenth),
        Residual((Linear(8), tanh, tenth)),
        *(Linear(4), relu, Dropout(0.5)),
        Linear(3),
    )
    assert sizes_of(config.layers(3), 5) == (5, 8, 8, 4, 3)
    trained = without_dropout(config.layers(3))
    assert parameter_names(trained) == [
        f"{number}.{kind}" for number in (0, 2, 4, 6) for kind in ("weight", "bias")
    ]
    assert common_kind(trained) == ("mixed", True)


def test_the_layers_of_images() -> None:
    same = "conv 4 3 padding same"
    hidden = ("conv 4 3", "batchnorm", same, "tanh", "batchnorm", "maxpool 2", same, "dropout 0.5")
    layers = network_layers((*hidden, "avgpool 2", 8, "batchnorm"), 3, residual=True)
    relu, tanh, normed = Activation("relu"), Activation("tanh"), BatchNorm()
    convolution = Convolution(4, 3, padding="same")
    assert layers == (
        *(Convolution(4, 3), normed, relu),
        *(Residual((convolution, tanh, normed)), MaxPool(2)),
        *(Residual((convolution, relu, Dropout(0.5))), AvgPool(2)),
        *(Flatten(), Linear(8), normed, relu, Linear(3)),
    )
    assert common_kind(without_dropout(layers)) == ("mixed", True)
    assert network_layers(("maxpool 2",), 3) == (MaxPool(2), Flatten(), Linear(3))


def test_a_convolution_that_changes_its_shape_has_no_residual_connection() -> None:
    for hidden in (("conv 4 3 padding same", "conv 5 3 padding same"), ("conv 4 3", "conv 4 3")):
        with pytest.raises(ConfigError, match=r"^residual: found with hidden"):
            TrainConfig(hidden=hidden, residual=True)


def test_objects_of_images_are_stored_as_text() -> None:
    objects = (Convolution(6, 5, padding=2), BatchNorm(), MaxPool(2), Convolution(4, 3), 7)
    config = TrainConfig(hidden=objects)  # type: ignore[arg-type]
    assert config.hidden == ("conv 6 5 padding 2", "batchnorm", "maxpool 2", "conv 4 3", 7)
    for wrong in (Convolution(6, 4, padding="same"), MaxPool(0), Flatten()):
        with pytest.raises(ConfigError, match=r"^hidden: found"):
            TrainConfig(hidden=(wrong, 5))  # type: ignore[arg-type]


def test_factors_are_given_for_each_convolution_and_linear_layer() -> None:
    hidden = ("conv 6 5", "batchnorm", "maxpool 2", 120)
    factors = TrainConfig(hidden=hidden, learning_rate_factors=(0, 1, 2)).layer_factors()
    assert factors is not None
    assert factors.decays == (1, 1, 1)
    with pytest.raises(ConfigError, match="each convolution and each linear layer"):
        TrainConfig(hidden=hidden, weight_decay_factors=(0, 1))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("hidden", [(8,), (8, 8), (5, 8, 8, 3)])
def test_plain_networks_are_recognised(hidden: tuple[int, ...], residual: bool) -> None:
    layers = network_layers(hidden, 3, activation="tanh", residual=residual)
    pairs = any(a == b for a, b in pairwise(hidden))
    assert common_kind(layers) == ("tanh", residual and pairs)


@pytest.fixture
def part() -> Dataset:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=90)
    images = np.clip(rng.integers(0, 90, (90, 12)) + 80 * labels[:, None], 0, 255)
    return Dataset(images.astype(np.uint8), labels, (1, 3, 4), ("a", "b", "c"), "made up")


def test_a_mixed_network_is_trained_kept_and_read_back(part: Dataset, tmp_path) -> None:
    hidden = (8, "tanh", 8, "sigmoid", "dropout 0.25", 8)
    config = TrainConfig(hidden=hidden, residual=True, epochs=3, dtype="float64")
    network = train(config, part).network
    assert repr(network) == "Network(12-8-8-8-3, residual mixed, float64)"

    network.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.layers == network.layers
    np.testing.assert_array_equal(again.predict_proba(part), network.predict_proba(part))

    first, second, third, last = zip(network.weights, network.biases, strict=True)
    X = network.normalization.apply(part.images)
    H = np.tanh(X @ first[0].T + first[1])
    H = H + 1 / (1 + np.exp(-(H @ second[0].T + second[1])))
    H = H + np.maximum(H @ third[0].T + third[1], 0)
    logits = H @ last[0].T + last[1]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(network.predict_proba(part), shares, rtol=1e-10)


def test_layers_must_fit_the_weights(part: Dataset) -> None:
    network = train(TrainConfig(hidden=(8,), epochs=1), part).network
    with pytest.raises(DataError, match=r"^layers: found widths \(12, 9, 3\), expected"):
        Network(
            network.weights,
            network.biases,
            layers=network_layers((9,), 3),
            normalization=network.normalization,
            classes=network.classes,
            shape=network.shape,
        )
