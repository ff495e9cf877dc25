"""What convolutional networks are made of: steps on images [N, C, H, W], each with its edges.

N images have C channels of H x W pixels. A convolution lays small pictures, the kernels, on each
place of an image in turn. So a weight has a part in many outputs, and its gradient is the sum of
what they all say; the same holds for a pixel, which many windows see.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastmlp.autograd.tensor import Array, Operand, Tensor, make_result, make_tensor


def conv2d(
    images: Operand, weights: Operand, biases: Operand, stride: int = 1, padding: int = 0
) -> Tensor:
    """Return each kernel times the window beneath it, summed up, at places `stride` pixels apart.

    Z[n, o, y, x] = b[o] + sum of W[o] * window, a window [C, K, K] of image n at (y, x) * stride.
    The window gets the gradient W[o] g, where g is that of Z[n, o, y, x], and W[o] gets window * g.

    Parameters
    ----------
    images : Tensor or array_like [N, C, H, W]
        What the kernels look at.
    weights : Tensor or array_like [O, C, K, K]
        The kernels.
    biases : Tensor or array_like [O]
        Added to each output of a kernel.
    stride : int
        The distance of two places in pixels.
    padding : int
        Width of the frame of zeros that is laid around each image first.

    Returns
    -------
    Tensor [N, O, (H + 2 padding - K) // stride + 1, (W + 2 padding - K) // stride + 1]
        A picture of each kernel.
    """
    x, w, b = make_tensor(images), make_tensor(weights), make_tensor(biases)
    inner = [length + 2 * padding for length in x.shape[2:]]
    fits = x.data.ndim == w.data.ndim == 4 and x.shape[1] == w.shape[1] and b.shape == w.shape[:1]
    if not fits or w.shape[2] != w.shape[3] or min(inner) < w.shape[2]:
        found = f"{x.shape}, {w.shape} and {b.shape} with padding {padding}"
        raise ValueError(f"conv2d: expected [N, C, H, W], [O, C, K, K] and [O], found {found}")
    frame = (padding, padding)
    framed = np.pad(x.data, ((0, 0), (0, 0), frame, frame))
    size = w.shape[2]
    # A view [N, C, H', W', K, K] of the framed images: no pixel is copied.
    windows = sliding_window_view(framed, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]

    def pull_to_images(g: Array) -> Array:
        gradient = np.zeros_like(framed)
        _, _, high, wide = g.shape
        for i, j in np.ndindex(size, size):  # pixel (i, j) of all windows; no two of them are one
            pixels = np.s_[:, :, i : i + stride * high : stride, j : j + stride * wide : stride]
            gradient[pixels] += np.einsum("nohw,oc->nchw", g, w.data[:, :, i, j])
        return gradient[:, :, padding : inner[0] - padding, padding : inner[1] - padding]

    return make_result(
        np.einsum("nchwij,ocij->nohw", windows, w.data) + b.data[:, None, None],
        (x, pull_to_images),
        (w, lambda g: np.einsum("nohw,nchwij->ocij", g, windows)),
        (b, lambda g: g.sum(axis=(0, 2, 3))),
    )


def max_pool2d(images: Operand, size: int) -> Tensor:
    """Return the largest pixel of each block: [N, C, H, W] -> [N, C, H', W'].

    H' = H // size: rows and columns that fill no block are left out, and their gradient is 0. The
    largest pixel of a block gets its gradient; of equal ones the first, as in PyTorch.

    Parameters
    ----------
    images : Tensor or array_like [N, C, H, W]
        What is cut into blocks.
    size : int
        Of a block: size x size pixels.
    """
    x = make_tensor(images)
    _check_blocks("max_pool2d", x, size)
    blocks = _blocks(x.data, size)
    largest = blocks.reshape(*blocks.shape[:4], size * size).argmax(axis=-1)
    chosen = (largest[..., None] == np.arange(size * size)).reshape(blocks.shape)
    return make_result(blocks.max(axis=(-2, -1)), (x, lambda g: _spread(g, chosen, x.data)))


def avg_pool2d(images: Operand, size: int) -> Tensor:
    """Return the mean of each block of pixels, which get equal shares of its gradient.

    [N, C, H, W] -> [N, C, H // size, W // size]; rows and columns that fill no block are left out.

    Parameters
    ----------
    images : Tensor or array_like [N, C, H, W]
        What is cut into blocks.
    size : int
        Of a block: size x size pixels.
    """
    x = make_tensor(images)
    _check_blocks("avg_pool2d", x, size)
    shares = np.full((size, size), 1.0 / size**2)
    return make_result(
        _blocks(x.data, size).mean(axis=(-2, -1)), (x, lambda g: _spread(g, shares, x.data))
    )


def batch_norm(images: Operand, weights: Operand, biases: Operand, epsilon: float = 1e-5) -> Tensor:
    """Return weight (x - mean) / sqrt(var + epsilon) + bias, with each channel's mean and variance.

    They are the batch's own, as in training, and depend on every x: what all x of a channel share,
    a shift or a scale, has no effect. So their gradient loses its mean, and its part along
    (x - mean).

    Parameters
    ----------
    images : Tensor or array_like [N, C, H, W] or [N, C]
        The x, in channels.
    weights, biases : Tensor or array_like [C]
        The scale and the shift of each channel.
    epsilon : float
        So that a channel without variance is not divided by 0.

    Returns
    -------
    Tensor
        Of the images' shape.
    """
    x, w, b = make_tensor(images), make_tensor(weights), make_tensor(biases)
    if x.data.ndim not in (2, 4) or not w.shape == b.shape == x.shape[1:2]:
        found = f"{x.shape}, {w.shape} and {b.shape}"
        raise ValueError(f"batch_norm: expected [N, C, H, W] or [N, C], [C] and [C], found {found}")
    axes = (0, 2, 3)[: x.data.ndim - 1]
    column = (-1, *[1] * (x.data.ndim - 2))  # the shape in which [C] stands beside the images
    scale = 1.0 / np.sqrt(x.data.var(axis=axes, keepdims=True) + epsilon)
    standard = (x.data - x.data.mean(axis=axes, keepdims=True)) * scale

    def pull_to_images(g: Array) -> Array:
        along = (g * standard).mean(axis=axes, keepdims=True)
        rest = g - g.mean(axis=axes, keepdims=True) - standard * along
        gradient: Array = w.data.reshape(column) * scale * rest
        return gradient

    return make_result(
        w.data.reshape(column) * standard + b.data.reshape(column),
        (x, pull_to_images),
        (w, lambda g: (g * standard).sum(axis=axes)),
        (b, lambda g: g.sum(axis=axes)),
    )


def flatten(images: Operand) -> Tensor:
    """Return one row an image, channel by channel: [N, C, H, W] -> [N, C * H * W].

    Parameters
    ----------
    images : Tensor or array_like [N, C, H, W]
        Or of any other shape [N, ...].
    """
    x = make_tensor(images)
    if not x.shape:
        raise ValueError("flatten: expected [N, ...], found ()")
    rows = x.data.reshape(x.shape[0], int(np.prod(x.shape[1:])))
    return make_result(rows, (x, lambda g: g.reshape(x.shape)))


def _check_blocks(operation: str, x: Tensor, size: int) -> None:
    if x.data.ndim != 4 or not 1 <= size <= min(x.shape[2:]):
        found = f"{x.shape} and size {size}"
        raise ValueError(f"{operation}: expected [N, C, H, W] with H, W >= size, found {found}")


def _blocks(images: Array, size: int) -> Array:
    """View [N, C, H', W', size, size] of images: splitting an axis copies nothing."""
    count, channels, height, width = images.shape
    high, wide = height // size, width // size
    whole = images[:, :, : high * size, : wide * size]
    return whole.reshape(count, channels, high, size, wide, size).swapaxes(3, 4)


def _spread(g: Array, shares: Array, images: Array) -> Array:
    """Gradient of the images, if each pixel of a block gets its share of the block's gradient g."""
    gradient = np.zeros_like(images)
    _blocks(gradient, shares.shape[-1])[...] = g[..., None, None] * shares
    return gradient
