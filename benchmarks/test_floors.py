"""The last full runs, in reports/, keep what the package promises.

The floors are for two cores with AVX-512: those of linear networks for a Zen 5, where one run was made, those of
networks of images for the Xeon of the other. These tests measure nothing.
"""

import csv
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest

from fastmlp.bench import folder, summary
from fastmlp.bench.kernels import FORWARD, UPDATE
from fastmlp.bench.measurements import FASTMLP, FASTMLP_BF16, Contest, Measurements
from fastmlp.bench.peers import CHANNELS_LAST, JAX_SCAN, JAX_STEPS, NCHW
from fastmlp.bench.summary import median

REPORTS = Path(__file__).resolve().parents[1] / "reports"
OF_LINEAR, OF_IMAGES = (REPORTS / name / folder.RESULTS for name in ("benchmark-zen5", "benchmark"))

EAGER, FUSED = "PyTorch eager", "PyTorch fused SGD"
JAX, SKLEARN = JAX_SCAN, "scikit-learn MLPClassifier"

BF16 = "PyTorch bf16 autocast"

# Network, batch size, peer, and the least factor by which fastmlp is faster.
RATIOS = [
    ("A", 10, EAGER, 12),
    ("A", 10, JAX, 2),
    ("A", 100, EAGER, 4.5),
    ("A", 100, FUSED, 3.5),
    ("A", 100, JAX, 1.7),
    ("A", 256, EAGER, 3.2),
    ("A", 256, JAX, 1.6),
    ("B", 10, EAGER, 6),
    ("B", 10, SKLEARN, 3),
    ("B", 10, JAX, 2),
    ("B", 100, EAGER, 3.5),
    ("B", 100, SKLEARN, 2.2),
    ("B", 100, JAX, 3),
    ("B", 200, EAGER, 3.5),
    ("B", 200, SKLEARN, 2.2),
    ("B", 200, JAX, 3),
    ("C", 128, EAGER, 3),
    ("C", 128, JAX, 1.3),
]

# Networks of images: against the better of two layouts, or ways to train.
IMAGE_RATIOS = [
    (network, batch, peer, floor)
    for network in ("E", "F")
    for batch, least in ((16, 6), (64, 3.5), (256, 2.5))
    for peer, floor in (
        *((peer, least) for peer in (NCHW, CHANNELS_LAST)),
        *((peer, 8) for peer in (JAX_STEPS, JAX_SCAN)),
    )
]

# The same for bfloat16, where the CPU multiplies it.
BF16_RATIOS = [
    ("A", 100, FASTMLP, 1.5),
    ("A", 256, FASTMLP, 1.7),
    *(("A", batch, BF16, 2.5) for batch in (100, 256)),
    *(("A", batch, EAGER, 6) for batch in (100, 256)),
]


def stored(path: Path) -> Measurements:
    """Return a stored run."""
    if not path.exists():
        pytest.skip(f"no full run is stored: fastmlp bench --out {path.parent}")
    return folder.read(path)


@pytest.fixture(scope="module")
def results() -> Measurements:
    """Return the stored run of linear networks."""
    return stored(OF_LINEAR)


@pytest.fixture(scope="module")
def image_results() -> Measurements:
    """Return the stored run of networks of images."""
    return stored(OF_IMAGES)


def contest(contests: list[Contest], network: str, batch: int) -> Contest:
    """Return what must have been measured."""
    found = summary.find(contests, network, batch)
    assert found is not None, f"network {network} at batch {batch} was not measured"
    return found


@pytest.mark.parametrize(("network", "batch", "peer", "floor"), RATIOS)
def test_times_as_fast(
    results: Measurements, network: str, batch: int, peer: str, floor: float
) -> None:
    """One model on two threads, against a peer on two threads."""
    assert median(summary.ratios(contest(results["contests"], network, batch), peer)) >= floor


