"""fastmlp.autograd against centred differences, torch.autograd, and gradients known by hand."""

import ast
import doctest
import gc
import inspect
import sys
from itertools import pairwise, product

import numpy as np
import pytest

from fastmlp import autograd
from fastmlp.autograd import Tensor, check_gradients, cross_entropy, mlp, mlp_loss

COLUMNS = np.array([2, 0, 1, 2])

# One row an operation: name, ours, torch's (called with `torch` first), shapes of the inputs.
# Inputs are drawn from 0.5..2 with random signs unless the operation needs them positive.
PAIRS = [
    ((), ()),
    ((3,), (3,)),
    ((2, 3), ()),
    ((), (2, 3)),
    ((2, 3), (3,)),
    ((4, 1), (3,)),
    ((4, 1), (1, 3)),
    ((2, 1, 3), (4, 1)),
    ((1, 1), (2, 3)),
    ((1,), ()),
]
MATRICES = [
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 1)),
]
ANY = [((),), ((3,),), ((2, 3),), ((2, 1, 3),)]
ROWS = [((3,),), ((4, 3),), ((4, 1),), ((2, 4, 3),)]
OPERATIONS = [
    ("add", lambda x, y: x + y, lambda torch, x, y: x + y, PAIRS),
    ("subtract", lambda x, y: x - y, lambda torch, x, y: x - y, PAIRS),
    ("multiply", lambda x, y: x * y, lambda torch, x, y: x * y, PAIRS),
    ("divide", lambda x, y: x / y, lambda torch, x, y: x / y, PAIRS),
    ("negate", lambda x: -x, lambda torch, x: -x, ANY),
    ("number first", lambda x: 2 - 3 / (4 + 5 * x * x), None, ANY),
    ("matmul", lambda x, y: x @ y, lambda torch, x, y: x @ y, MATRICES),
    ("exp", Tensor.exp, lambda torch, x: x.exp(), ANY),
    ("log", lambda x: (x * x).log(), lambda torch, x: (x * x).log(), ANY),
    ("sigmoid", Tensor.sigmoid, lambda torch, x: x.sigmoid(), ANY),
    ("tanh", Tensor.tanh, lambda torch, x: x.tanh(), ANY),
    ("relu", Tensor.relu, lambda torch, x: x.relu(), ANY),
    ("sum", Tensor.sum, lambda torch, x: x.sum(), ANY),
    ("row_sum", Tensor.row_sum, lambda torch, x: x.sum(-1), ROWS),
    ("row_max", Tensor.row_max, lambda torch, x: x.amax(-1), ROWS),
    (
        "normalize",
        lambda x: (x * x).normalize(),
        lambda torch, x: x * x / (x * x).sum(-1, keepdim=True),
        ROWS,
    ),
    (
        "softmax",
        lambda x: x.exp().normalize(),
        lambda torch, x: x.softmax(-1),
        ROWS,
    ),
    (
        "select",
        lambda x: x.select(COLUMNS),
        lambda torch, x: x.gather(-1, torch.tensor(COLUMNS)[:, None])[:, 0],
        [((4, 3),), ((4, 5),)],
    ),
    (
        "expand",
        lambda x: x.expand((2, 4, 3)),
        lambda torch, x: x.expand(2, 4, 3),
        [((),), ((3,),), ((4, 1),), ((2, 1, 3),), ((2, 4, 3),)],
    ),
    ("squeeze", lambda x: x.squeeze(1), lambda torch, x: x.squeeze(1), [((2, 1, 3),), ((2, 1),)]),
    ("squeeze last", lambda x: x.squeeze(-1), lambda torch, x: x.squeeze(-1), [((1,),), ((4, 1),)]),
    ("unsqueeze", lambda x: x.unsqueeze(0), lambda torch, x: x.unsqueeze(0), ANY),
    ("unsqueeze last", lambda x: x.unsqueeze(-1), lambda torch, x: x.unsqueeze(-1), ANY),
]
CASES = [
    pytest.param(ours, theirs, shapes, id=f"{name}-{'-'.join(map(str, shapes))}")
    for name, ours, theirs, rows in OPERATIONS
    for shapes in rows
]


