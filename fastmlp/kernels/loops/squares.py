"""Sums of squares of the weights, for the penalty of weight decay."""

from fastmlp.kernels.emit.vectors import sum_of_squares
from fastmlp.kernels.jit import helper


@helper
def sum_squares(W, squares, first, part):
    """``squares[first + n] = sum of W[:, n]**2`` for some panels of W [panels, K, lanes], in float64 and in order.

    Padded units have weights of zero, and a place of their own.
    """
    _, rows, lanes = W.shape
    for p in range(part.panel_from, part.panel_to):
        sum_of_squares(W, p * rows * lanes, rows, squares, first + p * lanes)
