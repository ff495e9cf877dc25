"""Arrays, operands and tolerances for comparing a kernel with its NumPy twin.

An element may differ by (K + 4) roundings of the magnitudes that went into it, K terms: for a product
``(K + 4) * 2**-24 * (|A| @ |B|)`` in float32. The twin gives those magnitudes too, when it gets absolute values. Where
nothing is written, and in padding, they are zero: so is what is let pass. Arrays lie between NaN, which no kernel may
write over, and none may let into a result. In bfloat16 operands are rounded before: their rounding is checked to the
bit, products of them as those of any other numbers.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmlp.kernels import activations, reference
from fastmlp.kernels.activations import gradient_code, value_code
from fastmlp.kernels.arguments import PAIR, Batches, Part, Record, Samples, Whose
from fastmlp.kernels.codes import GROUP, SIGMOID
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.loops.pack import lanes_of, round_up
from fastmlp.kernels.program import SHAPE
from fastmlp.kernels.reference.panels import within
from fastmlp.kernels.tiles import TILE

# Values that are right to 3 units of the last place, but not to one of their argument's magnitude.
CURVED = {
    int(SIGMOID),
    *(value_code(name) for name in activations.ACTIVATIONS if name != "relu"),
}

# Values that keep their digits near 0, where they are small.
RELATIVE = {int(SIGMOID), value_code("sigmoid"), value_code("tanh")}

# Derivatives of an activation's input.
OF_INPUT = {gradient_code(name) for name, row in activations.ACTIVATIONS.items() if row.of_input}

MOST_ROWS = 2 * max(rows for rows, _ in TILE.shapes) + 1
MOST_PANELS = 2 * max(vectors for _, vectors in TILE.shapes) + 1


class Kind(NamedTuple):
    """A type of arithmetic: that of sums, and whether operands are pairs of bfloat16."""

    name: str
    dtype: Any
    pairs: bool = False


FLOAT32, FLOAT64 = Kind("float32", np.float32), Kind("float64", np.float64)
BFLOAT16 = Kind("bfloat16", np.float32, pairs=True)
kinds = pytest.mark.parametrize("kind", [FLOAT32, FLOAT64, BFLOAT16], ids=lambda kind: kind.name)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def update_panels(dtype: Any) -> int:
    """Return more panels than two tiles of a weight gradient have."""
    return 2 * TILE.largest_update(np.dtype(dtype).itemsize)[1] + 1


def entry(function: Any) -> Any:
    """Return a compiled function that Python can call, of one that may be compiled into its callers alone."""
    return kernel(function.py_func)


# -- arrays --------------------------------------------------------------------------------------

# More than a vector, so that a panel too many is seen; odd, so that no array begins a cache line.
GUARD = 67
NAN_BITS = 0x7FC0  # of bfloat16


def guarded(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Copy `values` between two stretches of NaN."""
    dtype = np.dtype(dtype)
    buffer = np.zeros(values.size + 2 * GUARD, dtype)
    buffer[...] = (NAN_BITS, NAN_BITS) if dtype == PAIR else np.nan
    array = buffer[GUARD:-GUARD].reshape(values.shape)
    array[...] = values
    return array


def guards_hold(*arrays: np.ndarray) -> bool:
    """Return whether the NaN around `arrays` are all there."""
    ends = [end for array in arrays for end in (array.base[:GUARD], array.base[-GUARD:])]
    return all(
        (end.view(np.uint16) == NAN_BITS if end.dtype == PAIR else np.isnan(end)).all()
        for end in ends
    )


def draw(
    rng: np.random.Generator, dtype: Any, rows: int, columns: int, room: int = 0
) -> np.ndarray:
    """Draw a matrix [rows, columns] in panels with at least `room` rows; padding is zero."""
    matrix = np.zeros((max(room, rows), columns))
    matrix[:rows] = rng.normal(size=(rows, columns))
    return guarded(reference.to_panels(matrix, lanes_of(dtype)), dtype)


