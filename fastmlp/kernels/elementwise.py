"""What happens to outputs one by one outside a tile's registers: sigmoid, tanh, their derivatives, sums.

ReLU and its mask are epilogues of ``simd.multiply_tile``. These here need an exponential or a second operand;
they run over a tile that was just stored, while it is in L1.
"""

from fastmlp.kernels.jit import kernel
from fastmlp.kernels.simd import map_vectors


@kernel
def elementwise(code, source, other, out, panel_from, panel_to, row_from, row_to):
    """``out = f(source, other)`` for a rectangle of three arrays [panels, batch, lanes].

    `code` names f as in ``simd.map_vectors``; `out` may be `source`.
    """
    _, height, lanes = out.shape
    if row_to > row_from:
        for p in range(panel_from, panel_to):
            offset = (p * height + row_from) * lanes
            map_vectors(code, source, other, out, offset, row_to - row_from)
