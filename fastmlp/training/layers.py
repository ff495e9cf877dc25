"""A network as a list of layers: plain values without arrays or compiled code.

Everything else follows from the list: `fastmlp.training.shapes` derives what the layers make of an image and what
parameters they have, and `fastmlp.training.engine` hands the list to the kernels. A layer is spelled in the same way in
Python, in TOML and on the command line: ``512`` or ``"linear 512"``, ``"conv 6 5"``, ``"maxpool 2"``, ``"relu"``.
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
class Convolution:
    """``torch.nn.Conv2d`` with square kernels.

    Attributes
    ----------
    channels : int
        Of the output.
    kernel : int
        Height and width of the kernels.
    stride : int
    padding : int or "same"
        Rows and columns of zeros on each side. With "same", which needs stride 1 and an odd kernel, the output is as
        high and wide as the input.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int | str = 0

    @property
    def margin(self) -> int:
        """The rows and columns of zeros on each side, as a number."""
        return self.padding if isinstance(self.padding, int) else (self.kernel - 1) // 2


@dataclass(frozen=True)
class MaxPool:
    """The greatest number of each square of `size` x `size`; rows and columns that are left over are dropped."""

    size: int


@dataclass(frozen=True)
class AvgPool:
    """The mean of each square of `size` x `size`; rows and columns that are left over are dropped."""

    size: int


@dataclass(frozen=True)
class BatchNorm:
    """``torch.nn.BatchNorm2d`` of channels, or ``torch.nn.BatchNorm1d`` of features, as PyTorch has them by default."""


@dataclass(frozen=True)
class Flatten:
    """An image [C, H, W] as a row of numbers; `network_layers` puts it between images and the first linear layer."""


@dataclass(frozen=True)
class Residual:
    """Layers whose input is added to their output."""

    layers: tuple[Layer, ...]


Layer = (
    Linear | Activation | Dropout | Convolution | MaxPool | AvgPool | BatchNorm | Flatten | Residual
)
# What stands at the head of a block; an activation, a dropout or a batchnorm belongs to the head before it.
Head = Linear | Convolution | MaxPool | AvgPool

MIXED = "mixed"

EXPECTED = (
    "a width (512), "
    + ", ".join(ACTIVATIONS)
    + ', "dropout 0.5", "conv 16 5 [stride 2] [padding 1|same]", "maxpool 2", "avgpool 2", "batchnorm"'
)

# A program of more takes long to make, and a model's file has no room for much more.
MOST_LAYERS = 1000
ORDER = (
    "an activation or a batchnorm, each once, right after a width or convolution, a dropout after these or a pool, "
    "and convolutions and pools before all widths"
)

_LARGEST = 2**31 - 1  # counts are indices of compiled loops


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
    name, *words = text.split() or [""]
    match name, words:
        case _, [] if name in ACTIVATIONS:
            return Activation(name)
        case "batchnorm", []:
            return BatchNorm()
        case "flatten", []:
            return Flatten()
        case "linear", [width]:
            return Linear(_count(width))
        case "dropout", [rate] if 0 <= float(rate) < 1:
            return Dropout(float(rate))
        case "maxpool", [size]:
            return MaxPool(_count(size))
        case "avgpool", [size]:
            return AvgPool(_count(size))
        case "conv", [channels, kernel, *options]:
            return _convolution(_count(channels), _count(kernel), options)
    raise ValueError(text)


def _count(word: str, least: int = 1) -> int:
    if not (word.isascii() and word.isdecimal() and least <= int(word) <= _LARGEST):
        raise ValueError(word)
    return int(word)


def _convolution(channels: int, kernel: int, options: Sequence[str]) -> Convolution:
    """Return a convolution with options such as ``["stride", "2", "padding", "1"]``."""
    found = dict(zip(options[::2], options[1::2], strict=True))
    if len(found) * 2 != len(options) or not found.keys() <= {"stride", "padding"}:
        raise ValueError(options)
    stride, padding = _count(found.get("stride", "1")), found.get("padding", "0")
    if padding != "same":
        return Convolution(channels, kernel, stride, _count(padding, least=0))
    if stride != 1 or kernel % 2 == 0:
        raise ValueError(options)
    return Convolution(channels, kernel, stride, padding)


def spell_layer(layer: Layer) -> str:
    """Return the text that `parse_layer` reads."""
    match layer:
        case Linear(outputs):
            return f"linear {outputs}"
        case Activation(name):
            return name
        case Dropout(rate):
            return f"dropout {rate!r}"
        case Convolution(channels, kernel, stride, padding):
            stepping = "" if stride == 1 else f" stride {stride}"
            padded = "" if padding == 0 else f" padding {padding}"
            return f"conv {channels} {kernel}{stepping}{padded}"
        case MaxPool(size):
            return f"maxpool {size}"
        case AvgPool(size):
            return f"avgpool {size}"
        case BatchNorm():
            return "batchnorm"
        case Flatten():
            return "flatten"
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
    if isinstance(layer, Activation | Dropout | Convolution | MaxPool | AvgPool | BatchNorm):
        spelled = spell_layer(layer)
        parse_layer(spelled)  # refuses what has no such name or number
        return spelled
    raise TypeError(item)


def layers_in(hidden: Iterable[int | str]) -> Iterator[Layer]:
    """Yield the layers that the items of `TrainConfig.hidden` name, and no others."""
    for item in hidden:
        yield Linear(item) if isinstance(item, int) else parse_layer(item)


