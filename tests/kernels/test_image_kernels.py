"""Every kernel on images against its NumPy twin, over all small shapes.

A kernel works on [blocks, pixels, lanes], its twin on images [N, C, H, W]. Where a kernel may not look there is NaN,
and what it may not change is UNTOUCHED: lanes and blocks without an image, and what is around the images.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_helpers import (
    IMAGE_MODULES,
    UNTOUCHED,
    absent_lanes,
    batches_of,
    close,
    dtypes,
    entry,
    guarded,
    guards_hold,
    pack_images,
    rest_is_untouched,
    room_for_images,
    samples_of,
    shape_of,
    sharers,
    unpack_images,
)
from numba.core.dispatcher import Dispatcher

from fastmlp.kernels import loops, reference
from fastmlp.kernels.activations import gradient_code, value_code
from fastmlp.kernels.arguments import Gradients, Part, Weights, Whose
from fastmlp.kernels.codes import (
    ADAM,
    ADD,
    GROUP,
    HEAVY_BALL,
    IDENTITY,
    INPUT_GRADIENT,
    MULTIPLIED,
    PLAIN,
    RMSPROP,
    SPREAD,
    VELOCITY,
    WEIGHT_GRADIENT,
)
from fastmlp.kernels.loops import batchnorm, convolution, convolution_gradients, images, pooling
from fastmlp.kernels.loops import weight_gradient as weights_module
from fastmlp.kernels.loops.pack import lanes_of, round_up
from fastmlp.kernels.reference import batchnorm as batchnorm_twins
from fastmlp.kernels.reference import convolution as convolution_twins
from fastmlp.kernels.reference import pooling as pooling_twins
from fastmlp.kernels.reference.steps import take_step

# Kernels and what they are compared with.
TWINS: dict[Any, Callable[..., Any]] = {
    convolution.convolve: convolution_twins.convolve,
    convolution_gradients.convolution_gradients: convolution_twins.weight_gradient,
    weights_module.step_of_sums: take_step,
    images.gather_images: reference.gather,
    images.flatten: np.reshape,
    images.unflatten: np.reshape,
    images.map_images: reference.elementwise,
    images.mask_images: reference.draw_mask,
    pooling.pool: pooling_twins.max_pool,
    pooling.unpool: pooling_twins.max_pool_gradient,
    batchnorm.measure: batchnorm_twins.batch_norm,
    batchnorm.take_running: batchnorm_twins.batch_norm_in_evaluation,
    batchnorm.normalize: batchnorm_twins.batch_norm,
    batchnorm.measure_gradients: batchnorm_twins.batch_norm_gradient,
    batchnorm.input_of_normalization: batchnorm_twins.batch_norm_gradient,
}
KERNELS = {function.py_func.__name__: entry(function) for function in TWINS}

CHANNELS = (1, 2, 3, 4, 5, 6, 7, 16, 17)
pytestmark = pytest.mark.timeout(300)  # the first of each type compiles


def test_every_kernel_of_images_has_a_twin() -> None:
    """A kernel is what the program calls; the others are helpers of one."""
    run_images = "".join(
        inspect.getsource(importlib.import_module(f"fastmlp.kernels.{name}"))
        for name in ("run_images", "run_rare")
    )
    for name in IMAGE_MODULES:
        module = importlib.import_module(f"{loops.__name__}.{name}")
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and function.py_func.__module__ == module.__name__:
                called = f" {function.py_func.__name__}(" in run_images
                is_kernel = called and function.py_func.__name__ != "whose_images"
                assert is_kernel == (function in TWINS), function


def tolerance(dtype: Any) -> float:
    """Return how far from a twin a number near 1 may be that many others went into."""
    return 1e-12 if dtype == np.float64 else 1e-4


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether all numbers are right beside the largest."""
    error = np.abs(found - expected).max(initial=0)
    return bool(error <= tolerance(found.dtype) * max(1, np.abs(expected).max(initial=0)))


# -- convolutions --------------------------------------------------------------------------------