def draw(shapes, seed=0):
    """Draw inputs away from 0, where relu has its kink and division its pole."""
    random = np.random.default_rng(seed)
    return [random.uniform(0.5, 2.0, shape) * random.choice([-1, 1], shape) for shape in shapes]


def weigh(result):
    """Reduce a result to one number in which no two entries count alike: a plain sum hides errors.

    The sum of a softmax, for one, is constant.
    """
    weights = np.random.default_rng(1).uniform(0.5, 2.0, result.shape)
    return (result * weights).sum()


@pytest.mark.parametrize(("ours", "theirs", "shapes"), CASES)
def test_operation_agrees_with_centred_differences(ours, theirs, shapes):
    assert check_gradients(lambda *inputs: weigh(ours(*inputs)), *draw(shapes)) < 1e-6


@pytest.mark.parametrize(("ours", "theirs", "shapes"), [c for c in CASES if c.values[1]])
def test_operation_agrees_with_torch(ours, theirs, shapes):
    torch = pytest.importorskip("torch")
    inputs = [Tensor(array) for array in draw(shapes)]
    result = ours(*inputs)
    weigh(result).backward()
    references = [torch.tensor(array, requires_grad=True) for array in draw(shapes)]
    reference = theirs(torch, *references)
    (reference * torch.tensor(np.array(result.grad))).sum().backward()
    assert result.shape == tuple(reference.shape)
    np.testing.assert_allclose(result.data, reference.detach().numpy(), rtol=1e-13, atol=1e-15)
    for ours_in, theirs_in in zip(inputs, references, strict=True):
        assert ours_in.grad.shape == ours_in.shape
        np.testing.assert_allclose(ours_in.grad, theirs_in.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_every_listed_operation_of_the_study_is_in_the_table():
    listed = "add subtract multiply divide matmul exp log sum row_max row_sum normalize expand"
    listed += " select squeeze unsqueeze sigmoid relu"
    assert set(listed.split()) <= {name for name, *_ in OPERATIONS}


# The graph.


def test_a_tensor_used_many_times_adds_its_contributions():
    x = Tensor(3.0)
    (x * x * x + x).backward()
    assert x.grad == 3 * 3.0**2 + 1
    y = Tensor([1.0, 2.0])
    (y + y - y / y).sum().backward()
    assert y.grad.tolist() == [2.0, 2.0]


def test_diamonds_pass_on_a_gradient_only_when_it_is_whole():
    # Unequal depths: x reaches the end by 1, 2 and 3 steps. A walk in order of discovery fails.
    x = Tensor(2.0)
    a = x * x
    b = a * x
    (x + a + b + a * b).backward()
    assert x.grad == 1 + 2 * 2.0 + 3 * 2.0**2 + 5 * 2.0**4
    assert a.grad == 1 + 2.0**3 + 2.0 * (1 + 2.0**2)  # directly, from a * b, and through b = a x
    diamonds = Tensor(1.0)
    top = diamonds
    for _ in range(60):  # 2^60 paths, walked in 60 steps
        top = top + top
    top.backward()
    assert diamonds.grad == 2.0**60


def test_backward_writes_gradients_anew():
    x = Tensor([1.0, 2.0])
    square = x * x
    loss = square.sum()
    loss.backward()
    loss.backward()
    assert x.grad.tolist() == [2.0, 4.0]
    (square * 10).sum().backward()  # the part the two losses share starts from zero too
    assert x.grad.tolist() == [20.0, 40.0]
    assert loss.grad == 1.0


def test_depth_is_not_limited_by_recursion_and_graphs_leave_no_cycles():
    x = Tensor(1.0)
    y = x
    for _ in range(20 * sys.getrecursionlimit()):
        y = y + 1.0
    y.backward()
    assert x.grad == 1.0
    del x, y
    gc.collect()
    gc.disable()
    try:
        parameters, X, labels = network([4, 3, 3, 2])
        mlp_loss(parameters, X, labels, "tanh", residual=True).backward()
        assert gc.collect() == 0
    finally:
        gc.enable()


# Values, dtypes and conventions.


def test_data_are_copied_and_become_float64():
    array = np.ones(3)
    x = Tensor(array)
    x.data[:] = 7.0
    assert array.tolist() == [1.0, 1.0, 1.0]
    expanded = x.expand((2, 3))
    expanded.data[:] = 0.0  # a view of x would be read-only or change x
    assert x.data.tolist() == [7.0, 7.0, 7.0]
    for data in (3, True, [1, 2], np.float32(0.1), np.arange(3, dtype=np.uint8)):
        assert Tensor(data).data.dtype == Tensor(data).grad.dtype == np.float64
    assert repr(Tensor([1.5, 2.0])) == "Tensor([1.5, 2. ])"


def test_arrays_and_numpy_numbers_stand_on_either_side():
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    for other in (array, np.float64(2.0), 2, [[1.0, 2.0], [3.0, 4.0]]):
        x = Tensor(array)
        for result, expected in [
            (other + x, other + array),
            (other - x, other - array),
            (other * x, other * array),
            (other / x, other / array),
            (x - other, array - other),
            (x / other, array / other),
        ]:
            assert isinstance(result, Tensor)
            np.testing.assert_array_equal(result.data, expected)
    product = array @ Tensor(array)
    assert isinstance(product, Tensor)
    np.testing.assert_array_equal(product.data, array @ array)


def test_row_max_shares_the_gradient_between_ties():
    x = Tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, 5.0, 1.0]])
    (x.row_max() * [1.0, 3.0, 7.0]).sum().backward()
    expected = [[0, 0.5, 0.5], [1, 1, 1], [0, 7, 0]]
    np.testing.assert_allclose(x.grad, expected, rtol=1e-15)


