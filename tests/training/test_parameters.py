"""The parameters that a training starts from: their spread, their order and their type."""

from typing import get_args

import numpy as np
import pytest

from fastmlp.training.config import Initialization
from fastmlp.training.parameters import initialize


@pytest.mark.parametrize(
    ("scheme", "weight_std", "bias_std"),
    [
        ("torch", (1 / 300 / 3) ** 0.5, (1 / 300 / 3) ** 0.5),
        ("he", (2 / 300) ** 0.5, 0),
        ("glorot", (2 / 700) ** 0.5, 0),
        ("normal", 0.03, 0.03),
        ("zeros", 0, 0),
    ],
)
def test_initial_parameters_have_the_spread_of_their_scheme(
    scheme: Initialization, weight_std: float, bias_std: float
) -> None:
    weights, biases = initialize((300, 400), scheme, np.random.default_rng(0), "float64", std=0.03)
    assert [W.shape for W in weights] == [(400, 300)]
    assert weights[0].std() == pytest.approx(weight_std, rel=0.01)
    assert biases[0].std() == pytest.approx(bias_std, rel=0.1)
    assert abs(weights[0].mean()) <= 4 * weight_std / 120_000**0.5
    if scheme == "torch":
        assert np.abs(weights[0]).max() <= 300**-0.5
        assert np.abs(biases[0]).max() == pytest.approx(300**-0.5, rel=0.01)


def test_initial_parameters_reach_as_far_as_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(300, 400)
    (W,), (b,) = initialize((300, 400), "torch", np.random.default_rng(0), "float32")
    for mine, theirs in ((W, layer.weight), (b, layer.bias)):
        theirs = theirs.detach().numpy()
        quantiles = np.linspace(0, 1, 5)
        assert np.allclose(np.quantile(mine, quantiles), np.quantile(theirs, quantiles), atol=0.01)


@pytest.mark.parametrize("scheme", get_args(Initialization))
def test_float32_starts_where_float64_does(scheme: Initialization) -> None:
    single, double = (
        initialize((6, 5, 4), scheme, np.random.default_rng(7), dtype)
        for dtype in ("float32", "float64")
    )
    for mine, other in zip((*single[0], *single[1]), (*double[0], *double[1]), strict=True):
        assert mine.dtype == np.float32
        assert np.array_equal(mine, other.astype(np.float32))


def test_parameters_are_drawn_layer_by_layer_weights_first() -> None:
    weights, biases = initialize((2, 3, 4), "normal", np.random.default_rng(5), "float64", std=1)
    drawn = np.random.default_rng(5).normal(size=2 * 3 + 3 + 3 * 4 + 4)
    parts = (weights[0], biases[0], weights[1], biases[1])
    assert np.array_equal(np.concatenate([part.ravel() for part in parts]), drawn)
