"""Network: a trained MLP with all it needs to take raw images, in memory and in one file."""

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastmlp.datasets import Dataset, Normalization
from fastmlp.errors import DataError, FormatError
from fastmlp.machine.files import Layout, read_tensors, write_tensors
from fastmlp.training.config import Activation, Initialization

FloatArray = NDArray[np.floating[Any]]

_PARAMETER_TYPES = ("float32", "float64")
_IMAGE_TYPES = ("uint8", "float32", "float64")


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A trained multilayer perceptron that takes images as a Dataset holds them.

    Parameters
    ----------
    weights : sequence of float32 or float64 arrays [out, in]
        One a layer, in PyTorch's layout, each `in` the `out` before it. Kept, not copied.
    biases : sequence of arrays [out]
        One a layer, of the weights' type. Kept, not copied.
    activation : {"relu", "sigmoid", "tanh"}
        What follows each layer but the last, whose outputs (logits) go into the softmax.
    residual : bool
        Whether a hidden layer's input is added to its output where the layer before is as wide.
    normalization : Normalization
        Mean and standard deviation of each of the D inputs, applied to raw images.
    classes : sequence of str
        A name for each output.
    shape : sequence of int
        (channels, height, width) of an image; the product is D.

    Raises
    ------
    DataError
        If shapes, types or names do not fit together.
    """

    weights: Sequence[FloatArray]
    biases: Sequence[FloatArray]
    _: KW_ONLY
    activation: Activation
    residual: bool
    normalization: Normalization
    classes: Sequence[str]
    shape: Sequence[int]

    def __post_init__(self) -> None:
        """Refuse what a compiled kernel, which checks no bounds, must never see."""
        for name in ("weights", "biases"):
            arrays = tuple(np.ascontiguousarray(array) for array in getattr(self, name))
            object.__setattr__(self, name, arrays)
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        object.__setattr__(self, "shape", tuple(map(int, self.shape)))
        _check_layers(self.weights, self.biases)
        layout = _layout(self._description())
        for name, array in self._tensors().items():
            dtype, shape = layout[name]
            _check(
                array.shape == shape and array.dtype == dtype,
                name,
                f"{array.dtype} {array.shape}",
                f"{dtype} {shape}",
            )

    def __repr__(self) -> str:
        """Show sizes, activation and type: ``Network(768-512-2, relu, float32)``."""
        activation = f"residual {self.activation}" if self.residual else self.activation
        return f"Network({'-'.join(map(str, self.sizes))}, {activation}, {self.dtype})"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, the width of each hidden layer, outputs."""
        return (self.weights[0].shape[1], *(bias.size for bias in self.biases))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the parameters: float32 or float64."""
        return self.weights[0].dtype

    def predict(self, X: np.ndarray | Dataset) -> NDArray[np.int64]:
        """Return the most likely class of each image.

        Parameters
        ----------
        X : uint8, float32 or float64 array [N, D], or Dataset
            Raw images, grey levels as a Dataset holds them: not normalised, not divided by 255.

        Returns
        -------
        int64 array [N]
            Indices into `classes`; among equals, the first.

        Raises
        ------
        DataError
            If X has another shape or type, or gives outputs that are not finite.
        """
        labels: NDArray[np.int64] = self._logits(X).argmax(axis=1).astype(np.int64)
        return labels

    def predict_proba(self, X: np.ndarray | Dataset) -> NDArray[np.float64]:
        """Return the probability of each class for each image.

        Parameters
        ----------
        X : uint8, float32 or float64 array [N, D], or Dataset
            As for `predict`.

        Returns
        -------
        float64 array [N, C]
            Rows sum to 1. The bits of a row do not depend on the other rows.

        Raises
        ------
        DataError
            As for `predict`.
        """
        logits = self._logits(X).astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return shares

    def state_dict(self) -> dict[str, FloatArray]:
        """Return copies of the parameters under the names `torch.nn.Sequential` gives them.

        ``"0.weight"``, ``"0.bias"``, ``"2.weight"``, ...: Linear layers alternate with activations.
        Normalisation is no part of it: give PyTorch's network ``normalization.apply(X)``.
        """
        return {name: array.copy() for name, array in self._parameters().items()}

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Any],
        *,
        activation: Activation = "relu",
        residual: bool = False,
        normalization: Normalization | None = None,
        classes: Sequence[str] | None = None,
        shape: Sequence[int] | None = None,
    ) -> Self:
        """Build a network from the state of a ``torch.nn.Sequential(Linear, activation, ...)``.

        Parameters
        ----------
        state : mapping of str to array or CPU tensor
            Names as in `state_dict`; float32 or float64. Copied.
        activation, residual
            As for Network: the state does not tell.
        normalization : Normalization, optional
            By default images go in as they are.
        classes : sequence of str, optional
            By default ``"0"``, ``"1"``, ...
        shape : sequence of int, optional
            By default ``(1, 1, D)``.

        Raises
        ------
        FormatError
            If the names are not those of such a network, or a value is no array.
        DataError
            If shapes, types or names do not fit together.
        """
        names = _parameter_names(max(1, len(state) // 2))
        if set(state) != set(names):
            raise FormatError(
                f"state: found {reprlib.repr(sorted(map(str, state)))}, expected "
                f"{reprlib.repr(names)}, as from "
                "torch.nn.Sequential of Linear layers with one activation between each two"
            )
        arrays = [_array(name, state[name]) for name in names]
        weights, biases = arrays[::2], arrays[1::2]
        _check_layers(weights, biases)
        inputs, outputs = weights[0].shape[1], biases[-1].size
        return cls(
            weights,
            biases,
            activation=activation,
            residual=residual,
            normalization=normalization or Normalization(np.zeros(inputs), np.ones(inputs)),
            classes=[str(label) for label in range(outputs)] if classes is None else classes,
            shape=(1, 1, inputs) if shape is None else shape,
        )

    def save(self, path: str | Path) -> None:
        """Write the network to one safetensors file that `load` reads back, to the bit.

        It holds the tensors of `state_dict` and ``"normalization.mean"`` and
        ``"normalization.std"``; its metadata are described in `fastmlp.machine.files`. Equal networks give
        equal files. A file that was there stays whole until the new one is.

        Parameters
        ----------
        path : str or Path
            Usually named ``*.safetensors``. Its folder must exist.

        Raises
        ------
        FormatError
            If a parameter is not finite (the training diverged).
        OSError
            If the file cannot be written; it names `path`.
        """
        tensors = self._tensors()
        _check_values(path, tensors)
        write_tensors(path, "network", self._description(), tensors)

    def _description(self) -> dict[str, Any]:
        """Return all that is not an array, as plain values for JSON."""
        return {
            "activation": self.activation,
            "classes": list(self.classes),
            "dtype": str(self.dtype),
            "residual": self.residual,
            "shape": list(self.shape),
            "sizes": list(self.sizes),
        }

    def _parameters(self) -> dict[str, FloatArray]:
        layers = zip(self.weights, self.biases, strict=True)
        arrays = [array for layer in layers for array in layer]
        return dict(zip(_parameter_names(len(self.weights)), arrays, strict=True))

    def _tensors(self) -> dict[str, FloatArray]:
        """Return all that is an array, by its name in a file."""
        return self._parameters() | {
            "normalization.mean": self.normalization.mean,
            "normalization.std": self.normalization.std,
        }

    def _logits(self, X: np.ndarray | Dataset) -> FloatArray:
        logits = _forward(self, _images(X, self))
        if not _is_finite(logits):
            raise DataError(
                "X: found outputs that are not finite, expected grey levels like those of the "
                "training, and a network whose training did not diverge"
            )
        return logits


def load(path: str | Path) -> Network:
    """Read a network that `Network.save` wrote.

    Nothing in the file is executed, and no array is read before its name, type and shape are known
    to be right.

    Parameters
    ----------
    path : str or Path
        A model file, such as the ``model.safetensors`` of a training.

    Returns
    -------
    Network
        Bit for bit what was saved.

    Raises
    ------
    FormatError
        If the file is missing, cannot be read, is damaged or is no fastmlp network; the message
        names the file, what was found and what was expected.
    """
    description, tensors = read_tensors(path, "network", _layout)
    _check_values(path, tensors)
    arrays = [tensors[name] for name in _parameter_names(len(description["sizes"]) - 1)]
    return Network(
        arrays[::2],
        arrays[1::2],
        normalization=Normalization(tensors["normalization.mean"], tensors["normalization.std"]),
        **{name: description[name] for name in ("activation", "residual", "classes", "shape")},
    )


def initialize(
    sizes: Sequence[int],
    scheme: Initialization,
    rng: np.random.Generator,
    dtype: DTypeLike,
    *,
    std: float = 0.01,
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Draw the parameters a training starts from.

    All numbers are drawn in float64, layer by layer, weights before biases, and rounded then: a
    float32 and a float64 run of one seed start alike.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, the width of each hidden layer, outputs.
    scheme : {"torch", "he", "glorot", "normal", "zeros"}
        For a layer from `in` to `out` values:

        - ``"torch"``: weights and biases uniform within ``1 / sqrt(in)``, as ``torch.nn.Linear``.
        - ``"he"``: weights normal with variance ``2 / in``, biases 0.
        - ``"glorot"``: weights normal with variance ``2 / (in + out)``, biases 0.
        - ``"normal"``: weights and biases normal with standard deviation `std`.
        - ``"zeros"``: all 0, from where only a network without hidden layers learns.
    rng : numpy.random.Generator
        Advanced by what is drawn.
    dtype : float32 or float64
        Of the arrays.
    std : float
        Of ``"normal"``; ``TrainConfig.initialization_std``.

    Returns
    -------
    weights : list of arrays [out, in]
    biases : list of arrays [out]
    """
    weights, biases = [], []
    for inputs, outputs in pairwise(sizes):
        W, b = np.zeros((outputs, inputs)), np.zeros(outputs)
        match scheme:
            case "torch":
                bound = 1 / math.sqrt(inputs)
                W, b = rng.uniform(-bound, bound, W.shape), rng.uniform(-bound, bound, b.shape)
            case "he":
                W = rng.normal(0, math.sqrt(2 / inputs), W.shape)
            case "glorot":
                W = rng.normal(0, math.sqrt(2 / (inputs + outputs)), W.shape)
            case "normal":
                W, b = rng.normal(0, std, W.shape), rng.normal(0, std, b.shape)
            case "zeros":
                pass
        weights.append(W.astype(dtype, copy=False))
        biases.append(b.astype(dtype, copy=False))
    return weights, biases