def in_pairs(source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of columns and pairs of rows of panels."""
    count, rows, lanes = source.shape
    of_columns = guarded(np.zeros((-(-count // 2), rows, lanes)), PAIR)
    of_rows = guarded(np.zeros((count, -(-rows // 2), lanes)), PAIR)
    reference.write_operands(source, 0, of_columns, of_rows, Part(0, count, 0, rows))
    return of_columns, of_rows


def draw_factors(
    rng: np.random.Generator, kind: Kind, rows: int, depth: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the operands A and W of a product [rows, depth] @ [depth, columns]."""
    lanes = lanes_of(kind.dtype)
    A = draw(rng, kind.dtype, rows, depth)
    W = draw(rng, kind.dtype, depth, columns, round_up(depth, lanes * (2 if kind.pairs else 1)))
    return (in_pairs(A)[0], in_pairs(W)[1]) if kind.pairs else (A, W)


# -- images --------------------------------------------------------------------------------------

# What no kernel may touch holds this number before and after.
UNTOUCHED = 7.0

# Of loops whose twins work on images [N, C, H, W], see test_image_kernels.py.
IMAGE_MODULES = (
    "batchnorm",
    "convolution",
    "convolution_gradients",
    "images",
    "input_gradient",
    "pooling",
    "spread",
    "weight_gradient",
)


def pack_images(
    images: np.ndarray,
    dtype: Any,
    halo: int = 0,
    absent: float = np.nan,
    around: float = 0.0,
    beyond: float = np.nan,
) -> np.ndarray:
    """Write images [N, C, H, W] with one lane each, for whole groups of GROUP.

    Parameters
    ----------
    images : array [N, C, H, W]
    dtype : dtype
    halo : int
    absent, around, beyond : float
        What is in lanes of the last block that have no image, in the halo, and in blocks and vectors beyond.
    """
    count, channels, height, width = images.shape
    lanes = lanes_of(dtype)
    blocks, pixels = round_up(count, GROUP) // lanes, channels * (height + 2 * halo)
    pixels *= width + 2 * halo
    buffer = np.full((blocks, round_up(pixels, lanes), lanes), beyond)
    there = -(-count // lanes)
    buffer[:there, :pixels] = around
    inner = _pixels(buffer, images.shape, halo)
    inner[:there] = absent
    for n, image in enumerate(images):
        inner[n // lanes, ..., n % lanes] = image
    return guarded(buffer, dtype)


def _pixels(buffer: np.ndarray, shape: tuple[int, ...], halo: int) -> np.ndarray:
    """Return the pixels [blocks, C, H, W, lanes] of a buffer of images, as a view."""
    _, channels, height, width = shape
    padded = channels, height + 2 * halo, width + 2 * halo
    blocks, _, lanes = buffer.shape
    whole = buffer[:, : int(np.prod(padded))].reshape(blocks, *padded, lanes)
    return whole[:, :, halo : halo + height, halo : halo + width]


def unpack_images(buffer: np.ndarray, shape: tuple[int, ...], halo: int = 0) -> np.ndarray:
    """Return the images [N, C, H, W] of a buffer."""
    by_image = np.moveaxis(_pixels(buffer, shape, halo), -1, 1)
    return by_image.reshape(-1, *shape[1:])[: shape[0]]


def room_for_images(shape: tuple[int, ...], dtype: Any, halo: int = 0) -> np.ndarray:
    """Return a buffer for images of which all is UNTOUCHED."""
    same = UNTOUCHED, UNTOUCHED, UNTOUCHED
    return pack_images(np.full(shape, UNTOUCHED), dtype, halo, *same)


def rest_is_untouched(buffer: np.ndarray, shape: tuple[int, ...], halo: int = 0) -> bool:
    """Return whether the halo, what is beyond it, blocks beyond the images and the guards are as they were."""
    seen = buffer.copy()
    _pixels(seen, shape, halo)[: -(-shape[0] // buffer.shape[2])] = UNTOUCHED
    return bool((seen == UNTOUCHED).all()) and guards_hold(buffer)


def absent_lanes(buffer: np.ndarray, shape: tuple[int, ...], halo: int = 0) -> np.ndarray:
    """Return the pixels of those lanes of the last block that have no image."""
    lanes = buffer.shape[2]
    count = shape[0] % lanes
    last = _pixels(buffer, shape, halo)[shape[0] // lanes] if count else np.zeros((1, lanes))
    return last[..., count or lanes :]


def shape_of(**numbers: int) -> np.void:
    """Return a record of what an instruction works on."""
    record = np.zeros(1, SHAPE)[0]
    for name, number in numbers.items():
        record[name] = number
    return record


def sharers(rng: np.random.Generator, count: int, dtype: Any, inside: bool) -> list[Whose]:
    """Return the parts of a team in `count` images: groups of them, or a part of each image."""
    size, blocks, groups = int(rng.integers(1, 4)), -(-count // lanes_of(dtype)), -(-count // GROUP)
    if inside:
        return [Whose(0, groups, blocks, part, size) for part in range(size)]
    ends = [groups * rank // size for rank in range(size + 1)]
    return [Whose(first, last, blocks, 0, 1) for first, last in pairwise(ends)]


# -- what travels together -----------------------------------------------------------------------


def everything(panels: np.ndarray) -> Part:
    """Return all of some panels."""
    count, rows, _ = panels.shape
    return Part(0, count, 0, rows)


def subset(rng: np.random.Generator, count: int, even: bool = False) -> tuple[int, int]:
    """Draw a range within ``range(count)``; with `even`, one that cuts no pair."""
    first, last = np.sort(rng.integers(0, count + 1, 2))
    return (first // 2 * 2, min(count, (last + 1) // 2 * 2)) if even else (first, last)


def draw_part(rng: np.random.Generator, panels: int, rows: int, even: bool = False) -> Part:
    """Draw a part of panels; with `even`, one that cuts no pair of rows."""
    return Part(*subset(rng, panels), *subset(rng, rows, even))


def inside(part: Part, shape: tuple[int, ...]) -> np.ndarray:
    """Return which elements of panels a part holds."""
    held = np.zeros(shape, bool)
    held[within(part)] = True
    return held


def samples_of(dtype: Any, images: Any = None, **given: Any) -> Samples:
    """Return samples of which a kernel uses only what is given."""
    images = np.zeros((1, 1), np.uint8) if images is None else images
    width = images.shape[1]
    nothing = {
        "labels": np.zeros(0, np.int64),
        "targets": np.zeros((0, 0), dtype),
        "scale": np.ones(width, dtype),
        "shift": np.zeros(width, dtype),
        "columns": width,
    }
    return Samples(images, **(nothing | given))


def batches_of(dtype: Any, order: np.ndarray, **given: Any) -> Batches:
    """Return one batch of all of `order`, mirrored and weighted as given."""
    count = len(order)
    nothing = {"flips": np.zeros(count, bool), "factors": np.ones(count, dtype)}
    return Batches(
        order, **(nothing | given), size=count, first=0, last=1, dropout_key=np.uint64(0)
    )


def record_of(dtype: Any, losses: np.ndarray, correct: np.ndarray) -> Record:
    """Return a record that holds losses and what was correct."""
    return Record(losses, correct, np.zeros(0), np.zeros(0), np.zeros((0, 0), dtype))


# -- tolerances ----------------------------------------------------------------------------------


def rounding_of(dtype: Any) -> float:
    """Return half a unit in the last place of 1."""
    return {np.dtype(np.float32): 2.0**-24, np.dtype(np.float64): 2.0**-53}[np.dtype(dtype)]


def close(result: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, terms: int) -> bool:
    """Return whether every element is right to sqrt(terms) + 4 roundings of its magnitude."""
    allowed = (np.sqrt(terms) + 4) * rounding_of(result.dtype) * magnitude
    return bool((abs(result - expected) <= allowed).all())


def positive(*arrays: np.ndarray) -> Iterator[np.ndarray]:
    """Yield magnitudes, for a twin to tell how large a result could have become."""
    for array in arrays:
        if array.dtype == PAIR:
            yield (array.view(np.uint16) & np.uint16(0x7FFF)).view(PAIR)  # both signs off
        else:
            yield abs(array.astype(np.float64))


def magnitude_of(code: int, x: np.ndarray, y: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Return how large f(x, y) could have become, given magnitudes x, the neighbours y, and f."""
    if code in CURVED:
        return x + 2 * abs(result)  # x counts with a slope of at most 1; f itself is right to 3 ulp
    if code in OF_INPUT:
        return 2 * x * (1 + abs(y))  # slopes are below 1.2, and change by less than 2
    if code == gradient_code("tanh") and not TILE.fma:
        return x * (1 + y * y)  # y * y is rounded before 1 cancels with it
    return reference.FUNCTIONS[int(code)](x, y)
