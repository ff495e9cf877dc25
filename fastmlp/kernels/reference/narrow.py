"""Twins of ``loops/narrow.py``."""

import numpy as np

from fastmlp.kernels.arguments import Batches, Epilogue, FirstLayer, Part, Samples, Weights
from fastmlp.kernels.emit.narrow import ROW_VECTORS
from fastmlp.kernels.loops.narrow import FROM_BATCH
from fastmlp.kernels.reference.gather import gather
from fastmlp.kernels.reference.multiply import multiply
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
    is_small = X.shape[1] < FROM_BATCH
    if columns == 0 or is_small or part.panel_to - part.panel_from < panels:
        return part.row_from
    whole = max(part.row_from, min(part.row_to, inputs // lanes))
    update(X, D, weights, inputs, rule, hyper, None, part._replace(row_to=whole))
    return whole


def gather_multiply(
    samples: Samples,
    batches: Batches,
    start: int,
    layer: FirstLayer,
    columns: int,
    epilogue: Epilogue,
    part: Part,
) -> None:
    """`gather` and `multiply` of the rows that blocks do; needs no tile of so many columns."""
    block = ROW_VECTORS * layer.X.shape[2]
    whole, rest = divmod(part.row_to - part.row_from, block)
    done = part.row_to - (0 if whole and 2 * rest >= block else rest)
    part = part._replace(row_to=done)
    X = np.zeros_like(layer.X)
    gather(samples, batches, start, X, None, None, None, part)
    multiply(X, layer.W, layer.bias, layer.out, epilogue, part)
    own = slice(layer.slab_from, layer.slab_to), slice(part.row_from, done)
    layer.X[own] = X[own]
