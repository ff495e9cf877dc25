"""Functions of outputs one by one, outside a tile's registers.

ReLU and its mask are epilogues of ``emit/products.multiply_tile``. The functions here need an exponential or a
second operand; as epilogues they run over a tile that was just stored, while it is in L1.
"""

from fastmlp.kernels.emit.vectors import map_vectors
from fastmlp.kernels.jit import subkernel


@subkernel
def elementwise(code, source, other, out, part):
    """``out = f(source, other)`` for a part of three arrays [panels, batch, lanes].

    `code` names f as in ``emit/vectors.map_vectors``; `out` may be `source`.
    """
    _, height, lanes = out.shape
    if part.row_to > part.row_from:
        for p in range(part.panel_from, part.panel_to):
            offset = (p * height + part.row_from) * lanes
            map_vectors(code, source, other, out, offset, part.row_to - part.row_from)