def _forward(network: Network, X: np.ndarray) -> FloatArray:
    """Return the logits [N, C] of raw images [N, D]."""
    if not len(X):
        return np.empty((0, network.sizes[-1]), network.dtype)
    from fastmlp.training import engine  # loads compiled code, which saving and loading do without

    return engine.forward(network, X)


def _images(X: np.ndarray | Dataset, network: Network) -> np.ndarray:
    """Return X as a C-contiguous array [N, D] of an image type, or say what is wrong with it."""
    array = np.asarray(X.images if isinstance(X, Dataset) else X)
    values = network.sizes[0]
    rows = f"[N, {values}] ({' x '.join(map(str, network.shape))} values an image)"
    if array.shape == (values,):
        rows += "; pass X[None, :] for one image"
    elif array.ndim > 2 and math.prod(array.shape[1:]) == values:
        rows += "; pass X.reshape(len(X), -1)"
    _check(array.shape[1:] == (values,), "X", f"shape {array.shape}", rows)
    _check(array.dtype in _IMAGE_TYPES, "X", str(array.dtype), ", ".join(_IMAGE_TYPES))
    _check(_is_finite(array), "X", "values that are not finite", "grey levels")
    return np.ascontiguousarray(array)


def _is_finite(array: np.ndarray) -> bool:
    if array.dtype.kind != "f" or not array.size:
        return True
    # The ends of the range tell as much as np.isfinite(array), without an array of answers.
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _array(name: str, value: object) -> np.ndarray:
    """Return a copy of an array or tensor."""
    try:
        return np.asarray(value).copy(order="C")
    except (TypeError, ValueError, RuntimeError) as error:  # PyTorch's tensors raise all three
        raise FormatError(f"state: {name}: found no array ({error}), expected one") from error


