"""Twins of the pools' loops, on plain arrays of images [N, C, H, W].

A window is `size` pixels high and wide and does not overlap the next one; rows and columns that fill no window are left
out, H' = H // size and W' = W // size. Of each window,

    max-pooling keeps the largest pixel, and `which`, its place in the window, counted row by row from 0;
    average-pooling keeps the mean, sum of pixels / size**2.

Of pixels that are equally large the first is kept, and a NaN counts as the largest of all. Backward a window's gradient
goes to the pixel that was kept, or in equal shares to all; pixels left out get 0.
"""

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.reference.panels import Array, Float64


def max_pool(X: Array, size: int) -> tuple[Float64, NDArray[np.intp]]:
    """Return the largest pixels [N, C, H', W'] of the windows of X [N, C, H, W], and which they are."""
    windows = _windows(X, size)
    return windows.max(axis=-1), windows.argmax(axis=-1)


def max_pool_gradient(
    D: Array, which: NDArray[np.integer], shape: tuple[int, int, int, int], size: int
) -> Float64:
    """Return dX of the given shape [N, C, H, W], of D [N, C, H', W'] and what `max_pool` kept."""
    kept = which[..., None] == np.arange(size * size)
    return _images(np.where(kept, D[..., None], 0), shape, size)


def avg_pool(X: Array, size: int) -> Float64:
    """Return the means [N, C, H', W'] of the windows of X [N, C, H, W]."""
    return _windows(X, size).mean(axis=-1)


def avg_pool_gradient(D: Array, shape: tuple[int, int, int, int], size: int) -> Float64:
    """Return dX of the given shape [N, C, H, W], of D [N, C, H', W']."""
    shares = D[..., None].astype(np.float64) / size**2
    return _images(np.broadcast_to(shares, (*D.shape, size * size)), shape, size)


def _windows(X: Array, size: int) -> Float64:
    """Return the windows [N, C, H', W', size * size] of images."""
    count, channels, height, width = X.shape
    high, wide = height // size, width // size
    whole = X[:, :, : high * size, : wide * size].astype(np.float64)
    split = whole.reshape(count, channels, high, size, wide, size)
    return split.swapaxes(3, 4).reshape(count, channels, high, wide, size * size)


def _images(windows: Float64, shape: tuple[int, int, int, int], size: int) -> Float64:
    """Return images of which these are the windows, 0 elsewhere."""
    count, channels, high, wide, _ = windows.shape
    split = windows.reshape(count, channels, high, wide, size, size).swapaxes(3, 4)
    X = np.zeros(shape)
    X[:, :, : high * size, : wide * size] = split.reshape(count, channels, high * size, wide * size)
    return X
