"""What a benchmark measured, field by field: the contents of results.json.

Whatever was timed keeps one number for each round, in their order. Ratios are taken within a round,
because the same disturbances hit both sides there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from fastmlp.bench.work import Size

# The names of our own entries in a contest.
FASTMLP, FASTMLP_BF16 = "fastmlp", "fastmlp bf16"
OURS = (FASTMLP, FASTMLP_BF16)


class Entry(TypedDict):
    """One implementation's training in a contest."""

    name: str
    prepare_seconds: float  # copying the start, compiling, waking threads
    loss: float  # after the contest's `check_steps`
    steps: int  # of each timed run
    seconds: list[float]  # a step took
    busy: list[float]  # CPU seconds spent in a second


class Contest(TypedDict):
    """Implementations that trained the same problem in turn."""

    network: str
    sizes: list[Size]  # as in `problem.Problem`
    batch: int
    threads: int
    check_steps: int
    start_loss: float
    ceiling: list[float]  # floating-point operations a second, of as many cores as threads
    ceiling_busy: list[float]  # as `busy` above: less than the cores if others used some
    entries: list[Entry]


class KernelRow(TypedDict):
    """One kernel on one layer, on one core; its data stay in place between calls."""

    network: str
    kernel: str
    inputs: int | Sequence[int]  # a width, or the shape of an image
    outputs: int | Sequence[int]
    batch: int
    flops: int  # of one call; 0 for kernels that only move data
    bytes: int  # that one call must read and write at the least
    seconds: list[float]  # of one call
    ceiling: list[float]  # floating-point operations a second, of one core


class Bandwidth(TypedDict):
    """Bytes read and written a second."""

    place: str  # where the working set fits: "L2", "L3" or "memory"
    threads: int
    working_set: int  # bytes
    rates: list[float]


class Comparison(TypedDict):
    """Two ways to spend the machine on one network, in samples a second."""

    base: str
    other: str
    network: str
    batch: int
    base_rates: list[float]
    other_rates: list[float]


class Footprint(TypedDict):
    """Time to start, and memory, in processes that train network A (see `problem.NETWORKS`).

    Seconds run from the start of a process to the end of its first step. Bytes are the most it had
    resident by the end of an epoch on `images` images; None where that cannot be known.
    """

    images: int
    cold_seconds: float  # everything is compiled
    warm_seconds: float  # machine code comes from the cache
    peak_bytes: int | None  # machine code comes from the cache
    compiling_peak_bytes: int | None  # everything is compiled


class Measurements(TypedDict):
    """All that one run of the benchmark found."""

    date: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    missing: dict[str, str]  # implementations that did not take part, and why
    footprint: Footprint | None  # None if it was not measured
    bandwidth: list[Bandwidth]
    comparisons: list[Comparison]
    contests: list[Contest]
    one_core: list[Contest]  # our own entries, on one thread
    kernels: list[KernelRow]