class Case(NamedTuple):
    """A convolution of N images, with ReLU and pooled by 2 x 2 or not.

    Attributes
    ----------
    shape, made : tuple
        [N, C, H, W] of what is given and, with rows and columns as far as anybody reads them, before the pool.
    """

    shape: tuple[int, int, int, int]
    made: tuple[int, int, int, int]
    kernel: int
    stride: int
    padding: int
    halo: int
    relu: bool
    pool: int

    @property
    def pooled(self) -> tuple[int, int, int, int]:
        count, outputs, rows, columns = self.made
        return count, outputs, rows // self.pool, columns // self.pool

    def record(self, out_halo: int = 0, **more: int) -> np.void:
        """Return the description of it."""
        _, channels, height, width = self.shape
        _, outputs, out_height, out_width = self.pooled
        return shape_of(
            channels=channels,
            height=height,
            width=width,
            halo=self.halo,
            outputs=outputs,
            out_height=out_height,
            out_width=out_width,
            out_halo=out_halo,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            rows=self.made[2],
            columns=self.made[3],
            relu=int(self.relu),
            pool=self.pool,
            **more,
        )


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Draw convolutions with every kernel, every stride, and everything else somehow."""
    for kernel in 3 * tuple(range(1, 8)):
        for stride in range(1, 4):
            for pool in (1, 2):
                padding = int(rng.integers(0, kernel // 2 + 2))
                smallest = max(1, kernel + stride * (pool - 1) - 2 * padding)
                height, width = map(int, rng.integers(smallest, smallest + 14, 2))
                rows, columns = (
                    (size + 2 * padding - kernel) // stride + 1 for size in (height, width)
                )
                if pool == 2 or rng.random() < 0.3:  # what a pool leaves over is not computed
                    unit = pool if pool == 2 else int(rng.integers(1, min(rows, columns) + 1))
                    rows, columns = rows // unit * unit, columns // unit * unit
                count = int(rng.integers(1, 34))
                channels, outputs = map(int, rng.choice(CHANNELS, 2))
                yield Case(
                    (count, channels, height, width),
                    (count, outputs, rows, columns),
                    *(kernel, stride, padding, padding + int(rng.integers(0, 3))),
                    bool(rng.random() < 0.5),
                    pool,
                )


def pack_weights(W: np.ndarray, dtype: Any) -> np.ndarray:
    """Return kernels [O, C, K, K] as panels [O / lanes, C * K * K, lanes], with NaN beyond."""
    lanes, flat = lanes_of(dtype), W.reshape(len(W), -1).T
    panels = np.full((-(-len(W) // lanes), round_up(len(flat), lanes), lanes), np.nan)
    for o in range(len(W)):
        panels[o // lanes, : len(flat), o % lanes] = flat[:, o]
    return guarded(panels, dtype)


def by_channels(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Return numbers [C] as panels [C / lanes, 1, lanes], with NaN beyond."""
    lanes = lanes_of(dtype)
    panels = np.full(round_up(len(values), lanes), np.nan)
    panels[: len(values)] = values
    return guarded(panels.reshape(-1, 1, lanes), dtype)