def test_row_max_treats_ties_as_torch_does():
    torch = pytest.importorskip("torch")
    data = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, 5.0, 1.0]]
    x = Tensor(data)
    (x.row_max() * [1.0, 3.0, 7.0]).sum().backward()
    reference = torch.tensor(data, dtype=torch.float64, requires_grad=True)
    (reference.amax(-1) * torch.tensor([1.0, 3.0, 7.0])).sum().backward()
    np.testing.assert_allclose(x.grad, reference.grad.numpy(), rtol=1e-15)


def test_relu_has_gradient_zero_at_its_kink():
    x = Tensor([-1.0, 0.0, -0.0, 2.0])
    x.relu().sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_extreme_entries_neither_overflow_nor_warn():
    x = Tensor([-1e308, -1000.0, -40.0, 0.0, 40.0, 1000.0, 1e308])
    s = x.sigmoid()
    s.sum().backward()
    assert s.data[[0, 1, 3, 5, 6]].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert s.data[2] == pytest.approx(np.exp(-40.0), rel=1e-13)
    assert np.isfinite(x.grad).all()
    logits = Tensor([[1e4, 0.0, -1e4], [-1e300, 1e300, 0.0]])
    loss = cross_entropy(logits, [1, 1])
    loss.backward()
    assert loss.data == 5e3  # (1e4 + 0) / 2
    np.testing.assert_allclose(logits.grad, [[0.5, -0.5, 0], [0, 0, 0]], atol=1e-12)


def test_a_nan_stays_visible():
    x = Tensor([1.0, np.nan])
    loss = (x * x).relu().sum()
    loss.backward()
    assert np.isnan(loss.data)
    assert np.isnan(x.grad[1])


# check_gradients.


