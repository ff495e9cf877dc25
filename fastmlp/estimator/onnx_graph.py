"""Layers -> the nodes of an ONNX graph, with the ``onnx`` package's helpers (the extra ``export``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fastmlp.training.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Convolution,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Residual,
)

OPERATORS = 20  # the set's version: the first with GELU
FORMAT = 9  # the version of the file format that belongs to it
ROWS = "rows"  # the name of the first dimension, which may have any length


class Graph:
    """An ONNX graph that grows by a node at a time; methods return the name of what the node makes.

    Parameters
    ----------
    dtype : dtype
        float32 or float64: of the numbers that most nodes compute with.

    Attributes
    ----------
    stated : dict
        What the file says in its metadata, as plain values for JSON: "classes", which the columns of the outputs stand
        for, and whatever else whoever uses the model has to know.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        from onnx import helper, numpy_helper

        self.dtype = dtype
        self.stated: dict[str, Any] = {}
        self._helper, self._to_tensor = helper, numpy_helper.from_array
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._outputs: list[Any] = []

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, values: Any, dtype: Any = None) -> str:
        """Add an array, by default of the graph's type, and return its name."""
        name = f"constant_{len(self._constants)}"
        array = np.ascontiguousarray(values, dtype or self.dtype).reshape(np.shape(values))
        self._constants.append(self._to_tensor(array, name))
        return name

    def cast(self, x: str, dtype: Any, name: str = "") -> str:
        """Add a conversion to another type."""
        return self.add("Cast", x, name=name, to=self._type(dtype))

    def output(self, name: str, dtype: Any, columns: int | None = None) -> None:
        """Declare that something is an output of the graph, [rows, columns] or [rows]."""
        shape = [ROWS] if columns is None else [ROWS, columns]
        self._outputs.append(self._helper.make_tensor_value_info(name, self._type(dtype), shape))

    def single(self, operator: str, x: str, *constants: Any, **attributes: Any) -> str:
        """Add a node of an operator that ONNX Runtime has in float32 alone."""
        is_double = self.dtype == np.float64
        given = [self.cast(x, np.float32) if is_double else x]
        given += [self.constant(values, np.float32) for values in constants]
        made = self.add(operator, *given, **attributes)
        return self.cast(made, np.float64) if is_double else made

    def to_bytes(self, name: str, columns: int, dtype: Any) -> bytes:
        """Return the model as a file, with one input, ``X`` [rows, columns]."""
        X = self._helper.make_tensor_value_info("X", self._type(dtype), [ROWS, columns])
        graph = self._helper.make_graph(self._nodes, name, [X], self._outputs, self._constants)
        opset = self._helper.make_opsetid("", OPERATORS)
        model = self._helper.make_model(
            graph, producer_name="fastmlp", opset_imports=[opset], ir_version=FORMAT
        )
        stated = {key: json.dumps(value) for key, value in self.stated.items()}
        self._helper.set_model_props(model, stated)
        data: bytes = model.SerializeToString()
        return data

    def _type(self, dtype: Any) -> int:
        kind = np.dtype(dtype)
        # ONNX has one type of text, whatever its length.
        code: int = self._helper.np_dtype_to_tensor_dtype(
            np.dtype(object) if kind.kind == "U" else kind
        )
        return code


def add_layers(
    graph: Graph, x: str, layers: Iterable[Layer], pairs: Iterator[tuple[np.ndarray, np.ndarray]]
) -> str:
    """Add the nodes of layers, and return the name of their output.

    Parameters
    ----------
    graph : Graph
    x : str
        The input: rows, or images [rows, channels, height, width].
    layers : iterable of Layer
    pairs : iterator of (array, array)
        Weights and biases, as in a `fastmlp.Network`; those of the layers are taken from it.
    """
    for layer in layers:
        match layer:
            case Residual(inner):
                x = graph.add("Add", x, add_layers(graph, x, inner, pairs))
            case Activation(name):
                x = ACTIVATIONS[name](graph, x)
            case Linear():
                weight, bias = map(graph.constant, next(pairs))
                x = graph.add("Gemm", x, weight, bias, transB=1)
            case Convolution(_, _, stride, _):
                strides, pads = [stride] * 2, [layer.margin] * 4
                x = graph.single("Conv", x, *next(pairs), strides=strides, pads=pads)
            case BatchNorm():
                given = [graph.constant(one) for pair in (next(pairs), next(pairs)) for one in pair]
                x = graph.add("BatchNormalization", x, *given, epsilon=EPSILON)
            case MaxPool(size):
                x = graph.add("MaxPool", x, kernel_shape=[size] * 2, strides=[size] * 2)
            case AvgPool(size):
                x = graph.single("AveragePool", x, kernel_shape=[size] * 2, strides=[size] * 2)
            case Flatten():
                x = graph.add("Flatten", x)
    return x


def _silu(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _of(operator: str, **attributes: Any) -> Callable[[Graph, str], str]:
    return lambda graph, x: graph.single(operator, x, **attributes)


EPSILON = 1e-5  # of a batchnorm

# Where an operator has constants, ONNX's defaults are PyTorch's, and so are ours.
ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "relu": lambda graph, x: graph.add("Relu", x),
    "sigmoid": lambda graph, x: graph.add("Sigmoid", x),
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "gelu": _of("Gelu"),
    "gelu_tanh": _of("Gelu", approximate="tanh"),
    "silu": _silu,
    "leaky_relu": _of("LeakyRelu"),
    "elu": _of("Elu"),
    "selu": _of("Selu"),
}
