"""A plain NumPy twin of every kernel: same name, same arguments, same arrays.

A twin says in the fewest words what its kernel computes, for tests to compare with. It takes the
kernel's panels and writes the same rectangle of the same outputs, but knows no tile, no vector and
no order of summation, and its arithmetic is float64 whatever the arrays hold. Outputs may be
float64 where a kernel's would be float32: the result is then not rounded.

A product needs no unpacking on the right: with `left` the matrix [M, K] and W the panels
[N / lanes, K, lanes], ``left @ W`` broadcasts to the panels [N / lanes, M, lanes] of the product.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.loss import LOGISTIC, SQUARED
from fastmlp.kernels.simd import (
    ADAM,
    ADD,
    DECAY,
    EPSILON,
    EXP,
    GAIN,
    GRADIENT_STEP,
    HEAVY_BALL,
    IDENTITY,
    MOMENTUM,
    MULTIPLY,
    PLAIN,
    RELU,
    RELU_GRADIENT,
    RMSPROP,
    ROOT_SCALE,
    SIGMOID,
    SIGMOID_GRADIENT,
    SQUARE_DECAY,
    SQUARE_GAIN,
    STEP,
    TANH,
    TANH_GRADIENT,
    VELOCITY,
)

Array = NDArray[Any]
Float64 = NDArray[np.float64]


def sigmoid(x: Float64) -> Float64:
    """Return 1 / (1 + exp(-x)), of which no exponential overflows."""
    small = np.exp(-abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


# What each code of simd.py makes of a value x and its neighbour y: the epilogues of `multiply`,
# where x is a sum and y the mask, and the functions of `elementwise`.
FUNCTIONS: dict[int, Callable[[Float64, Array], Float64]] = {
    int(IDENTITY): lambda x, y: x,
    int(RELU): lambda x, y: np.maximum(x, 0),
    int(RELU_GRADIENT): lambda x, y: np.where(y > 0, x, 0),
    int(EXP): lambda x, y: np.exp(x),
    int(SIGMOID): lambda x, y: sigmoid(x),
    int(TANH): lambda x, y: np.tanh(x),
    int(ADD): lambda x, y: x + y,
    int(MULTIPLY): lambda x, y: x * y,
    int(SIGMOID_GRADIENT): lambda x, y: x * y * (1 - y),
    int(TANH_GRADIENT): lambda x, y: x * ((1 - y) * (1 + y)),
}

# What each rule of simd.py subtracts from a weight, given the numbers h of `hyper`, the weight's
# gradient g, its velocity v and its mean square s.
STEPS: dict[int, Callable[[Float64, Float64, Float64, Float64], Float64]] = {
    int(PLAIN): lambda h, g, v, s: h[GRADIENT_STEP] * g,
    int(HEAVY_BALL): lambda h, g, v, s: h[STEP] * v,
    int(VELOCITY): lambda h, g, v, s: h[STEP] * v + h[GRADIENT_STEP] * g,
    int(ADAM): lambda h, g, v, s: h[STEP] * v / (h[ROOT_SCALE] * np.sqrt(s) + h[EPSILON]),
    int(RMSPROP): lambda h, g, v, s: h[STEP] * g / (h[ROOT_SCALE] * np.sqrt(s) + h[EPSILON]),
}


def to_matrix(panels: Array) -> Float64:
    """Return the matrix [M, N] that panels [N / lanes, M, lanes] hold, padding included."""
    count, rows, lanes = panels.shape
    return panels.astype(np.float64).transpose(1, 0, 2).reshape(rows, count * lanes)


def to_panels(matrix: Array, lanes: int) -> Float64:
    """Return the panels [ceil(N / lanes), M, lanes] of a matrix [M, N], zero beyond N."""
    rows, columns = matrix.shape
    count = -(-columns // lanes)
    padded = np.pad(matrix.astype(np.float64), ((0, 0), (0, count * lanes - columns)))
    return padded.reshape(rows, count, lanes).transpose(1, 0, 2)


# Pairs of bfloat16, the first in the low half of an int32: seen as uint16, an array of pairs of
# columns is a panel of twice the width, and one of pairs of rows has a last axis of two rows.


def to_bfloat16(x: Array) -> NDArray[np.uint16]:
    """Return the bits of x in bfloat16: to nearest, ties to even, denormals to zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        fraction, exponent = np.frexp(x.astype(np.float64))
        near = np.ldexp(np.rint(fraction * 256) / 256, exponent).astype(np.float32)
    near[abs(x) < np.finfo(np.float32).tiny] = 0
    near = np.copysign(near, x.astype(np.float32))
    return (near.view(np.uint32) >> 16).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the numbers that bits of bfloat16 stand for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rows_of_pairs(pairs: Array) -> NDArray[np.uint16]:
    """View pairs of rows [panels, M / 2, lanes] as bfloat16 [panels, M / 2, lanes, 2]."""
    return pairs.view(np.uint16).reshape(*pairs.shape, 2)


