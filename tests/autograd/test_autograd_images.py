"""Convolution, pools and batch norm against centred differences and PyTorch, alone and in networks."""

from types import SimpleNamespace

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


# Networks. Layers are whatever has the names and attributes of fastmlp's.


def layer(kind, **attributes):
    return type(kind, (SimpleNamespace,), {})(**attributes)


def convolution(channels, kernel, stride=1, padding=0):
    return layer("Convolution", channels=channels, kernel=kernel, stride=stride, padding=padding)


FLATTEN, NORM = layer("Flatten"), layer("BatchNorm")


def linear(outputs):
    return layer("Linear", outputs=outputs)


def act(name):
    return layer("Activation", name=name)


def residual(*layers):
    return layer("Residual", layers=layers)


# Inputs, layers, shapes of the parameters (those of a Linear are [in, out]), and which of them have no effect: biases
# that a batch norm takes away again.
NETWORKS = {
    "two convolutions, two pools": (
        (3, 1, 14, 14),
        [
            *(convolution(3, 3), act("relu"), layer("MaxPool", size=2)),
            *(convolution(4, 3), act("relu"), layer("MaxPool", size=2)),
            *(FLATTEN, linear(6), act("relu"), linear(3)),
        ],
        [(3, 1, 3, 3), 3, (4, 3, 3, 3), 4, (16, 6), 6, (6, 3), 3],
        (),
    ),
    "stride, batch norm, mean": (
        (4, 3, 9, 8),
        [
            *(convolution(5, 3, 2, 1), NORM, act("tanh"), layer("AvgPool", size=2)),
            *(FLATTEN, linear(7), NORM, act("gelu"), linear(3)),
        ],
        [(5, 3, 3, 3), 5, 5, 5, (20, 7), 7, 7, 7, (7, 3), 3],
        (1, 5),
    ),
    "residual": (
        (2, 2, 5, 7),
        [
            *(convolution(3, 5, 1, 2), act("sigmoid")),
            residual(convolution(3, 3, padding="same"), NORM, act("silu")),
            *(layer("MaxPool", size=3), FLATTEN, linear(3)),
        ],
        [(3, 2, 5, 5), 3, (3, 3, 3, 3), 3, 3, 3, (6, 3), 3],
        (3,),
    ),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def draw_network(name):
    """Draw parameters, inputs and labels."""
    shape, layers, shapes, _ = NETWORKS[name]
    rng = np.random.default_rng(3)
    parameters = [rng.normal(size=one) / np.sqrt(np.prod(one) ** 0.5) for one in shapes]
    return layers, parameters, rng.normal(size=shape), rng.integers(0, 3, shape[0])


@every_network
def test_network_gradients_agree_with_centred_differences(name):
    layers, parameters, X, labels = draw_network(name)

    def function(X, *parameters):
        return network_loss(layers, parameters, X, labels)

    assert check_gradients(function, X, *parameters) < 1e-5


def torch_forward(torch, layers, parameters, A):
    """Compute the same with torch.nn.functional."""
    functional = torch.nn.functional
    for one in layers:
        match type(one).__name__:
            case "Linear":
                A = functional.linear(A, next(parameters).T, next(parameters))
            case "Convolution":
                A = functional.conv2d(
                    A, next(parameters), next(parameters), one.stride, one.padding
                )
            case "BatchNorm":
                A = torch_batch_norm(torch, A, next(parameters), next(parameters))
            case "MaxPool":
                A = functional.max_pool2d(A, one.size)
            case "AvgPool":
                A = functional.avg_pool2d(A, one.size)
            case "Flatten":
                A = A.flatten(1)
            case "Activation":
                A = getattr(functional, one.name)(A)
            case "Residual":
                A = A + torch_forward(torch, one.layers, parameters, A)
    return A


@every_network
def test_network_gradients_agree_with_torch(name):
    torch = pytest.importorskip("torch")
    layers, arrays, X, labels = draw_network(name)
    parameters = [Tensor(array) for array in arrays]
    loss = network_loss(layers, parameters, X, labels)
    loss.backward()
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    logits = torch_forward(torch, layers, iter(theirs), torch.tensor(X))
    reference = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    reference.backward()
    assert loss.data == pytest.approx(reference.item(), rel=1e-13)
    largest = max(abs(parameter.grad).max() for parameter in parameters)
    for number, (mine, its) in enumerate(zip(parameters, theirs, strict=True)):
        if number in NETWORKS[name][3]:
            assert abs(mine.grad).max() < 1e-14 * largest
        else:
            assert_close(mine.grad, its.grad.numpy(), 1e-10)


def test_what_a_network_takes():
    """Parameters in order; a residual block adds what it got; a kernel of a "same" convolution is odd."""
    rng = np.random.default_rng(0)
    W, b, weight, bias = (Tensor(rng.normal(size=shape)) for shape in [(2, 2, 3, 3), 2, 2, 2])
    X = rng.normal(size=(3, 2, 4, 5))
    layers = [residual(convolution(2, 3, padding="same"), NORM), layer("AvgPool", size=4), FLATTEN]
    found = network(layers, [W, b, weight, bias], X)
    inner = batch_norm(conv2d(X, W, b, padding=1), weight, bias)
    expected = (inner.data + X)[:, :, :, :4].mean(axis=(2, 3))
    np.testing.assert_allclose(found.data, expected, rtol=1e-13)


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
        (lambda: network([linear(2)], [ONE], ONE), "parameters: found 1, expected more"),
        (lambda: network([act("relu")], [ONE], ONE), "parameters: found 1, expected 0"),
        (lambda: network([layer("Dropout", rate=0.5)], [], ONE), "layers: .*found Dropout"),
        (lambda: network([act("swish")], [], ONE), "layers: .*found Activation.*swish"),
    ],
)
def test_wrong_shapes_and_layers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
