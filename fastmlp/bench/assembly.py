"""The code of a single kernel: LLVM's after its passes, and that of the processor.

For those who change a tile: whether sums stay in registers shows here first. A kernel of which training makes a part of
its compiled loop is compiled alone, for float32 and the tile that this machine has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from fastmlp.kernels.arguments import Epilogue, Gradients, Marks, Part, Weights, Whose
from fastmlp.kernels.loops.convolution import convolve
from fastmlp.kernels.loops.convolution_gradients import convolution_gradients
from fastmlp.kernels.loops.multiply import multiply
from fastmlp.kernels.loops.update import update
from fastmlp.kernels.program import SHAPE
from fastmlp.kernels.tiles import TILE


class Code(NamedTuple):
    """A kernel as LLVM's optimiser left it, and as machine code in words."""

    ir: str
    assembly: str


def code_of(kernel: str, dtype: str = "float32") -> Code:
    """Compile a kernel.

    Parameters
    ----------
    kernel : str
        One of `fastmlp.bench.settings.KERNELS`.
    dtype : {"float32", "float64"}
    """
    function, arguments = _example(kernel, np.dtype(dtype))
    # Anew: Numba shows no code that came out of its cache.
    fresh = numba.njit(function, nogil=True)
    fresh.compile(tuple(map(numba.typeof, arguments)))
    (ir,), (assembly,) = fresh.inspect_llvm().values(), fresh.inspect_asm().values()
    return Code(ir, assembly)


def _example(kernel: str, dtype: np.dtype[Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return a kernel, and arguments of the types that it gets."""
    panels = np.zeros((1, 1, TILE.lanes(dtype.itemsize)), dtype)
    one: Any = np.int64(1)
    part, whose = Part(one, one, one, one), Whose(0, 0, 0, 0, 1)
    numbers, shape = np.zeros(1, np.int64), np.zeros(1, SHAPE)[0]
    room = panels.reshape(-1)
    weights = Weights(panels, panels, panels, panels)
    gradients = Gradients._make([*[panels] * 5, numbers, panels, panels, room])
    dispatchers: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "multiply": (multiply, (*[panels] * 4, Epilogue(one, panels, panels), part)),
        "update": (
            update,
            (panels, panels, weights, one, one, panels, Marks(room, one, one), part),
        ),
        "convolve": (convolve, (*[panels] * 5, shape, whose)),
        "gradients": (convolution_gradients, (gradients, shape, 0, whose)),
    }
    dispatcher, arguments = dispatchers[kernel]
    return dispatcher.py_func, arguments
