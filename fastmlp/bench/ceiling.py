"""What the machine can do at most: multiply-adds a second and bytes a second.

Both use the vectors of the kernels' tile, on any number of cores at once. The first keeps all data in
registers, the second does next to no arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fastmlp.kernels.codes import ADD
from fastmlp.kernels.emit.products import CHAINS, fma_chain
from fastmlp.kernels.emit.vectors import map_vectors
from fastmlp.kernels.jit import ZERO, kernel
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.training.memory import aligned

# Work of one thread. It takes tens of milliseconds, so that starting the thread does not count.
FLOPS = 10_000_000_000
BYTES = 2_000_000_000

FLOAT32 = np.dtype(np.float32)


@kernel
def _multiply_add(times: Any, values: Any) -> None:
    fma_chain(times, values)


@kernel
def _add_in_place(times: Any, a: Any, b: Any, vectors: Any) -> None:
    for _ in range(times):
        map_vectors(ADD, a, b, a, ZERO, vectors)


def spend_flops(threads: int, dtype: np.dtype[Any] = FLOAT32) -> None:
    """Do `FLOPS` floating-point operations in each of `threads` threads, as fast as it goes."""
    lanes = lanes_of(dtype)
    times = FLOPS // (2 * lanes * CHAINS)
    values = [aligned(CHAINS * lanes, dtype) for _ in range(threads)]
    for one in values:
        one.fill(1e-6)
    _together(threads, lambda rank: _multiply_add(times, values[rank]))


def flops_per_second(threads: int, seconds: float) -> float:
    """Return the rate of a `spend_flops` that took so many seconds."""
    return threads * FLOPS / seconds


def bytes_per_second(threads: int, working_set: int) -> float:
    """Measure ``a += b`` over arrays that take `working_set` bytes, divided between `threads`.

    Two vectors are read and one written; a fused update with momentum reads two and writes two.
    """
    lanes = lanes_of(FLOAT32)
    vectors = working_set // (2 * threads * lanes * FLOAT32.itemsize)
    pairs = [[aligned(vectors * lanes, FLOAT32) for _ in "ab"] for _ in range(threads)]
    for pair in pairs:
        for one in pair:
            one.fill(1)  # touches every page
    traffic = 3 * vectors * lanes * FLOAT32.itemsize
    times = max(1, BYTES // traffic)

    def add(rank: int) -> None:
        _add_in_place(times, *pairs[rank], vectors)

    _add_in_place(1, *pairs[0], vectors)  # compiles
    start = time.perf_counter()
    _together(threads, add)
    return threads * times * traffic / (time.perf_counter() - start)


def _together(threads: int, run: Callable[[int], None]) -> None:
    """Call ``run(rank)`` for every rank at once and wait for all."""
    if threads == 1:
        run(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))
