"""Network: a trained one with the normalisation and class names it needs for raw images, in memory and in a file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Normalization, Preparation
from fastmlp.datasets.labels import Task
from fastmlp.datasets.transforms import check_finite, is_finite, is_rows
from fastmlp.errors import DataError
from fastmlp.machine.files import read_tensors, write_tensors
from fastmlp.training.inputs import rows_of
from fastmlp.training.layers import (
    MIXED,
    Layer,
    common_kind,
    has_images,
    is_network,
    is_plain,
    network_layers,
    sizes_of,
    spell_layer,
    without_dropout,
)
from fastmlp.training.levels import Levels, check_levels
from fastmlp.training.network_file import check_values, layers_of, layout_of
from fastmlp.training.shapes import parameter_names, spell_shape
from fastmlp.training.showing import NetworkShowing
from fastmlp.training.state import check, check_pairs, from_state, named, to_state
from fastmlp.training.summary import summary_of
from fastmlp.training.tasks import FloatArray, answers, probabilities


@dataclass(frozen=True, eq=False, repr=False)
class Network(NetworkShowing):
    """A trained network, applied to images as a Dataset holds them.

    Parameters
    ----------
    weights : sequence of float32 or float64 arrays
        [out, in] of a linear layer, [out, in, kernel, kernel] of a convolution, in PyTorch's layout; each `in` is the
        `out` of the layer before. A batchnorm has two arrays, its weight and its running mean. Kept, not copied.
    biases : sequence of arrays [out]
        One for each of the weights, of their type; of a batchnorm its bias and its running variance. Kept, not copied.
    activation : str
        The function after each linear layer but the last.
    residual : bool
        Whether a hidden layer's input is added to its output if the layer before has the same width.
    normalization : Normalization
        Mean and standard deviation of each of the D inputs, applied to raw images.
    classes : sequence of str
        A name for each output: of a class, a label or a target.
    shape : sequence of int
        (channels, height, width) of an image; the product is D. (1, 1, D) stands for rows that are no pictures.
    layers : sequence of Layer, optional
        The layers of the parameters, such as `fastmlp.training.layers.network_layers` makes; the softmax is taken of
        the last layer's outputs, the logits. By default linear layers of the weights' shapes, with `activation` and
        `residual`.
    levels : (float, float), optional
        The least and the greatest value of the images that it was trained on; see `fastmlp.training.levels`.
    task : {"classification", "multilabel", "regression"}
        What the outputs are: logits of classes, logits of labels of which a row may have several, or standardised
        targets.
    targets : Normalization, optional
        Mean and standard deviation of each target of a regression, and of it alone.
    preparation : Preparation, optional
        What was done with the columns of the tables that it was trained on.

    Raises
    ------
    DataError
        If shapes, types or names do not fit together.
    """

    weights: Sequence[FloatArray]
    biases: Sequence[FloatArray]
    _: KW_ONLY
    activation: str = "relu"
    residual: bool = False
    normalization: Normalization
    classes: Sequence[str]
    shape: Sequence[int]
    layers: Sequence[Layer] = ()
    levels: Levels = None
    task: Task = "classification"
    targets: Normalization | None = None
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        """Check all shapes and types, because the compiled kernels check no bounds."""
        for name in ("weights", "biases"):
            arrays = tuple(np.ascontiguousarray(array) for array in getattr(self, name))
            object.__setattr__(self, name, arrays)
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        object.__setattr__(self, "shape", tuple(map(int, self.shape)))
        if self.levels is not None:
            object.__setattr__(self, "levels", tuple(map(float, self.levels)))
        layers = without_dropout(self.layers)
        if layers:
            check(is_network(layers), "layers", f"{layers}", "an order that network_layers makes")
            activation, residual = common_kind(layers)
            object.__setattr__(self, "activation", activation)
            object.__setattr__(self, "residual", residual)
        check_pairs(layers, self.weights, self.biases)
        object.__setattr__(self, "layers", layers)
        if not layers:
            layers = network_layers(
                self.sizes[1:-1], self.sizes[-1], activation=self.activation, residual=self.residual
            )
            object.__setattr__(self, "layers", layers)
        found, widths = sizes_of(layers, self.sizes[0]), self.sizes
        check(found == widths, "layers", f"widths {found}", f"{widths}, those of the weights")
        layout, tensors = layout_of(self._description()), self._tensors()
        check(
            set(tensors) == set(layout), "targets", f"a {self.task}", "them for a regression alone"
        )
        for name, array in tensors.items():
            dtype, shape = layout[name]
            check(
                array.shape == shape and array.dtype == dtype,
                name,
                f"{array.dtype} {array.shape}",
                f"{dtype} {shape}",
            )

    def __repr__(self) -> str:
        """Show sizes, activation and type, ``Network(768-512-2, relu, float32)``, or else all layers."""
        if not is_plain(self.layers):
            layers = ", ".join(map(spell_layer, self.layers))
            return f"Network({spell_shape(self.shape)}, {layers}, {self.dtype})"
        activation = f"residual {self.activation}" if self.residual else self.activation
        return f"Network({'-'.join(map(str, self.sizes))}, {activation}, {self.dtype})"

    def summary(self) -> str:
        """Return a table of the layers: the shapes of their outputs, their parameters and multiply-adds an image.

        Running means and variances are no parameters; only the multiply-adds of products count.
        """
        return summary_of(self.layers, self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of inputs, the width of each hidden layer (of a convolution: channels), the number of outputs."""
        inputs = math.prod(self.shape) if has_images(self.layers) else self.weights[0].shape[1]
        pairs = zip(self.weights, self.biases, strict=True)
        return (inputs, *(bias.size for weight, bias in pairs if weight.ndim > 1))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the parameters: float32 or float64."""
        return self.weights[0].dtype

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely class of each image, its labels, or the values that a regression predicts.

        Parameters
        ----------
        X : uint8, float32 or float64 array [N, D], or Dataset
            Raw images, grey levels as a Dataset holds them: not normalised, not divided by 255. With a preparation
            also a pandas.DataFrame, the raw table.

        Returns
        -------
        int64 array [N], int64 array [N, T] or float64 array [N, T]
            Indices into `classes`, of equally likely classes the first; 1 for each label that is more likely than not,
            and 0 for the others; or the targets in their own units.

        Raises
        ------
        DataError
            If X has another shape, type or scale, or gives outputs that are not finite.
        """
        return answers(self.task, self._logits(X), self.targets)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class or label for each image.

        Parameters
        ----------
        X : uint8, float32 or float64 array [N, D], or Dataset
            As for `predict`.

        Returns
        -------
        float64 array [N, C]
            Rows sum to 1, but for labels of which a row may have several. The bits of a row do not depend on the other
            rows.

        Raises
        ------
        DataError
            As for `predict`; also for a regression.
        """
        return probabilities(self.task, self._logits(X))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of the parameters under the names that `torch.nn.Sequential` gives them.

        The names are ``"0.weight"``, ``"0.bias"``, ``"2.weight"``, ..., because linear layers alternate with
        activations; pools and the one ``torch.nn.Flatten`` count, too. A batchnorm also has
        ``"1.num_batches_tracked"``, which is 0. The normalisation is not included: give ``normalization.apply(X)``,
        as images ``[N, *shape]`` if there are layers of images, to PyTorch's network.
        """
        return to_state(named(self.layers, self.weights, self.biases))

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Any],
        *,
        activation: str = "relu",
        residual: bool = False,
        layers: Sequence[Layer] | None = None,
        normalization: Normalization | None = None,
        classes: Sequence[str] | None = None,
        shape: Sequence[int] | None = None,
    ) -> Self:
        """Build a network from the state of a ``torch.nn.Sequential``.

        Parameters
        ----------
        state : mapping of str to array or CPU tensor
            Names as in `state_dict`; float32 or float64. Copied.
        activation, residual : str, bool
            As for Network; the state does not contain them.
        layers : sequence of Layer, optional
            The modules of the Sequential, such as ``network_layers(["conv 6 5", "maxpool 2"], 10)`` of
            `fastmlp.training.layers`. By default linear layers with one activation between each two.
        normalization : Normalization, optional
            By default images are not normalised.
        classes : sequence of str, optional
            By default ``"0"``, ``"1"``, ...
        shape : sequence of int, optional
            By default ``(1, 1, D)``. Layers of images need it.

        Raises
        ------
        FormatError
            If the names are not those of such a network, or a value is not an array.
        DataError
            If shapes, types or names do not fit together.
        """
        weights, biases = from_state(state, layers)
        check_pairs(layers or (), weights, biases)
        if shape is None:
            check(not has_images(layers or ()), "shape", "None", "(channels, height, width)")
            shape = (1, 1, weights[0].shape[1])
        inputs, outputs = math.prod(shape), biases[-1].size
        return cls(
            weights,
            biases,
            activation=activation,
            residual=residual,
            layers=layers or (),
            normalization=normalization or Normalization(np.zeros(inputs), np.ones(inputs)),
            classes=[str(label) for label in range(outputs)] if classes is None else classes,
            shape=shape,
        )

    def save(self, path: str | Path) -> None:
        """Write the network to one safetensors file, from which `load` restores every bit.

        The file holds the tensors of `state_dict`, ``"normalization.mean"`` and
        ``"normalization.std"``. `fastmlp.machine.files` describes its metadata. Equal networks give
        equal files. An existing file is replaced only when the new one is complete.

        Parameters
        ----------
        path : str or Path
            Usually named ``*.safetensors``. Its folder must exist.

        Raises
        ------
        FormatError
            If a parameter is not finite (the training diverged).
        OSError
            If the file cannot be written. The error names `path`.
        """
        tensors = self._tensors()
        check_values(path, tensors)
        write_tensors(path, "network", self._description(), tensors)

    def _description(self) -> dict[str, Any]:
        """Return everything except the arrays, as plain values for JSON."""
        is_mixed = self.activation == MIXED
        return {
            **({"layers": [spell_layer(one) for one in self.layers]} if is_mixed else {}),
            **({"levels": list(self.levels)} if self.levels is not None else {}),
            **({"task": self.task} if self.task != "classification" else {}),
            **({"preparation": self.preparation.as_dict()} if self.preparation else {}),
            "activation": self.activation,
            "classes": list(self.classes),
            "dtype": str(self.dtype),
            "residual": self.residual,
            "shape": list(self.shape),
            "sizes": list(self.sizes),
        }

    def _tensors(self) -> dict[str, FloatArray]:
        """Return all arrays by their names in a file."""
        tensors = named(self.layers, self.weights, self.biases) | {
            "normalization.mean": self.normalization.mean,
            "normalization.std": self.normalization.std,
        }
        if self.targets is not None:
            tensors |= {"targets.mean": self.targets.mean, "targets.std": self.targets.std}
        return tensors

    def _logits(self, X: Any) -> FloatArray:
        given = rows_of(X, self.shape, self.preparation)
        logits = forward(self, given) if len(given) else np.empty((0, self.sizes[-1]), self.dtype)
        if not is_finite(logits):
            raise DataError(
                "X: found outputs that are not finite, expected grey levels like those of the "
                "training, and a network whose training did not diverge"
            )
        return logits


