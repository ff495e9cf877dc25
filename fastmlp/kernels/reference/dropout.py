"""Twin of ``loops/dropout.py``."""

import numpy as np

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.reference.panels import Array, within


def draw_mask(rate: float, key: int, first: int, stride: int, mask: Array, part: Part) -> None:
    """SplitMix64 in Python's integers."""
    lanes = mask.shape[2]
    for p, m, j in np.ndindex(mask[within(part)].shape):
        place = first + (part.row_from + m) * stride + (part.panel_from + p) * lanes + j
        z = (key + place * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        uniform = ((z ^ (z >> 31)) >> 11) / 2**53
        kept = 1 / (1 - rate) if uniform >= rate else 0
        mask[part.panel_from + p, part.row_from + m, j] = kept
