"""Twins of ``loops/narrow.py``."""

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
    """`gather` and `multiply` of the rows that fill whole vectors; needs no tile of so many columns."""
    lanes = layer.X.shape[2]
    block = ROW_VECTORS * lanes
    whole = (part.row_to - part.row_from) // block * block
    part = part._replace(row_to=part.row_from + whole)
    gather(samples, batches, start, layer.X, layer.X, layer.X, None, part)
    multiply(layer.X, layer.W, layer.bias, layer.out, epilogue, part)
