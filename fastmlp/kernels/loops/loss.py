"""The loss of each row of a batch and its gradient D with respect to the outputs Z.

    SOFTMAX    P = softmax(Z)        loss = -sum of q log P                          D = (P - q) * factor
    LOGISTIC   P = 1 / (1 + exp(-Z)) loss = sum of -t log P - (1 - t) log(1 - P)     D = (P - t) * factor
    SQUARED    P = Z                 loss = sum of (P - t)**2 / 2                    D = (P - t) * factor

q is 1 for the label and 0 for the others; with label smoothing it is moved towards 1 / outputs by that share. Of a
sample that is mixed with another, q and t are mixed alike. Sums over outputs take them in order. Of Z the softmax
subtracts the largest first. A NaN among the outputs becomes a NaN loss.
"""

import math

import numpy as np

from fastmlp.kernels.codes import LOGISTIC, SIGMOID
from fastmlp.kernels.emit.images import transpose_vectors
from fastmlp.kernels.emit.losses import (
    BEST,
    LARGEST,
    SUM,
    add_exponentials,
    scale_row,
    see_largest,
)
from fastmlp.kernels.emit.vectors import map_vectors
from fastmlp.kernels.emit.views import stack_vectors
from fastmlp.kernels.jit import helper, inlined
from fastmlp.kernels.tiles import TILE

# Room for a transposed panel of either type; and what is known of its rows, with their label's logit less the largest.
LANES, KNOWN = TILE.lanes(4), 4
OWN = KNOWN - 1


