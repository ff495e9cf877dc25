"""Twin of ``loops/pack.py``."""

import numpy as np

from fastmlp.kernels.arguments import PAIR, Part
from fastmlp.kernels.reference.operands import write_right_operand
from fastmlp.kernels.reference.panels import Array, to_matrix, to_panels


def transpose(W: Array, T: Array, part: Part) -> None:
    """``T = W.T`` for part of the weights, or pairs of its rows."""
    lanes = W.shape[2]
    taken = to_matrix(W[part.panel_from : part.panel_to])
    turned = to_panels(taken[part.row_from * lanes : part.row_to * lanes].T, lanes)
    if T.dtype == PAIR:
        pairs = np.zeros((len(turned), turned.shape[1] // 2, lanes), PAIR)
        everything = Part(0, len(turned), 0, turned.shape[1] // lanes)
        write_right_operand(turned, pairs, everything)
        lanes, turned = lanes // 2, pairs
    rows = slice(part.panel_from * lanes, part.panel_to * lanes)
    T[part.row_from : part.row_to, rows] = turned
