"""Dropout: which units of a hidden layer a step goes without.

A unit's fate is one number of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014),
found from the epoch's key and the unit's place in the epoch alone: no state, and the same bits for any team.
"""

import numpy as np

from fastmlp.kernels.jit import helper, subkernel

# Numba makes a float of a signed and an unsigned integer: every number here is unsigned.
INCREMENT, FIRST, SECOND = map(
    np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
U11, U27, U30, U31 = map(np.uint64, (11, 27, 30, 31))
UNIT = 2.0**-53


@helper
def draw(key, place):
    """The number in [0, 1) of a unit, by its place among all units of the epoch's rows."""
    z = key + place * INCREMENT
    z = (z ^ (z >> U30)) * FIRST
    z = (z ^ (z >> U27)) * SECOND
    z = z ^ (z >> U31)
    return np.int64(z >> U11) * UNIT


@subkernel
def draw_mask(rate, key, first, stride, mask, part):
    """Write a part of what a layer's outputs are multiplied by: 0, or 1 / (1 - rate).

    Parameters
    ----------
    rate : float
        The probability of 0, below 1.
    key : uint64
        Of the epoch.
    first : int
        Number of unit 0 of row 0 among all units of the epoch's rows.
    stride : int
        Units of a row, of all layers.
    mask : array [panels, batch, lanes]
    part : Part
    """
    lanes = mask.shape[2]
    kept = 1 / (1 - rate)
    for p in range(part.panel_from, part.panel_to):
        for m in range(part.row_from, part.row_to):
            place = np.uint64(first + m * stride + p * lanes)
            for j in range(lanes):
                drawn = draw(key, place + np.uint64(j))
                mask[p, m, j] = kept if drawn >= rate else 0.0
