"""Networks of images: names, files and tables of their layers; predictions beside PyTorch's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_networks import outputs_of, sequential

from fastmlp import DataError, Network, TrainConfig, load
from fastmlp.datasets import Normalization
from fastmlp.errors import FormatError
from fastmlp.machine.files import read_tensors, write_tensors
from fastmlp.training.layers import ACTIVATIONS, Dropout, network_layers, without_dropout
from fastmlp.training.parameters import initialize_layers
from fastmlp.training.shapes import parameter_names, parameter_shapes

SHAPE = (2, 9, 7)
SAME = "conv 4 3 padding same"
HIDDEN = ("conv 4 3", "batchnorm", SAME, "maxpool 2", "dropout 0.2", SAME, "tanh", 6, "batchnorm")
FIRST = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")


def make(hidden: Any = HIDDEN, dtype: str = "float64", **settings: Any) -> Network:
    """Return a network with drawn parameters, those of batchnorms included."""
    rng = np.random.default_rng(0)
    layers = without_dropout(network_layers(hidden, 3, **settings))
    weights, biases = initialize_layers(layers, SHAPE, "torch", rng, dtype)
    for array in (one for one in (*weights, *biases) if one.ndim == 1):
        array[:] = rng.uniform(0.5, 1.5, len(array))
    normalization = Normalization(rng.uniform(100, 150, 126), rng.uniform(50, 70, 126))
    return Network(
        weights,
        biases,
        layers=layers,
        normalization=normalization,
        classes=("a", "b", "c"),
        shape=SHAPE,
    )


def images(count: int = 30) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 126), np.uint8)


def torch_probabilities(network: Network, X: np.ndarray) -> np.ndarray:
    """Return what PyTorch's modules predict with the parameters of a network."""
    torch = pytest.importorskip("torch")
    model = sequential(network.layers, SHAPE).to(torch.float64)
    state = {name: torch.from_numpy(one) for name, one in network.state_dict().items()}
    model.load_state_dict(state, strict=True)
    x = torch.from_numpy(network.normalization.apply(X)).reshape(-1, *SHAPE)
    with torch.no_grad():
        logits = outputs_of(network.layers, model.eval(), x)
        return np.asarray(torch.softmax(logits, dim=1))


@pytest.mark.peers
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_predictions_are_those_of_torch(activation: str, residual: bool) -> None:
    network = make(activation=activation, residual=residual)
    expected = torch_probabilities(network, images())
    np.testing.assert_allclose(network.predict_proba(images()), expected, rtol=1e-10)
    alone = network.predict_proba(images()[7:8])
    np.testing.assert_array_equal(alone, network.predict_proba(images())[7:8])


@pytest.mark.peers
@pytest.mark.parametrize("hidden", [("avgpool 2", 5), ("conv 3 4 stride 2 padding 3", "avgpool 3")])
def test_other_layers_predict_as_in_torch(hidden: Any) -> None:
    network = make(hidden)
    expected = torch_probabilities(network, images())
    np.testing.assert_allclose(network.predict_proba(images()), expected, rtol=1e-10)


@pytest.mark.peers
def test_the_state_of_torchs_modules_makes_a_network() -> None:
    torch = pytest.importorskip("torch")
    layers = network_layers(HIDDEN, 3)
    assert any(isinstance(one, Dropout) for one in layers)  # a module, which shifts names
    model = sequential(layers, SHAPE)
    network = Network.from_state_dict(model.state_dict(), layers=layers, shape=SHAPE)
    assert network.layers == without_dropout(layers)
    assert network.classes == ("0", "1", "2")
    for name, mine in zip(parameter_names(layers)[::2], network.weights, strict=True):
        np.testing.assert_array_equal(mine, torch.Tensor.numpy(model.state_dict()[name]))
    with pytest.raises(DataError, match=r"^shape: found None, expected \(channels"):
        Network.from_state_dict(model.state_dict(), layers=layers)
    with pytest.raises(FormatError, match=r"^state: found .*Sequential of the layers"):
        Network.from_state_dict(model.state_dict(), layers=layers[1:], shape=SHAPE)


def test_a_state_has_the_names_of_a_sequential() -> None:
    state = make().state_dict()
    assert list(state) == [
        *(*FIRST, "1.num_batches_tracked", "3.weight", "3.bias", "6.weight", "6.bias"),
        *("9.weight", "9.bias", "10.weight", "10.bias", "10.running_mean", "10.running_var"),
        *("10.num_batches_tracked", "12.weight", "12.bias"),
    ]
    assert state["1.num_batches_tracked"].dtype == np.int64
    assert state["1.num_batches_tracked"].ndim == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [HIDDEN, ("maxpool 2",), (5, "batchnorm", 5)])
