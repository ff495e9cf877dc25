"""Twin of ``loops/elementwise.py``."""

import numpy as np

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.reference.activations import FUNCTIONS
from fastmlp.kernels.reference.panels import Array, within


def elementwise(code: int, source: Array, other: Array, out: Array, part: Part) -> None:
    """``out = f(source, other)``."""
    here = within(part)
    function = FUNCTIONS[int(code)]
    out[here] = function(source[here].astype(np.float64), other[here].astype(np.float64))
