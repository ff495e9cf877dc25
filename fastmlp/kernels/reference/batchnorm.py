"""Twins of batch normalisation's loops, on plain arrays [N, C, H, W] or [N, C].

Mean and variance of a channel are taken over its n = N H W values (n = N without images):

    mean = sum X / n        var = sum (X - mean)**2 / n        X' = (X - mean) / sqrt(var + epsilon)
    Y = weight X' + bias

In evaluation the running statistics stand for mean and var. Training moves them towards those of its batch, the
variance unbiased, so n is at least 2:

    running_mean += momentum (mean - running_mean)        running_var += momentum (var n / (n - 1) - running_var)

Given D = d loss / d Y, with mean and var depending on X as well:

    dbias = sum D        dweight = sum D X'        dX = weight / sqrt(var + epsilon) (D - dbias / n - X' dweight / n)
"""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels.reference.panels import Array, Float64

EPSILON, MOMENTUM = 1e-5, 0.1


class Normalized(NamedTuple):
    """What `batch_norm` returns.

    Attributes
    ----------
    value : array of X's shape
    mean, var : arrays [C]
        Of the batch, the variance biased: what `batch_norm_gradient` takes.
    running_mean, running_var : arrays [C]
        The running statistics after the step.
    """

    value: Float64
    mean: Float64
    var: Float64
    running_mean: Float64
    running_var: Float64


def batch_norm(
    X: Array, weight: Array, bias: Array, running_mean: Array, running_var: Array
) -> Normalized:
    """Normalise X [N, C, ...] with the statistics of its batch; the others are [C]."""
    axes, n = _others(X), X.size // X.shape[1]
    mean = X.mean(axis=axes, dtype=np.float64)
    var = ((X - _column(mean, X)) ** 2).mean(axis=axes)
    return Normalized(
        batch_norm_in_evaluation(X, weight, bias, mean, var),
        mean,
        var,
        running_mean + MOMENTUM * (mean - running_mean),
        running_var + MOMENTUM * (var * n / (n - 1) - running_var),
    )


def batch_norm_in_evaluation(
    X: Array, weight: Array, bias: Array, running_mean: Array, running_var: Array
) -> Float64:
    """Normalise X [N, C, ...] with the running statistics; the others are [C]."""
    return _column(weight, X) * _standard(X, running_mean, running_var) + _column(bias, X)


def batch_norm_gradient(
    D: Array, X: Array, weight: Array, mean: Array, var: Array
) -> tuple[Float64, Float64, Float64]:
    """Return dX [N, C, ...], dweight [C] and dbias [C], of D like X, and the mean and var of the batch."""
    n, standard = X.size // X.shape[1], _standard(X, mean, var)
    dbias = D.sum(axis=_others(X), dtype=np.float64)
    dweight = (D * standard).sum(axis=_others(X))
    scale = weight / np.sqrt(var + EPSILON)
    centred = D - _column(dbias, X) / n - standard * _column(dweight, X) / n
    return _column(scale, X) * centred, dweight, dbias


def _others(X: Array) -> tuple[int, ...]:
    """Return the axes of X but the channels'."""
    return (0, *range(2, X.ndim))


def _column(channels: Array, X: Array) -> Float64:
    """Return numbers [C] so that they stand beside X, one a channel."""
    return channels.astype(np.float64).reshape(-1, *[1] * (X.ndim - 2))


def _standard(X: Array, mean: Array, var: Array) -> Float64:
    """Return X less the mean, in standard deviations."""
    return (X - _column(mean, X)) / np.sqrt(_column(var, X) + EPSILON)
