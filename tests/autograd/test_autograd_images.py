"""Convolution, pools and batch norm against centred differences and PyTorch, alone and in networks."""

import re
from itertools import compress
from typing import get_args

import numpy as np
import pytest

from fastmlp.autograd import (
    Tensor,
    avg_pool2d,
    batch_norm,
    check_gradients,
    conv2d,
    flatten,
    max_pool2d,
    network,
    network_loss,
)
from fastmlp.autograd.networks import LAYERS
from fastmlp.training.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Residual,
)
from tests.image_networks import (
    Net,
    autograd_gradients,
    draw_batch,
    draw_parameters,
    kinds,
    seen,
    torch_model,
)
from tests.torch_networks import outputs_of


def torch_batch_norm(torch, x, w, b):
    return torch.nn.functional.batch_norm(x, None, None, w, b, training=True)


# Images, outputs, kernel, stride, padding.
CONVOLUTIONS = [
    ((1, 1, 1, 1), 1, 1, 1, 0),
    ((2, 3, 4, 5), 2, 1, 2, 0),
    ((3, 1, 2, 6), 5, 2, 1, 0),
    ((2, 2, 5, 4), 3, 3, 1, 1),
    ((2, 5, 7, 6), 2, 3, 2, 0),
    ((1, 3, 7, 8), 2, 4, 3, 2),
    ((2, 4, 5, 5), 3, 5, 1, 2),
    ((1, 2, 6, 8), 1, 6, 3, 1),
    ((2, 1, 9, 7), 2, 7, 1, 0),
    ((1, 2, 3, 3), 2, 3, 2, 3),
]
# Name, ours, torch's (called with `torch` first), shapes of the inputs.
OPERATIONS = [
    *(
        (
            f"conv2d {kernel} stride {stride} padding {padding}",
            lambda x, w, b, s=stride, p=padding: conv2d(x, w, b, s, p),
            lambda torch, x, w, b, s=stride, p=padding: torch.nn.functional.conv2d(x, w, b, s, p),
            [(shape, (outputs, shape[1], kernel, kernel), (outputs,))],
        )
        for shape, outputs, kernel, stride, padding in CONVOLUTIONS
    ),
    *(
        (
            f"{name} {size}",
            lambda x, ours=ours, size=size: ours(x, size),
            lambda torch, x, name=name, size=size: getattr(torch.nn.functional, name)(x, size),
            [((2, 3, size, 2 * size),), ((1, 2, 2 * size + 1, 3 * size - 1),)],
        )
        for name, ours in [("max_pool2d", max_pool2d), ("avg_pool2d", avg_pool2d)]
        for size in (1, 2, 3, 4)
    ),
    (
        "batch_norm",
        batch_norm,
        torch_batch_norm,
        [
            ((4, 3), (3,), (3,)),
            ((33, 1), (1,), (1,)),
            ((1, 2, 3, 2), (2,), (2,)),
            ((3, 5, 3, 4), (5,), (5,)),
        ],
    ),
    ("flatten", flatten, lambda torch, x: x.flatten(1), [((2, 3, 4, 5),), ((3, 1, 1, 2),)]),
]
cases = pytest.mark.parametrize(
    ("ours", "theirs", "shapes"),
    [
        pytest.param(ours, theirs, shapes, id=f"{name}-{'-'.join(map(str, shapes))}")
        for name, ours, theirs, rows in OPERATIONS
        for shapes in rows
    ],
)


def draw(shapes):
    """Draw inputs of which no two are near each other, where max-pooling has its kink."""
    rng, count = np.random.default_rng(0), sum(int(np.prod(shape)) for shape in shapes)
    values = rng.permutation(np.linspace(-2, 2, count))
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(values, ends), shapes, strict=True)]


def weigh(result):
    """Reduce a result to one number in which no two entries count alike."""
    weights = np.random.default_rng(1).uniform(0.5, 2.0, result.shape)
    return (result * weights).sum()


def assert_close(found, expected, bound):
    """Assert equality to `bound` times the largest entry, of which there must be one."""
    largest = abs(expected).max()
    assert largest > 1e-4
    assert found.shape == expected.shape
    assert abs(found - expected).max() < bound * largest


@cases
def test_operation_agrees_with_centred_differences(ours, theirs, shapes):
    assert check_gradients(lambda *inputs: weigh(ours(*inputs)), *draw(shapes)) < 1e-5


@cases
def test_operation_agrees_with_torch(ours, theirs, shapes):
    torch = pytest.importorskip("torch")
    inputs = [Tensor(array) for array in draw(shapes)]
    result = ours(*inputs)
    weigh(result).backward()
    references = [torch.tensor(array, requires_grad=True) for array in draw(shapes)]
    reference = theirs(torch, *references)
    reference.backward(torch.tensor(result.grad))
    assert_close(result.data, reference.detach().numpy(), 1e-13)
    for mine, its in zip(inputs, references, strict=True):
        assert_close(mine.grad, its.grad.numpy(), 1e-12)


def test_the_first_of_equal_pixels_gets_the_gradient():
    x = Tensor([[[[1, 2, 3, 3], [2, 0, 3, 3]]]])
    (max_pool2d(x, 2) * [5.0, 7.0]).sum().backward()
    assert x.grad.tolist() == [[[[0, 5, 7, 0], [0, 0, 0, 0]]]]


def test_an_image_used_twice_gets_both_gradients():
    """z = x * (k * x) for one kernel over all of a 2x2 image: dz/dx = 2 k x, pixel by pixel."""
    x = Tensor(np.arange(1.0, 5.0).reshape(1, 1, 2, 2))
    conv2d(x, x, [0.0]).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * x.data)


