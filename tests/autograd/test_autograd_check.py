"""check_gradients sees what is wrong, and is not fooled by what is right."""

import numpy as np
import pytest

from fastmlp.autograd import Tensor, check_gradients, cross_entropy


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