def test_check_gradients_sees_a_zeroed_gradient():
    assert check_gradients(lambda x: (Tensor(x.data) * 3.0).sum(), [1.0, 2.0]) == 1.0
    assert check_gradients(lambda x: (Tensor(x.data) * 1e-9).sum(), [1.0, 2.0]) == 1.0


@pytest.mark.parametrize("factor", [0.0, 1e-3, 0.999, 1.001, -1.0])
def test_check_gradients_sees_one_wrong_entry_in_a_large_array(factor):
    """The value of the product stays right; its gradient to one entry is multiplied by `factor`."""
    data = np.random.default_rng(0).normal(size=(5, 6))
    trusted = np.ones_like(data)
    trusted[3, 2] = factor

    def function(x):
        broken = x * trusted + Tensor(x.data) * (1.0 - trusted)
        return (broken * broken).sum()

    assert check_gradients(function, data) == pytest.approx(
        abs(1 - factor) / max(1, abs(factor)), rel=1e-5
    )


def test_check_gradients_reports_nan_not_a_pass():
    with np.errstate(all="ignore"):
        # exp(log(0)) is 0, a good number, with gradient 0 / 0; the input before it is in order.
        assert np.isnan(check_gradients(lambda x, y: x + (y * 0.0).log().exp(), 1.0, 1.0))
        assert np.isnan(check_gradients(lambda x: x.log(), -1.0))


def test_check_gradients_is_not_fooled_by_rounding():
    random = np.random.default_rng(0)
    logits, offsets, labels = (
        random.normal(size=(8, 4)),
        random.normal(size=(8, 1)),
        [0, 1, 2, 3] * 2,
    )
    # An offset to all logits of a row changes nothing: 0 in truth, rounding in both estimates.
    assert check_gradients(lambda x, c: cross_entropy(x + c, labels), logits, offsets) < 1e-5
    # Beside 1e6 the step is rounded by 1e-10, a ten-thousandth of its length.
    assert check_gradients(lambda x: (x - 1e6).sum(), [1e6 + 0.5]) < 1e-6
    # A constant has no gradient and no error.
    assert check_gradients(lambda x, unused: (x * 0.0).sum(), [1.0, 2.0], [3.0]) == 0.0


def test_check_gradients_leaves_inputs_as_they_were():
    array, tensor = np.array([0.1, 0.2]), Tensor([0.3, 0.4])
    assert check_gradients(lambda x, y: (x * y).sum(), array, tensor) < 1e-6
    assert array.tolist() == [0.1, 0.2]
    assert tensor.data.tolist() == [0.3, 0.4]
    assert tensor.grad.tolist() == [0.0, 0.0]


# The network.


def network(sizes, rows=7, seed=0):
    """Parameters W, b, W, b, ..., inputs and labels of a small network."""
    random = np.random.default_rng(seed)
    parameters = []
    for width_in, width_out in pairwise(sizes):
        parameters.append(Tensor(random.normal(0, 1 / np.sqrt(width_in), (width_in, width_out))))
        parameters.append(Tensor(random.normal(0, 0.5, width_out)))
    return parameters, random.normal(size=(rows, sizes[0])), random.integers(0, sizes[-1], rows)


def torch_loss(torch, parameters, X, labels, activation, residual):
    """Compute the same loss with torch.nn.functional; weights are [in, out] here."""
    functional = torch.nn.functional
    weights, biases = parameters[::2], parameters[1::2]
    A = torch.tensor(X)
    for layer, (W, b) in enumerate(zip(weights[:-1], biases[:-1], strict=True)):
        hidden = getattr(torch, activation)(functional.linear(A, W.T, b))
        skip = residual and layer > 0 and W.shape[0] == W.shape[1]
        A = hidden + A if skip else hidden
    logits = functional.linear(A, weights[-1].T, biases[-1])
    return functional.cross_entropy(logits, torch.tensor(labels))


# 5-5: as wide as the inputs, which are no hidden layer. 4-4 at the end: the output is none either.
NETWORKS = [[6, 3], [5, 5, 4], [5, 5, 5, 5, 3], [6, 4, 4, 3, 3], [3, 4, 4, 4]]