def test_a_nan_stays_visible():
    x = np.ones((1, 1, 4, 4))
    x[0, 0, 1, 1] = np.nan
    one = np.ones((1, 1, 3, 3))
    for operation in (
        lambda x: conv2d(x, one, [0.0]),
        lambda x: max_pool2d(x, 2),
        lambda x: avg_pool2d(x, 2),
        lambda x: batch_norm(x, [1.0], [0.0]),
    ):
        assert np.isnan(operation(x).data.flat[0])


# Networks.

NETWORKS = [
    Net(("conv 3 3", "maxpool 2", "conv 4 3", "maxpool 2", 6), (1, 14, 14), 3),
    Net(
        ("conv 5 3 stride 2 padding 1", "batchnorm", "avgpool 2", 7, "batchnorm", "tanh"),
        (3, 9, 8),
        4,
        "gelu",
    ),
    Net(
        ("conv 3 5 padding 2", "sigmoid", "conv 3 3 padding same", "batchnorm", "maxpool 3"),
        (2, 5, 7),
        2,
        "silu",
        residual=True,
    ),
]
every_network = pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.name)


def draw_network(net):
    """Draw parameters, inputs and labels."""
    rng = np.random.default_rng(3)
    parameters = draw_parameters(net, rng)
    images, labels = draw_batch(net, rng, net.batch)
    return parameters, seen(net, images), labels


@every_network
def test_network_gradients_agree_with_centred_differences(net):
    (weights, biases), X, labels = draw_network(net)
    is_trained = [kind != "running" for kind in kinds(net.layers)]
    pairs = compress(zip(weights, biases, strict=True), is_trained)
    parameters = [array.T if array.ndim == 2 else array for pair in pairs for array in pair]

    def function(X, *parameters):
        return network_loss(net.layers, parameters, X, labels)

    assert check_gradients(function, X, *parameters) < 1e-5


@every_network
def test_network_gradients_agree_with_torch(net):
    torch = pytest.importorskip("torch")
    parameters, X, labels = draw_network(net)
    found = autograd_gradients(net, parameters, X, labels)
    model = torch_model(net, parameters).train()
    logits = outputs_of(net.layers, model, torch.tensor(X))
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    theirs = [parameter.grad.numpy() for parameter in model.parameters()]
    largest = max(abs(gradient).max() for gradient in theirs)
    trained = [kind for kind in kinds(net.layers) if kind != "running"]
    rows = zip(trained, found, theirs[::2], theirs[1::2], strict=True)
    for kind, (dW, db), its_dW, its_db in rows:
        assert_close(dW, its_dW, 1e-10)
        if kind == "shifted":
            assert abs(db).max() < 1e-14 * largest
        else:
            assert_close(db, its_db, 1e-10)


def test_a_residual_block_adds_what_it_was_given():
    rng = np.random.default_rng(0)
    W, b, weight, bias = (Tensor(rng.normal(size=shape)) for shape in [(2, 2, 3, 3), 2, 2, 2])
    X = rng.normal(size=(3, 2, 4, 5))
    inner = (Convolution(2, 3, padding="same"), BatchNorm())
    found = network([Residual(inner), AvgPool(4), Flatten()], [W, b, weight, bias], X)
    expected = batch_norm(conv2d(X, W, b, padding=1), weight, bias).data + X
    np.testing.assert_allclose(found.data, expected[:, :, :, :4].mean(axis=(2, 3)), rtol=1e-13)


def test_every_layer_is_one_that_a_network_takes():
    """Dropout is not: it draws its numbers elsewhere."""
    taken = set(re.findall(r"\w+", LAYERS)) - {"or"}
    assert taken == {layer.__name__ for layer in get_args(Layer)} - {"Dropout"}


# Errors: each names the operation and what it found.

IMAGES = np.ones((2, 3, 4, 5))
ONE = Tensor(np.ones((2, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv2d(np.ones((2, 3)), np.ones((1, 3, 2, 2)), [0.0]), r"conv2d: .*\(2, 3\),"),
        (lambda: conv2d(IMAGES, np.ones((1, 2, 2, 2)), [0.0]), r"conv2d: .*\(1, 2, 2, 2\)"),
        (lambda: conv2d(IMAGES, np.ones((1, 3, 2, 3)), [0.0]), r"conv2d: .*\(1, 3, 2, 3\)"),
        (lambda: conv2d(IMAGES, np.ones((1, 3, 2, 2)), [0.0, 0.0]), r"conv2d: .*and \(2,\)"),
        (lambda: conv2d(IMAGES, np.ones((1, 3, 7, 7)), [0.0], 1, 1), "conv2d: .*padding 1"),
        (lambda: max_pool2d(IMAGES, 5), r"max_pool2d: .*found \(2, 3, 4, 5\) and size 5"),
        (lambda: avg_pool2d(IMAGES, 0), "avg_pool2d: .*size 0"),
        (lambda: avg_pool2d(np.ones((4, 4)), 2), r"avg_pool2d: .*found \(4, 4\)"),
        (lambda: batch_norm(IMAGES, np.ones(4), np.ones(4)), r"batch_norm: .*\(4,\) and \(4,\)"),
        (lambda: batch_norm(np.ones(3), np.ones(3), np.ones(3)), r"batch_norm: .*found \(3,\),"),
        (lambda: flatten(1.0), r"flatten: .*found \(\)"),
        (lambda: network([Linear(2)], [ONE], ONE), "parameters: found 1, expected more"),
        (lambda: network([Activation("relu")], [ONE], ONE), "parameters: found 1, expected 0"),
        (lambda: network([Dropout(0.5)], [], ONE), "layers: .*found Dropout"),
        (
            lambda: network([Activation("swish")], [], ONE),
            "layers: .*found Activation\\(name='swish'",
        ),
    ],
)
def test_wrong_shapes_and_layers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