@pytest.mark.parametrize(("network", "batch", "peer", "floor"), IMAGE_RATIOS)
def test_times_as_fast_with_images(
    image_results: Measurements, network: str, batch: int, peer: str, floor: float
) -> None:
    """The same for networks of images."""
    found = contest(image_results["contests"], network, batch)
    assert median(summary.ratios(found, peer)) >= floor


@pytest.mark.parametrize(("network", "batch", "peer", "floor"), BF16_RATIOS)
def test_times_as_fast_in_bfloat16(
    results: Measurements, network: str, batch: int, peer: str, floor: float
) -> None:
    """The same in bfloat16; against fastmlp's own float32 too."""
    if FASTMLP_BF16 in results["missing"]:
        pytest.skip("the stored run's CPU has no AVX512_BF16")
    found = contest(results["contests"], network, batch)
    assert median(summary.ratios(found, peer, FASTMLP_BF16)) >= floor


@pytest.mark.parametrize("batch", [100, 256])
def test_share_of_the_ceiling(results: Measurements, batch: int) -> None:
    """The whole step of A on one core, and the kernels of its first layer."""
    assert median(summary.shares(contest(results["one_core"], "A", batch))) >= 0.75
    first = {
        row["kernel"]: median(summary.kernel_shares(row))
        for row in results["kernels"]
        if (row["network"], row["batch"], row["inputs"]) == ("A", batch, 3072) and row["flops"]
    }
    assert first[FORWARD] >= 0.90
    assert first[UPDATE] >= 0.85


@pytest.mark.parametrize("network", ["E", "F"])
@pytest.mark.parametrize(("batch", "floor"), [(16, 0.45), (256, 0.65)])
def test_share_of_the_ceiling_with_images(
    image_results: Measurements, network: str, batch: int, floor: float
) -> None:
    """The whole step of networks of images on one core."""
    assert median(summary.shares(contest(image_results["one_core"], network, batch))) >= floor


def test_two_threads_share_images(image_results: Measurements) -> None:
    """E at batch 256 on two threads against one."""
    together, alone = (
        median(summary.rates(contest(image_results[which], "E", 256), FASTMLP))
        for which in ("contests", "one_core")
    )
    assert together >= 1.8 * alone


def test_many_models_and_many_threads(results: Measurements) -> None:
    """Two models on two cores against one on one; twice as many threads as cores."""
    models, threads = (median(summary.gains(one)) for one in results["comparisons"])
    assert models >= 1.7
    assert threads >= 1 / 1.25


def test_starting_and_memory(results: Measurements) -> None:
    """Seconds to the first step, and the memory of an epoch on all of CIFAR-10."""
    found = results["footprint"]
    assert found is not None
    assert found["cold_seconds"] < 12
    assert found["warm_seconds"] < 1.5
    assert found["peak_bytes"] is not None
    assert found["peak_bytes"] < 500e6


def test_fits_beside_scikit_learn() -> None:
    """Times as fast, reports/estimator: as promised for the deep network, and no slower for others."""
    path = REPORTS / "estimator" / folder.RESULTS
    if not path.exists():
        pytest.skip(
            f"no run is stored: python benchmarks/estimator_beside_sklearn.py {path.parent}"
        )
    rows = json.loads(path.read_text())
    assert len(rows) == 120
    for row in rows:
        ours, theirs = row["seconds"]["fastmlp"], row["seconds"]["scikit-learn"]
        assert median([b / a for a, b in zip(ours, theirs, strict=True)]) >= row["floor"], row


def test_accuracy_in_bfloat16() -> None:
    """The mean test accuracy over seeds, reports/bfloat16: within 0.3 points of float32's."""
    path = REPORTS / "bfloat16" / "results.csv"
    if not path.exists():
        pytest.skip(f"no run is stored: python benchmarks/bfloat16_accuracy.py {path.parent}")
    found = defaultdict(list)
    with path.open() as file:
        for row in csv.DictReader(file):
            found[row["network"], row["dtype"]].append(float(row["test_accuracy"]))
    for network in {network for network, _ in found}:
        single, half = (mean(found[network, dtype]) for dtype in ("float32", "bfloat16"))
        assert abs(half - single) <= 0.003, network
