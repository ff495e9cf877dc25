"""An estimator -> plain scikit-learn, PyTorch's names, a Network; a Network -> an estimator."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils.validation import check_is_fitted

from fastmlp.datasets import Normalization
from fastmlp.errors import DataError
from fastmlp.estimator import files
from fastmlp.estimator.layers import TO_OURS, layers_of, turned
from fastmlp.training.layers import Layer, Linear, has_images, is_plain, spell_item
from fastmlp.training.network import Network
from fastmlp.training.state import to_state

_FROM_NETWORK = {theirs: ours for ours, theirs in TO_OURS.items() if ours != "identity"}

# Values that scikit-learn does not know, and those that its own estimator gets instead. They change
# how a model trains, not what it predicts.
_IN_PLAIN: dict[str, dict[Any, Any]] = {
    "solver": {"rmsprop": "adam"},
    "learning_rate": {"step": "constant"},
    "verbose": {"progress": True},
}
_NOT_IN_PLAIN = ("validation_loss_curve_", "hidden_", "image_shape_", "_metadata_request")


class Conversions(BaseMultilayerPerceptron):
    """Conversions of both estimators."""

    def to_sklearn(self) -> Any:
        """Return a plain, fitted estimator of scikit-learn that predicts the same.

        It shares nothing with this one, needs no fastmlp to load, and works with skl2onnx and skops.
        Values of parameters that scikit-learn lacks are replaced: "rmsprop" by "adam", "step" by
        "constant", "progress" by True.

        Raises
        ------
        DataError
            If it has layers that scikit-learn does not know.
        """
        check_is_fitted(self)
        if getattr(self, "hidden_", None) is not None:
            raise DataError(
                f"to_sklearn: found the layers {list(self.hidden_)}, which scikit-learn's networks do "
                "not have, expected widths alone; see to_network"
            )
        parent = next(c for c in type(self).__mro__ if c.__module__.startswith("sklearn.neural"))
        own = self.get_params(deep=False)
        params = {name: own[name] for name in parent().get_params(deep=False)}
        for name, instead in _IN_PLAIN.items():
            params[name] = instead.get(params[name], params[name])
        plain = parent(**copy.deepcopy(params))
        for name, value in vars(self).items():
            if name not in own and name not in _NOT_IN_PLAIN and "callback" not in name:
                setattr(plain, name, copy.deepcopy(value))
        if params["solver"] != own["solver"]:
            del plain._optimizer
        return plain

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of the parameters under the names `torch.nn.Sequential` gives them.

        ``"0.weight"`` [out, in], ``"0.bias"``, ``"2.weight"``, ...: linear layers alternate with
        activations. With layers they are the modules that `fastmlp.Network.state_dict` describes. A classifier
        of two classes has one output, for ``BCEWithLogitsLoss``.
        """
        check_is_fitted(self)
        return to_state(files.tensors_of(self))

    def save(self, path: str | Path) -> None:
        """Write what predicting needs to a safetensors file, which loads without unpickling.

        `load` restores weights to the bit, labels, feature names and activation, but not the
        parameters of the training.

        Parameters
        ----------
        path : str or Path
            Usually named ``*.safetensors``. Its folder must exist.

        Raises
        ------
        DataError
            If labels are neither numbers nor strings.
        OSError
            If the file cannot be written; it names `path`.
        """
        check_is_fitted(self)
        files.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an estimator that `save` wrote. Nothing in the file is executed.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        estimator
            Fitted, of this class.

        Raises
        ------
        FormatError
            If the file is missing, cannot be read, is damaged, or holds no estimator of this class.
        """
        estimator: Self = files.load(cls, path)
        return estimator


class ClassifierConversions(Conversions):
    """Conversions of a classifier."""

    def to_network(self) -> Network:
        """Return a `fastmlp.Network` that gives the same probabilities.

        Its classes are the labels as strings. For two classes, the one output becomes two.

        Raises
        ------
        DataError
            If no Network can be this model: hidden layers with activation "identity", several labels
            a row, or a single class.
        """
        check_is_fitted(self)
        weights, biases = [turned(coef) for coef in self.coefs_], list(self.intercepts_)
        labels = [str(label) for label in self.classes_]
        if self.out_activation_ == "logistic":
            if len(labels) != 2 or len(biases[-1]) != 1:
                raise DataError(
                    f"to_network: found {len(labels)} labels on {len(biases[-1])} outputs, "
                    "expected one of several classes for each sample"
                )
            weights[-1] = np.concatenate([np.zeros_like(weights[-1]), weights[-1]])
            biases[-1] = np.concatenate([np.zeros_like(biases[-1]), biases[-1]])
        inputs = self.n_features_in_
        layers: tuple[Layer, ...] = ()
        if getattr(self, "hidden_", None) is not None:
            layers = (*layers_of(self)[:-1], Linear(biases[-1].size))
        elif self.activation == "identity" and len(weights) > 1:
            raise DataError(
                f"to_network: found activation='identity', expected one of {', '.join(_FROM_NETWORK.values())}"
            )
        activation = TO_OURS[self.activation]
        return Network(
            weights,
            biases,
            activation="relu" if activation == "identity" else activation,
            residual=False,
            layers=layers,
            normalization=Normalization(np.zeros(inputs), np.ones(inputs)),
            classes=labels,
            shape=getattr(self, "image_shape_", None) or (1, 1, inputs),
        )

    @classmethod
    def from_network(cls, network: Network, *, classes: Sequence[Any] | None = None) -> Self:
        """Return a fitted classifier that gives a network's probabilities.

        It takes raw images, as the network does: normalisation becomes part of the first layer.
        `partial_fit` and ``warm_start`` continue its training.

        Parameters
        ----------
        network : Network
            Of linear layers.
        classes : sequence, optional
            Labels in the order of the outputs; by default the network's class names.

        Raises
        ------
        DataError
            If there is no such estimator: another task, residual connections, layers of images, which cannot take in
            the normalisation, or data too far from zero for the first layer to do so.
        """
        _check_convertible(network)
        labels = np.asarray(network.classes if classes is None else classes)
        count = len(network.classes)
        if labels.shape != (count,) or len(np.unique(labels)) != count or count < 2:
            raise DataError(f"classes: found {labels.tolist()}, expected {count} different labels")
        weights = [weight.astype(np.float64) for weight in network.weights]
        biases = [bias.astype(np.float64) for bias in network.biases]
        weights[0] = weights[0] / network.normalization.std
        biases[0] = biases[0] - weights[0] @ network.normalization.mean
        order = np.argsort(labels)  # scikit-learn's classes are sorted
        weights[-1], biases[-1] = weights[-1][order], biases[-1][order]
        if count == 2:
            weights[-1], biases[-1] = np.diff(weights[-1], axis=0), np.diff(biases[-1])
        activation = _FROM_NETWORK.get(network.activation, "identity")
        hidden: tuple[int | str, ...] = network.sizes[1:-1]
        if activation == "identity" or not is_plain(network.layers):
            hidden, activation = tuple(map(spell_item, network.layers[:-1])), "identity"
        estimator = cls(hidden_layer_sizes=hidden, activation=activation)
        files.adopt(
            estimator,
            [turned(weight).astype(network.dtype, order="C") for weight in weights],
            [bias.astype(network.dtype) for bias in biases],
            "logistic" if count == 2 else "softmax",
        )
        files.adopt_labels(estimator, labels[order])
        return estimator


def _check_convertible(network: Network) -> None:
    """Raise the DataError of `from_network` for a network that no estimator can be."""
    if network.task != "classification":
        raise DataError(
            f"network: found one of a {network.task}, expected a classification; predict with the network itself"
        )
    if network.residual:
        raise DataError(
            "network: found residual connections, which scikit-learn's networks do not have, "
            "expected none"
        )
    if has_images(network.layers):
        raise DataError(
            "network: found layers of images, which cannot take in its normalisation, expected "
            "linear layers; predict with the network itself"
        )
    if not network.normalization.fits(network.dtype):
        raise DataError(
            "network: found a normalisation of values too far from zero for weights of "
            f"{network.dtype} to take in, expected a network trained on values nearer to zero"
        )
