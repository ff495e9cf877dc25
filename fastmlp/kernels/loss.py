"""The loss of each row of a batch and its gradient D with respect to the outputs Z.

    SOFTMAX    P = softmax(Z)        loss = -log P[label]                            D = (P - onehot) * factor
    LOGISTIC   P = 1 / (1 + exp(-Z)) loss = sum of -t log P - (1 - t) log(1 - P)     D = (P - t) * factor
    SQUARED    P = Z                 loss = sum of (P - t)**2 / 2                    D = (P - t) * factor

Sums over outputs take them in order. Of Z the softmax subtracts the largest first. A NaN among the outputs becomes
a NaN loss.
"""

import math

import numpy as np

from fastmlp.kernels.jit import helper
from fastmlp.kernels.simd import EXP, SIGMOID, map_vectors

SOFTMAX, LOGISTIC, SQUARED = np.int64(0), np.int64(1), np.int64(2)


@helper
def softmax_cross_entropy(
    Z, labels, indices, outputs, factors, D, losses, correct, row_from, row_to
):
    """Loss, whether it was right, and gradient of a range of batch rows.

    Parameters
    ----------
    Z : array [outputs / lanes, batch, lanes]
        Logits.
    labels : array of int64
    indices : array [batch] of int64
        The label of row m is ``labels[indices[m]]``.
    outputs : int
        Columns of Z in use.
    factors : array [batch] of Z's type
        What each row's gradient is multiplied by: 1 / batch for a mean loss, 1 for a sum.
    D : array like Z
        Gradient; its padding becomes zero. May be Z itself.
    losses : array [batch] of float64
    correct : array [batch] of bool
        Whether no class beats the label; the lower of two equal classes wins.
    row_from, row_to : int
    """
    panels, height, lanes = Z.shape
    for m in range(row_from, row_to):
        label = labels[indices[m]]
        largest, best = Z[0, m, 0], 0
        for c in range(1, outputs):
            z = Z[c // lanes, m, c % lanes]
            if z > largest:
                largest, best = z, c
        own = Z[label // lanes, m, label % lanes] - largest
        for p in range(panels):
            for j in range(lanes):
                D[p, m, j] = Z[p, m, j] - largest
            map_vectors(EXP, D, D, D, (p * height + m) * lanes, 1)
        total = D[0, m, 0]
        for c in range(1, outputs):
            total += D[c // lanes, m, c % lanes]
        losses[m] = math.log(np.float64(total)) - np.float64(own)
        correct[m] = best == label
        scale = factors[m] / total
        for p in range(panels):
            for j in range(lanes):
                D[p, m, j] *= scale
        D[label // lanes, m, label % lanes] -= factors[m]
        for c in range(outputs, panels * lanes):
            D[c // lanes, m, c % lanes] = 0


@helper
def elementwise_loss(Z, targets, indices, outputs, loss, factors, D, losses, row_from, row_to):
    """Loss and gradient of a range of batch rows, for LOGISTIC and SQUARED.

    Parameters
    ----------
    targets : array [n, outputs] of Z's type
        Those of row m are ``targets[indices[m]]``; 0 or 1 for LOGISTIC.
    loss : int
        LOGISTIC or SQUARED.
    Z, indices, outputs, factors, D, losses, row_from, row_to
        As for `softmax_cross_entropy`.
    """
    panels, height, lanes = Z.shape
    for m in range(row_from, row_to):
        row = indices[m]
        total = 0.0
        for c in range(outputs):
            z, t = np.float64(Z[c // lanes, m, c % lanes]), np.float64(targets[row, c])
            if loss == LOGISTIC:
                # -t log P - (1 - t) log(1 - P), in a form that neither overflows nor cancels.
                total += max(z, 0.0) - z * t + math.log1p(math.exp(-abs(z)))
            else:
                total += (z - t) ** 2 / 2
        losses[m] = total
        for p in range(panels):
            for j in range(lanes):
                D[p, m, j] = Z[p, m, j]
            if loss == LOGISTIC:
                map_vectors(SIGMOID, D, D, D, (p * height + m) * lanes, 1)
        for c in range(outputs):
            D[c // lanes, m, c % lanes] -= targets[row, c]
            D[c // lanes, m, c % lanes] *= factors[m]
        for c in range(outputs, panels * lanes):
            D[c // lanes, m, c % lanes] = 0
