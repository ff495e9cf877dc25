"""Network: what a trained model predicts, and that its file gives it back to the bit."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.datasets import Dataset, Normalization
from fastmlp.errors import DataError, FormatError
from fastmlp.kernels.activations import ACTIVATIONS as KNOWN
from fastmlp.training.config import TrainConfig
from fastmlp.training.network import Network, load
from fastmlp.training.parameters import initialize
from fastmlp.training.trainer import train

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda Z: np.maximum(Z, 0),
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
    "tanh": np.tanh,
}


def forward(network: Network, X: np.ndarray) -> np.ndarray:
    """Return the logits, image by image: the definition, in float64."""
    logits = [network.normalization.apply(row[None])[0] for row in X]
    *hidden, last = zip(network.weights, network.biases, strict=True)
    for W, b in hidden:
        outputs = [ACTIVATIONS[network.activation](W @ row + b) for row in logits]
        if network.residual and W.shape[0] == W.shape[1] and W is not network.weights[0]:
            outputs = [new + row for new, row in zip(outputs, logits, strict=True)]
        logits = outputs
    return np.array([last[0] @ row + last[1] for row in logits], network.dtype)


@pytest.fixture
def plain_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict without compiled code."""
    monkeypatch.setattr("fastmlp.training.network.forward", forward)


def make(
    sizes: tuple[int, ...] = (12, 5, 5, 3),
    activation: str = "relu",
    residual: bool = False,
    dtype: str = "float32",
    seed: int = 0,
) -> Network:
    rng = np.random.default_rng(seed)
    weights, biases = initialize(sizes, "torch", rng, dtype)
    return Network(
        weights,
        biases,
        activation=activation,
        residual=residual,
        normalization=Normalization(rng.uniform(100, 150, sizes[0]), rng.uniform(50, 70, sizes[0])),
        classes=[f"class {label}" for label in range(sizes[-1])],
        shape=(3, 2, sizes[0] // 6) if sizes[0] % 6 == 0 else (1, 1, sizes[0]),
    )


def images(count: int, values: int = 12) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, values), np.uint8)


def assert_same(a: Network, b: Network) -> None:
    assert (a.sizes, a.dtype, a.activation, a.residual, a.classes, a.shape) == (
        (b.sizes, b.dtype, b.activation, b.residual, b.classes, b.shape)
    )
    for mine, other in (
        *zip(a.weights, b.weights, strict=True),
        *zip(a.biases, b.biases, strict=True),
        (a.normalization.mean, b.normalization.mean),
        (a.normalization.std, b.normalization.std),
    ):
        assert mine.dtype == other.dtype
        assert mine.tobytes() == other.tobytes()


# --- predict


@pytest.mark.usefixtures("plain_engine")
def test_probabilities_are_the_softmax_and_predictions_their_largest() -> None:
    network, X = make(), images(50)
    logits = forward(network, X).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = network.predict_proba(X)
    assert probabilities.dtype == np.float64
    assert np.allclose(probabilities, expected, rtol=1e-14)
    assert network.predict(X).dtype == np.int64
    assert np.array_equal(network.predict(X), expected.argmax(axis=1))
    assert len(np.unique(network.predict(X))) > 1
    labels = np.zeros(50, np.int64)
    dataset = Dataset(X, labels, (3, 2, 2), ("a", "b", "c"), "made up", None)
    assert np.array_equal(network.predict_proba(dataset), probabilities)


@pytest.mark.usefixtures("plain_engine")
@pytest.mark.parametrize("outputs", [2, 3, 10, 17])
def test_a_row_does_not_depend_on_the_others(outputs: int) -> None:
    network, X = make((12, outputs)), images(70)
    together = network.predict_proba(X)
    for count in (1, 2, 7):
        assert np.array_equal(network.predict_proba(X[:count]), together[:count])
    assert network.predict_proba(X[:0]).shape == (0, outputs)
    assert network.predict(X[:0]).shape == (0,)


@pytest.mark.usefixtures("plain_engine")
def test_large_logits_do_not_overflow() -> None:
    network = make((12, 3), dtype="float64")
    far = Network.from_state_dict(
        {name: 1e6 * array for name, array in network.state_dict().items()}
    )
    assert np.isfinite(far.predict_proba(images(9))).all()


@pytest.mark.usefixtures("plain_engine")
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            images(2, 13),
            r"found shape \(2, 13\), expected \[N, 12\] \(3 x 2 x 2 values an image\)$",
        ),
        (images(2)[0], r"found shape \(12,\), .*; pass X\[None, :\] for one image$"),
        (
            images(2).reshape(2, 3, 2, 2),
            r"found shape \(2, 3, 2, 2\), .*; pass X.reshape\(len\(X\), -1\)$",
        ),
        (np.uint8(3), r"found shape \(\), expected"),
        (images(2).astype(np.int64), "found int64, expected uint8, float32, float64$"),
        ([["a"] * 12], "found <U1, expected uint8"),
        (np.full((2, 12), np.nan), "found values that are not finite, expected grey levels$"),
        (np.full((2, 12), -np.inf, np.float32), "found values that are not finite"),
        (np.full((2, 12), 1e200), "found outputs that are not finite"),
    ],
)
def test_images_of_another_kind_are_refused(X: Any, message: str) -> None:
    network = make()
    with np.errstate(all="ignore"), pytest.raises(DataError, match=f"^X: {message}"):
        network.predict(X)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-4)])
