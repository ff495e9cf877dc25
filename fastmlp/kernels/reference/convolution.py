"""Twins of the convolution's loops, on plain arrays of images [N, C, H, W].

With stride S and padding P, where X is 0 outside the image, and for every place (y, x) of an output Z:

    Z[n, o, y, x] = b[o] + sum over c, i, j of W[o, c, i, j] X[n, c, y S + i - P, x S + j - P]

so an output is as high as (H + 2 P - K) // S + 1. Given D = d loss / d Z, the same terms read the other ways round:

    dX[n, c, v, u] = sum over o and all i, j, y, x with y S + i - P = v and x S + j - P = u
                     of W[o, c, i, j] D[n, o, y, x]
    dW[o, c, i, j] = sum over n, y, x of X[n, c, y S + i - P, x S + j - P] D[n, o, y, x]
    db[o] = sum over n, y, x of D[n, o, y, x]
"""

from collections.abc import Iterator

import numpy as np

from fastmlp.kernels.reference.panels import Array, Float64


def convolve(X: Array, W: Array, b: Array, stride: int, padding: int) -> Float64:
    """Return Z [N, O, H', W'] of X [N, C, H, W], W [O, C, K, K] and b [O]."""
    count, _, height, width = X.shape
    outputs, _, kernel, _ = W.shape
    high, wide = (output_size(size, kernel, stride, padding) for size in (height, width))
    Z = np.zeros((count, outputs, high, wide)) + b.astype(np.float64)[:, None, None]
    padded = _padded(X, padding)
    for i, j, seen in _offsets(kernel, stride, high, wide):
        Z += np.einsum("ncyx,oc->noyx", padded[seen], W[:, :, i, j])
    return Z


def input_gradient(
    D: Array, W: Array, shape: tuple[int, int, int, int], stride: int, padding: int
) -> Float64:
    """Return dX of the given shape [N, C, H, W], of D [N, O, H', W'] and W [O, C, K, K]."""
    count, channels, height, width = shape
    padded = np.zeros((count, channels, height + 2 * padding, width + 2 * padding))
    for i, j, seen in _offsets(W.shape[2], stride, *D.shape[2:]):
        padded[seen] += np.einsum("noyx,oc->ncyx", D.astype(np.float64), W[:, :, i, j])
    return padded[:, :, padding : padding + height, padding : padding + width]


def weight_gradient(
    X: Array, D: Array, kernel: int, stride: int, padding: int
) -> tuple[Float64, Float64]:
    """Return dW [O, C, K, K] and db [O], of X [N, C, H, W] and D [N, O, H', W']."""
    dW = np.zeros((D.shape[1], X.shape[1], kernel, kernel))
    padded = _padded(X, padding)
    for i, j, seen in _offsets(kernel, stride, *D.shape[2:]):
        dW[:, :, i, j] = np.einsum("noyx,ncyx->oc", D, padded[seen])
    return dW, D.sum(axis=(0, 2, 3), dtype=np.float64)


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return the number of places of a kernel along an axis of `size` pixels."""
    return (size + 2 * padding - kernel) // stride + 1


def _padded(X: Array, padding: int) -> Float64:
    """Return X with `padding` zeros on each side of an image."""
    sides = (padding, padding)
    return np.pad(X.astype(np.float64), ((0, 0), (0, 0), sides, sides))


def _offsets(
    kernel: int, stride: int, high: int, wide: int
) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Yield each place (i, j) in the kernel, and which pixels of a padded image the outputs see there."""
    for i, j in np.ndindex(kernel, kernel):
        rows = slice(i, i + stride * (high - 1) + 1, stride)
        columns = slice(j, j + stride * (wide - 1) + 1, stride)
        yield i, j, (slice(None), slice(None), rows, columns)
