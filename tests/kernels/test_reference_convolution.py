"""The twins of convolution, pools and batch normalisation against PyTorch in float64."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from fastmlp.kernels.reference.batchnorm import (
    batch_norm,
    batch_norm_gradient,
    batch_norm_in_evaluation,
)
from fastmlp.kernels.reference.convolution import convolve, input_gradient, weight_gradient
from fastmlp.kernels.reference.pooling import (
    avg_pool,
    avg_pool_gradient,
    max_pool,
    max_pool_gradient,
)

torch = pytest.importorskip("torch")
functional = torch.nn.functional

CHANNELS = [(1, 1), (1, 5), (2, 3), (3, 1), (4, 2), (5, 4)]
ROOM = [(0, 0), (1, 4), (6, 3)]  # by how much an image is higher and wider than the kernel


def leaf(array: np.ndarray) -> Any:
    return torch.tensor(array, requires_grad=True)


def assert_close(found: np.ndarray, expected: Any) -> None:
    """Assert equality to 1e-12 of the largest entry, of which there must be one."""
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    assert found.dtype == np.float64
    largest = abs(expected).max()
    assert largest > 0
    assert abs(found - expected).max() <= 1e-12 * largest


@pytest.mark.parametrize("kernel", range(1, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_convolution_and_its_gradients(kernel: int, stride: int) -> None:
    rng = np.random.default_rng(10 * kernel + stride)
    for (channels, outputs), (down, across), padding in product(
        CHANNELS, ROOM, sorted({0, kernel // 2, kernel - 1, kernel * (kernel > 1)})
    ):
        X = rng.normal(size=(3, channels, kernel + down, kernel + across))
        W, b = rng.normal(size=(outputs, channels, kernel, kernel)), rng.normal(size=outputs)
        x, w, c = leaf(X), leaf(W), leaf(b)
        expected = functional.conv2d(x, w, c, stride, padding)
        assert_close(convolve(X, W, b, stride, padding), expected)
        D = rng.normal(size=tuple(expected.shape))
        expected.backward(torch.tensor(D))
        dW, db = weight_gradient(X, D, kernel, stride, padding)
        assert_close(input_gradient(D, W, X.shape, stride, padding), x.grad)
        assert_close(dW, w.grad)
        assert_close(db, c.grad)


@pytest.mark.parametrize("size", range(1, 6))
def test_pools_and_their_gradients(size: int) -> None:
    rng = np.random.default_rng(size)
    for channels, down, across in product(range(1, 6), range(4), range(4)):
        X = rng.normal(size=(2, channels, 2 * size + down, size + across))
        x = leaf(X)
        expected, indices = functional.max_pool2d(x, size, return_indices=True)
        values, which = max_pool(X, size)
        assert_close(values, expected)
        high, wide = values.shape[2:]
        rows = size * np.arange(high)[:, None] + which // size
        columns = size * np.arange(wide) + which % size
        np.testing.assert_array_equal(rows * X.shape[3] + columns, indices)
        D = rng.normal(size=values.shape)
        expected.backward(torch.tensor(D))
        assert_close(max_pool_gradient(D, which, X.shape, size), x.grad)

        x = leaf(X)
        expected = functional.avg_pool2d(x, size)
        assert_close(avg_pool(X, size), expected)
        expected.backward(torch.tensor(D))
        assert_close(avg_pool_gradient(D, X.shape, size), x.grad)


def test_the_first_of_equal_pixels_is_kept_and_a_nan_before_all() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (4, 3, 7, 9)).astype(float)
    X[rng.random(X.shape) < 0.05] = np.nan
    X[0, 0, :2, :4] = [[np.inf, np.nan, -np.inf, -np.inf], [1, 2, -np.inf, -np.inf]]
    values, which = max_pool(X, 2)
    x = leaf(X)
    expected = functional.max_pool2d(x, 2)
    np.testing.assert_array_equal(values, expected.detach().numpy())
    assert np.isnan(values).any()
    assert which[0, 0, 0, :2].tolist() == [1, 0]
    D = rng.normal(size=values.shape)
    expected.backward(torch.tensor(D))
    gradient = max_pool_gradient(D, which, X.shape, 2)
    # PyTorch keeps the last of several NaN.
    windows = np.isnan(X[:, :, :6, :8].reshape(4, 3, 3, 2, 4, 2)).sum(axis=(3, 5))
    few = np.zeros(X.shape, bool)
    few[:, :, :6, :8] = (windows < 2).repeat(2, axis=2).repeat(2, axis=3)
    assert few.sum() > 500
    np.testing.assert_array_equal(gradient[few], x.grad.numpy()[few])


@pytest.mark.parametrize(
    "shape", [(2, 1), (7, 5), (33, 3), (1, 2, 1, 2), (1, 3, 5, 4), (4, 5, 3, 7), (16, 1, 2, 2)]
)
def test_batch_norm_and_its_gradient(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    channels = shape[1]
    norm = (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(
        channels, dtype=torch.float64
    )
    weight, bias, mean, var = rng.normal(size=(4, channels))
    with torch.no_grad():
        for place, array in zip(norm.parameters(), (weight, bias), strict=True):
            place.copy_(torch.tensor(array))
        norm.running_mean.copy_(torch.tensor(mean))
        norm.running_var.copy_(torch.tensor(abs(var)))
    X, D = 3 + 2 * rng.normal(size=shape), rng.normal(size=shape)
    x = leaf(X)
    expected = norm(x)
    found = batch_norm(X, weight, bias, mean, abs(var))
    assert_close(found.value, expected)
    assert_close(found.running_mean, norm.running_mean)
    assert_close(found.running_var, norm.running_var)
    expected.backward(torch.tensor(D))
    dX, dweight, dbias = batch_norm_gradient(D, X, weight, found.mean, found.var)
    # The gradient of two values a channel is the little that is left of them.
    bound = 1e-12 * (1 + abs(weight).max() * abs(D).max())
    np.testing.assert_allclose(dX, x.grad.numpy(), rtol=0, atol=bound)
    assert_close(dweight, norm.weight.grad)
    assert_close(dbias, norm.bias.grad)
    norm.eval()
    running = found.running_mean, found.running_var
    assert_close(batch_norm_in_evaluation(X, weight, bias, *running), norm(leaf(X)))


def test_twins_take_float32_and_compute_in_float64() -> None:
    rng = np.random.default_rng(0)
    X, W, b = (
        rng.normal(size=shape).astype(np.float32) for shape in [(2, 3, 6, 5), (4, 3, 3, 3), (4,)]
    )
    Z = convolve(X, W, b, 1, 1)
    exact = [array.astype(np.float64) for array in (X, W, b)]
    np.testing.assert_array_equal(Z, convolve(*exact, 1, 1))
    D = Z.astype(np.float32)
    for found, expected in zip(
        (input_gradient(D, W, X.shape, 1, 1), *weight_gradient(X, D, 3, 1, 1)),
        (
            input_gradient(D.astype(float), exact[1], X.shape, 1, 1),
            *weight_gradient(exact[0], D.astype(float), 3, 1, 1),
        ),
        strict=True,
    ):
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)
    four = rng.normal(size=(4, 3)).astype(np.float32)
    assert {array.dtype for array in batch_norm(X, *four)} == {np.dtype(np.float64)}
    assert max_pool(X, 2)[0].dtype == avg_pool(X, 2).dtype == np.float64
