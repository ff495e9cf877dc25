"""Rows of a data set -> one batch, normalised, in panels.

Images stay uint8 until here: a row is gathered, flipped, moved, cut or mixed with another if asked, scaled and shifted,
and written as float32 or float64 in one pass.
"""

import numpy as np

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.emit.pairs import convert_pairs
from fastmlp.kernels.emit.vectors import REVERSED, convert_vectors, multiply_add, reverse
from fastmlp.kernels.jit import helper, inlined
from fastmlp.kernels.loops.operands import write_operands

# Panels of a row that are gathered before the next row is begun. The stores of a whole row lie a batch apart, in the
# same few sets of the cache: EXPERIMENTS.md, "Gathering".
BLOCK = 8


@helper
def alter_row(samples, batches, moves, i, out, m):
    """Write sample `i` of the epoch to row `m` of `out` [batch, D], mirrored or, if there are `moves`, as they say.

    It is mirrored first, then moved, and what comes into sight repeats its edge; then a square is cut out; then it is
    mixed with another that was altered alike.
    """
    source, row = samples.images, batches.order[i]
    if moves is None:
        flip_row(source, row, samples.columns, out, m)
    else:
        fill = samples.fill
        channels, height, width = fill.shape
        down, right = moves[i, 1], moves[i, 2]
        first, last = max(0, right), min(width, width + right)  # where pixels are, not their edge
        for c in range(channels):
            for y in range(height):
                to = (c * height + y) * width
                start = (c * height + min(max(y - down, 0), height - 1)) * width
                if moves[i, 0] > 0:
                    end = start + width - 1
                    for x in range(first, last):
                        out[m, to + x] = source[row, end + right - x]
                else:
                    for x in range(first, last):
                        out[m, to + x] = source[row, start - right + x]
                for x in range(first):
                    out[m, to + x] = out[m, to + first]
                for x in range(last, width):
                    out[m, to + x] = out[m, to + last - 1]
                if moves[i, 3] <= y < moves[i, 4]:
                    for x in range(moves[i, 5], moves[i, 6]):
                        out[m, to + x] = fill[c, y, x]
        mixes = batches.mixes
        if mixes.shape[0] > 0 and mixes[i].share < 1:
            mix_row(samples, batches.order, moves, mixes[i].partner, mixes[i].share, out, m)


@helper
def mix_row(samples, order, moves, j, share, out, m):
    """Keep a share of row `m` of `out`; the rest becomes sample `j` of the epoch, altered as its moves say.

    Levels of uint8 are rounded to the nearest, halves upwards.
    """
    source, row, fill = samples.images, order[j], samples.fill
    channels, height, width = fill.shape
    half = half_of(out, m)
    for c in range(channels):
        for y in range(height):
            to = (c * height + y) * width
            start = (c * height + min(max(y - moves[j, 1], 0), height - 1)) * width
            for x in range(width):
                place = min(max(x - moves[j, 2], 0), width - 1)
                if moves[j, 0] > 0:
                    place = width - 1 - place
                other = np.float64(source[row, start + place])
                if moves[j, 3] <= y < moves[j, 4] and moves[j, 5] <= x < moves[j, 6]:
                    other = np.float64(fill[c, y, x])
                own = np.float64(out[m, to + x])
                out[m, to + x] = share * own + (1 - share) * other + half


@inlined
def half_of(out, m):
    """What rounds a float64 that is written to `out`: 0.5 of whole numbers, else 0."""
    kept = out[m, 0]
    out[m, 0] = 0.5  # 0 as a whole number
    half = 0.5 - out[m, 0]
    out[m, 0] = kept
    return half


@inlined
def flip_row(source, row, columns, out, m):
    """Copy row `row` of `source` [N, D] to row `m` of `out`, reversing each stretch of `columns` values.

    With images stored channel, height, width and `columns` their width, this mirrors left and right.
    """
    width = source.shape[1]
    for first in range(0, width, columns):
        # Not one by one, where it can be helped: EXPERIMENTS.md, "Gathering".
        if columns >= REVERSED:
            reverse(source, row * width + first, columns, out, m * width + first)
        else:
            last = first + columns - 1
            for j in range(columns):
                out[m, first + j] = source[row, last - j]


