"""Shapes, parameters and multiply-adds of layers, compared with PyTorch's."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from torch_networks import sequential

from fastmlp import ConfigError
from fastmlp.training.layers import Activation, flat, network_layers, without_dropout
from fastmlp.training.shapes import multiply_adds, parameter_names, parameter_shapes, shapes_of

LENET = ("conv 6 5", "maxpool 2", "conv 16 5", "maxpool 2", 120, 84)
MIXED = (
    "conv 4 3 stride 2 padding 1",
    "batchnorm",
    "avgpool 3",
    "conv 5 4 padding 3",
    9,
    "batchnorm",
)


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 22)])
@pytest.mark.parametrize("hidden", [LENET, MIXED, ("maxpool 2",), ("conv 2 5 stride 3 padding 7",)])
def test_shapes_and_parameters_are_those_of_torch(hidden: Sequence[Any], shape: Any) -> None:
    torch = pytest.importorskip("torch")
    layers = network_layers(hidden, 10)
    model = sequential(layers, shape)
    found, x = [], torch.zeros(2, *shape)
    for module in model:
        x = module(x)
        found.append(tuple(x.shape[1:]))
    assert shapes_of(layers, shape) == found

    state = {name: tuple(one.shape) for name, one in model.state_dict().items() if one.ndim}
    names = parameter_names(layers)
    given = [one for pair in parameter_shapes(layers, shape) for one in pair]
    assert list(zip(names, given, strict=True)) == list(state.items())


@pytest.mark.peers
def test_multiply_adds_are_those_that_torch_counts() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    layers = network_layers(LENET, 10)
    model = sequential(layers, (3, 32, 32))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert 2 * sum(multiply_adds(layers, (3, 32, 32))) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        (("maxpool 2", "conv 3 5"), "'conv 3 5' is given 2 x 3 x 4 (channels x height x width): the kernel"),
        (("avgpool 7",), "'avgpool 7' is given 2 x 6 x 8 (channels x height x width): the window"),
    ],
)  # fmt: skip
def test_a_shape_that_does_not_work_out_is_one_line(hidden: Sequence[str], told: str) -> None:
    with pytest.raises(ConfigError, match="^hidden: " + re.escape(told) + ".*expected at least"):
        shapes_of(network_layers(hidden, 3), (2, 6, 8))
    with pytest.raises(ConfigError, match=r"is given 96 numbers, which are no image"):
        shapes_of(network_layers(hidden[-1:], 3), (96,))


def test_a_linear_network_needs_no_image() -> None:
    layers = network_layers((8, 8), 3, residual=True)
    pairs = [((8, 12), (8,)), ((8, 8), (8,)), ((3, 8), (3,))]
    assert parameter_shapes(layers, (3, 2, 2)) == parameter_shapes(layers, (12,)) == pairs
    assert shapes_of(layers, (12,)) == [(8,), (8,), (8,), (8,), (3,)]
    assert without_dropout(layers) == layers
    assert sum(isinstance(one, Activation) for one in flat(layers)) == 2
