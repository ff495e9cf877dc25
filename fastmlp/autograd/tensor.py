"""The tensor: a value, the edges to what it was computed from, and the walk back along them."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]
Shape: TypeAlias = tuple[int, ...]
Edge: TypeAlias = "tuple[Tensor, Callable[[Array], Array]]"
Operand: TypeAlias = "Tensor | ArrayLike"


class Tensor:
    """An array of float64 that remembers how it was computed.

    Numbers and arrays may stand beside tensors in every operator. A row runs along the last axis,
    of length C. Dividing by zero and the logarithm of zero give what they give in NumPy, with its
    warning.

    Parameters
    ----------
    data : array_like of real numbers, any shape
        The values; always copied.

    Attributes
    ----------
    data : float64 array
        The values. Change them (to train) only after `backward()`, because the edges read them.
    grad : float64 array of the same shape
        How the tensor whose `backward()` came here last changes with `data`; zeros before that.

    Raises
    ------
    TypeError
        Here and in every operation: data that are not real numbers.
    ValueError
        In every operation: shapes that do not fit. The message holds the operation and the shapes.
    """

    __slots__ = ("_edges", "data", "grad")
    __array_ufunc__ = None  # so that NumPy leaves `array * tensor` to Tensor.__rmul__

    def __init__(self, data: ArrayLike) -> None:
        array = np.asarray(data)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"Tensor: expected real numbers, found {type(data).__name__}")
        self.data: Array = array.astype(np.float64)
        self.grad: Array = np.zeros_like(self.data)
        self._edges: tuple[Edge, ...] = ()

    def __repr__(self) -> str:
        """Show the values as NumPy does."""
        return f"Tensor({np.array2string(self.data, separator=', ', prefix='Tensor(')})"

    @property
    def shape(self) -> Shape:
        """Lengths of the axes; () for a single number."""
        return self.data.shape

    def backward(self) -> None:
        """Set `grad` of all tensors this single number was computed from, and its own to 1.

        Gradients are written anew, not added to those of an earlier call.
        """
        if self.data.size != 1:
            raise ValueError(f"backward: expected one number, found shape {self.shape}: .sum() it")
        order = _topological_order(self)
        for tensor in order:
            tensor.grad = np.zeros_like(tensor.data)
        self.grad += 1.0
        for tensor in reversed(order):
            for source, pull in tensor._edges:
                source.grad += _unbroadcast(pull(tensor.grad), source.shape)

    # Entry by entry, with NumPy's broadcasting. The edges return gradients in the broadcast shape;
    # backward() sums them to the shape of the input.

    def __add__(self, other: Operand) -> "Tensor":
        """Add: the gradient goes to both sides as it is."""
        x, y = _broadcastable("+", self, other)
        return make_result(x.data + y.data, (x, lambda g: g), (y, lambda g: g))

    def __sub__(self, other: Operand) -> "Tensor":
        """Subtract: the right side gets the gradient with its sign turned."""
        x, y = _broadcastable("-", self, other)
        return make_result(x.data - y.data, (x, lambda g: g), (y, lambda g: -g))

    def __mul__(self, other: Operand) -> "Tensor":
        """Multiply: each side gets the gradient times the other side."""
        x, y = _broadcastable("*", self, other)
        return make_result(x.data * y.data, (x, lambda g: g * y.data), (y, lambda g: g * x.data))

    def __truediv__(self, other: Operand) -> "Tensor":
        """Divide: d(x / y) = dx / y - (x / y) dy / y."""
        x, y = _broadcastable("/", self, other)
        ratio = x.data / y.data
        return make_result(ratio, (x, lambda g: g / y.data), (y, lambda g: -g * ratio / y.data))

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Operand) -> "Tensor":
        """Subtract from a number or array."""
        return make_tensor(other) - self

    def __rtruediv__(self, other: Operand) -> "Tensor":
        """Divide a number or array."""
        return make_tensor(other) / self

    def __neg__(self) -> "Tensor":
        """Turn the sign."""
        return make_result(-self.data, (self, lambda g: -g))

    def exp(self) -> "Tensor":
        """Return the exponential of each entry; its own derivative."""
        power = np.exp(self.data)
        return make_result(power, (self, lambda g: g * power))

    def log(self) -> "Tensor":
        """Return the natural logarithm of each entry."""
        return make_result(np.log(self.data), (self, lambda g: g / self.data))

    def sigmoid(self) -> "Tensor":
        """Return 1 / (1 + exp(-x)) of each entry x; no entry is so large that this overflows."""
        s = _logistic(self.data)
        return make_result(s, (self, lambda g: g * s * (1.0 - s)))

    def tanh(self) -> "Tensor":
        """Return the hyperbolic tangent of each entry."""
        t = np.tanh(self.data)
        return make_result(t, (self, lambda g: g * (1.0 - t * t)))

    def relu(self) -> "Tensor":
        """Return max(x, 0) of each entry x; at 0, a kink, the gradient is 0 as in PyTorch."""
        positive = self.data > 0.0
        return make_result(np.maximum(self.data, 0.0), (self, lambda g: np.where(positive, g, 0.0)))

    def gelu(self, approximate: str = "none") -> "Tensor":
        """Return x P(x) of each entry x, where P is the normal distribution function.

        Parameters
        ----------
        approximate : "none" or "tanh"
            "tanh" takes 0.5 (1 + tanh(u)) for P(x), with u = sqrt(2 / pi) (x + 0.044715 x^3).
        """
        near = np.clip(self.data, -40.0, 40.0)  # farther out P is 0 or 1, and powers of x overflow
        if approximate == "none":
            share = 0.5 * _erfc(-near / math.sqrt(2.0))
            density = np.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi)
        elif approximate == "tanh":
            scale = 2.0 * math.sqrt(2.0 / math.pi)  # 0.5 (1 + tanh(u)) is the logistic of 2 u
            share = _logistic(scale * (near + 0.044715 * near**3))
            density = share * (1.0 - share) * scale * (1.0 + 3.0 * 0.044715 * near * near)
        else:
            found = f"found {approximate!r}"
            raise ValueError(f"gelu: expected approximate 'none' or 'tanh', {found}")
        slope = share + near * density
        return make_result(self.data * share, (self, lambda g: g * slope))

    def silu(self) -> "Tensor":
        """Return x / (1 + exp(-x)) of each entry x: x times its sigmoid."""
        s = _logistic(self.data)
        slope = s * (1.0 + self.data * (1.0 - s))
        return make_result(self.data * s, (self, lambda g: g * slope))

    def leaky_relu(self, slope: float = 0.01) -> "Tensor":
        """Return x where it is above 0, else `slope` x.

        Parameters
        ----------
        slope : float
            Also the gradient at 0, as in PyTorch.
        """
        slopes = np.where(self.data > 0.0, 1.0, slope)
        return make_result(self.data * slopes, (self, lambda g: g * slopes))

    def elu(self, alpha: float = 1.0) -> "Tensor":
        """Return x where it is above 0, else `alpha` (exp(x) - 1).

        Parameters
        ----------
        alpha : float
            Also the gradient at 0.
        """
        positive, below = self.data > 0.0, np.minimum(self.data, 0.0)
        values = np.where(positive, self.data, alpha * np.expm1(below))
        slope = np.where(positive, 1.0, alpha * np.exp(below))
        return make_result(values, (self, lambda g: g * slope))

    def selu(self) -> "Tensor":
        """Return ELU with the two constants that keep mean 0 and variance 1 (Klambauer et al., 2017)."""
        return self.elu(1.6732632423543772) * 1.0507009873554805

    def __matmul__(self, other: Operand) -> "Tensor":
        """Matrix product, [..., N, K] @ [..., K, M]: dX = dZ Y^T and dY = X^T dZ for Z = X Y."""
        x, y = self, make_tensor(other)
        if min(x.data.ndim, y.data.ndim) < 2 or x.shape[-1] != y.shape[-2]:
            raise ValueError(f"@: expected [..., N, K] @ [..., K, M], found {x.shape} @ {y.shape}")
        return make_result(
            x.data @ y.data,
            (x, lambda g: g @ y.data.swapaxes(-1, -2)),
            (y, lambda g: x.data.swapaxes(-1, -2) @ g),
        )

    def __rmatmul__(self, other: Operand) -> "Tensor":
        """Matrix product of an array and this."""
        return make_tensor(other) @ self

    # Sums and rows: what many entries went into hands its gradient to each of them.

    def sum(self) -> "Tensor":
        """Return the sum of all entries: [...] -> []."""
        return make_result(self.data.sum(), (self, lambda g: np.broadcast_to(g, self.shape)))

    def row_sum(self) -> "Tensor":
        """Return the sum of each row: [..., C] -> [...]."""
        _check_rows("row_sum", self)
        total = self.data.sum(axis=-1)
        return make_result(total, (self, lambda g: np.broadcast_to(g[..., None], self.shape)))

    def row_max(self) -> "Tensor":
        """Return the largest entry of each row: [..., C] -> [...].

        Entries that tie share the gradient evenly, as in `torch.amax`: there is no derivative at a
        tie, and an even split favours no column.
        """
        _check_rows("row_max", self)
        largest = self.data.max(axis=-1)
        ties = self.data == largest[..., None]
        share = ties / ties.sum(axis=-1, keepdims=True)
        return make_result(largest, (self, lambda g: g[..., None] * share))

    def normalize(self) -> "Tensor":
        """Return each row divided by its sum: [..., C] -> [..., C]. Softmax is `exp`, then this."""
        _check_rows("normalize", self)
        total = self.data.sum(axis=-1, keepdims=True)
        part = self.data / total
        return make_result(
            part, (self, lambda g: (g - (g * part).sum(axis=-1, keepdims=True)) / total)
        )

    def select(self, columns: ArrayLike) -> "Tensor":
        """Return one entry of each row: [..., C] -> [...].

        Parameters
        ----------
        columns : array_like of integers [...]
            Which one, counted from 0.
        """
        _check_rows("select", self)
        index, rows, last = np.asarray(columns), self.shape[:-1], self.shape[-1] - 1
        if index.dtype.kind not in "iu" or index.shape != rows:
            found = f"{index.dtype} {index.shape}"
            raise ValueError(f"select: expected columns as integers {rows}, found {found}")
        if index.size and not 0 <= index.min() <= index.max() <= last:
            found = f"{index.min()}..{index.max()}"
            raise ValueError(f"select: expected columns in 0..{last}, found {found}")
        chosen = index[..., None] == np.arange(last + 1)
        entries = self.data[chosen].reshape(rows)
        return make_result(entries, (self, lambda g: np.where(chosen, g[..., None], 0.0)))

    # Shapes.

    def expand(self, shape: Sequence[int]) -> "Tensor":
        """Return copies along axes of length 1 and new leading axes, as broadcasting does.

        Parameters
        ----------
        shape : sequence of int
            Of the result.
        """
        try:
            copies = np.broadcast_to(self.data, shape)
        except ValueError:
            message = f"expand: shape {self.shape} does not broadcast to {shape}"
            raise ValueError(message) from None
        return make_result(copies, (self, lambda g: g))

    def squeeze(self, axis: int) -> "Tensor":
        """Return the entries without an axis of length 1.

        Parameters
        ----------
        axis : int
            Its number.
        """
        if axis not in range(-self.data.ndim, self.data.ndim) or self.shape[axis] != 1:
            raise ValueError(f"squeeze: axis {axis} of shape {self.shape} is not of length 1")
        return make_result(self.data.squeeze(axis), (self, lambda g: g.reshape(self.shape)))

    def unsqueeze(self, axis: int) -> "Tensor":
        """Return the entries with another axis, of length 1.

        Parameters
        ----------
        axis : int
            Its number in the result.
        """
        return make_result(np.expand_dims(self.data, axis), (self, lambda g: g.reshape(self.shape)))


def make_result(data: ArrayLike, *edges: Edge) -> Tensor:
    """Return a tensor with these edges to what it was computed from: how every operation ends."""
    # Edges hold inputs and never the result: no reference cycle, so a graph is freed with its loss.
    result = Tensor(data)
    result._edges = edges
    return result


def _logistic(x: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -x))


# Not 1 - erf, which has no digits left where erf is nearly 1.
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def make_tensor(value: Operand) -> Tensor:
    """Return a tensor as it is, and numbers as a new one, which remembers nothing."""
    return value if isinstance(value, Tensor) else Tensor(value)


def _broadcastable(operation: str, left: Tensor, right: Operand) -> tuple[Tensor, Tensor]:
    right = make_tensor(right)
    try:
        np.broadcast_shapes(left.shape, right.shape)
    except ValueError:
        message = f"{operation}: shapes {left.shape} and {right.shape} do not broadcast"
        raise ValueError(message) from None
    return left, right


def _check_rows(operation: str, tensor: Tensor) -> None:
    if not tensor.shape or not tensor.shape[-1]:
        raise ValueError(f"{operation}: expected rows [..., C] with C > 0, found {tensor.shape}")


def _unbroadcast(gradient: Array, shape: Shape) -> Array:
    """Undo broadcasting: sum over the axes it put in front and those it stretched from length 1."""
    added = gradient.ndim - len(shape)
    stretched = (added + axis for axis, length in enumerate(shape) if length == 1)
    summed: Array = gradient.sum(axis=(*range(added), *stretched), keepdims=True)
    return summed.reshape(shape)


def _topological_order(root: Tensor) -> list[Tensor]:
    """All tensors `root` was computed from, inputs first. A stack: recursion would limit depth."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack = [(root, False)]
    while stack:
        tensor, inputs_are_done = stack.pop()
        if inputs_are_done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            stack.extend((source, False) for source, _ in tensor._edges)
    return order


# What may stand between the layers of a network, by name.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": Tensor.relu,
    "sigmoid": Tensor.sigmoid,
    "tanh": Tensor.tanh,
    "gelu": Tensor.gelu,
    "gelu_tanh": lambda x: x.gelu("tanh"),
    "silu": Tensor.silu,
    "leaky_relu": Tensor.leaky_relu,
    "elu": Tensor.elu,
    "selu": Tensor.selu,
}