def load(path: str | Path) -> Network:
    """Read a network that `Network.save` wrote.

    Nothing in the file is executed. An array is read only after its name, type and shape were checked.

    Parameters
    ----------
    path : str or Path
        A model file, such as the ``model.safetensors`` of a training.

    Returns
    -------
    Network
        Equal to the saved network in every bit.

    Raises
    ------
    FormatError
        If the file is missing, cannot be read, is damaged or is not a fastmlp network; the message
        names the file, what was found and what was expected.
    """
    description, tensors = read_tensors(path, "network", layout_of)
    check_values(path, tensors)
    layers = layers_of(description)
    arrays = [tensors[name] for name in parameter_names(layers)]
    return Network(
        arrays[::2],
        arrays[1::2],
        normalization=Normalization(tensors["normalization.mean"], tensors["normalization.std"]),
        layers=layers if description["activation"] == MIXED else (),
        levels=description.get("levels"),
        task=description.get("task", "classification"),
        targets=Normalization(tensors["targets.mean"], tensors["targets.std"])
        if "targets.mean" in tensors
        else None,
        preparation=Preparation.from_dict(description["preparation"])
        if "preparation" in description
        else None,
        **{name: description[name] for name in ("activation", "residual", "classes", "shape")},
    )


def forward(network: Network, X: np.ndarray) -> FloatArray:
    """Return the logits [N, C] of raw images [N, D], with the network's normalisation.

    Raises
    ------
    DataError
        If images are not finite, or on another scale than those of the training.
    """
    check_finite("images", X)
    if not is_rows(network.shape):
        check_levels(network.levels, X)
    # This import loads the compiler, which saving and loading do not need.
    from fastmlp.training.engine import Engine
    from fastmlp.training.samples import normalized

    engine = Engine(
        network.weights,
        network.biases,
        layers=network.layers,
        shape=network.shape,
        batch_size=1,
        dtype=network.dtype.name,
    )
    try:
        given = normalized(engine, X, network.normalization, preparation=network.preparation)
        return engine.logits(given)
    finally:
        engine.close()
