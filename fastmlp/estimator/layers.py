"""What `hidden_layer_sizes` and `image_shape` mean: an estimator's network as a list of layers.

With widths alone a network is scikit-learn's, and ``hidden_`` is None. With layers ``hidden_`` holds them as
`TrainConfig.hidden` does. ``coefs_`` then has the arrays that `fastmlp.training.shapes.parameter_shapes` describes,
those of linear layers as [in, out], as in scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError, DataError
from fastmlp.training.layers import (
    EXPECTED,
    ORDER,
    Layer,
    has_images,
    misplaced,
    network_layers,
    spell_item,
)
from fastmlp.training.parameters import initialize_layers
from fastmlp.training.shapes import parameter_shapes

TO_OURS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}


def hidden_of(hidden_layer_sizes: Any) -> tuple[int | str, ...] | None:
    """Return the layers that `hidden_layer_sizes` names; None if it names widths alone.

    Raises
    ------
    ConfigError
        If a layer is unknown or in a wrong place.
    """
    items = np.atleast_1d(np.asarray(hidden_layer_sizes, dtype=object)).tolist()
    if all(isinstance(item, Integral | float) for item in items):
        return None
    found = f"hidden_layer_sizes: found {hidden_layer_sizes!r}"
    try:
        hidden = tuple(
            int(item) if isinstance(item, Integral) else spell_item(item) for item in items
        )
    except (TypeError, ValueError):
        raise ConfigError(f"{found}, expected a list of {EXPECTED}") from None
    if any(isinstance(item, int) and item <= 0 for item in hidden):
        raise ConfigError(f"{found}, expected widths above 0")
    if problem := misplaced(hidden):
        raise ConfigError(f"hidden_layer_sizes: found {problem}, expected {ORDER}")
    return hidden


def widths_of(hidden_layer_sizes: Any) -> list[int]:
    """Return the widths in `hidden_layer_sizes`; none if it names layers.

    Raises
    ------
    ValueError
        If a width is not above 0, as in scikit-learn.
    """
    if hidden_of(hidden_layer_sizes) is not None:
        return []
    widths: list[int] = np.atleast_1d(hidden_layer_sizes).astype(int).tolist()
    if any(width <= 0 for width in widths):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {widths}.")
    return widths


def layers_of(estimator: Any) -> tuple[Layer, ...]:
    """Return the layers of a fitted estimator."""
    hidden = getattr(estimator, "hidden_", None)  # older pickles have none
    if hidden is None:
        hidden = [bias.size for bias in estimator.intercepts_[:-1]]
    return network_layers(
        hidden,
        estimator.intercepts_[-1].size,
        activation=TO_OURS[estimator.activation],
        dropout=estimator.dropout,
    )


def shape_of(estimator: Any) -> tuple[int, ...]:
    """Return the shape of a row that a fitted estimator takes: that of an image, or (features,)."""
    return getattr(estimator, "image_shape_", None) or (estimator.n_features_in_,)


def checked_shape(
    image_shape: Any, layers: Sequence[Layer], features: int
) -> tuple[int, ...] | None:
    """Return `image_shape` as plain numbers, or None where there is none.

    Raises
    ------
    ConfigError
        If it is no shape, is missing, or a layer cannot take the shape that reaches it.
    DataError
        If rows of so many features are no such images.
    """
    expected = "expected (channels, height, width), three numbers above 0"
    if image_shape is None:
        if has_images(layers):
            raise ConfigError(
                f"image_shape: found None with layers of images in hidden_layer_sizes, {expected}"
            )
        return None
    sizes = np.asarray(image_shape, dtype=object).ravel().tolist()
    shape = tuple(int(one) for one in sizes if isinstance(one, Integral))
    if len(sizes) != 3 or len(shape) != 3 or min(shape) < 1:
        raise ConfigError(f"image_shape: found {image_shape!r}, {expected}")
    if math.prod(shape) != features:
        raise DataError(
            f"X: found {features} columns, expected {math.prod(shape)}, the numbers of an image of "
            f"image_shape={shape}"
        )
    try:
        parameter_shapes(layers, shape)
    except ConfigError as error:
        raise ConfigError(str(error).replace("hidden", "hidden_layer_sizes", 1)) from None
    return shape


def draw(
    estimator: Any, layers: Sequence[Layer], dtype: Any
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw coefs_ and intercepts_ of layers, as the estimator's `initialization` says.

    With "sklearn", a convolution is drawn as a layer from the numbers under a kernel to its channels.
    """
    given, rng, scheme = shape_of(estimator), estimator._random_state, estimator.initialization
    if scheme != "sklearn":
        weights, intercepts = initialize_layers(layers, given, scheme, rng, dtype)
        return [np.ascontiguousarray(turned(weight)) for weight in weights], intercepts
    weights, intercepts = initialize_layers(layers, given, "zeros", rng, dtype)
    for place, weight in enumerate(weights):
        if weight.ndim > 1:
            inputs = math.prod(weight.shape[1:])
            coef, intercepts[place] = estimator._init_coef(inputs, len(weight), dtype)
            weights[place] = coef if weight.ndim == 2 else coef.T.reshape(weight.shape).copy()
    return weights, intercepts


def turned(array: np.ndarray) -> np.ndarray:
    """Return weights [in, out] as [out, in], or back; those of convolutions and batchnorms stay as they are."""
    return array.T if array.ndim == 2 else array


def coef_shapes(estimator: Any) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the shapes of coefs_ and intercepts_, pair by pair, that a fitted estimator must have."""
    pairs = parameter_shapes(layers_of(estimator), shape_of(estimator))
    return [(weight[::-1] if len(weight) == 2 else weight, bias) for weight, bias in pairs]
