"""Pictures of networks: what layers make of images, filters, the images with the highest loss."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastmlp.datasets import Dataset, Normalization
from fastmlp.studies import measures, pictures
from fastmlp.studies.features import outputs_of
from fastmlp.training.layers import Activation, Head, network_layers
from fastmlp.training.network import Network
from fastmlp.training.shapes import parameter_names
from tests.torch_networks import sequential


def network_of(hidden: Sequence[Any], shape: tuple[int, int, int], classes: str = "abc") -> Network:
    """Return a linear network with drawn weights."""
    rng = np.random.default_rng(5)
    sizes = (int(np.prod(shape)), *hidden, len(classes))
    return Network(
        [rng.normal(size=(n, m)) for m, n in pairwise(sizes)],
        [rng.normal(size=n) for n in sizes[1:]],
        normalization=Normalization(np.full(sizes[0], 100.0), np.full(sizes[0], 50.0)),
        classes=tuple(classes),
        shape=shape,
    )


@pytest.mark.peers
@pytest.mark.parametrize(
    "hidden",
    [
        ("conv 4 5", "maxpool 2", 9),
        ("conv 3 3 stride 2 padding 1", "batchnorm", "tanh", "avgpool 3", 7, "batchnorm"),
        ("conv 2 1", "conv 5 3 padding same", "maxpool 3"),
    ],
)
def test_outputs_are_those_of_torch(hidden: Sequence[Any]) -> None:
    torch = pytest.importorskip("torch")
    shape = (3, 11, 14)
    layers = network_layers(hidden, 4)
    model = sequential(layers, shape).double()
    for module in model:
        if hasattr(module, "running_mean"):  # what training leaves there
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    state = {name: one.numpy() for name, one in model.state_dict().items()}
    arrays = [state[name] for name in parameter_names(layers)]
    scaling = Normalization(np.full(462, 127.5), np.full(462, 127.5))
    network: Any = SimpleNamespace(
        weights=arrays[::2], biases=arrays[1::2], layers=layers, shape=shape, normalization=scaling
    )
    images = np.random.default_rng(1).integers(0, 256, (5, 462), dtype=np.uint8)
    found = outputs_of(network, images)

    x, expected = torch.from_numpy(scaling.apply(images).reshape(-1, *shape)), []
    with torch.no_grad():
        for layer, module in zip(layers, model.eval(), strict=True):
            x = module(x)
            if isinstance(layer, Head):
                expected.append(x.numpy())
            elif expected and not isinstance(module, torch.nn.Flatten):
                expected[-1] = x.numpy()
    assert len(found) == len(expected)
    for (_, ours), theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_residual_connection_adds_its_input() -> None:
    network = network_of([6, 6], (1, 4, 5))
    residual = Network(
        network.weights,
        network.biases,
        residual=True,
        normalization=network.normalization,
        classes=network.classes,
        shape=network.shape,
    )
    images = np.random.default_rng(2).integers(0, 256, (3, 20), dtype=np.uint8)
    plain, added = outputs_of(network, images), outputs_of(residual, images)
    assert [name for name, _ in added] == ["linear 6, relu", "residual(linear 6, relu)", "linear 3"]
    np.testing.assert_allclose(added[1][1], plain[0][1] + plain[1][1])
    logits = added[-1][1]
    assert (logits.argmax(axis=1) == residual.predict(images)).all()
    assert Activation("relu") in network.layers


def test_channels_stand_side_by_side() -> None:
    values = np.arange(18 * 2 * 3.0).reshape(18, 2, 3)
    montage = pictures._montage(values)
    assert montage.shape == (2 * 2 + 1, 16 * 3 + 15)
    np.testing.assert_array_equal(montage[:2, 4:7], values[1])
    np.testing.assert_array_equal(montage[3:, 4:7], values[17])
    assert np.isnan(montage[2]).all()
    assert np.isnan(montage[3:, 7:]).all()


def shown(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Return the list that every picture from now on is added to."""
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(pictures, "_picture", lambda axes, values, shape: drawn.append(values))
    return drawn


def test_the_hardest_images_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, rng = network_of([], (1, 4, 5)), np.random.default_rng(3)
    images = rng.integers(0, 256, (60, 20), dtype=np.uint8)
    test = Dataset(images, rng.integers(0, 3, 60), (1, 4, 5), ("a", "b", "c"), "made up")
    chances = network.predict_proba(images)[np.arange(60), test.labels]
    drawn = shown(monkeypatch)
    pictures.draw_hardest(network, test, tmp_path / "a.png")
    expected = images[np.argsort(chances)[:25]] / 255
    np.testing.assert_array_equal(drawn, expected)


def test_weights_of_a_hidden_layer_and_filters_are_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = shown(monkeypatch)
    hidden = network_of([23], (1, 4, 5))
    filters: Any = SimpleNamespace(
        weights=[np.random.default_rng(0).normal(size=(6, 3, 5, 5)), None], shape=(3, 9, 9)
    )
    networks = [("hidden", hidden), ("filters", filters)]
    pictures.draw_weights(networks, tmp_path / "a.png")
    assert [one.shape for one in drawn] == [(20,)] * 23 + [(3, 5, 5)] * 6
    assert all((one.min(), one.max()) == (0, 1) for one in drawn)
    assert (tmp_path / "a.png").exists()


def test_features_of_images_and_of_widths_can_be_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = network_layers(["conv 20 3", "maxpool 2", 7], 3)
    filters: Any = SimpleNamespace(
        weights=[
            rng.normal(size=(20, 1, 3, 3)),
            rng.normal(size=(7, 180)),
            rng.normal(size=(3, 7)),
        ],
        biases=[np.zeros(20), np.zeros(7), np.zeros(3)],
        layers=layers,
        shape=(1, 8, 9),
        normalization=Normalization(np.zeros(72), np.ones(72)),
    )
    for name, network in (("a", filters), ("b", network_of([5], (1, 8, 9)))):
        pictures.draw_features(network, rng.integers(0, 256, 72), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_the_most_frequent_errors_come_first() -> None:
    counts = np.array(
        [[[90.0, 3, 0], [1, 80, 2], [0, 0, 70]], [[90, 2, 0], [4, 80, 2], [0, 1, 70]]]
    )
    assert measures._most_confused(counts)[:4] == [(0, 1), (1, 0), (1, 2), (2, 1)]