every_network = pytest.mark.parametrize(
    ("sizes", "activation", "residual"),
    list(product(NETWORKS, ["relu", "sigmoid", "tanh"], [False, True])),
    ids=str,
)


@every_network
def test_network_gradients_agree_with_centred_differences(sizes, activation, residual):
    parameters, X, labels = network(sizes)

    def function(*parameters):
        return mlp_loss(parameters, X, labels, activation, residual)

    assert check_gradients(function, *parameters) < 1e-5


@every_network
def test_network_gradients_agree_with_torch(sizes, activation, residual):
    torch = pytest.importorskip("torch")
    parameters, X, labels = network(sizes)
    loss = mlp_loss(parameters, X, labels, activation, residual)
    loss.backward()
    theirs = [torch.tensor(parameter.data, requires_grad=True) for parameter in parameters]
    reference = torch_loss(torch, theirs, X, labels, activation, residual)
    reference.backward()
    np.testing.assert_allclose(loss.data, reference.item(), rtol=1e-14)
    for parameter, expected in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(parameter.grad, expected.grad.numpy(), rtol=1e-11, atol=1e-15)


def test_residual_skips_only_between_hidden_layers_of_equal_width():
    for sizes in ([5, 5, 4], [3, 4, 4], [4, 3, 4, 3]):  # nothing to skip
        parameters, X, _ = network(sizes)
        plain, skipping = (mlp(parameters, X, "tanh", residual).data for residual in (False, True))
        np.testing.assert_array_equal(plain, skipping)
    parameters, X, _ = network([2, 3, 3, 2])
    W1, b1, W2, b2, W3, b3 = (parameter.data for parameter in parameters)
    first = np.tanh(X @ W1 + b1)
    second = np.tanh(first @ W2 + b2) + first
    logits = mlp(parameters, X, "tanh", residual=True).data
    np.testing.assert_allclose(logits, second @ W3 + b3, rtol=1e-13)


def test_softmax_regression_gradient_by_hand():
    """Z = XW + b, and dloss/dZ = (softmax(Z) - onehot) / N."""
    parameters, X, labels = network([4, 3], rows=10)
    mlp_loss(parameters, X, labels).backward()
    W, b = (parameter.data for parameter in parameters)
    power = np.exp(X @ W + b)
    dZ = (power / power.sum(axis=1, keepdims=True) - np.eye(3)[labels]) / 10
    np.testing.assert_allclose(parameters[0].grad, X.T @ dZ, rtol=1e-12)
    np.testing.assert_allclose(parameters[1].grad, dZ.sum(axis=0), rtol=1e-12)


def test_training_follows_torch_sgd_step_by_step():
    torch = pytest.importorskip("torch")
    parameters, X, labels = network([6, 8, 8, 3], rows=64)
    theirs = [torch.tensor(parameter.data, requires_grad=True) for parameter in parameters]
    sgd = torch.optim.SGD(theirs, lr=0.5, momentum=0.9, weight_decay=1e-3)
    velocities = [np.zeros(parameter.shape) for parameter in parameters]
    losses = []
    for _ in range(50):
        loss = mlp_loss(parameters, X, labels, "relu", residual=True)
        loss.backward()
        losses.append(loss.data.item())
        for parameter, velocity in zip(parameters, velocities, strict=True):
            velocity *= 0.9
            velocity += parameter.grad + 1e-3 * parameter.data
            parameter.data -= 0.5 * velocity
        sgd.zero_grad()
        reference = torch_loss(torch, theirs, X, labels, "relu", True)
        reference.backward()
        sgd.step()
        assert losses[-1] == pytest.approx(reference.item(), rel=1e-9, abs=1e-12)
    assert losses[-1] < 0.5 * losses[0]