def test_compiled_forward_is_the_definition(dtype: str, tolerance: float) -> None:
    network, X = make(dtype=dtype), images(70)
    expected = np.exp(forward(network, X).astype(np.float64))
    expected /= expected.sum(axis=1, keepdims=True)
    found = network.predict_proba(X)
    assert np.allclose(found, expected, rtol=tolerance)
    for row in range(0, 70, 23):
        assert np.array_equal(network.predict_proba(X[row : row + 1]), found[row : row + 1])


# --- construction


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": []}, "weights: found no layer"),
        ({"biases": [np.zeros(3)]}, "biases: found 1, expected 2"),
        ({"weights": [np.zeros(5), np.zeros((3, 5))]}, r"weights\[0\]: found shape \(5,\)"),
        ({"weights": [np.zeros((5, 12)), np.zeros((3, 4))]}, r"2.weight: .*\(3, 4\), .*\(3, 5\)"),
        ({"biases": [np.zeros(4), np.zeros(3)]}, r"0.weight: found float64 \(5, 12\), .*\(4, 12\)"),
        ({"biases": [np.zeros((5, 1)), np.zeros(3)]}, r"biases\[0\]: found shape \(5, 1\)"),
        ({"biases": [np.zeros(5, "f"), np.zeros(3)]}, "0.bias: found float32 .* expected float64"),
        ({"weights": [np.zeros((5, 12), "e"), np.zeros((3, 5), "e")]}, "dtype: found 'float16'"),
        ({"weights": [np.zeros((5, 0)), np.zeros((3, 5))]}, r"sizes: found \[0, 5, 3\]"),
        ({"activation": "swish"}, "activation: found 'swish', expected "),
        ({"residual": 1}, "residual: found 1"),
        ({"normalization": Normalization(np.zeros(3), np.ones(12))}, "normalization.mean: found"),
        ({"classes": ["cat", "dog"]}, r"classes: found \['cat', 'dog'\], .* 3 outputs"),
        ({"classes": ["cat", "dog", "\x1b[2J"]}, "classes: .* printable"),
        ({"shape": (12,)}, r"shape: found \[12\], expected three numbers"),
        ({"shape": (3, 2, 3)}, r"shape: found \[3, 2, 3\], expected a product of 12, the inputs"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    parts: dict[str, Any] = {
        "weights": [np.zeros((5, 12)), np.zeros((3, 5))],
        "biases": [np.zeros(5), np.zeros(3)],
        "activation": "relu",
        "residual": False,
        "normalization": Normalization(np.zeros(12), np.ones(12)),
        "classes": ["cat", "dog", "T-shirt/top"],
        "shape": (3, 2, 2),
    }
    assert repr(Network(**parts)) == "Network(12-5-3, relu, float64)"
    with pytest.raises(DataError, match=f"^{message}"):
        Network(**parts | changes)


# --- PyTorch


def test_state_survives_a_round_trip_as_copies() -> None:
    network = make()
    state = network.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]
    again = Network.from_state_dict(
        state,
        activation=network.activation,
        normalization=network.normalization,
        classes=network.classes,
        shape=network.shape,
    )
    assert_same(again, network)
    state["0.weight"][:] = 0
    assert_same(again, network)


@pytest.mark.usefixtures("plain_engine")
@pytest.mark.parametrize(("activation", "module"), [("relu", "ReLU"), ("tanh", "Tanh")])
def test_sequential_loads_the_state_and_agrees(activation: str, module: str) -> None:
    torch = pytest.importorskip("torch")
    network, X = make((12, 5, 4, 3), activation), images(20)
    state = {name: torch.from_numpy(array) for name, array in network.state_dict().items()}
    layers = [torch.nn.Linear(12, 5), torch.nn.Linear(5, 4), torch.nn.Linear(4, 3)]
    other = getattr(torch.nn, module)()
    sequential = torch.nn.Sequential(layers[0], other, layers[1], other, layers[2])
    sequential.load_state_dict(state, strict=True)
    with torch.no_grad():
        logits = sequential(torch.from_numpy(network.normalization.apply(X)).float()).numpy()
    assert np.allclose(forward(network, X), logits, atol=1e-6)

    back = Network.from_state_dict(
        sequential.state_dict(), activation=activation, normalization=network.normalization
    )
    assert np.array_equal(back.predict_proba(X), network.predict_proba(X))
    assert back.classes == ("0", "1", "2")
    with pytest.raises(FormatError, match=r"state: 0.bias: found no array .*BFloat16"):
        Network.from_state_dict(dict(state) | {"0.bias": state["0.bias"].bfloat16()})


