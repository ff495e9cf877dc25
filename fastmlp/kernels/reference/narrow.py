"""Twins of ``loops/narrow.py``."""

from fastmlp.kernels.arguments import Part, Weights
from fastmlp.kernels.reference.panels import Array
from fastmlp.kernels.reference.update import update


def update_narrow(
    X: Array,
    D: Array,
    weights: Weights,
    inputs: int,
    columns: int,
    rule: int,
    hyper: Array,
    part: Part,
) -> int:
    """The step of whole groups of rows, where all panels are in the part; return the first group that is left."""
    panels, _, lanes = weights.W.shape
    if columns == 0 or part.panel_to - part.panel_from < panels:
        return part.row_from
    whole = max(part.row_from, min(part.row_to, inputs // lanes))
    update(X, D, weights, inputs, rule, hyper, None, part._replace(row_to=whole))
    return whole
