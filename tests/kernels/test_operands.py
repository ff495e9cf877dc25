"""Pairs of bfloat16 and transposes against their NumPy twins, to the bit."""

import numpy as np
from kernel_helpers import Kind, draw_part, entry, guarded, guards_hold, kinds

from fastmlp.kernels import reference
from fastmlp.kernels.arguments import PAIR, Part
from fastmlp.kernels.loops import operands as module
from fastmlp.kernels.loops import pack
from fastmlp.kernels.loops.pack import lanes_of

transpose = entry(pack.transpose)
write_operands = entry(module.write_operands)
write_right_operand = entry(module.write_right_operand)


def hard_to_round(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw float32 of all exponents, with ties, denormals, zeros and infinities, but no NaN."""
    bits = rng.integers(0, 2**32, shape, dtype=np.uint32)
    bits[rng.random(shape) < 0.2] &= np.uint32(0xFFFF8000)  # ties and what is bfloat16 already
    bits[rng.random(shape) < 0.2] &= np.uint32(0x807FFFFF)  # denormals and zeros
    bits[rng.random(shape) < 0.05] = 0x7F800000
    numbers = bits.view(np.float32)
    return np.where(np.isnan(numbers), np.float32(-0.0), numbers)


def test_pairs_of_bfloat16() -> None:
    lanes = lanes_of(np.float32)
    rng = np.random.default_rng(10)
    for count in range(1, 6):
        for rows in range(1, 12):
            first = rng.integers(0, 3)  # the panels may come out of a smaller array
            source = guarded(hard_to_round(rng, (first + count, rows, lanes)), np.float32)
            shapes = ((-(-count // 2), rows, lanes), (count, -(-rows // 2), lanes))
            for part in (Part(0, count, 0, rows), draw_part(rng, count, rows, even=True)):
                found = [guarded(np.full(shape, 7), PAIR) for shape in shapes]
                expected = [array.copy() for array in found]
                write_operands(source, first, *found, part)
                reference.write_operands(source, first, *expected, part)
                for array, right in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(array, right)
                assert guards_hold(*found)


def test_weights_as_pairs_of_rows() -> None:
    lanes = lanes_of(np.float32)
    rng = np.random.default_rng(11)
    for count in range(1, 5):
        for slabs in range(1, 5):
            W = guarded(hard_to_round(rng, (count, slabs * lanes, lanes)), np.float32)
            found = guarded(np.full((count, slabs * lanes // 2, lanes), 7), PAIR)
            expected = found.copy()
            part = draw_part(rng, count, slabs)
            write_right_operand(W, found, part)
            reference.write_right_operand(W, expected, part)
            np.testing.assert_array_equal(found, expected)
            assert guards_hold(found)


def test_nan_stays_nan_in_bfloat16() -> None:
    lanes = lanes_of(np.float32)
    # Among them those that a rounding of their bits would turn into infinity, or into zero.
    bits = [0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7FC00000]
    source = np.resize(np.array(bits, np.uint32), (2, 2, lanes)).view(np.float32)
    of_columns, of_rows = np.zeros((1, 2, lanes), PAIR), np.zeros((2, 1, lanes), PAIR)
    write_operands(source, 0, of_columns, of_rows, Part(0, 2, 0, 2))
    assert np.isnan(reference.columns_of(of_columns)).all()
    assert np.isnan(reference.rows_of(of_rows)).all()
    assert np.isnan(reference.from_bfloat16(reference.to_bfloat16(source))).all()


@kinds
def test_transpose(kind: Kind) -> None:
    lanes = lanes_of(kind.dtype)
    rng = np.random.default_rng(12)
    depth = lanes // 2 if kind.pairs else lanes
    for count in range(1, 5):
        for slabs in range(1, 5):
            W = guarded(rng.normal(size=(count, slabs * lanes, lanes)), kind.dtype)
            whole = Part(0, count, 0, slabs)
            for part in (whole, draw_part(rng, count, slabs)):
                shape = (slabs, count * depth, lanes)
                T = guarded(np.full(shape, 7), PAIR if kind.pairs else kind.dtype)
                expected = T.copy()
                transpose(W, T, part)
                reference.transpose(W, expected, part)
                np.testing.assert_array_equal(T, expected)
                assert guards_hold(T)
            if not kind.pairs:
                transpose(W, T, whole)
                np.testing.assert_array_equal(reference.to_matrix(T), reference.to_matrix(W).T)