@helper
def gather(samples, batches, start, X, C, R, mirrored, part):
    """``X[:, m] = images[order[start + m]] * scale + shift`` for a range of batch rows m.

    Parameters
    ----------
    samples : Samples
        ``samples.columns`` divides D.
    batches : Batches
    start : int
        Number of row 0 among the epoch's.
    X : array [D / lanes, batch, lanes]
        The batch; padding beyond D becomes zero. With fewer panels it is room for numbers on their way into C and R.
    C, R : arrays or None
        The batch as left operands of pairs, see ``operands.py``; None where products read X.
    mirrored : array [batch, D] like images
        Room for altered rows.
    part : Part
        Rows of the batch, and panels; of pairs, all panels.
    """
    for m in range(part.row_from, part.row_to):
        if batches.flips[start + m]:
            alter_row(samples, batches, batches.moves, start + m, mirrored, m)
    done = 0
    if C is not None:
        done = gather_pairs(samples, batches, start, C, R, mirrored, part)
    width, lanes = samples.images.shape[1], X.shape[2]
    whole = width // lanes
    is_whole = X.shape[0] * lanes >= width
    last = min(whole, part.panel_to)
    for s in range(max(done, part.panel_from), last, BLOCK):
        count = min(BLOCK, last - s)
        skipped = 0 if is_whole else s
        step = X.shape[1] * lanes
        for m in range(part.row_from, part.row_to):
            out = ((s - skipped) * X.shape[1] + m) * lanes
            if batches.flips[start + m]:
                places = (m * width + s * lanes, s * lanes, out)
                convert_vectors(mirrored, samples.scale, samples.shift, X, places, count, step)
            else:
                places = (batches.order[start + m] * width + s * lanes, s * lanes, out)
                convert_vectors(
                    samples.images, samples.scale, samples.shift, X, places, count, step
                )
        if C is not None:
            block = Part(s, s + count, part.row_from, part.row_to)
            write_operands(X, s - skipped, C, R, block)
    if whole * lanes < width and whole < part.panel_to:
        last = whole if is_whole else 0
        gather_rest(samples, batches, start, X, last, whole, mirrored, part)
        if C is not None:
            block = Part(whole, whole + 1, part.row_from, part.row_to)
            write_operands(X, last, C, R, block)


@helper
def gather_pairs(samples, batches, start, C, R, mirrored, part):
    """Write whole pairs of panels straight into both operands, and return how many panels these are.

    Two rows of two panels at a time, from registers: by way of X, as the rest of the row goes, is slower
    (EXPERIMENTS.md, "bfloat16").
    """
    width, lanes, batch = samples.images.shape[1], C.shape[2], C.shape[1]
    done = width // lanes // 2 * 2
    for s in range(0, done, BLOCK):
        count = min(BLOCK, done - s) // 2
        for m in range(part.row_from, part.row_to, 2):
            other = min(m + 1, part.row_to - 1)
            low_mirrored, high_mirrored = batches.flips[start + m], batches.flips[start + other]
            low = (m if low_mirrored else batches.order[start + m]) * width
            high = (other if high_mirrored else batches.order[start + other]) * width
            first = s * lanes
            convert_pairs(
                (samples.images, mirrored),
                (low + first, high + first, first, count),
                (low_mirrored, high_mirrored, other == m),
                samples.scale,
                samples.shift,
                C,
                R,
                (
                    (s // 2 * batch + m) * lanes,
                    batch * lanes,
                    (s * R.shape[1] + m // 2) * lanes,
                    R.shape[1] * lanes,
                ),
            )
    return done


@helper
def gather_rest(samples, batches, start, X, panel, whole, mirrored, part):
    """Write the columns beyond whole vectors into one panel of X, and zero beyond them."""
    width, lanes = samples.images.shape[1], X.shape[2]
    first = whole * lanes
    for m in range(part.row_from, part.row_to):
        for j in range(first, width):
            image = samples.images[batches.order[start + m], j]
            value = mirrored[m, j] if batches.flips[start + m] else image
            X[panel, m, j - first] = multiply_add(value, samples.scale[j], samples.shift[j])
        for j in range(width - first, lanes):
            X[panel, m, j] = 0