@pytest.mark.parametrize(
    "names", [[], ["0.weight"], ["0.weight", "0.bias", "1.weight", "1.bias"], ["weight", "bias"]]
)
def test_a_state_with_other_names_is_refused(names: list[str]) -> None:
    with pytest.raises(FormatError, match=r"^state: found \[.*\], expected \['0.weight', '0.bias'"):
        Network.from_state_dict(dict.fromkeys(names, np.zeros(1)))


# --- files


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple),
    activation=st.sampled_from(tuple(KNOWN)),
    residual=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 9),
)
def test_a_file_gives_the_network_back(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: tuple[int, ...],
    activation: str,
    residual: bool,
    dtype: str,
    seed: int,
) -> None:
    network = make(sizes, activation, residual, dtype, seed)
    folder = tmp_path_factory.getbasetemp()
    network.save(folder / "a.safetensors")
    again = load(str(folder / "a.safetensors"))
    assert_same(again, network)
    again.save(folder / "b.safetensors")
    assert (folder / "a.safetensors").read_bytes() == (folder / "b.safetensors").read_bytes()


def test_tensors_have_pytorchs_names_and_layout(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    network = make()
    network.save(tmp_path / "model.safetensors")
    tensors = load_file(tmp_path / "model.safetensors")
    scaling = {"normalization.mean": network.normalization.mean,
               "normalization.std": network.normalization.std}  # fmt: skip
    expected = network.state_dict() | scaling
    assert set(tensors) == set(expected)
    assert all(np.array_equal(tensors[name], expected[name]) for name in expected)


def test_a_damaged_model_is_refused_or_the_same(tmp_path: Path) -> None:
    network, path = make((3, 2), dtype="float64"), tmp_path / "model.safetensors"
    network.save(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for mutant in (
            whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :],
            whole[:position],
        ):
            path.write_bytes(mutant)
            with contextlib.suppress(FormatError):
                assert_same(load(path), network)


DESCRIPTION = {
    "activation": "relu",
    "classes": ["cat", "dog"],
    "dtype": "float64",
    "residual": False,
    "shape": [1, 1, 3],
    "sizes": [3, 2],
}


@pytest.mark.parametrize(
    "description",
    [
        None,
        [],
        {},
        DESCRIPTION | {"more": 1},
        DESCRIPTION | {"activation": ["relu"]},
        DESCRIPTION | {"classes": [1, 2]},
        DESCRIPTION | {"classes": "ab"},
        DESCRIPTION | {"classes": ["\ud800", "b"]},
        DESCRIPTION | {"dtype": {}},
        DESCRIPTION | {"dtype": "float16"},
        DESCRIPTION | {"residual": 0},
        DESCRIPTION | {"shape": [1, 3]},
        DESCRIPTION | {"shape": [1, -1, -3]},
        DESCRIPTION | {"shape": [1, True, 3]},
        DESCRIPTION | {"sizes": [3]},
        DESCRIPTION | {"sizes": [3, 2.0]},
        DESCRIPTION | {"sizes": [3, 10**30]},
        DESCRIPTION | {"sizes": [3, 3, 2]},
        DESCRIPTION | {"sizes": "32"},
    ],
)
def test_a_description_of_no_network_is_refused(tmp_path: Path, description: Any) -> None:
    from fastmlp.machine.files import write_tensors

    path, network = tmp_path / "model.safetensors", make((3, 2), dtype="float64")
    tensors = network.state_dict() | {
        "normalization.mean": np.zeros(3),
        "normalization.std": np.ones(3),
    }
    write_tensors(path, "network", DESCRIPTION, tensors)
    assert load(path).classes == ("cat", "dog")
    write_tensors(path, "network", description, tensors)
    with pytest.raises(FormatError, match=r"model.safetensors: .*found .*, expected "):
        load(path)
    write_tensors(path, "network", DESCRIPTION, tensors | {"normalization.std": np.zeros(3)})
    with pytest.raises(FormatError, match=r"normalization.std: found a value of 0"):
        load(path)


def test_a_diverged_network_is_not_saved(tmp_path: Path) -> None:
    network = make()
    network.weights[1][0, 0] = np.nan
    with pytest.raises(FormatError, match=r"2.weight: found values that are not finite"):
        network.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_network_of_a_table_says_that_it_takes_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"age": [1.5, 2.5, 3.5, None], "left": ["yes", "no", "no", "yes"]})
    data = Dataset.from_table(table, label="left")
    network = train(TrainConfig(hidden=(), epochs=1), data).network
    for wrong in ("new.csv", np.zeros((1, 4))):
        with pytest.raises(DataError, match=r"expected a data frame with .*, or their features"):
            network.predict(wrong)
