"""One layer backward: from the gradient D of its output to the gradient G of what it was given.

G = (D @ W.T) * (H > 0), where H is the previous layer's ReLU output. W.T comes as panels that `pack.transpose`
wrote from the weights before their step.
"""

from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.jit import ZERO, inlined
from fastmlp.kernels.simd import RELU_GRADIENT


@inlined
def input_gradient(D, T, zeros, H, G, panel_from, panel_to, row_from, row_to):
    """``G = (D @ T) * (H > 0)`` for a rectangle of G.

    Parameters
    ----------
    D : array [N / lanes, batch, lanes]
        Gradient of the layer's output before its activation.
    T : array [K / lanes, N, lanes]
        Transposed weights.
    zeros : array [1, 1, lanes]
        One vector of zeros.
    H, G : arrays [K / lanes, batch, lanes]
        Activations and the gradient before them; must not overlap.
    panel_from, panel_to, row_from, row_to : int
        The rectangle of G to compute.
    """
    multiply(D, T, zeros, ZERO, ZERO, G, RELU_GRADIENT, H, panel_from, panel_to, row_from, row_to)
