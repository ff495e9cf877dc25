"""One layer backward: from the gradient D of its output to the gradient G of what it was given.

    G = (start + D @ W.T) * activation'(H)

H is the previous layer's activation, from which the derivative follows: H > 0, H (1 - H) or 1 - H**2. W.T comes
as panels that `pack.transpose` wrote from the weights before their step. `start` is zero, or the gradient that
a residual connection passes on.
"""

from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.jit import inlined


@inlined
def input_gradient(
    D, T, start, start_row, start_panel, H, G, epilogue, panel_from, panel_to, row_from, row_to
):
    """``G = epilogue(start + D @ T, H)`` for a rectangle of G.

    Parameters
    ----------
    D : array [N / lanes, batch, lanes]
        Gradient of the layer's output before its activation.
    T : array [K / lanes, N, lanes]
        Transposed weights.
    start : array
        What sums begin with, addressed as in `gemm.multiply`.
    H, G : arrays [K / lanes, batch, lanes]
        Activations and the gradient before them; must not overlap.
    epilogue : int
        RELU_GRADIENT, SIGMOID_GRADIENT, TANH_GRADIENT, or IDENTITY for the gradient after the activation.
    panel_from, panel_to, row_from, row_to : int
        The rectangle of G to compute.
    """
    multiply(
        D, T, start, start_row, start_panel, G, epilogue, H, panel_from, panel_to, row_from, row_to
    )