# Errors: each names the operation and what it found.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x + np.ones(4), r"\+: shapes \(2, 3\) and \(4,\)"),
        (lambda x: np.ones((3, 3)) - x, r"-: shapes \(3, 3\) and \(2, 3\)"),
        (lambda x: x * np.ones((3, 2)), r"\*: shapes"),
        (lambda x: x / [1.0, 2.0], r"/: shapes"),
        (lambda x: x @ x, r"@: .*found \(2, 3\) @ \(2, 3\)"),
        (lambda x: x @ np.ones(3), r"@: .*found \(2, 3\) @ \(3,\)"),
        (lambda x: np.ones(2) @ x, r"@: .*found \(2,\) @ \(2, 3\)"),
        (lambda x: np.ones((4, 5, 2)) @ x.expand((3, 2, 3)), "broadcast"),
        (lambda x: x.sum().row_sum(), r"row_sum: .*found \(\)"),
        (lambda x: x.sum().row_max(), r"row_max: .*found \(\)"),
        (lambda x: Tensor(np.ones((2, 0))).row_max(), r"row_max: .*found \(2, 0\)"),
        (lambda x: x.sum().normalize(), r"normalize: .*found \(\)"),
        (lambda x: x.sum().select(0), r"select: .*found \(\)"),
        (lambda x: x.select([0]), r"select: expected .*\(2,\), found int64 \(1,\)"),
        (lambda x: x.select([0.0, 1.0]), "select: expected .* found float64"),
        (lambda x: x.select([True, False]), "select: expected .* found bool"),
        (lambda x: x.select([0, 3]), r"select: expected columns in 0\.\.2, found 0\.\.3"),
        (lambda x: x.select([-1, 0]), r"select: expected columns in 0\.\.2, found -1\.\.0"),
        (lambda x: x.expand((2, 4)), r"expand: shape \(2, 3\) does not broadcast to \(2, 4\)"),
        (lambda x: x.expand((3,)), "expand: shape"),
        (lambda x: x.unsqueeze(0).expand((2, 3)), "expand: shape"),
        (lambda x: x.squeeze(0), r"squeeze: axis 0 of shape \(2, 3\)"),
        (lambda x: x.squeeze(2), r"squeeze: axis 2 of shape \(2, 3\)"),
        (lambda x: x.unsqueeze(4), "axis 4 is out of bounds"),
        (lambda x: x.backward(), r"backward: .*\(2, 3\)"),
        (lambda x: check_gradients(lambda x: x, x), r"backward: .*\(2, 3\)"),
        (lambda x: check_gradients(Tensor.sum), "check_gradients: 0 inputs"),
        (lambda x: check_gradients(Tensor.sum, x, step=0.0), "check_gradients: .* step 0"),
        (lambda x: mlp([], x), "parameters: expected W"),
        (lambda x: mlp([x], x), "parameters: expected W"),
        (lambda x: mlp([Tensor(np.ones((3, 2))), Tensor(np.ones(3))], x), "parameters: expected W"),
        (lambda x: mlp([Tensor(np.ones((2, 2))), Tensor(np.ones(2))], x), r"@: .*\(2, 3\) @"),
        (lambda x: mlp([x, x], x, "gelu"), "activation: expected one of .*relu.* found 'gelu'"),
        (lambda x: cross_entropy(x, [0, 1, 2]), "select: expected"),
    ],
)
def test_wrong_shapes_and_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(Tensor(np.ones((2, 3))))


@pytest.mark.parametrize("data", ["three", None, 1j, object(), Tensor(1.0)])
def test_data_must_be_real_numbers(data):
    with pytest.raises(TypeError, match="Tensor: expected real numbers, found"):
        Tensor(data)


# The file itself.


def test_file_is_short_self_contained_and_its_example_runs():
    source = inspect.getsource(autograd)
    assert len(source.splitlines()) < 400
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"numpy"}
    results = doctest.testmod(autograd)
    assert results.attempted > 0
    assert results.failed == 0