def bytes_like(shape: tuple[int, ...], dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a buffer of numbers with room for a byte each of some images, and the bytes [blocks, C, H, W, lanes]."""
    lanes, item = lanes_of(dtype), np.dtype(dtype).itemsize
    blocks, each = round_up(shape[0], GROUP) // lanes, int(np.prod(shape[1:]))
    buffer = np.zeros((blocks, -(-each // item), lanes), dtype)
    seen = buffer.reshape(-1).view(np.uint8)[: blocks * each * lanes]
    return buffer, seen.reshape(blocks, *shape[1:], lanes)


def by_image(seen: np.ndarray, count: int) -> np.ndarray:
    """Return bytes [N, C, H, W]."""
    return np.moveaxis(seen, -1, 1).reshape(-1, *seen.shape[1:-1])[:count]


@dtypes
@pytest.mark.parametrize("inside", [False, True])
def test_convolution(dtype: Any, inside: bool) -> None:
    rng = np.random.default_rng(1)
    for case in cases(rng):
        count, outputs = case.made[:2]
        X = rng.normal(size=case.shape).astype(dtype)
        W = rng.normal(size=(outputs, case.shape[1], case.kernel, case.kernel)).astype(dtype)
        b = rng.normal(size=outputs).astype(dtype)
        out_halo = int(rng.integers(0, 3))
        out = room_for_images(case.pooled, dtype, out_halo)
        which, marks = bytes_like(case.pooled, dtype)
        marks[...] = 99
        record, given = case.record(out_halo), pack_images(X, dtype, case.halo)
        packed, bias = pack_weights(W, dtype), by_channels(b, dtype)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["convolve"](given, packed, bias, out, which, record, whose)
        read = (slice(None), slice(None), slice(0, case.made[2]), slice(0, case.made[3]))
        rest = case.stride, case.padding
        Z = convolution_twins.convolve(X, W, b, *rest)[read]
        size = convolution_twins.convolve(abs(X), abs(W), abs(b), *rest)[read]
        if case.pool == 2:
            size, _ = pooling_twins.max_pool(size, 2)
            one, kept = np.ones(case.pooled), by_image(marks, count)
            chosen = pooling_twins.max_pool_gradient(one, kept, case.made, 2) > 0
            Z, seen = pooling_twins.max_pool(Z, 2)[0], np.where(chosen, Z, -np.inf)
            # Of sums that are almost equal, either may be the largest.
            assert close(pooling_twins.max_pool(seen, 2)[0].astype(dtype), Z, size, W[0].size)
            assert (marks[-(-count // lanes_of(dtype)) :] == 99).all()
        expected = np.maximum(Z, 0) if case.relu else Z
        assert close(unpack_images(out, case.pooled, out_halo), expected, size, W[0].size), case
        assert rest_is_untouched(out, case.pooled, out_halo), case


@dtypes
def test_a_pool_takes_the_first_of_equals_and_nan_before_all(dtype: Any) -> None:
    case = Case((1, 1, 2, 6), (1, 1, 2, 6), 1, 1, 0, 0, False, 2)
    X = np.array([[2, 2, -1, 5, 1, np.nan], [2, 1, np.nan, 7, 1, 8]]).reshape(case.shape)
    out, (which, marks) = room_for_images(case.pooled, dtype), bytes_like(case.pooled, dtype)
    one, none = pack_weights(np.ones((1, 1, 1, 1)), dtype), by_channels(np.zeros(1), dtype)
    whose = Whose(0, 1, 1, 0, 1)
    for pool in (True, False):
        marks[...] = 99
        if pool:
            record = shape_of(channels=1, height=2, width=6, out_height=1, out_width=3, pool=2)
            KERNELS["pool"](pack_images(X, dtype), which, out, 0, record, whose)
        else:
            KERNELS["convolve"](pack_images(X, dtype), one, none, out, which, case.record(), whose)
        np.testing.assert_array_equal(unpack_images(out, case.pooled)[0, 0, 0], [2, np.nan, np.nan])
        np.testing.assert_array_equal(by_image(marks, 1)[0, 0, 0], [0, 2, 1])


class Buffers(NamedTuple):
    """What gradients of a convolution are computed from and, in NumPy, what they are."""

    arrays: Gradients
    record: np.void
    D: np.ndarray
    X: np.ndarray
    W: np.ndarray


def buffers_of(rng: np.random.Generator, case: Case, dtype: Any, mode: str) -> Buffers:
    """Draw what `convolution_gradients` is given."""
    count, channels, height, width = case.shape
    _, outputs, rows, columns = case.made
    lanes, each, groups = lanes_of(dtype), GROUP // lanes_of(dtype), -(-count // GROUP)
    X = rng.normal(size=case.shape).astype(dtype)
    W = rng.normal(size=(outputs, channels, case.kernel, case.kernel)).astype(dtype)
    G = rng.normal(size=case.pooled).astype(dtype)
    which, marks = bytes_like(case.pooled, dtype)
    marks[...] = rng.integers(0, 4, marks.shape)
    D = G.astype(np.float64)
    if case.pool == 2:
        D = pooling_twins.max_pool_gradient(G, by_image(marks, count), case.made, 2)
    strip = weights_module.strip_height(rows, columns, case.pool)
    high = strip if mode == "strips" else rows
    # Zeros around the pixels; NaN inside, and in vectors between pixels.
    spread = np.full(
        (each if mode != "steps" else each * groups, high + 2, columns + 2, outputs | 1, lanes),
        np.nan,
    )
    spread[:, [0, -1], :, :outputs] = 0
    spread[:, :, [0, -1], :outputs] = 0
    taps = [
        ((c * (height + 2 * case.halo) + ky) * (width + 2 * case.halo) + kx) * lanes
        for c, ky, kx in np.ndindex(channels, case.kernel, case.kernel)
    ]
    panels = -(-outputs // lanes)
    room = weights_module.rooms(outputs, len(taps), strip == rows, lanes) * lanes
    arrays = Gradients(
        pack_images(G, dtype, absent=0),
        which,
        guarded(spread.reshape(len(spread), -1, lanes), dtype),
        pack_images(X, dtype, case.halo, absent=3.0),
        pack_weights(W, dtype),
        np.array([-9, -9, *taps], np.int64),
        room_for_images(case.shape, dtype),
        guarded(np.full((groups * panels, len(taps) + 1, lanes), UNTOUCHED), dtype),
        guarded(np.full(room, np.nan), dtype),
    )
    return Buffers(arrays, case.record(taps=2, strip=strip), D, X, W)


MODES = {
    "at once": [SPREAD + INPUT_GRADIENT + WEIGHT_GRADIENT],
    "strips": [SPREAD + WEIGHT_GRADIENT],
    "steps": [SPREAD, INPUT_GRADIENT, WEIGHT_GRADIENT],
}


@dtypes
@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_a_convolution(dtype: Any, mode: str) -> None:
    rng = np.random.default_rng(2)
    strips = 0
    for case in cases(rng):
        count, _, rows, _ = case.made
        arrays, record, D, X, W = buffers_of(rng, case, dtype, mode)
        strips += int(record["strip"] < rows)
        for what in MODES[mode]:
            for whose in sharers(rng, count, dtype, mode == "steps"):
                KERNELS["convolution_gradients"](arrays, record, what, whose)
        rest = case.stride, case.padding
        if mode != "strips":
            dX = convolution_twins.input_gradient(D, W, case.shape, *rest)
            size = convolution_twins.input_gradient(abs(D), abs(W), case.shape, *rest)
            terms = W.size // case.shape[1]
            assert close(unpack_images(arrays.dX, case.shape), dX, size, terms), case
            assert (absent_lanes(arrays.dX, case.shape) == 0).all(), case
            assert rest_is_untouched(arrays.dX, case.shape), case
        else:
            assert (arrays.dX == UNTOUCHED).all()
        check_sums(case, arrays, D, X)
        assert guards_hold(arrays.D, arrays.sums, arrays.room), case
    assert strips > 5


def check_sums(case: Case, arrays: Gradients, D: np.ndarray, X: np.ndarray) -> None:
    """Assert that the sums of each group of images are right, and their padding is left alone."""
    outputs = case.made[1]
    groups = -(-case.made[0] // GROUP)
    height, lanes = arrays.sums.shape[1:]
    sums = arrays.sums.reshape(groups, -1, height, lanes).swapaxes(2, 3).reshape(groups, -1, height)
    assert (sums[:, outputs:] == UNTOUCHED).all()
    for group in range(groups):
        own = slice(GROUP * group, GROUP * (group + 1))
        numbers = case.kernel, case.stride, case.padding
        dW, db = convolution_twins.weight_gradient(X[own], D[own], *numbers)
        size, bias_size = convolution_twins.weight_gradient(abs(X[own]), abs(D[own]), *numbers)
        found = sums[group, :outputs]
        terms = D[own].size // outputs
        assert close(found[:, :-1].reshape(dW.shape), dW, size, terms), case
        assert close(found[:, -1], db, bias_size, terms), case


@dtypes
@pytest.mark.parametrize("rule", [PLAIN, HEAVY_BALL, VELOCITY, ADAM, RMSPROP])
def test_step_of_sums(dtype: Any, rule: Any) -> None:
    rng = np.random.default_rng(3)
    lanes = lanes_of(dtype)
    hyper = np.array([0.01, 0.85, 0.7, 0.2, 0.3, 0.99, 0.05, 1.2, 0.001, 0.9], dtype)
    for panels, height, parts in ((1, 1, 1), (2, 7, 3), (3, 18, 5)):
        sums = guarded(rng.normal(size=(parts * panels, height + 3, lanes)), dtype)
        W, V, S = (guarded(rng.random((panels, height + 2, lanes)) + 0.5, dtype) for _ in range(3))
        before = [one.astype(np.float64) for one in (W, V, S)]
        row, rows = 2, height
        part = Part(0, panels, height // 3, height + 1)  # rows beyond those that are there stay
        KERNELS["step_of_sums"](sums, Weights(W, V, S, W), row, rows, parts, rule, hyper, part)
        here = (slice(0, panels), slice(part.row_from, rows))
        total = sums.reshape(parts, panels, -1, lanes).sum(axis=0, dtype=np.float64)
        taken = total[:, row + part.row_from : row + rows]
        after = take_step(rule, hyper.astype(np.float64), taken, *(one[here] for one in before))
        for found, old, new in zip((W, V, S), before, after, strict=True):
            expected = old.copy()
            expected[here] = new
            assert near(found, expected)
            assert guards_hold(found)


# -- from rows and back --------------------------------------------------------------------------


def shapes(rng: np.random.Generator, many: int) -> Iterator[tuple[int, int, int, int]]:
    """Draw [N, C, H, W]."""
    for _ in range(many):
        height, width = map(int, rng.integers(1, 12, 2))
        yield int(rng.integers(1, 34)), int(rng.choice(CHANNELS)), height, width


@dtypes
@pytest.mark.parametrize("inside", [False, True])
def test_gather_images(dtype: Any, inside: bool) -> None:
    rng = np.random.default_rng(4)
    lanes = lanes_of(dtype)
    for shape in shapes(rng, 40):
        count, channels, height, width = shape
        features, start, halo = channels * height * width, 5, int(rng.integers(0, 3))
        source = rng.integers(0, 256, (9, features)).astype(np.uint8)
        scale, shift = (rng.normal(size=features).astype(dtype) for _ in range(2))
        samples = samples_of(dtype, source, scale=scale, shift=shift, columns=width)
        order, flips = rng.integers(0, 9, start + count), rng.random(start + count) < 0.5
        batches = batches_of(dtype, order, flips=flips)
        out = room_for_images(shape, dtype, halo)
        panels = -(-features // lanes)
        record = shape_of(channels=channels, height=height, width=width, out_halo=halo)
        for whose in sharers(rng, count, dtype, inside):
            rows = guarded(np.full((panels, GROUP, lanes), np.nan), dtype)
            mirrored = np.zeros((GROUP, features), np.uint8)
            KERNELS["gather_images"](
                samples, batches, start, count, rows, mirrored, out, record, whose
            )
            assert guards_hold(rows)
        expected = np.zeros((panels, count, lanes))
        part = Part(0, panels, 0, count)
        reference.gather(samples, batches, start, expected, None, None, None, part)
        twin = reference.to_matrix(expected)[:, :features].reshape(shape)
        assert near(unpack_images(out, shape, halo), twin), shape
        assert (absent_lanes(out, shape, halo) == 0).all(), shape
        assert rest_is_untouched(out, shape, halo) or halo == 0, shape


@dtypes
@pytest.mark.parametrize("inside", [False, True])
def test_rows_to_images_and_back(dtype: Any, inside: bool) -> None:
    rng = np.random.default_rng(5)
    lanes = lanes_of(dtype)
    for shape in shapes(rng, 40):
        count, channels, height, width = shape
        columns, halo = channels * height * width, int(rng.integers(0, 3))
        matrix = rng.normal(size=(count, columns)).astype(dtype)
        rows = guarded(reference.to_panels(matrix, lanes), dtype)
        for p, j in np.ndindex(len(rows), lanes):
            if p * lanes + j >= columns:
                rows[p, :, j] = np.nan
        out = room_for_images(shape, dtype, halo)
        record = shape_of(channels=channels, height=height, width=width, out_halo=halo)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["unflatten"](rows, columns, out, record, whose)
        np.testing.assert_array_equal(unpack_images(out, shape, halo), matrix.reshape(shape))
        assert (absent_lanes(out, shape, halo) == 0).all(), shape
        assert rest_is_untouched(out, shape, halo), shape
        back = guarded(np.full(rows.shape, UNTOUCHED), dtype)
        given = pack_images(matrix.reshape(shape), dtype)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["flatten"](given, columns, back, whose)
        np.testing.assert_array_equal(back, reference.to_panels(matrix, lanes).astype(dtype))
        assert guards_hold(back)


# -- one by one ----------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("inside", [False, True])
def test_functions_of_images(dtype: Any, inside: bool) -> None:
    rng = np.random.default_rng(6)
    chosen = (IDENTITY, ADD, MULTIPLIED, value_code("relu"), gradient_code("relu"))
    for number, shape in enumerate(shapes(rng, 40)):
        code = int(chosen[number % len(chosen)])
        x, y = (rng.normal(size=shape).astype(dtype) for _ in range(2))
        halos = list(map(int, rng.integers(0, 3, 3)))
        out = room_for_images(shape, dtype, halos[2])
        channels, height, width = shape[1:]
        record = shape_of(
            channels=channels,
            height=height,
            width=width,
            halo=halos[0],
            other_halo=halos[1],
            out_halo=halos[2],
        )
        left, other = (
            pack_images(one, dtype, halo) for one, halo in zip((x, y), halos, strict=False)
        )
        for whose in sharers(rng, shape[0], dtype, inside):
            KERNELS["map_images"](code, left, other, out, record, whose)
        expected = reference.FUNCTIONS[code](x.astype(np.float64), y.astype(np.float64))
        assert near(unpack_images(out, shape, halos[2]), expected), (code, shape)
        assert rest_is_untouched(out, shape, halos[2]), (code, shape)


@dtypes
@pytest.mark.parametrize("inside", [False, True])
def test_masks_of_images(dtype: Any, inside: bool) -> None:
    rng = np.random.default_rng(7)
    lanes = lanes_of(dtype)
    for shape in shapes(rng, 8):
        count, channels, height, width = shape
        features = channels * height * width
        numbers = 0.3, np.uint64(2**63 + 5), 77, features + 11
        mask = room_for_images(shape, dtype)
        record = shape_of(channels=channels, height=height, width=width)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["mask_images"](*numbers, mask, record, whose)
        expected = np.zeros((-(-features // lanes), count, lanes), dtype)
        rate, key, *places = numbers
        reference.draw_mask(rate, int(key), *places, expected, Part(0, len(expected), 0, count))
        twin = reference.to_matrix(expected)[:, :features].reshape(shape)
        np.testing.assert_array_equal(unpack_images(mask, shape), twin)
        assert rest_is_untouched(mask, shape)


@dtypes
@pytest.mark.parametrize("averages", [0, 1])
@pytest.mark.parametrize("inside", [False, True])
def test_pools_and_their_gradients(dtype: Any, averages: int, inside: bool) -> None:
    rng = np.random.default_rng(8)
    for number, (count, channels, height, width) in enumerate(shapes(rng, 60)):
        size = 1 + number % 4
        shape = count, channels, height + size - 1, width + size - 1
        X = rng.normal(size=shape).astype(dtype)
        pooled = count, channels, shape[2] // size, shape[3] // size
        halo, out_halo = map(int, rng.integers(0, 3, 2))
        out, (which, marks) = room_for_images(pooled, dtype, out_halo), bytes_like(pooled, dtype)
        numbers = {"channels": channels, "height": shape[2], "width": shape[3], "pool": size}
        numbers |= {"outputs": channels, "out_height": pooled[2], "out_width": pooled[3]}
        record = shape_of(**numbers, halo=halo, out_halo=out_halo)
        given = pack_images(X, dtype, halo)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["pool"](given, which, out, averages, record, whose)
        found = unpack_images(out, pooled, out_halo)
        D = rng.normal(size=pooled).astype(dtype)
        if averages:
            assert near(found, pooling_twins.avg_pool(X, size)), shape
            dX = pooling_twins.avg_pool_gradient(D, shape, size)
        else:
            largest, kept = pooling_twins.max_pool(X, size)
            np.testing.assert_array_equal(found, largest)
            np.testing.assert_array_equal(by_image(marks, count), kept)
            dX = pooling_twins.max_pool_gradient(D, kept, shape, size)
        assert rest_is_untouched(out, pooled, out_halo), shape
        gradient, G = room_for_images(shape, dtype), pack_images(D, dtype, absent=0)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["unpool"](G, which, gradient, averages, shape_of(**numbers), whose)
        assert near(unpack_images(gradient, shape), dX), shape
        assert (absent_lanes(gradient, shape) == 0).all(), shape
        assert rest_is_untouched(gradient, shape), shape


# -- batch normalisation -------------------------------------------------------------------------


def of_channels(panels: np.ndarray, count: int, row: int = 0) -> np.ndarray:
    """Return the numbers [C] of a row of panels."""
    return panels[:, row].reshape(-1)[:count]


@dtypes
@pytest.mark.parametrize("inside", [False, True])
def test_batch_normalization(dtype: Any, inside: bool) -> None:
    rng = np.random.default_rng(9)
    lanes = lanes_of(dtype)
    for shape in shapes(rng, 40):
        count, channels, height, width = shape
        if count * height * width < 4:
            continue
        X = (rng.normal(size=shape) * 2 + rng.normal(size=(channels, 1, 1))).astype(dtype)
        D = rng.normal(size=shape).astype(dtype)
        weight, bias, mean, var = (rng.random(channels).astype(dtype) + 0.5 for _ in range(4))
        panels, halo = -(-channels // lanes), int(rng.integers(0, 3))
        kept = guarded(np.full((4 * panels, 1, lanes), np.nan), dtype)
        room = guarded(np.full((1, 4, lanes), np.nan), dtype)
        means, variances = by_channels(mean, dtype), by_channels(var, dtype)
        scale, shift = by_channels(weight, dtype), by_channels(bias, dtype)
        record = shape_of(channels=channels, height=height, width=width, out_halo=halo)
        given, G = pack_images(X, dtype), pack_images(D, dtype)
        first = int(rng.integers(0, channels + 1))
        parts = [Part(0, first, 0, 1), Part(first, channels, 0, 1)]
        expected = batchnorm_twins.batch_norm(X, weight, bias, mean, var)
        for part in parts:
            KERNELS["measure"](given, kept, means, variances, room, count, record, part)
        assert near(of_channels(means, channels), expected.running_mean)
        assert near(of_channels(variances, channels), expected.running_var)
        out = room_for_images(shape, dtype, halo)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["normalize"](given, kept, scale, shift, out, record, whose)
        assert near(unpack_images(out, shape, halo), expected.value), shape
        assert rest_is_untouched(out, shape, halo), shape

        sums = guarded(np.full((panels, 2, lanes), UNTOUCHED), dtype)
        for part in parts:
            KERNELS["measure_gradients"](given, G, kept, sums, room, count, record, part)
        dX, dweight, dbias = batchnorm_twins.batch_norm_gradient(
            D, X, weight, expected.mean, expected.var
        )
        assert near(of_channels(sums, channels), dweight)
        assert near(of_channels(sums, channels, 1), dbias)
        gradient = room_for_images(shape, dtype)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["input_of_normalization"](given, G, kept, scale, gradient, count, record, whose)
        assert near(unpack_images(gradient, shape), dX), shape
        assert (absent_lanes(gradient, shape) == 0).all(), shape
        assert rest_is_untouched(gradient, shape), shape
        assert guards_hold(kept, room, sums)

        KERNELS["take_running"](kept, means, variances, channels)
        out = room_for_images(shape, dtype, halo)
        for whose in sharers(rng, count, dtype, inside):
            KERNELS["normalize"](given, kept, scale, shift, out, record, whose)
        moved = (of_channels(one, channels) for one in (means, variances))
        twin = batchnorm_twins.batch_norm_in_evaluation(X, weight, bias, *moved)
        assert near(unpack_images(out, shape, halo), twin), shape
