"""Threads that share a model: equal bits for any number of them, and a barrier that never hangs."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from users import as_user, root

from fastmlp.kernels import builder
from fastmlp.kernels.codes import MULTIPLY, PANELS, ROWS
from fastmlp.kernels.emit.barrier import WORDS
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.team import meet
from fastmlp.training import team as team_module
from fastmlp.training.engine import Engine
from fastmlp.training.layers import network_layers
from fastmlp.training.optimizers import adam, sgd
from fastmlp.training.shapes import parameter_shapes

TEAMS = (1, 2, 3, 4, 8)  # most of them larger than the machine


@pytest.fixture
def one_core() -> Iterator[None]:
    """Let this process run on a single core."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("the system has no affinity mask")
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mask)})
    yield
    os.sched_setaffinity(0, mask)


@kernel
def write_and_read(counts, rank, size, barrier, rounds, wrong):  # type: ignore[no-untyped-def]
    """Count to `rounds`; note how often another thread was seen to be behind or ahead."""
    for i in range(1, rounds + 1):
        counts[8 * rank] = i
        meet(barrier, size)
        for other in range(size):
            if counts[8 * other] != i:
                wrong[rank] += 1
        meet(barrier, size)


def count_together(size: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Run `write_and_read` in `size` threads; fail instead of waiting for ever."""
    counts, wrong = np.zeros(8 * size, np.int64), np.zeros(size, np.int64)
    barrier = np.zeros(WORDS, np.int64)
    write_and_read(counts[:8], 0, 1, np.zeros(16, np.int64), 0, wrong)  # compile
    team = [
        threading.Thread(
            target=write_and_read, args=(counts, rank, size, barrier, rounds, wrong), daemon=True
        )
        for rank in range(size)
    ]
    for thread in team:
        thread.start()
    deadline = time.monotonic() + 30
    for thread in team:
        thread.join(max(0, deadline - time.monotonic()))
    assert not any(thread.is_alive() for thread in team), "threads hang at their barrier"
    return counts[::8], wrong


@pytest.mark.parametrize("size", [*TEAMS, 16])
def test_a_barrier_lets_nobody_ahead(size: int) -> None:
    rounds = 4000 // size
    counts, wrong = count_together(size, rounds)
    assert (counts == rounds).all()
    assert not wrong.any()


@pytest.mark.usefixtures("one_core")
def test_a_barrier_gives_the_only_core_away() -> None:
    counts, wrong = count_together(8, 100)
    assert (counts == 100).all()
    assert not wrong.any()


NETWORKS: dict[str, dict[str, Any]] = {
    "narrower than the team": {"sizes": (5, 12, 3), "batch": 4},
    "one layer": {"sizes": (20, 10), "batch": 7},
    "uneven": {"sizes": (130, 70, 33, 10), "batch": 19},
    "residual tanh": {"sizes": (40, 50, 50, 50, 3), "batch": 9, "activation": "tanh"},
    "shared by columns": {"sizes": (784, 520, 270, 3), "batch": 33},
    "columns, residual": {"sizes": (40, 400, 400, 400, 5), "batch": 6},
    "columns, dropout": {"sizes": (40, 400, 400, 270, 5), "batch": 6, "dropout": 0.3},
    "float64": {"sizes": (33, 300, 300, 4), "batch": 10, "dtype": "float64"},
    "bfloat16": {"sizes": (50, 40, 40, 4), "batch": 11, "dtype": "bfloat16"},
    "bfloat16, columns": {"sizes": (784, 520, 270, 3), "batch": 13, "dtype": "bfloat16"},
}
LENET = ((1, 28, 28), "conv 6 5", "maxpool 2", "conv 16 5", "maxpool 2", 120, 84, 10)
SAME = "conv 5 3 padding same"
# A team of eight takes whole groups of sixteen images of the large batches, and parts of images of the others.
IMAGES: dict[str, dict[str, Any]] = {
    "LeNet-5": {"sizes": LENET, "batch": 128},
    "LeNet-5, few images": {"sizes": LENET, "batch": 7},
    "LeNet-5, float64": {"sizes": LENET, "batch": 33, "dtype": "float64"},
    "pictures": {
        "sizes": ((3, 32, 32), "conv 18 3 padding same", "maxpool 2", "conv 17 3", "avgpool 3", 10),
        "batch": 33,
    },
    "all layers": {
        "sizes": ((2, 11, 9), SAME, "batchnorm", SAME, "maxpool 3", 20, "batchnorm", 4),
        "batch": 130,
        "dropout": 0.3,
        "residual": True,
    },
    "all layers, few images": {
        "sizes": ((2, 11, 9), SAME, "batchnorm", SAME, "maxpool 3", 20, "batchnorm", 4),
        "batch": 21,
        "dropout": 0.3,
        "residual": True,
        "dtype": "float64",
    },
    "stride, padding, bfloat16": {
        "sizes": ((3, 13, 12), "conv 18 5 stride 2 padding 2", "avgpool 2", 40, 40, 4),
        "batch": 40,
        "activation": "tanh",
        "residual": True,
        "dtype": "bfloat16",
    },
}

# Where bfloat16 is emulated the engine says so.
pytestmark = pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")


def trained(network: dict[str, Any], threads: int, optimizer: str = "sgd") -> list[bytes]:
    """Return the bytes of all that two epochs leave behind, the second with a partial batch."""
    options = {"dtype": "float32"} | network
    sizes, batch = options.pop("sizes"), options.pop("batch")
    kinds = {
        name: options.pop(name) for name in ("activation", "dropout", "residual") if name in options
    }
    rng = np.random.default_rng(0)
    count = 3 * batch + 2
    shape = sizes[0] if isinstance(sizes[0], tuple) else sizes[:1]
    features = int(np.prod(shape))
    images = rng.integers(0, 256, (count, features)).astype(np.uint8)
    labels = rng.integers(0, sizes[-1], count)
    kinds["residual"] = kinds.get("residual", any(a == b for a, b in pairwise(sizes[1:-1])))
    layers = network_layers(sizes[1:-1], sizes[-1], **kinds)
    shapes = parameter_shapes(layers, shape)
    weights = [rng.normal(size=of) / np.sqrt(np.prod(of[1:])) for of, _ in shapes]
    # Running variances are positive.
    biases = [abs(rng.normal(size=of)) for _, of in shapes]
    engine = Engine(
        weights,
        biases,
        layers=layers,
        shape=shape,
        batch_size=batch,
        threads=threads,
        **options,
    )
    try:
        scale, shift = np.full(features, 1 / 64), np.full(features, -2.0)
        columns = shape[-1]
        samples = engine.samples(images, scale, shift, labels=labels, columns=columns)
        left = []
        for _ in range(2):
            rule = {
                "sgd": lambda: sgd(4, 0.05, momentum=0.9, weight_decay=0.01),
                "adam": lambda: adam(4, 0.01, before=engine.steps_taken, weight_decay=0.01),
            }[optimizer]()
            order, flips = rng.permutation(count), rng.random(count) < 0.5
            record = engine.epoch(samples, order, rule, flips=flips, penalties=True)
            left += [record.losses, record.correct, record.penalties]
        left += [a for parameters in engine.weights() for a in parameters]
        left += [a for state in engine.states().values() for part in state for a in part]
        left.append(engine.logits(samples))
    finally:
        engine.close()
    assert all(np.isfinite(array).all() for array in left)
    return [array.tobytes() for array in left]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equal_bits_for_any_number_of_threads(name: str, optimizer: str) -> None:
    alone = trained(NETWORKS[name], 1, optimizer)
    for threads in TEAMS:
        assert trained(NETWORKS[name], threads, optimizer) == alone, threads


@pytest.mark.parametrize("name", [*NETWORKS, *IMAGES])
def test_equal_bits_where_one_thread_goes_on_for_the_team(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team_module, "BUSY", float("inf"))  # as if the first epoch had got no cores
    monkeypatch.setattr(team_module, "WINDOW", 0.0)
    monkeypatch.setattr(team_module, "SHORT", 0.0)
    sizes: list[int] = []
    record = team_module.Pace.record

    def watched(self: team_module.Pace, steps: int, seconds: float, share: float) -> None:
        sizes.append(self._size if self.together else 1)
        record(self, steps, seconds, share)

    monkeypatch.setattr(team_module.Pace, "record", watched)
    network = (NETWORKS | IMAGES)[name]
    found = trained(network, 3)
    assert sizes[:3] == [3, 3, 1]
    assert found == trained(network, 1)


def test_a_team_that_gets_no_cores_gives_way_to_one_thread_and_asks_again() -> None:
    def awake(size: int) -> team_module.Pace:
        """Return the pace of a team whose first part was slow for reasons of its own."""
        pace = team_module.Pace(size)
        pace.record(8, 60.0, 0.01)
        return pace

    pace = awake(2)

    def parts(count: int, team_share: float, team_seconds: float) -> str:
        """Ten steps after ten, which take one thread a second."""
        seen = ""
        for _ in range(count):
            seen += "T" if pace.together else "1"
            share, seconds = (team_share, team_seconds) if pace.together else (1.0, 1.0)
            pace.record(10, seconds, share)
        return seen

    assert parts(5, 0.95, 0.6) == "TTTTT"  # idle
    # Busy: the team is slower, and is asked again later and later.
    assert parts(10, 0.5, 1.3) == "T1T11T1111"
    assert parts(8, 0.95, 0.6) == "TTTTTTTT"  # idle again
    pace = awake(2)
    assert parts(7, 0.55, 0.9) == "T1TTTT1"  # busy, but the team is faster
    pace = awake(64)
    assert parts(40, 0.1, 0.2) == 40 * "T"  # a tenth of 64 cores is more than one
    pace = awake(2)
    assert parts(3, 0.5, 0.02) == "TT1"  # the first is too short to tell
    pace = awake(2)
    assert parts(2, 0.2, 0.06) == "T1"  # at once, if there is next to nothing
    # That was a moment: what the team does after it counts.
    assert parts(20, 0.95, 0.6) == 20 * "T"
    pace = awake(2)
    moments = [parts(3, 0.95, 0.05) + parts(1, 0.4, 0.09) for _ in range(100)]
    assert (
        "".join(moments).count("1") <= 20
    )  # a host takes a core away for a moment, again and again


@pytest.mark.parametrize(
    ("work", "cores", "threads"),
    [
        (999_999, 64, 1),
        (1_000_000, 1, 1),
        (1_000_000, 64, 2),
        (10_000_000, 2, 2),
        (10_000_000, 64, 10),
        (10**9, 64, 64),
    ],
)
def test_small_steps_are_shared_by_few_threads(work: int, cores: int, threads: int) -> None:
    assert team_module.team_size(work // 10, 10, cores) == threads


@pytest.mark.parametrize("steps", [0, 1, 15, 16, 17, 100])
def test_an_epoch_is_cut_into_parts_of_twentieths_of_a_second(steps: int) -> None:
    threads = team_module.Threads(1, np.zeros(WORDS, np.int64))
    first = list(threads.parts(steps))
    threads._pace.record(10, 1.0, 1.0)  # so slow that a step is longer than a part
    second = list(threads.parts(steps))
    for parts in first, second:
        assert [one for part in parts for one in range(*part)] == list(range(steps))
    assert [last - first for first, last in first[:-1]] == [2] * (len(first) - 1)
    assert len(second) == max(1, steps)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", IMAGES)
def test_equal_bits_of_images_for_any_number_of_threads(name: str, optimizer: str) -> None:
    alone = trained(IMAGES[name], 1, optimizer)
    for threads in TEAMS:
        assert trained(IMAGES[name], threads, optimizer) == alone, threads


@pytest.mark.parametrize("name", ["LeNet-5", "all layers"])
def test_equal_bits_where_groups_of_images_are_fewer_than_threads_but_not_few(name: str) -> None:
    assert trained(IMAGES[name], 12) == trained(IMAGES[name], 1)


@root
@pytest.mark.parametrize("allowed", range(1, 6))
def test_equal_bits_where_few_threads_can_start(allowed: int) -> None:
    import resource

    def limited(threads: int) -> list[str]:
        resource.setrlimit(resource.RLIMIT_NPROC, (allowed, allowed))
        return digests(trained(network, threads))

    def digests(left: list[bytes]) -> list[str]:
        return [hashlib.sha256(data).hexdigest() for data in left]

    network = NETWORKS["uneven"]
    alone = digests(trained(network, 1))
    for threads in (2, 3, 4, 8):
        user = 60_000 + 10 * allowed + threads  # limits count the processes of a user
        assert as_user(user, partial(limited, threads), seconds=5) == alone, threads


GREEN = """
import importlib, sys
kind = sys.argv[1]
if kind == "gevent":
    importlib.import_module("gevent.monkey").patch_all()
elif kind == "eventlet":
    importlib.import_module("eventlet").monkey_patch()
from fastmlp import TrainConfig, load_digits, train, train_many
digits = load_digits().train.take(range(300))
config = TrainConfig(hidden=(64,), epochs=2, batch_size=100, threads=2)
results = [train(config, digits), *train_many([config] * 2, digits, jobs=2)]
print(*(result.history[-1]["train_loss"].hex() for result in results))
"""


@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_threads_that_are_one_to_the_system_train_to_the_same_bits(kind: str) -> None:
    pytest.importorskip(kind)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    plain, green = (
        subprocess.run(
            [sys.executable, "-c", GREEN, how],
            capture_output=True,
            text=True,
            env=environment,
        )
        for how in ("plain", kind)
    )
    assert green.returncode == 0, green.stderr
    assert len(green.stdout.split()) == 3
    assert green.stdout == plain.stdout


@pytest.mark.parametrize("name", ["shared by columns", "bfloat16, columns"])
def test_equal_bits_when_a_team_gathers_a_large_batch_together(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = trained(NETWORKS[name], 2)
    monkeypatch.setattr(builder, "OWN_COPY_BYTES", 0)
    assert trained(NETWORKS[name], 2) == own


@pytest.mark.usefixtures("one_core")
def test_equal_bits_on_one_core() -> None:
    network = NETWORKS["uneven"]
    assert trained(network, 4) == trained(network, 1)


def test_the_networks_are_shared_in_both_ways() -> None:
    shared = set()
    for network in NETWORKS.values():
        shapes = list(pairwise(network["sizes"]))
        engine = Engine(
            [np.zeros((outputs, inputs)) for inputs, outputs in shapes],
            [np.zeros(outputs) for _, outputs in shapes],
            batch_size=network["batch"],
            threads=1,
        )
        code = engine.plan.program.code
        ways = code["share"][code["operation"] == MULTIPLY]
        directions = ["forward"] * len(shapes) + ["backward"] * (len(shapes) - 1)
        shared |= set(zip(directions, ways, strict=True))
    assert shared == {(to, way) for to in ("forward", "backward") for way in (ROWS, PANELS)}


def test_a_row_of_logits_depends_on_that_row_alone() -> None:
    rng = np.random.default_rng(1)
    sizes = (50, 40, 17, 10)
    shapes = list(pairwise(sizes))
    weights = [rng.normal(size=(outputs, inputs)) for inputs, outputs in shapes]
    engine = Engine(weights, [rng.normal(size=n) for n in sizes[1:]], batch_size=8, threads=1)
    images = rng.integers(0, 256, (300, 50)).astype(np.uint8)
    samples = engine.samples(images, np.full(50, 1 / 64), np.full(50, -2.0))
    whole = engine.logits(samples)
    for indices in (np.array([299]), np.arange(13), rng.permutation(300), np.full(140, 7)):
        np.testing.assert_array_equal(engine.logits(samples, indices), whole[indices])
    few = engine.samples(images[5:6], np.full(50, 1 / 64), np.full(50, -2.0))
    np.testing.assert_array_equal(engine.logits(few), whole[5:6])
    assert engine.logits(samples, np.zeros(0, np.int64)).shape == (0, 10)
