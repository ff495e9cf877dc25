"""Twins of ``loops/loss.py``."""

import numpy as np

from fastmlp.kernels.arguments import Batches, Part, Record, Samples
from fastmlp.kernels.codes import LOGISTIC, SQUARED
from fastmlp.kernels.reference.activations import sigmoid
from fastmlp.kernels.reference.panels import Array, to_matrix, to_panels


def softmax_cross_entropy(
    Z: Array,
    D: Array,
    outputs: int,
    smoothing: float,
    samples: Samples,
    batches: Batches,
    record: Record,
    start: int,
    part: Part,
) -> None:
    """``loss = -sum of q log softmax(Z)`` and ``D = (softmax(Z) - q) * factor``.

    q is ``smoothing / outputs`` for each output, and ``1 - smoothing`` more for the label, or for two in shares.
    """
    rows = slice(part.row_from, part.row_to)
    seen = slice(start + part.row_from, start + part.row_to)
    label = samples.labels[batches.order[seen]]
    classes = _mixed(np.eye(outputs)[samples.labels], batches, seen)
    logits = to_matrix(Z[:, rows])[:, :outputs]
    q = (1 - smoothing) * classes + smoothing / outputs
    shifted = logits - logits.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    # An output that is ruled out, minus infinity, has no part in a label that is another.
    shares = np.where(q == 0, 0, q * shifted)
    record.losses[seen] = np.log(total[:, 0]) - shares.sum(axis=1)
    record.correct[seen] = logits.argmax(axis=1) == label
    D[:, rows] = to_panels((np.exp(shifted) / total - q) * _factors(batches, seen), D.shape[2])


def elementwise_loss(
    Z: Array,
    D: Array,
    outputs: int,
    loss: int,
    samples: Samples,
    batches: Batches,
    record: Record,
    start: int,
    part: Part,
) -> None:
    """``D = (P - target) * factor``, the losses, and of LOGISTIC which rows are right."""
    rows = slice(part.row_from, part.row_to)
    seen = slice(start + part.row_from, start + part.row_to)
    known = samples.targets[batches.order[seen]]
    target = _mixed(samples.targets.astype(np.float64), batches, seen)
    z = to_matrix(Z[:, rows])[:, :outputs]
    each, prediction = {
        int(LOGISTIC): (np.logaddexp(0, z) - z * target, sigmoid(z)),
        int(SQUARED): ((z - target) ** 2 / 2, z),
    }[int(loss)]
    record.losses[seen] = each.sum(axis=1)
    if loss == LOGISTIC:
        record.correct[seen] = ((z > 0) == (known > 0)).all(axis=1)
    D[:, rows] = to_panels((prediction - target) * _factors(batches, seen), D.shape[2])


def _mixed(known: Array, batches: Batches, seen: slice) -> Array:
    """Return what is true of some samples of an epoch, mixed with what is true of others where they are mixed."""
    own = known[batches.order[seen]]
    if batches.mixes is None or not len(batches.mixes):
        return own
    mixes = batches.mixes[seen]
    share = mixes["share"][:, None]
    return share * own + (1 - share) * known[batches.order[mixes["partner"]]]


def _factors(batches: Batches, seen: slice) -> Array:
    """Return each row's factor, as a column."""
    return batches.factors[seen, None].astype(np.float64)
