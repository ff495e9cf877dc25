"""Each kernel on each layer of the studies' networks: GFLOP/s, and the share of the FMA ceiling."""

from collections.abc import Iterator
from functools import cache

import pytest
from _pytest.mark import ParameterSet
from pytest_benchmark.fixture import BenchmarkFixture

from fastmlp.bench.kernels import LayerKernel, Work, layer_kernels, works_of
from fastmlp.bench.problem import NETWORKS, Problem
from fastmlp.bench.work import spell_size

ROUNDS = 9

# Work of a round. It sets the number of calls, and no clock does, so that the seconds of two runs
# can be compared.
FLOPS = 100_000_000
BYTES = 20_000_000


@cache
def problem(network: str, batch: int) -> Problem:
    """Return what a network trains."""
    return NETWORKS[network].problem(batch, samples=5_000)


def cases() -> Iterator[ParameterSet]:
    """Yield network, batch size and work of everything to measure."""
    for network, one in NETWORKS.items():
        for batch in one.batches:
            for work in works_of(problem(network, batch)):
                layer = f"{spell_size(work.inputs)}-{spell_size(work.outputs)}"
                yield pytest.param(
                    network, batch, work, id=f"{network}-{batch}-{work.name}-{layer}"
                )


@cache
def kernels(network: str, batch: int) -> dict[Work, LayerKernel]:
    """Return the kernels of a network, all in the buffers of one engine."""
    return {one.work: one for one in layer_kernels(problem(network, batch))}


@pytest.mark.parametrize(("network", "batch", "work"), list(cases()))
def test_kernel(
    network: str,
    batch: int,
    work: Work,
    benchmark: BenchmarkFixture,
    ceiling: float,
    rates: list[str],
) -> None:
    """Time one kernel on one core."""
    kernel = kernels(network, batch)[work]
    calls = -(-FLOPS // work.flops) if work.flops else -(-BYTES // work.bytes)
    benchmark.group = f"{network}, batch {batch}"
    benchmark.extra_info["calls in a round"] = calls
    benchmark.pedantic(kernel.call, args=(calls,), rounds=ROUNDS, warmup_rounds=1)
    if benchmark.stats is None:  # --benchmark-disable
        return
    seconds = benchmark.stats.stats.median / calls
    label = f"{network} {batch:4}  {work.name:14} {spell_size(work.inputs):>7}-{spell_size(work.outputs):<7}"
    if work.flops:
        rate = work.flops / seconds
        benchmark.extra_info |= {"GFLOP/s": rate / 1e9, "share of the ceiling": rate / ceiling}
        rates.append(f"{label} {rate / 1e9:6.1f} GFLOP/s  {rate / ceiling:6.1%}")
    else:
        rate = work.bytes / seconds
        benchmark.extra_info["GB/s"] = rate / 1e9
        rates.append(f"{label} {rate / 1e9:6.1f} GB/s")
