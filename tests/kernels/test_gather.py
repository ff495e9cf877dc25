"""Batches as gathered against their NumPy twin."""

from typing import Any

import numpy as np
import pytest
from kernel_helpers import (
    Kind,
    batches_of,
    close,
    entry,
    guarded,
    guards_hold,
    kinds,
    positive,
    samples_of,
    subset,
)

from fastmlp.kernels import reference
from fastmlp.kernels.arguments import MIX, PAIR, Part
from fastmlp.kernels.loops import gather as module
from fastmlp.kernels.loops.pack import lanes_of, unpack

gather = entry(module.gather)


@kinds
@pytest.mark.parametrize("raw", [np.uint8, np.float32, np.float64])
def test_gather_in_every_width(kind: Kind, raw: Any) -> None:
    dtype, lanes = kind.dtype, lanes_of(kind.dtype)
    rng = np.random.default_rng(13)
    for width in (*range(1, 3 * lanes + 2), 17 * lanes, 17 * lanes + 5, 24 * lanes):
        count, batch, start = 9, int(rng.integers(1, 8)), int(rng.integers(0, 4))
        source = rng.integers(0, 256, (count, width)).astype(raw)
        if raw != np.uint8:
            source = guarded(source + rng.random(source.shape), raw)
        scale, shift = (guarded(rng.normal(size=width), dtype) for _ in range(2))
        columns = int(rng.choice([n for n in range(1, width + 1) if width % n == 0]))
        order, flips = rng.integers(0, count, start + batch), rng.random(start + batch) < 0.5
        samples = samples_of(dtype, source, scale=scale, shift=shift, columns=columns)
        batches = batches_of(dtype, order, flips=flips)
        panels = -(-width // lanes)
        part = Part(0, panels, *subset(rng, batch, even=kind.pairs))
        rest = (np.zeros((batch, width), raw), part)
        X = guarded(np.full((panels, batch, lanes), 7), dtype)
        expected, magnitude = X.astype(np.float64), np.zeros(X.shape)
        reference.gather(samples, batches, start, expected, None, None, *rest)
        scale_size, shift_size = positive(scale, shift)
        sizes = samples._replace(scale=scale_size, shift=shift_size)
        reference.gather(sizes, batches, start, magnitude, None, None, *rest)
        if not kind.pairs:
            gather(samples, batches, start, X, None, None, *rest)
            assert close(X, expected, magnitude, 1), width
            assert guards_hold(X), width
            continue
        # What is no whole pair of panels passes through X, one panel of room.
        X = guarded(np.full((1, batch, lanes), 7), dtype)
        C = guarded(np.full((-(-panels // 2), batch, lanes), 7), PAIR)
        R = guarded(np.full((panels, -(-batch // 2), lanes), 7), PAIR)
        gather(samples, batches, start, X, C, R, *rest)
        rows = slice(part.row_from, part.row_to)
        found, right, size = (
            matrix[rows, :width]
            for matrix in (
                reference.columns_of(C),
                *map(reference.to_matrix, (expected, magnitude)),
            )
        )
        assert (abs(found - right) <= 2.0**-8 * abs(right) + 2.0**-21 * size).all(), width
        again = reference.to_matrix(reference.rows_of(R))[:batch]
        np.testing.assert_array_equal(again[rows, :width], found)
        assert not again[rows, width:].any()
        assert not reference.columns_of(C)[rows, width:].any()
        assert guards_hold(X, C, R), width


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 5, 7), (1, 2, 15), (3, 16, 16), (1, 3, 17), (1, 28, 28), (3, 32, 32)]
)
def test_a_flip_is_numpys(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(14)
    images = rng.integers(0, 256, (4, *shape)).astype(np.uint8)
    flat = images.reshape(4, -1)
    width, lanes = flat.shape[1], lanes_of(np.float32)
    flips = np.array([True, False, True, True])
    X = np.full((-(-width // lanes), 4, lanes), 7, np.float32)
    samples = samples_of(np.float32, flat, columns=shape[2])
    batches = batches_of(np.float32, np.arange(4), flips=flips)
    gather(samples, batches, 0, X, None, None, np.zeros_like(flat), Part(0, len(X), 0, 4))
    expected = np.where(flips[:, None, None, None], images[:, :, :, ::-1], images)
    np.testing.assert_array_equal(unpack(X, 4, width), expected.reshape(4, -1))


@pytest.mark.parametrize("shape", [(1, 4, 1), (3, 5, 7), (1, 3, 17), (1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("raw", [np.uint8, np.float32])
@pytest.mark.parametrize("mixed", [False, True])
def test_gather_of_moved_and_cut_images(shape: tuple[int, int, int], raw: Any, mixed: bool) -> None:
    """Beside the twin, NumPy's own padding and cropping is what they come from."""
    rng = np.random.default_rng(5)
    _, height, width = shape
    columns = np.prod(shape)
    source = rng.integers(0, 256, (6, *shape)).astype(raw)
    order, batch, start = rng.integers(0, 6, 40), 36, 3
    moves = np.zeros((40, 7), np.int32)
    moves[:, 0] = rng.random(40) < 0.5
    moves[:, 1] = rng.integers(1 - height, height, 40)
    moves[:, 2] = rng.integers(1 - width, width, 40)
    moves[:, 3:5] = np.sort(rng.integers(0, height + 1, (40, 2)), axis=1)
    moves[:, 5:7] = np.sort(rng.integers(0, width + 1, (40, 2)), axis=1)
    flips = rng.random(40) < 0.8
    fill = rng.integers(0, 256, shape).astype(raw)
    lanes = lanes_of(np.dtype(np.float32))
    samples = samples_of(np.float32, source.reshape(6, -1), columns=width, fill=fill)
    mixes = np.zeros(40, MIX)
    mixes["partner"], mixes["share"] = rng.permutation(40), rng.choice([1, 0.5, 0.8125], 40)
    given = {"flips": flips, "moves": moves, "mixes": mixes if mixed else np.zeros(0, MIX)}
    batches = batches_of(np.float32, order, **given)
    X = np.zeros((-(-columns // lanes), batch, lanes), np.float32)
    twin, room = X.copy(), np.zeros((batch, columns), raw)
    rest = (None, None, room, Part(0, len(X), 0, batch))
    gather(samples, batches, start, X, *rest)
    reference.gather(samples, batches, start, twin, *rest)
    np.testing.assert_array_equal(X, twin)
    found = reference.to_matrix(X)[:, :columns].reshape(batch, *shape)

    def altered(i: int) -> np.ndarray:
        is_mirrored, down, right, top, bottom, left, end = moves[i]
        image = source[order[i]]
        image = image[:, :, ::-1] if is_mirrored else image
        padded = np.pad(image, ((0, 0), (height, height), (width, width)), mode="edge")
        image = padded[:, height - down :, width - right :][:, :height, :width].copy()
        image[:, top:bottom, left:end] = fill[:, top:bottom, left:end]
        return image

    for m in range(batch):
        i = start + m
        image = altered(i) if flips[i] else source[order[i]]
        if mixed and flips[i]:
            share = mixes["share"][i]
            image = share * image + (1 - share) * altered(mixes["partner"][i])
            image = np.floor(image + 0.5) if raw == np.uint8 else image
        np.testing.assert_array_equal(found[m], image)