def misplaced(hidden: Sequence[int | str]) -> str | None:
    """Return in words which layer is in a wrong place or one too many, or None; `ORDER` says what is right."""
    block: list[Layer] = []
    heads = 0
    for layer in layers_in(hidden):
        starts = isinstance(layer, Head)
        heads += starts
        if heads > MOST_LAYERS:
            return f"more than {MOST_LAYERS:,} layers"
        if not (_may_start if starts else _may_join)(layer, block):
            place = f"after {spell_layer(block[-1])!r}" if block else "first"
            return f"{spell_layer(layer)!r} {place}"
        block = [layer] if starts else [*block, layer]
    return None


def _may_start(head: Layer, block: Sequence[Layer]) -> bool:
    """Return whether a head may follow a block: all but a width need an image, which no width makes."""
    return isinstance(head, Linear) or not block or not isinstance(block[0], Linear)


def _may_join(layer: Layer, block: Sequence[Layer]) -> bool:
    """Return whether an activation, batchnorm or dropout may stand at the end of a block."""
    if not block or any(isinstance(one, type(layer) | Dropout) for one in block):
        return False
    return isinstance(layer, Dropout) or isinstance(block[0], Linear | Convolution)


def count_heads(hidden: Iterable[int | str]) -> int:
    """Return the number of convolutions and widths among the items of `TrainConfig.hidden`."""
    return sum(isinstance(layer, Linear | Convolution) for layer in layers_in(hidden))


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
        The activation of convolutions and widths for which `hidden` names none. It stands after their batchnorm.
    residual : bool
        Whether to add a layer's input to its output wherever a width follows an equal one, or a convolution keeps the
        shape that convolutions before it have made.
    dropout : float
        The dropout rate of convolutions and widths for which `hidden` names none.
    """
    layers: list[Layer] = []
    before: Layer | None = None
    for block in _blocks(hidden, activation, dropout):
        kept = [one for one in block if one not in (Dropout(0.0), Activation("identity"))]
        is_residual = residual and _keeps_shape(before, block[0])
        layers += [Residual(tuple(kept))] if is_residual else kept
        before = before if isinstance(block[0], MaxPool | AvgPool) else block[0]
    layers.append(Linear(outputs))
    first = next(place for place, layer in enumerate(layers) if isinstance(layer, Linear))
    if first > 0:  # layers of images come before it
        layers.insert(first, Flatten())
    return tuple(layers)


def _blocks(hidden: Iterable[int | str], activation: str, dropout: float) -> list[list[Layer]]:
    """Return each head with what belongs to it, and with the activation and the dropout that it lacks."""
    blocks: list[list[Layer]] = []
    for layer in layers_in(hidden):
        if isinstance(layer, Head):
            blocks.append([layer])
        else:
            blocks[-1].append(layer)
    for block in blocks:
        kinds = [type(layer) for layer in block]
        if kinds[0] in (MaxPool, AvgPool):
            continue
        if Activation not in kinds:
            block.insert(2 if BatchNorm in kinds else 1, Activation(activation))
        if Dropout not in kinds:
            block.append(Dropout(dropout))
    return blocks


def _keeps_shape(before: Layer | None, head: Layer) -> bool:
    """Return whether a layer gives what it is given the same shape; `before` is the one that gave it its channels."""
    if isinstance(head, Convolution):
        same = head.stride == 1 and 2 * head.margin == head.kernel - 1
        return same and isinstance(before, Convolution) and before.channels == head.channels
    return isinstance(head, Linear) and head == before


def is_network(layers: Sequence[Layer]) -> bool:
    """Return whether layers, which may come from a file, are such as `network_layers` makes.

    It may also have made some of the residual connections without the others.
    """
    found = tuple(flat(layers))
    try:
        items = [spell_item(layer) for layer in found if not isinstance(layer, Flatten)]
    except (TypeError, ValueError):
        return False
    if not items or not isinstance(items[-1], int) or misplaced(items[:-1]):
        return False
    whole = network_layers(items[:-1], items[-1], activation="identity", residual=True)
    return tuple(flat(whole)) == found and _residuals(layers) <= _residuals(whole)


def _residuals(layers: Iterable[Layer]) -> set[tuple[int, Residual]]:
    """Return each residual connection with the number of layers before it."""
    place, found = 0, set()
    for layer in layers:
        if isinstance(layer, Residual):
            found.add((place, layer))
        place += len(tuple(flat([layer])))
    return found


def flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield all layers, including those inside residual blocks."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from flat(layer.layers)
        else:
            yield layer


def has_images(layers: Iterable[Layer]) -> bool:
    """Return whether there are layers of images, which know their height and width."""
    return any(isinstance(layer, Flatten) for layer in layers)


def is_plain(layers: Iterable[Layer]) -> bool:
    """Return whether there is nothing but linear layers with activations, dropout and residual connections."""
    return all(isinstance(layer, Linear | Activation | Dropout) for layer in flat(layers))


def without_dropout(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return the layers without dropout, which only training uses."""
    return tuple(
        Residual(without_dropout(layer.layers)) if isinstance(layer, Residual) else layer
        for layer in layers
        if not isinstance(layer, Dropout)
    )


def sizes_of(layers: Iterable[Layer], inputs: int) -> tuple[int, ...]:
    """Return the number of inputs, the width of each hidden layer (of a convolution: channels), and of outputs."""
    return inputs, *(
        layer.channels if isinstance(layer, Convolution) else layer.outputs
        for layer in flat(layers)
        if isinstance(layer, Linear | Convolution)
    )


def count_weights(sizes: Sequence[int]) -> int:
    """Return the number of weights, without biases, of a network of linear layers with these widths."""
    return sum(inputs * outputs for inputs, outputs in pairwise(sizes))


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
