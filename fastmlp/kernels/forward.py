"""One layer forward: H = activation(X @ W + b).

Sums begin with the bias and take k in order. Padded columns of W and b are zero, so those of H are the
activation of zero; the next layer's padded rows of W are zero and let nothing of them through.
"""

from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.jit import ZERO, inlined


@inlined
def affine(X, W, b, H, epilogue, panel_from, panel_to, row_from, row_to):
    """``H = epilogue(X @ W + b)`` for a rectangle of H.

    Parameters
    ----------
    X : array [K / lanes, batch, lanes]
    W : array [N / lanes, K, lanes]
    b : array [N / lanes, 1, lanes]
    H : array [N / lanes, batch, lanes]
        Must not overlap the others.
    epilogue : int
        IDENTITY, RELU, SIGMOID or TANH of ``simd.py``.
    panel_from, panel_to, row_from, row_to : int
        The rectangle of H to compute.
    """
    lanes = H.shape[2]
    multiply(X, W, b, ZERO, lanes, H, epilogue, H, panel_from, panel_to, row_from, row_to)
