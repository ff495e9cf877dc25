"""A network as a list of layers: plain values without arrays or compiled code.

Everything else follows from the list: `sizes_of` returns the widths, `parameter_names` the names of the parameters, and
`fastmlp.training.engine` hands the list to the kernels. A layer is spelled in the same way in Python, in TOML and on
the command line: ``512`` or ``"linear 512"``, ``"relu"``, ``"dropout 0.5"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fastmlp.kernels.activations import ACTIVATIONS as ACTIVATIONS


@dataclass(frozen=True)
class Linear:
    """``X @ W + b``, with `outputs` columns."""

    outputs: int


@dataclass(frozen=True)
class Activation:
    """A function of each number; `name` is one of `fastmlp.kernels.activations.ACTIVATIONS`."""

    name: str


@dataclass(frozen=True)
class Dropout:
    """In training, set each output to zero with probability `rate`, and divide the others by 1 - rate."""

    rate: float


@dataclass(frozen=True)
class Residual:
    """Layers whose input is added to their output."""

    layers: tuple[Layer, ...]


Layer = Linear | Activation | Dropout | Residual

MIXED = "mixed"

EXPECTED = (
    "a width such as 512, an activation ("
    + ", ".join(ACTIVATIONS)
    + ') or dropout with its rate, "dropout 0.5"'
)


def parse_layer(text: str) -> Layer:
    """Return the layer that a text names.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    if text.startswith("residual(") and text.endswith(")"):
        inner = text.removeprefix("residual(").removesuffix(")").split(",")
        return Residual(tuple(parse_layer(one) for one in inner))
    name, *numbers = text.split() or [""]
    if name in ACTIVATIONS and not numbers:
        return Activation(name)
    if name == "linear" and len(numbers) == 1 and numbers[0].isdecimal() and int(numbers[0]) > 0:
        return Linear(int(numbers[0]))
    if name == "dropout" and len(numbers) == 1 and 0 <= float(numbers[0]) < 1:
        return Dropout(float(numbers[0]))
    raise ValueError(text)


def spell_layer(layer: Layer) -> str:
    """Return the text that `parse_layer` reads."""
    match layer:
        case Linear(outputs):
            return f"linear {outputs}"
        case Activation(name):
            return name
        case Dropout(rate):
            return f"dropout {rate!r}"
        case Residual(layers):
            return f"residual({', '.join(map(spell_layer, layers))})"


def spell_item(item: int | str | Layer) -> int | str:
    """Return a layer as `TrainConfig.hidden` stores it: a width as a number (not checked), another layer as text.

    Raises
    ------
    ValueError, TypeError
        If `hidden` cannot hold it.
    """
    if isinstance(item, int):
        return item
    layer = parse_layer(item) if isinstance(item, str) else item
    if isinstance(layer, Linear):
        return layer.outputs
    if isinstance(layer, Activation | Dropout):
        spelled = spell_layer(layer)
        parse_layer(spelled)  # refuses what has no such name or rate
        return spelled
    raise TypeError(item)


def misplaced(hidden: Sequence[int | str]) -> str | None:
    """Return in words which layer is in a wrong place, or None.

    An activation must follow a width, and a dropout a width or an activation.
    """
    before: Layer | None = None
    for item in hidden:
        layer = Linear(item) if isinstance(item, int) else parse_layer(item)
        may_follow: tuple[type, ...] = {
            Linear: (type(None), Linear, Activation, Dropout),
            Activation: (Linear,),
            Dropout: (Linear, Activation),
        }[type(layer)]
        if not isinstance(before, may_follow):
            place = "first" if before is None else f"after {spell_layer(before)!r}"
            return f"{spell_layer(layer)!r} {place}"
        before = layer
    return None


def widths_of(hidden: Iterable[int | str]) -> list[int]:
    """Return the widths among the items of `TrainConfig.hidden`."""
    return [item for item in hidden if isinstance(item, int)]


def network_layers(
    hidden: Sequence[int | str],
    outputs: int,
    *,
    activation: str = "relu",
    residual: bool = False,
    dropout: float = 0.0,
) -> tuple[Layer, ...]:
    """Return the layers of a network.

    Parameters
    ----------
    hidden : sequence of int or str
        As in `TrainConfig`.
    outputs : int
        Width of the last layer, which has neither activation nor dropout.
    activation : str
        The activation of hidden layers for which `hidden` names none.
    residual : bool
        Whether to add a hidden layer's input to its output wherever the layer before it has the same width.
    dropout : float
        The dropout rate of hidden layers for which `hidden` names none.
    """
    blocks: list[list[Layer]] = []
    for item in hidden:
        layer = Linear(item) if isinstance(item, int) else parse_layer(item)
        if isinstance(layer, Linear):
            blocks.append([layer, Activation(activation), Dropout(dropout)])
        else:
            blocks[-1][1 if isinstance(layer, Activation) else 2] = layer
    layers: list[Layer] = []
    before = None
    for block in blocks:
        kept = tuple(one for one in block if one != Dropout(0.0) and one != Activation("identity"))
        layers += [Residual(kept)] if residual and block[0] == before else kept
        before = block[0]
    return (*layers, Linear(outputs))


def flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield all layers, including those inside residual blocks."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from flat(layer.layers)
        else:
            yield layer


def without_dropout(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return the layers without dropout, which only training uses."""
    return tuple(
        Residual(without_dropout(layer.layers)) if isinstance(layer, Residual) else layer
        for layer in layers
        if not isinstance(layer, Dropout)
    )


def sizes_of(layers: Iterable[Layer], inputs: int) -> tuple[int, ...]:
    """Return the number of inputs, the width of each hidden layer, and the number of outputs."""
    return (inputs, *(layer.outputs for layer in flat(layers) if isinstance(layer, Linear)))


def count_weights(sizes: Sequence[int]) -> int:
    """Return the number of weights, without biases, of a network with these widths."""
    return sum(inputs * outputs for inputs, outputs in pairwise(sizes))


def parameter_names(layers: Iterable[Layer]) -> list[str]:
    """Return the names of the parameters as in a ``torch.nn.Sequential`` of the layers, weights before biases."""
    return [
        f"{number}.{kind}"
        for number, layer in enumerate(flat(layers))
        if isinstance(layer, Linear)
        for kind in ("weight", "bias")
    ]


def common_kind(layers: tuple[Layer, ...]) -> tuple[str, bool]:
    """Return the activation and whether there are residual connections, as `network_layers` takes them.

    The activation is "mixed" if `network_layers` cannot make these layers from one, and "relu" if they have none.
    """
    *hidden, outputs = (layer.outputs for layer in flat(layers) if isinstance(layer, Linear))
    name = next((layer.name for layer in flat(layers) if isinstance(layer, Activation)), "relu")
    for residual in (False, True):
        if network_layers(hidden, outputs, activation=name, residual=residual) == layers:
            return name, residual
    return MIXED, any(isinstance(layer, Residual) for layer in layers)