@pytest.mark.parametrize("residual", [False, True])
def test_a_file_gives_the_network_back(
    hidden: Any, dtype: str, residual: bool, tmp_path: Path
) -> None:
    network = make(hidden, dtype, residual=residual)
    network.save(tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert (again.layers, again.shape, again.sizes) == (network.layers, SHAPE, network.sizes)
    for mine, other in zip(again.state_dict().items(), network.state_dict().items(), strict=True):
        assert mine[0] == other[0]
        assert mine[1].tobytes() == other[1].tobytes()
    again.save(tmp_path / "b.safetensors")
    a, b = (tmp_path / f"{name}.safetensors" for name in "ab")
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize(
    "layers",
    [
        ["conv 4 3", "linear 3"],
        ["conv 4 3", "flatten"],
        ["flatten", "linear 3"],
        ["linear 4", "conv 4 3", "flatten", "linear 3"],
        ["conv 4 9", "flatten", "linear 3"],
        ["conv 4 3", "residual(conv 4 3)", "flatten", "linear 3"],
        ["residual(linear 126, relu)", "linear 3"],
        ["linear 5", "residual(linear 4, relu)", "linear 3"],
        ["linear 5", "residual(linear 5, relu, linear 5)", "linear 3"],
        ["linear 5", "residual(residual(linear 5, relu))", "linear 3"],
        ["linear 3", "residual(linear 3)"],
        ["batchnorm", "linear 3"],
        ["relu"],
    ],
)
def test_layers_that_are_no_network_are_refused(layers: list[str], tmp_path: Path) -> None:
    path, network = tmp_path / "model.safetensors", make(("conv 4 3",))
    network.save(path)
    description, tensors = read_tensors(path, "network", lambda _: _layout(network))
    assert description["layers"] == ["conv 4 3", "relu", "flatten", "linear 3"]
    write_tensors(path, "network", description | {"layers": layers}, tensors)
    with pytest.raises(FormatError, match=r"model.safetensors: layers: .*expected "):
        load(path)


def _layout(network: Network) -> Any:
    shapes = [one for pair in parameter_shapes(network.layers, SHAPE) for one in pair]
    names = parameter_names(network.layers)
    scaling = {f"normalization.{name}": ("float64", (126,)) for name in ("mean", "std")}
    return {name: ("float64", one) for name, one in zip(names, shapes, strict=True)} | scaling


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"weights": [np.zeros((4, 9)), np.zeros((3, 140))]},
            r"weights\[0\]: found shape \(4, 9\)",
        ),
        (
            {"weights": [np.zeros((4, 2, 3, 3))] * 3, "biases": [np.zeros(4)] * 3},
            "weights: found 3",
        ),
        ({"weights": [np.zeros((4, 1, 3, 3)), np.zeros((3, 140))]}, "0.weight: found"),
        ({"shape": (2, 7, 9)}, ""),
        ({"shape": (1, 2, 63)}, "layers: 'conv 4 3' is given 1 x 2 x 63 .*: the kernel does not"),
        ({"shape": (2, 7, 8)}, "normalization.mean: found|shape: found|3.weight: found"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    network = make(("conv 4 3",))
    parts: dict[str, Any] = {
        "weights": network.weights,
        "biases": network.biases,
        "layers": network.layers,
        "normalization": network.normalization,
        "classes": network.classes,
        "shape": SHAPE,
    }
    Network(**parts)
    if not message:  # as many numbers, turned
        Network(**parts | changes)
        return
    with pytest.raises(DataError, match=f"^{message}"):
        Network(**parts | changes)


def test_what_a_person_reads() -> None:
    network = make((SAME, "maxpool 2", SAME, 6), residual=True)
    assert repr(network) == (
        "Network(2 x 9 x 7, conv 4 3 padding same, relu, maxpool 2, "
        "residual(conv 4 3 padding same, relu), flatten, linear 6, relu, linear 3, float64)"
    )
    assert network.sizes == (126, 4, 4, 6, 3)
    assert network.summary().splitlines() == [
        "layer                    output     parameters  multiply-adds",
        "input                    2 x 9 x 7",
        "conv 4 3 padding same    4 x 9 x 7          76          4,536",
        "relu                     4 x 9 x 7",
        "maxpool 2                4 x 4 x 3",
        "residual                 4 x 4 x 3",
        "  conv 4 3 padding same  4 x 4 x 3         148          1,728",
        "  relu                   4 x 4 x 3",
        "flatten                  48",
        "linear 6                 6                 294            288",
        "relu                     6",
        "linear 3                 3                  21             18",
        "total                                      539          6,570",
    ]
    assert "batchnorm  " in make((5, "batchnorm")).summary()


def test_the_number_of_parameters_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    network = make()
    model: Any = sequential(network.layers, SHAPE)
    count = sum(one.numel() for one in model.parameters())
    assert isinstance(model, torch.nn.Module)
    assert network.summary().splitlines()[-1].split()[1] == f"{count:,}"


def test_plain_networks_are_written_as_before(tmp_path: Path) -> None:
    network = make((5, 5), residual=True)
    network.save(tmp_path / "model.safetensors")
    names = ("activation", "classes", "dtype", "residual", "shape", "sizes")
    description, _ = read_tensors(
        tmp_path / "model.safetensors", "network", lambda _: _layout(network)
    )
    assert tuple(description) == names
    assert TrainConfig(hidden=(5, 5), residual=True).layers(3) == network.layers
