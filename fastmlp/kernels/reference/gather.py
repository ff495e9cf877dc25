"""Twins of ``loops/gather.py``."""

import numpy as np

from fastmlp.kernels.arguments import Batches, Part, Samples
from fastmlp.kernels.reference.operands import write_operands
from fastmlp.kernels.reference.panels import Array, to_panels


def flip_row(source: Array, row: int, columns: int, out: Array, m: int) -> None:
    """Mirror each stretch of `columns` values."""
    out[m] = source[row].reshape(-1, columns)[:, ::-1].reshape(-1)


def alter_row(
    samples: Samples, batches: Batches, moves: Array | None, i: int, out: Array, m: int
) -> None:
    """Mirror, move and cut a sample, and mix it with another."""
    flip_row(samples.images, batches.order[i], samples.columns, out, m)
    if moves is None or samples.fill is None:
        return
    _move_row(samples, batches, moves, i, out, m)
    mixes = batches.mixes
    if mixes is None or not len(mixes):
        return
    partner, share = mixes[i]["partner"], mixes[i]["share"]
    other = np.empty_like(out[m : m + 1])
    flip_row(samples.images, batches.order[partner], samples.columns, other, 0)
    _move_row(samples, batches, moves, partner, other, 0)
    mixed = share * out[m].astype(np.float64) + (1 - share) * other[0].astype(np.float64)
    out[m] = np.floor(mixed + 0.5) if samples.images.dtype == np.uint8 else mixed


def _move_row(samples: Samples, batches: Batches, moves: Array, i: int, out: Array, m: int) -> None:
    is_mirrored, down, right, top, bottom, left, end = moves[i]
    assert samples.fill is not None
    _, height, width = samples.fill.shape
    source = out[m] if is_mirrored else samples.images[batches.order[i]]
    image = source.reshape(samples.fill.shape)
    image = image[:, np.clip(np.arange(height) - down, 0, height - 1)]
    image = image[:, :, np.clip(np.arange(width) - right, 0, width - 1)]
    image[:, top:bottom, left:end] = samples.fill[:, top:bottom, left:end]
    out[m] = image.reshape(-1)


def gather(
    samples: Samples,
    batches: Batches,
    start: int,
    X: Array,
    C: Array | None,
    R: Array | None,
    mirrored: Array | None,
    part: Part,
) -> None:
    """``X = images * scale + shift``; needs no room for mirrored rows.

    X stays as it is where it has not a panel for every column: it is then room for the kernel.
    """
    rows = slice(part.row_from, part.row_to)
    seen = slice(start + part.row_from, start + part.row_to)
    images = samples.images[batches.order[seen]]
    turned = np.empty_like(images)
    for m in range(len(images)):
        alter_row(samples, batches, batches.moves, start + part.row_from + m, turned, m)
    images = np.where(batches.flips[seen, None], turned, images).astype(np.float64)
    count, lanes = -(-images.shape[1] // X.shape[2]), X.shape[2]
    batch = np.zeros((count, X.shape[1], lanes), X.dtype)
    batch[:, rows] = to_panels(images * samples.scale + samples.shift, lanes)
    if len(X) == count:
        X[:, rows] = batch[:, rows]
    if C is not None and R is not None:
        write_operands(batch, 0, C, R, Part(0, count, part.row_from, part.row_to))
