"""Training by fastmlp and by each peer that is installed, one after another.

``fastmlp bench`` lets them take turns instead, which a noisy machine cannot favour anyone in; this is
for following one of them from one change of the code to the next (``--benchmark-compare``).
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastmlp.bench.measure import CHECK_SAMPLES, repeats
from fastmlp.bench.peers import Peer
from fastmlp.bench.problem import NETWORKS, Problem, flops_per_sample
from fastmlp.bench.suite import CONTENDERS
from fastmlp.threads import usable_cores

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)

SECONDS = 0.3  # of a round
ROUNDS = 5
CASES = [(network, batch) for network, (_, batches) in NETWORKS.items() for batch in batches]


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda one: one.name)
@pytest.mark.parametrize(("network", "batch"), CASES)
def test_training(
    network: str, batch: int, contender: Peer, benchmark: BenchmarkFixture, rates: list[str]
) -> None:
    """Time training on as many threads as there are cores."""
    if not contender.available():
        pytest.skip(f"{contender.name} is not installed here")
    sizes, _ = NETWORKS[network]
    problem = Problem(sizes, batch, samples=5_000)
    training = contender.prepare(problem, usable_cores())
    warm = -(-CHECK_SAMPLES // batch)
    training.run(warm)
    steps = repeats(training.run, warm, SECONDS)
    benchmark.group = f"{network}, batch {batch}"
    benchmark.pedantic(training.run, args=(steps,), rounds=ROUNDS)
    rate = steps * batch / benchmark.stats.stats.median
    gigaflops = rate * flops_per_sample(sizes) / 1e9
    benchmark.extra_info |= {"samples/s": rate, "GFLOP/s": gigaflops}
    rates.append(
        f"{network} {batch:4}  {contender.name:26} {rate:12,.0f} samples/s  {gigaflops:6.1f} GFLOP/s"
    )