@helper
def softmax_cross_entropy(Z, D, outputs, smoothing, samples, batches, record, start, part):
    """Loss, whether it was right, and gradient of a range of batch rows.

    Parameters
    ----------
    Z : array [outputs / lanes, batch, lanes]
        Logits.
    D : array like Z
        Gradient; its padding becomes zero. May be Z itself.
    outputs : int
        Columns of Z in use.
    smoothing : float
        The share of the label's probability that all outputs divide between them.
    samples : Samples
        With labels.
    batches : Batches
        The label of row m is ``labels[order[start + m]]``.
    record : Record
        Receives losses and correct; of equal outputs the first counts as the largest.
    start : int
        Number of row 0 among the epoch's.
    part : Part
        Rows of the batch; all panels.
    """
    panels, height, lanes = Z.shape
    room = stack_vectors(Z, LANES)
    known = stack_vectors(Z, KNOWN)
    for first in range(part.row_from, part.row_to, lanes):
        last = min(first + lanes, part.row_to)
        see_classes(Z, outputs, first, last, room, known)
        for m in range(first, last):
            label = samples.labels[batches.order[start + m]]
            largest = known[LARGEST, m - first]
            own = mixed_logit(Z, m, label, samples, batches.order, batches.mixes, start + m)
            known[OWN, m - first] = own - largest
            own = known[OWN, m - first]
            record.correct[start + m] = known[BEST, m - first] == label
            mean = smoothed_away(Z, m, outputs, largest, own) if smoothing > 0 else 0.0
            record.losses[start + m] = smoothing * mean
        add_classes(Z, D, outputs, first, last, room, known)
        for m in range(first, last):
            total = known[SUM, m - first]
            loss = math.log(np.float64(total)) - np.float64(known[OWN, m - first])
            factor = batches.factors[start + m]
            scale_row(D, m * lanes, height * lanes, panels, outputs, factor / total)
            if smoothing > 0:
                loss += record.losses[start + m]
                spread = factor * smoothing / outputs
                for c in range(outputs):
                    D[c // lanes, m, c % lanes] -= spread
                factor *= 1 - smoothing
            record.losses[start + m] = loss
            take_label(D, m, factor, samples, batches.order, batches.mixes, start + m)


@helper
def mixed_logit(Z, m, label, samples, order, mixes, i):
    """The logit of sample i's label in row m, mixed with that of the label of what the sample is mixed with."""
    lanes = Z.shape[2]
    own = Z[label // lanes, m, label % lanes]
    if mixes is not None and mixes.shape[0] > 0:
        other = samples.labels[order[mixes[i].partner]]
        share = mixes[i].share
        own = share * own + (1 - share) * Z[other // lanes, m, other % lanes]
    return own


@helper
def take_label(D, m, factor, samples, order, mixes, i):
    """Subtract what is true of sample i, times a factor, from row m of D."""
    lanes = D.shape[2]
    label = samples.labels[order[i]]
    if mixes is not None and mixes.shape[0] > 0:
        other = samples.labels[order[mixes[i].partner]]
        share = mixes[i].share
        D[other // lanes, m, other % lanes] -= factor * (1 - share)
        factor = factor * share
    D[label // lanes, m, label % lanes] -= factor


@helper
def mixed_target(samples, order, mixes, i, c):
    """Target c of sample i, mixed with that of what the sample is mixed with."""
    t = np.float64(samples.targets[order[i], c])
    if mixes is not None and mixes.shape[0] > 0:
        share = mixes[i].share
        t = share * t + (1 - share) * np.float64(samples.targets[order[mixes[i].partner], c])
    return t


@inlined
def see_classes(Z, outputs, first, last, room, known):
    """Find the largest logit of some rows, at most as many as a vector has lanes."""
    panels, height, lanes = Z.shape
    step = (lanes, lanes)
    for p in range(panels):
        count = min(lanes, outputs - p * lanes)
        place = (p * height + first) * lanes
        transpose_vectors(Z, room, (place, 0), step, (last - first, count))
        see_largest(room, known, p * lanes, count)


@inlined
def add_classes(Z, D, outputs, first, last, room, known):
    """Write exp(logit - largest) of some rows into D, and sum it up."""
    panels, height, lanes = Z.shape
    step = (lanes, lanes)
    for p in range(panels):
        count = min(lanes, outputs - p * lanes)
        place = (p * height + first) * lanes
        transpose_vectors(Z, room, (place, 0), step, (last - first, count))
        add_exponentials(room, known, p * lanes, count)
        transpose_vectors(room, D, (0, place), step, (count, last - first))


@helper
def smoothed_away(Z, m, outputs, largest, own):
    """How far the mean of row m's outputs lies below its label's: what smoothing adds to the loss, in float64."""
    lanes = Z.shape[2]
    total = 0.0
    for c in range(outputs):
        total += np.float64(own) - np.float64(Z[c // lanes, m, c % lanes] - largest)
    return total / outputs


@helper
def elementwise_loss(Z, D, outputs, loss, samples, batches, record, start, part):
    """Loss and gradient of a range of batch rows, for LOGISTIC and SQUARED.

    Parameters
    ----------
    loss : int
        LOGISTIC or SQUARED.
    samples : Samples
        With targets [n, outputs], 0 or 1 for LOGISTIC.
    Z, D, outputs, batches, record, start, part
        As for `softmax_cross_entropy`. Of LOGISTIC a row is correct if all its outputs are on the side of their
        targets, above 0 or not; of SQUARED nothing is correct or wrong.
    """
    panels, height, lanes = Z.shape
    for m in range(part.row_from, part.row_to):
        row, factor = batches.order[start + m], batches.factors[start + m]
        total, is_right = 0.0, True
        for c in range(outputs):
            z = np.float64(Z[c // lanes, m, c % lanes])
            t = mixed_target(samples, batches.order, batches.mixes, start + m, c)
            if loss == LOGISTIC:
                # -t log P - (1 - t) log(1 - P), in a form that neither overflows nor cancels.
                total += max(z, 0.0) - z * t + math.log1p(math.exp(-abs(z)))
                is_right &= (z > 0) == (samples.targets[row, c] > 0)
            else:
                total += (z - t) ** 2 / 2
        record.losses[start + m] = total
        if loss == LOGISTIC:
            record.correct[start + m] = is_right
        for p in range(panels):
            for j in range(lanes):
                D[p, m, j] = Z[p, m, j]
            if loss == LOGISTIC:
                map_vectors(SIGMOID, D, D, D, (p * height + m) * lanes, 1)
        for c in range(outputs):
            D[c // lanes, m, c % lanes] -= mixed_target(
                samples, batches.order, batches.mixes, start + m, c
            )
            D[c // lanes, m, c % lanes] *= factor
        for c in range(outputs, panels * lanes):
            D[c // lanes, m, c % lanes] = 0