def columns_of(operand: Array) -> Float64:
    """Return the matrix [M, K] of a left operand: panels of numbers, or pairs of columns."""
    if operand.dtype == np.int32:
        operand = from_bfloat16(operand.view(np.uint16))
    return to_matrix(operand)


def rows_of(operand: Array) -> Float64:
    """Return the panels [N / lanes, K, lanes] of a right operand: of numbers, or pairs of rows."""
    if operand.dtype != np.int32:
        return operand.astype(np.float64)
    count, depth, lanes = operand.shape
    numbers = from_bfloat16(rows_of_pairs(operand)).transpose(0, 1, 3, 2)
    return numbers.reshape(count, 2 * depth, lanes).astype(np.float64)


def write_operands(
    source: Array,
    source_from: int,
    columns: Array,
    rows: Array,
    panel_from: int,
    panel_to: int,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `operands.write_operands`: pairs of columns and of rows; nothing in other types."""
    if columns.dtype != np.int32:
        return
    _, height, lanes = source.shape
    of_columns, of_rows = columns.view(np.uint16), rows_of_pairs(rows)
    for p in range(panel_from, panel_to):
        numbers = to_bfloat16(source[p - panel_from + source_from, row_from:row_to])
        half = lanes * (p % 2)
        of_columns[p // 2, row_from:row_to, half : half + lanes] = numbers
        if p == len(rows) - 1 and half == 0:  # no neighbour
            of_columns[p // 2, row_from:row_to, lanes:] = 0
        for m in range(row_from, row_to):
            of_rows[p, m // 2, :, m % 2] = numbers[m - row_from]
        if row_to == height and height % 2 and row_from < row_to:  # no partner
            of_rows[p, height // 2, :, 1] = 0


def write_right_operand(
    W: Array, right: Array, panel_from: int, panel_to: int, slab_from: int, slab_to: int
) -> None:
    """Twin of `operands.write_right_operand`: pairs of rows; nothing in other types."""
    if right.dtype == np.int32:
        lanes = W.shape[2]
        part = W[panel_from:panel_to, slab_from * lanes : slab_to * lanes].astype(np.float32)
        pairs = to_bfloat16(part).reshape(len(part), part.shape[1] // 2, 2, lanes)
        depth = slice(slab_from * lanes // 2, slab_to * lanes // 2)
        rows_of_pairs(right)[panel_from:panel_to, depth] = pairs.transpose(0, 1, 3, 2)


def multiply(
    A: Array,
    W: Array,
    start: Array,
    start_row: int,
    start_panel: int,
    out: Array,
    epilogue: int,
    mask: Array,
    panel_from: int,
    panel_to: int,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `gemm.multiply`: ``out = epilogue(start + A @ W)``."""
    part = np.s_[panel_from:panel_to, row_from:row_to]
    p, m, j = np.ogrid[panel_from:panel_to, row_from:row_to, : out.shape[2]]
    first = start.reshape(-1)[p * start_panel + m * start_row + j].astype(np.float64)
    product = columns_of(A)[row_from:row_to] @ rows_of(W)[panel_from:panel_to]
    out[part] = FUNCTIONS[int(epilogue)](first + product, mask[part].astype(np.float64))


def affine(
    X: Array,
    W: Array,
    b: Array,
    H: Array,
    epilogue: int,
    panel_from: int,
    panel_to: int,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `forward.affine`: ``H = epilogue(X @ W + b)``."""
    part = np.s_[panel_from:panel_to, row_from:row_to]
    product = columns_of(X)[row_from:row_to] @ rows_of(W)[panel_from:panel_to]
    H[part] = FUNCTIONS[int(epilogue)](product + b[panel_from:panel_to], H[part])


def elementwise(
    code: int,
    source: Array,
    other: Array,
    out: Array,
    panel_from: int,
    panel_to: int,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `elementwise.elementwise`: ``out = f(source, other)``."""
    part = np.s_[panel_from:panel_to, row_from:row_to]
    out[part] = FUNCTIONS[int(code)](
        source[part].astype(np.float64), other[part].astype(np.float64)
    )


def draw_mask(
    rate: float,
    key: int,
    first: int,
    stride: int,
    mask: Array,
    panel_from: int,
    panel_to: int,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `dropout.draw_mask`: SplitMix64 in Python's integers."""
    lanes = mask.shape[2]
    for p, m, j in np.ndindex(mask[panel_from:panel_to, row_from:row_to].shape):
        place = first + (row_from + m) * stride + (panel_from + p) * lanes + j
        z = (key + place * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        uniform = ((z ^ (z >> 31)) >> 11) / 2**53
        mask[panel_from + p, row_from + m, j] = 1 / (1 - rate) if uniform >= rate else 0


def softmax_cross_entropy(
    Z: Array,
    labels: Array,
    indices: Array,
    outputs: int,
    factors: Array,
    D: Array,
    losses: Array,
    correct: Array,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `loss.softmax_cross_entropy`: ``D = (softmax(Z) - onehot(label)) * factor``."""
    rows = slice(row_from, row_to)
    label = labels[indices[rows]]
    own = np.arange(len(label)), label
    logits = to_matrix(Z[:, rows])[:, :outputs]
    shifted = logits - logits.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    losses[rows] = np.log(total[:, 0]) - shifted[own]
    correct[rows] = logits.argmax(axis=1) == label
    difference = np.exp(shifted) / total
    difference[own] -= 1
    D[:, rows] = to_panels(difference * factors[rows, None], D.shape[2])


def elementwise_loss(
    Z: Array,
    targets: Array,
    indices: Array,
    outputs: int,
    loss: int,
    factors: Array,
    D: Array,
    losses: Array,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `loss.elementwise_loss`: ``D = (P - target) * factor``."""
    rows = slice(row_from, row_to)
    target = targets[indices[rows]].astype(np.float64)
    z = to_matrix(Z[:, rows])[:, :outputs]
    each, prediction = {
        int(LOGISTIC): (np.logaddexp(0, z) - z * target, sigmoid(z)),
        int(SQUARED): ((z - target) ** 2 / 2, z),
    }[int(loss)]
    losses[rows] = each.sum(axis=1)
    D[:, rows] = to_panels((prediction - target) * factors[rows, None], D.shape[2])


def input_gradient(
    D: Array,
    T: Array,
    start: Array,
    start_row: int,
    start_panel: int,
    H: Array,
    G: Array,
    epilogue: int,
    panel_from: int,
    panel_to: int,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `backward.input_gradient`: ``G = epilogue(start + D @ T, H)``."""
    multiply(
        D, T, start, start_row, start_panel, G, epilogue, H, panel_from, panel_to, row_from, row_to
    )


def update(
    X: Array,
    D: Array,
    W: Array,
    V: Array,
    S: Array,
    right: Array,
    inputs: int,
    rule: int,
    hyper: Array,
    squares: Array,
    room: Array,
    marks: int,
    sums: int,
    panel_from: int,
    panel_to: int,
    slab_from: int,
    slab_to: int,
) -> None:
    """Twin of `update.update`: one step of a rule with the gradient ``X.T @ D + decay * W``; needs no room."""
    lanes = W.shape[2]
    if squares.size:
        blocks = W.astype(np.float64).reshape(len(W), -1, lanes, lanes)
        blocks = blocks[panel_from:panel_to, slab_from:slab_to]
        squares[panel_from:panel_to, slab_from:slab_to] = (blocks**2).sum(axis=(2, 3))
    rows = slice(slab_from * lanes, min(slab_to * lanes, inputs))
    part = np.s_[panel_from:panel_to, rows]
    h = hyper.astype(np.float64)
    w, v, s = (array[part].astype(np.float64) for array in (W, V, S))
    g = to_matrix(rows_of(X)).T[rows] @ rows_of(D)[panel_from:panel_to] + h[DECAY] * w
    if rule in (HEAVY_BALL, VELOCITY, ADAM):
        gain = 1 if rule == HEAVY_BALL else h[GAIN]
        V[part] = v = h[MOMENTUM] * v + gain * g
    if rule in (ADAM, RMSPROP):
        S[part] = s = h[SQUARE_DECAY] * s + h[SQUARE_GAIN] * g * g
    W[part] = w - STEPS[int(rule)](h, g, v, s)
    if right.size:
        write_right_operand(W, right, panel_from, panel_to, slab_from, slab_to)


def transpose(
    W: Array, T: Array, panel_from: int, panel_to: int, slab_from: int, slab_to: int
) -> None:
    """Twin of `pack.transpose`: ``T = W.T`` for part of the weights, or pairs of its rows."""
    lanes = W.shape[2]
    part = to_matrix(W[panel_from:panel_to])[slab_from * lanes : slab_to * lanes]
    turned = to_panels(part.T, lanes)
    if T.dtype == np.int32:
        pairs = np.zeros((len(turned), turned.shape[1] // 2, lanes), np.int32)
        write_right_operand(turned, pairs, 0, len(turned), 0, turned.shape[1] // lanes)
        T[slab_from:slab_to, panel_from * lanes // 2 : panel_to * lanes // 2] = pairs
    else:
        T[slab_from:slab_to, panel_from * lanes : panel_to * lanes] = turned


def flip_row(source: Array, row: int, columns: int, out: Array, m: int) -> None:
    """Twin of `gather.flip_row`: mirror each stretch of `columns` values."""
    out[m] = source[row].reshape(-1, columns)[:, ::-1].reshape(-1)


def gather(
    source: Array,
    indices: Array,
    flips: Array,
    columns: int,
    scale: Array,
    shift: Array,
    X: Array,
    C: Array,
    R: Array,
    scratch: Array,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `gather.gather`: ``X = source[indices] * scale + shift``; needs no scratch.

    X stays as it is where it has not a panel for every column: it is then room for the kernel.
    """
    rows = slice(row_from, row_to)
    images = source[indices[rows]].astype(np.float64)
    count, width = images.shape
    mirrored = images.reshape(count, width // columns, columns)[:, :, ::-1].reshape(count, width)
    images = np.where(flips[rows, None], mirrored, images)
    lanes = X.shape[2]
    batch = np.zeros((-(-width // lanes), len(indices), lanes), X.dtype)
    batch[:, rows] = to_panels(images * scale + shift, lanes)
    if len(X) == len(batch):
        X[:, rows] = batch[:, rows]
    write_operands(batch, 0, C, R, 0, len(batch), row_from, row_to)
