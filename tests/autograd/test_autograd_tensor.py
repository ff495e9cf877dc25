"""The graph, values and conventions of tensors, what they refuse, and the package's files."""

import ast
import doctest
import sys
from pathlib import Path

import numpy as np
import pytest

from fastmlp import autograd
from fastmlp.autograd import Tensor, check_gradients, cross_entropy, mlp

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
        (lambda x: mlp([x, x], x, "swish"), "activation: expected one of .*relu.* found 'swish'"),
        (lambda x: x.gelu("erf"), "gelu: expected approximate 'none' or 'tanh', found 'erf'"),
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


# The files.


def test_files_are_short_and_self_contained_and_their_example_runs():
    imported = set()
    for path in Path(autograd.__file__).parent.glob("*.py"):
        source = path.read_text()
        assert len(source.splitlines()) < 400
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
    own = {name for name in imported if name.startswith("fastmlp.autograd.")}
    others = {name.split(".")[0] for name in imported - own}
    assert others - set(sys.stdlib_module_names) == {"numpy"}
    results = doctest.testmod(autograd)
    assert results.attempted > 0
    assert results.failed == 0
