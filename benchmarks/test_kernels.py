"""Each kernel on each layer of the studies' networks: GFLOP/s, and the share of the FMA ceiling."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastmlp.bench.kernels import (
    BACKWARD,
    FORWARD,
    GATHER,
    TRANSPOSE,
    UPDATE,
    LayerKernel,
    layer_kernels,
)
from fastmlp.bench.problem import NETWORKS, Problem

ROUNDS = 9

# Work of a round. It sets the number of calls, and no clock does, so that the seconds of two runs
# can be compared.
FLOPS = 100_000_000
BYTES = 20_000_000


def cases() -> Iterator[tuple[str, int, str, int, int]]:
    """Yield network, batch, kernel, inputs and outputs of everything to measure."""
    for network, (sizes, batches) in NETWORKS.items():
        for batch in batches:
            yield network, batch, GATHER, sizes[0], 0
            for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
                for name in (FORWARD, UPDATE, BACKWARD, TRANSPOSE)[: 4 if layer else 2]:
                    yield network, batch, name, inputs, outputs


@cache
def kernels(network: str, batch: int) -> dict[tuple[str, int, int], LayerKernel]:
    """Return the kernels of a network, all in the buffers of one engine."""
    problem = Problem(NETWORKS[network][0], batch, samples=5_000)
    return {(one.name, one.inputs, one.outputs): one for one in layer_kernels(problem)}


@pytest.mark.parametrize(("network", "batch", "name", "inputs", "outputs"), list(cases()))
def test_kernel(
    network: str,
    batch: int,
    name: str,
    inputs: int,
    outputs: int,
    benchmark: BenchmarkFixture,
    ceiling: float,
    rates: list[str],
) -> None:
    """Time one kernel on one core."""
    kernel = kernels(network, batch)[name, inputs, outputs]
    calls = -(-FLOPS // kernel.flops) if kernel.flops else -(-BYTES // kernel.bytes)
    benchmark.group = f"{network}, batch {batch}"
    benchmark.extra_info["calls in a round"] = calls
    benchmark.pedantic(kernel.call, args=(calls,), rounds=ROUNDS, warmup_rounds=1)
    if benchmark.stats is None:  # --benchmark-disable
        return
    seconds = benchmark.stats.stats.median / calls
    label = f"{network} {batch:4}  {name:14} {inputs:5}-{outputs:<5}"
    if kernel.flops:
        rate = kernel.flops / seconds
        benchmark.extra_info |= {"GFLOP/s": rate / 1e9, "share of the ceiling": rate / ceiling}
        rates.append(f"{label} {rate / 1e9:6.1f} GFLOP/s  {rate / ceiling:6.1%}")
    else:
        rate = kernel.bytes / seconds
        benchmark.extra_info["GB/s"] = rate / 1e9
        rates.append(f"{label} {rate / 1e9:6.1f} GB/s")
