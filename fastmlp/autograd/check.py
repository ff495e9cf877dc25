"""Gradients against centred differences, which need no calculus."""

from collections.abc import Callable

import numpy as np

from fastmlp.autograd.tensor import Operand, Tensor


def check_gradients(function: Callable[..., Tensor], *inputs: Operand, step: float = 1e-6) -> float:
    """Compare `backward()` with centred differences (f(x + step) - f(x - step)) / 2 step.

    Rounding leaves f right to ``eps |f|``, so a difference is right to ``eps |f| / step``. For entries of
    the gradient under a million times that, the error is relative to that bound, not to the entry:
    rounding alone then gives about 1e-6 at most, and `check_gradients(...) < 1e-5` is a fair test.

    Parameters
    ----------
    function : callable
        Takes one tensor for each input, returns a tensor with a single number. Where an entry lies
        within `step` of a kink (of relu or row_max) there is no derivative to compare with.
    *inputs : array_like or Tensor
        Where to compare, in every entry of each; left unchanged.
    step : float
        How far to move an entry, in the units of the inputs.

    Returns
    -------
    float
        Largest relative error; 1 if an entry above the bound is wrongly 0, NaN if not finite.

    Raises
    ------
    ValueError
        The result is not a single number, there are no inputs, or the step is not above 0.
    """
    if not inputs or not step > 0:
        raise ValueError(f"check_gradients: {len(inputs)} inputs, step {step}: both must exceed 0")
    tensors = [Tensor(value.data if isinstance(value, Tensor) else value) for value in inputs]
    output = function(*tensors)
    output.backward()
    bound = 1e6 * np.finfo(np.float64).eps * abs(output.data.item()) / step
    errors = []
    for tensor in tensors:
        numeric = np.zeros_like(tensor.data)
        for index in np.ndindex(tensor.shape):
            centre = tensor.data[index]
            above, below = centre + step, centre - step
            tensor.data[index] = above
            rise = function(*tensors).data.item()
            tensor.data[index] = below
            rise -= function(*tensors).data.item()
            tensor.data[index] = centre
            numeric[index] = rise / (above - below)
        size = np.maximum(np.maximum(abs(numeric), abs(tensor.grad)), bound)
        error = abs(numeric - tensor.grad) / np.where(size == 0.0, 1.0, size)
        errors.append(np.max(error, initial=0.0))
    return float(np.max(errors))  # unlike max(), NumPy's never steps over a NaN
