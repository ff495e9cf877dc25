"""A plain NumPy twin of every kernel: same name, same arguments, same arrays.

A twin says in the fewest words what its kernel computes, for tests to compare with. It takes the kernel's panels
and writes the same rectangle of the same outputs, but knows no tile, no vector and no order of summation, and its
arithmetic is float64 whatever the arrays hold. Outputs may be float64 where a kernel's would be float32: the
result is then not rounded.

In panel terms a product needs no unpacking on the right: with ``left`` the matrix [M, K] and ``W`` panels
[N / lanes, K, lanes], ``left @ W`` broadcasts to the panels [N / lanes, M, lanes] of the product.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.simd import IDENTITY, MOMENTUM, NESTEROV, RELU, RELU_GRADIENT, SGD

Array = NDArray[Any]
Float64 = NDArray[np.float64]


def to_matrix(panels: Array) -> Float64:
    """Return the matrix [M, panels * lanes] that panels [panels, M, lanes] hold, padding included."""
    count, rows, lanes = panels.shape
    return panels.astype(np.float64).transpose(1, 0, 2).reshape(rows, count * lanes)


def to_panels(matrix: Array, lanes: int) -> Float64:
    """Return the panels [ceil(N / lanes), M, lanes] of a matrix [M, N], zero beyond N."""
    rows, columns = matrix.shape
    padded = np.pad(matrix.astype(np.float64), ((0, 0), (0, -columns % lanes)))
    return padded.reshape(rows, -1, lanes).transpose(1, 0, 2)


def finish(epilogue: int, Z: Float64, mask: Array) -> Float64:
    """Return what an epilogue makes of sums Z; `mask` holds the activations at the same places."""
    match int(epilogue):
        case kind if kind == IDENTITY:
            return Z
        case kind if kind == RELU:
            return np.maximum(Z, 0)
        case kind if kind == RELU_GRADIENT:
            return np.where(mask > 0, Z, 0)
    raise ValueError(f"epilogue: found {epilogue}, expected one of those in simd.py")


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
    product = to_matrix(A)[row_from:row_to] @ W[panel_from:panel_to].astype(np.float64)
    out[part] = finish(epilogue, first + product, mask[part])


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
    product = to_matrix(X)[row_from:row_to] @ W[panel_from:panel_to].astype(np.float64)
    H[part] = finish(epilogue, product + b[panel_from:panel_to], H[part])


def softmax_cross_entropy(
    Z: Array,
    labels: Array,
    indices: Array,
    classes: int,
    weight: float,
    D: Array,
    losses: Array,
    correct: Array,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `loss.softmax_cross_entropy`: ``D = (softmax(Z) - onehot(label)) * weight``."""
    rows = slice(row_from, row_to)
    label = labels[indices[rows]]
    own = np.arange(len(label)), label
    logits = to_matrix(Z[:, rows])[:, :classes]
    shifted = logits - logits.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    losses[rows] = np.log(total[:, 0]) - shifted[own]
    correct[rows] = logits.argmax(axis=1) == label
    difference = np.exp(shifted) / total
    difference[own] -= 1
    D[:, rows] = to_panels(difference * weight, D.shape[2])


def input_gradient(
    D: Array,
    T: Array,
    zeros: Array,
    H: Array,
    G: Array,
    panel_from: int,
    panel_to: int,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `backward.input_gradient`: ``G = (D @ T) * (H > 0)``."""
    part = np.s_[panel_from:panel_to, row_from:row_to]
    product = to_matrix(D)[row_from:row_to] @ T[panel_from:panel_to].astype(np.float64)
    G[part] = finish(RELU_GRADIENT, product, H[part])


def update(
    X: Array,
    D: Array,
    W: Array,
    V: Array,
    inputs: int,
    rule: int,
    hyper: Array,
    panel_from: int,
    panel_to: int,
    slab_from: int,
    slab_to: int,
) -> None:
    """Twin of `update.update`: one step of ``torch.optim.SGD`` with the gradient ``X.T @ D``."""
    lanes = W.shape[2]
    rows = slice(slab_from * lanes, min(slab_to * lanes, inputs))
    part = np.s_[panel_from:panel_to, rows]
    rate, momentum, decay = hyper.astype(np.float64)
    w = W[part].astype(np.float64)
    g = to_matrix(X).T[rows] @ D[panel_from:panel_to].astype(np.float64) + decay * w
    match int(rule):
        case kind if kind == SGD:
            step = g
        case kind if kind in (MOMENTUM, NESTEROV):
            v = momentum * V[part] + g
            step = g + momentum * v if kind == NESTEROV else v
            V[part] = v
        case _:
            raise ValueError(f"rule: found {rule}, expected one of those in simd.py")
    W[part] = w - rate * step


def transpose(
    W: Array, T: Array, panel_from: int, panel_to: int, slab_from: int, slab_to: int
) -> None:
    """Twin of `pack.transpose`: ``T = W.T`` for part of the weights."""
    lanes = W.shape[2]
    part = to_matrix(W[panel_from:panel_to])[slab_from * lanes : slab_to * lanes]
    T[slab_from:slab_to, panel_from * lanes : panel_to * lanes] = to_panels(part.T, lanes)


def flip_row(source: Array, row: int, columns: int, out: Array) -> None:
    """Twin of `gather.flip_row`: mirror each stretch of `columns` values."""
    out[:] = source[row].reshape(-1, columns)[:, ::-1].reshape(-1)


def gather(
    source: Array,
    indices: Array,
    flips: Array,
    columns: int,
    scale: Array,
    shift: Array,
    X: Array,
    scratch: Array,
    row_from: int,
    row_to: int,
) -> None:
    """Twin of `gather.gather`: ``X = source[indices] * scale + shift``; needs no scratch."""
    rows = slice(row_from, row_to)
    images = source[indices[rows]].astype(np.float64)
    stretches = images.reshape(len(images), -1, columns)
    mirrored = stretches[:, :, ::-1].reshape(images.shape)
    images = np.where(flips[rows, None], mirrored, images)
    X[:, rows] = to_panels(images * scale + shift, X.shape[2])
