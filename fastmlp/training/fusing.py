"""Which layers the kernels compute together: a linear layer and what follows it."""

from __future__ import annotations

from collections.abc import Sequence

from fastmlp.kernels.layers.linear import FusedLinear
from fastmlp.training.layers import Activation, Dropout, Layer, Linear, Residual


def fused(layers: Sequence[Layer], inputs: int, group_by_layer: bool = False) -> list[FusedLinear]:
    """Return each linear layer of a network together with its activation, dropout and residual connection.

    Parameters
    ----------
    layers : sequence of Layer
    inputs : int
        Width of the first layer's input.
    group_by_layer : bool
        Whether the optimiser has numbers of its own for each layer; otherwise one set for all weights and one for all
        biases.
    """
    found: list[FusedLinear] = []

    def add(layer: Layer, is_residual: bool = False) -> None:
        match layer:
            case Linear(outputs):
                before = found[-1].outputs if found else inputs
                first = 2 * len(found) if group_by_layer else 0
                group = first, first + 1
                found.append(FusedLinear(before, outputs, "identity", 0.0, is_residual, group))
            case Activation(name):
                found[-1] = found[-1]._replace(activation=name)
            case Dropout(rate):
                found[-1] = found[-1]._replace(dropout=rate)
            case Residual(inner):
                for one in inner:
                    add(one, True)

    for layer in layers:
        add(layer)
    return found
