"""An epoch by fastmlp and by each installed peer, one after another.

This follows one of them through changes of the code (``--benchmark-compare``). To compare them with
each other use ``fastmlp bench``, which lets them take turns.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastmlp.bench.contender import CONTENDERS
from fastmlp.bench.peer import Peer
from fastmlp.bench.peers import peers_of
from fastmlp.bench.problem import NETWORKS
from fastmlp.bench.work import flops_per_sample
from fastmlp.machine.cores import usable_cores

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)

SAMPLES = 5_000
ROUNDS = 5
CASES = [
    pytest.param(name, batch, one, id=f"{name}-{batch}-{one.name}")
    for name, network in NETWORKS.items()
    for batch in network.batches
    for one in (*CONTENDERS, *peers_of(network.problem(batch, SAMPLES)))
]


@pytest.mark.parametrize(("network", "batch", "contender"), CASES)
def test_epoch(
    network: str, batch: int, contender: Peer, benchmark: BenchmarkFixture, rates: list[str]
) -> None:
    """Time one of them on all cores."""
    if not contender.available():
        pytest.skip(f"{contender.name} is not installed here")
    problem = NETWORKS[network].problem(batch, SAMPLES)
    training = contender.prepare(problem, usable_cores())
    steps = problem.steps_per_epoch
    benchmark.group = f"{network}, batch {batch}"
    benchmark.pedantic(training.run, args=(steps,), rounds=ROUNDS, warmup_rounds=1)
    if benchmark.stats is None:  # --benchmark-disable
        return
    rate = steps * batch / benchmark.stats.stats.median
    flops = rate * flops_per_sample(problem.sizes)
    benchmark.extra_info |= {"samples/s": rate, "GFLOP/s": flops / 1e9}
    label = f"{network} {batch:4}  {contender.name:26}"
    rates.append(f"{label} {rate:12,.0f} samples/s  {flops / 1e9:6.1f} GFLOP/s")
