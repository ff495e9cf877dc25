"""Twin of ``loops/squares.py``."""

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.reference.panels import Array, to_matrix


def sum_squares(W: Array, squares: Array, first: int, part: Part) -> None:
    """``squares[first + n] = sum of W[:, n]**2`` for some panels."""
    lanes = W.shape[2]
    units = slice(first + part.panel_from * lanes, first + part.panel_to * lanes)
    squares[units] = (to_matrix(W[part.panel_from : part.panel_to]) ** 2).sum(axis=0)
