"""Every kernel and every activation has a NumPy twin."""

import importlib
import inspect
import pkgutil

import pytest
from kernel_helpers import IMAGE_MODULES
from numba.core.dispatcher import Dispatcher

from fastmlp.kernels import activations, loops, reference

# The update without zeros is checked against the one with them, see test_update.py. Twins of kernels on images have
# arguments of their own, see test_image_kernels.py.
ELSEWHERE = {"nonzeros", *IMAGE_MODULES}
MODULES = {module.name for module in pkgutil.iter_modules(loops.__path__)} - ELSEWHERE
# The end of a row and a mixture are parts of `gather`, what is done class by class or with labels one of the softmax.
PARTS = {"update_dense", "gather_rest", "mix_row", "see_classes", "add_classes", "take_label"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_kernel_has_a_twin_with_its_arguments(name: str) -> None:
    module = importlib.import_module(f"{loops.__name__}.{name}")
    # A kernel writes into its arrays, what returns a value is a helper of it.
    found = {
        name: list(inspect.signature(value.py_func).parameters)
        for name, value in vars(module).items()
        if isinstance(value, Dispatcher)
        and value.py_func.__module__ == module.__name__
        and "return " not in inspect.getsource(value.py_func)
        and name not in PARTS
    }
    assert found
    for name, arguments in found.items():
        assert list(inspect.signature(getattr(reference, name)).parameters) == arguments, name


def test_kernels_elsewhere_are_there() -> None:
    assert {module.name for module in pkgutil.iter_modules(loops.__path__)} >= ELSEWHERE


def test_every_activation_has_a_twin() -> None:
    assert set(reference.ACTIVATIONS) == set(activations.ACTIVATIONS)
