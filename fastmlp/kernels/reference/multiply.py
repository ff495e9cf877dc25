"""Twin of ``loops/multiply.py``.

A product needs no unpacking on the right: with `left` the matrix [M, K] and W the panels [N / lanes, K, lanes],
``left @ W`` broadcasts to the panels [N / lanes, M, lanes] of the product.
"""

import numpy as np

from fastmlp.kernels.arguments import Epilogue, Part
from fastmlp.kernels.codes import IDENTITY
from fastmlp.kernels.reference.activations import FUNCTIONS
from fastmlp.kernels.reference.bfloat16 import columns_of, rows_of
from fastmlp.kernels.reference.panels import Array, within


def multiply(A: Array, W: Array, start: Array, out: Array, epilogue: Epilogue, part: Part) -> None:
    """``out = start + A @ W`` and ``result = f(out, other)``."""
    here = within(part)
    panels, rows = here
    first = np.broadcast_to(start, out.shape)[here].astype(np.float64)
    sums = first + columns_of(A)[rows] @ rows_of(W)[panels]
    out[here] = sums
    if epilogue.code != IDENTITY:
        function = FUNCTIONS[int(epilogue.code)]
        epilogue.result[here] = function(sums, epilogue.other[here].astype(np.float64))
