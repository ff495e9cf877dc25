"""Twin of ``loops/update.py``."""

import numpy as np

from fastmlp.kernels.arguments import Marks, Part, Weights
from fastmlp.kernels.reference.bfloat16 import rows_of
from fastmlp.kernels.reference.operands import write_right_operand
from fastmlp.kernels.reference.panels import Array, to_matrix
from fastmlp.kernels.reference.steps import HAVE_SQUARES, HAVE_VELOCITY, take_step


def update(
    X: Array,
    D: Array,
    weights: Weights,
    inputs: int,
    rule: int,
    hyper: Array,
    marks: Marks | None,
    part: Part,
) -> None:
    """One step of a rule with the gradient ``X.T @ D``; needs no memory for marks."""
    W, V, S, right = weights
    lanes = W.shape[2]
    panels = slice(part.panel_from, part.panel_to)
    rows = slice(part.row_from * lanes, min(part.row_to * lanes, inputs))
    here = panels, rows
    gradient = to_matrix(rows_of(X)).T[rows] @ rows_of(D)[panels]
    before = (array[here].astype(np.float64) for array in (W, V, S))
    w, v, s = take_step(rule, hyper.astype(np.float64), gradient, *before)
    if rule in HAVE_VELOCITY:
        V[here] = v
    if rule in HAVE_SQUARES:
        S[here] = s
    W[here] = w
    if right.size:
        write_right_operand(W, right, part)
