"""Every operation against centred differences and against torch.autograd."""

import numpy as np
import pytest

from fastmlp.autograd import Tensor, check_gradients
from fastmlp.autograd.tensor import ACTIVATIONS

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
    ("gelu", Tensor.gelu, lambda torch, x: torch.nn.functional.gelu(x), ANY),
    (
        "gelu_tanh",
        lambda x: x.gelu("tanh"),
        lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
        ANY,
    ),
    ("silu", Tensor.silu, lambda torch, x: torch.nn.functional.silu(x), ANY),
    ("leaky_relu", Tensor.leaky_relu, lambda torch, x: torch.nn.functional.leaky_relu(x), ANY),
    (
        "leaky_relu 0.3",
        lambda x: x.leaky_relu(0.3),
        lambda torch, x: torch.nn.functional.leaky_relu(x, 0.3),
        ANY,
    ),
    ("elu", Tensor.elu, lambda torch, x: torch.nn.functional.elu(x), ANY),
    ("elu 0.3", lambda x: x.elu(0.3), lambda torch, x: torch.nn.functional.elu(x, 0.3), ANY),
    ("selu", Tensor.selu, lambda torch, x: torch.nn.functional.selu(x), ANY),
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


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_agree_with_torch_at_zero_and_far_out(name):
    torch = pytest.importorskip("torch")
    ours, theirs = next((ours, theirs) for one, ours, theirs, _ in OPERATIONS if one == name)
    x = Tensor([-700.0, -45.0, -20.0, -6.0, -1e-9, 0.0, 1e-9, 6.0, 20.0, 45.0, 700.0])
    result = ours(x)
    result.sum().backward()
    y = torch.tensor(x.data, requires_grad=True)
    reference = theirs(torch, y)
    reference.sum().backward()
    # Torch adds to 1 what is far below it, and so loses its digits.
    np.testing.assert_allclose(result.data, reference.detach().numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(x.grad, y.grad.numpy(), rtol=1e-12, atol=1e-14)
    shown = ACTIVATIONS[name](Tensor(x.data))
    np.testing.assert_array_equal(shown.data, result.data)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_neither_overflow_nor_warn(name):
    x = Tensor([-1e308, -1e200, -1000.0, 0.0, 1000.0, 1e200, 1e308])
    result = ACTIVATIONS[name](x)
    result.sum().backward()
    assert np.isfinite(result.data).all()
    assert np.isfinite(x.grad).all()
    with np.errstate(invalid="ignore"):
        assert np.isnan(ACTIVATIONS[name](Tensor(np.nan)).data)


def test_every_listed_operation_of_the_study_is_in_the_table():
    listed = "add subtract multiply divide matmul exp log sum row_max row_sum normalize expand"
    listed += " select squeeze unsqueeze sigmoid relu"
    assert set(listed.split()) <= {name for name, *_ in OPERATIONS}
