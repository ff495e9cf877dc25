"""Softmax, cross-entropy and its gradient, for rows of a batch.

    P = softmax(Z);  loss = -log P[label];  D = (P - onehot(label)) * weight

The largest logit is subtracted first, and sums over classes take them in order. A NaN among the logits becomes
a NaN loss.
"""

import math

from fastmlp.kernels.jit import kernel
from fastmlp.kernels.simd import exponentiate


@kernel
def softmax_cross_entropy(
    Z, labels, indices, classes, weight, D, losses, correct, row_from, row_to
):
    """Loss, whether it was right, and gradient of a range of batch rows.

    Parameters
    ----------
    Z : array [classes / lanes, batch, lanes]
        Logits.
    labels : array of int64
    indices : array [batch] of int64
        The label of row m is ``labels[indices[m]]``.
    classes : int
        Columns of Z in use.
    weight : float
        What each sample's gradient is multiplied by: 1 / batch for a mean loss, 1 for a sum.
    D : array like Z
        Gradient of the loss with respect to Z; may be Z itself.
    losses : array [batch] of float64
    correct : array [batch] of bool
        Whether no class beats the label; the lower of two equal classes wins.
    row_from, row_to : int
    """
    panels, height, lanes = Z.shape
    scale = Z.dtype.type(weight)
    for m in range(row_from, row_to):
        label = labels[indices[m]]
        largest, best = Z[0, m, 0], 0
        for c in range(1, classes):
            z = Z[c // lanes, m, c % lanes]
            if z > largest:
                largest, best = z, c
        own = Z[label // lanes, m, label % lanes] - largest
        for p in range(panels):
            for j in range(lanes):
                D[p, m, j] = Z[p, m, j] - largest
            exponentiate(D, (p * height + m) * lanes, 1)
        total = D[0, m, 0]
        for c in range(1, classes):
            total += D[c // lanes, m, c % lanes]
        losses[m] = math.log(float(total)) - float(own)
        correct[m] = best == label
        factor = scale / total
        for p in range(panels):
            for j in range(lanes):
                D[p, m, j] *= factor
        D[label // lanes, m, label % lanes] -= scale
        for c in range(classes, panels * lanes):
            D[c // lanes, m, c % lanes] = 0