def _check(condition: bool, name: str, found: str, expected: str) -> None:
    if not condition:
        raise DataError(f"{name}: found {found}, expected {expected}")


def _check_layers(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> None:
    """Check what sizes and type of a network are derived from; the layout checks the rest."""
    _check(len(weights) > 0, "weights", "no layer", "at least one")
    _check(len(biases) == len(weights), "biases", str(len(biases)), str(len(weights)))
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        _check(W.ndim == 2, f"weights[{layer}]", f"shape {W.shape}", "[out, in]")
        _check(b.ndim == 1, f"biases[{layer}]", f"shape {b.shape}", "[out]")


def _layout(description: Any) -> Layout:
    """Return the tensors that belong to a description, which may be any JSON at all.

    Raises
    ------
    DataError
        If no network can be described so.
    """
    entries = ["activation", "classes", "dtype", "residual", "shape", "sizes"]
    _check(
        isinstance(description, dict) and sorted(description) == entries,
        "network",
        reprlib.repr(description),
        f"the entries {', '.join(entries)}",
    )
    sizes, shape, dtype = description["sizes"], description["shape"], description["dtype"]
    for name, holds, expected in (
        ("sizes", _are_counts(sizes) and len(sizes) >= 2, "two or more numbers above 0"),
        ("dtype", dtype in _PARAMETER_TYPES, " or ".join(_PARAMETER_TYPES)),
        (
            "activation",
            description["activation"] in get_args(Activation),
            f"{get_args(Activation)}",
        ),
        ("residual", isinstance(description["residual"], bool), "True or False"),
        ("shape", _are_counts(shape) and len(shape) == 3, "three numbers above 0"),
    ):
        _check(holds, name, reprlib.repr(description[name]), expected)
    _check(
        math.prod(shape) == sizes[0], "shape", repr(shape), f"a product of {sizes[0]}, the inputs"
    )
    _check(
        _are_names(description["classes"]) and len(description["classes"]) == sizes[-1],
        "classes",
        reprlib.repr(description["classes"]),
        f"a printable name for each of {sizes[-1]} outputs",
    )
    layers = list(pairwise(sizes))
    shapes = [shape for inputs, outputs in layers for shape in ((outputs, inputs), (outputs,))]
    layout = {
        name: (dtype, shape)
        for name, shape in zip(_parameter_names(len(layers)), shapes, strict=True)
    }
    scaling = ("float64", (sizes[0],))
    return layout | {"normalization.mean": scaling, "normalization.std": scaling}


def _parameter_names(layers: int) -> list[str]:
    return [f"{2 * layer}.{kind}" for layer in range(layers) for kind in ("weight", "bias")]


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 < value < 2**31 for value in values
    )


def _are_names(values: Any) -> bool:
    # Printable: a foreign file must not send control characters to a terminal.
    return isinstance(values, list) and all(
        isinstance(value, str) and value and value.isprintable() for value in values
    )


def _check_values(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    for name, array in tensors.items():
        if not _is_finite(array):
            raise FormatError(
                f"{path}: {name}: found values that are not finite, expected a network whose "
                "training did not diverge"
            )
    if tensors["normalization.std"].min() <= 0:
        raise FormatError(f"{path}: normalization.std: found a value of 0 or less, expected more")
