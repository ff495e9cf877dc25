"""The benchmark measures what it says."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmlp.bench import timing
from fastmlp.bench.ceiling import _multiply_add
from fastmlp.bench.contender import CONTENDERS
from fastmlp.bench.kernels import (
    FORWARD,
    GATHER,
    STEP,
    UPDATE,
    WEIGHT_GRADIENT,
    layer_kernels,
    works_of,
)
from fastmlp.bench.problem import NETWORKS, Problem, WeightsAndBiases
from fastmlp.bench.settings import QUICK, Settings
from fastmlp.bench.timing import contest, in_turns
from fastmlp.bench.work import flops_per_sample
from fastmlp.errors import ConfigError
from fastmlp.kernels.emit.products import CHAINS
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.training.memory import aligned


def test_the_ceiling_does_all_of_its_arithmetic() -> None:
    lanes = lanes_of(np.dtype(np.float32))
    values = aligned(CHAINS * lanes, np.dtype(np.float32))
    values[:] = np.arange(values.size)
    before = values.reshape(CHAINS, lanes).copy()
    _multiply_add(5, values)
    expected = before + 5 * before[0] * before[1]
    np.testing.assert_array_equal(values.reshape(CHAINS, lanes), expected)


def test_the_arithmetic_of_a_sample_is_counted_by_hand() -> None:
    # Two layers of 12 and 8 weights: forward 20, gradients of weights 20, of the hidden layer 8.
    assert flops_per_sample((3, 4, 2)) == 2 * (20 + 20 + 8)
    # 24 x 24 outputs of 25 weights for 6 channels, 8 x 8 of 150 for 16, and 256-120-84-10.
    first, others = 24 * 24 * 25 * 6, 8 * 8 * 150 * 16 + 256 * 120 + 120 * 84 + 84 * 10
    assert flops_per_sample(NETWORKS["E"].sizes) == 2 * (2 * first + 3 * others) == 1_517_040
    first, others = 28 * 28 * 75 * 6, 10 * 10 * 150 * 16 + 400 * 120 + 120 * 84 + 84 * 10
    assert flops_per_sample(NETWORKS["F"].sizes) == 2 * (2 * first + 3 * others) == 3_204_720
    # Pooling reads 2 x 4 of 3 x 5 outputs of 18 weights, for 7 channels; then 14-2. A list comes from results.json.
    assert flops_per_sample([[2, 5, 7], "conv 7 3", "maxpool 2", 2]) == 4 * 1008 + 6 * 28


@pytest.mark.slow  # compiles every kernel once more, alone
def test_kernels_add_up_to_a_step() -> None:
    problem = Problem((40, 18, 5), batch_size=7, samples=21)
    found = list(layer_kernels(problem))
    assert sum(one.work.flops for one in found) == 7 * flops_per_sample(problem.sizes)
    for one in found:
        one.call(4)  # more than there are batches to gather
    assert [one.work for one in found] == list(works_of(problem))
    assert {(one.work.name, one.work.inputs, one.work.outputs) for one in found} >= {
        (GATHER, 40, 0),
        (UPDATE, 18, 5),
    }


@pytest.mark.slow  # compiles every kernel once more, alone
def test_kernels_of_images_add_up_to_a_step() -> None:
    sizes = (2, 12, 11), "conv 3 3", "maxpool 2", "conv 5 2", "maxpool 2", 6, 4
    problem = Problem(sizes, batch_size=33, samples=99, optimizer="adam")
    found = list(layer_kernels(problem))
    assert [one.work for one in found] == list(works_of(problem))
    # What is timed once more is a part of another kernel.
    part = (WEIGHT_GRADIENT, (3, 5, 4), (5, 2, 1))
    whole = [one.work.flops for one in found if one.work[:3] != part]
    assert len(whole) == len(found) - 1
    assert sum(whole) == 33 * flops_per_sample(sizes)
    for one in found:
        one.call(4)  # more than there are batches to gather
    of_first = [one.work.name for one in found if one.work.inputs == (2, 12, 11)]
    assert of_first == [GATHER, FORWARD, WEIGHT_GRADIENT, STEP]


def test_fastmlp_trains_the_problem() -> None:
    """Against the formulas in float64: scale, batches, momentum and decay, over an epoch's end."""
    problem = Problem((12, 3), batch_size=8, samples=27, learning_rate=0.05, weight_decay=0.1)
    training = CONTENDERS[0].prepare(problem, threads=1)
    training.run(2)
    training.run(3)
    (weights,), (biases,) = ([one.astype(np.float64) for one in part] for part in problem.start)
    parameters = [weights, biases]
    velocities: list[Any] = [0.0, 0.0]
    batches = itertools.chain.from_iterable(problem.order(epoch) for epoch in range(2))
    for rows in itertools.islice(batches, 5):
        X = (problem.images[rows] - 127.5) / np.sqrt((256**2 - 1) / 12)
        scores = np.exp(X @ parameters[0] + parameters[1])
        delta = scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[problem.labels[rows]]
        gradients = X.T @ delta / 8, delta.mean(axis=0)
        for i in range(2):
            velocities[i] = 0.9 * velocities[i] + gradients[i] + 0.1 * parameters[i]
            parameters[i] = parameters[i] - 0.05 * velocities[i]
    found = training.parameters()
    np.testing.assert_allclose(found.weights[0], parameters[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.biases[0], parameters[1], rtol=1e-4, atol=1e-6)


def test_turns_begin_with_another_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []
    monkeypatch.setattr(time, "sleep", events.append)
    calls: dict[str, Callable[[], object]] = {
        name: lambda name=name: events.append(name) for name in "abc"
    }
    timings = in_turns(calls, rounds=4, pause=0.2)
    assert events[1::2] == list("abcbcacababc")
    assert set(events[0::2]) == {0.2}
    assert all(len(one.seconds) == len(one.busy) == 4 for one in timings.values())


class Fake:
    """A peer that does nothing, or fails."""

    decays_biases = True

    def __init__(self, name: str, error: Exception | None = None, *, here: bool = True) -> None:
        self.name, self._error, self._here = name, error, here

    def available(self) -> bool:
        return self._here

    def prepare(self, problem: Problem, threads: int) -> Any:
        if self._error:
            raise self._error
        self._problem = problem
        return self

    def run(self, steps: int) -> None:
        pass

    def parameters(self) -> WeightsAndBiases:
        return self._problem.start


def test_a_contest_goes_on_without_those_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE", 0.0)
    monkeypatch.setattr(timing, "repeats", lambda call, times, seconds: times)
    contenders = [Fake("broken", RuntimeError("no")), Fake("absent", here=False), Fake("idle")]
    problem = Problem((4, 2), batch_size=5, samples=10)
    found, missing = contest("A", problem, 1, contenders, rounds=2, seconds=0.01)
    assert list(missing) == ["broken", "absent"]
    assert missing["broken"] == "RuntimeError: no"
    (idle,) = found["entries"]
    assert (idle["name"], idle["steps"], len(idle["seconds"])) == ("idle", 400, 2)
    assert idle["loss"] == found["start_loss"] == problem.loss(problem.start)
    assert len(found["ceiling"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": ("A", "Z")}, "networks: found A,Z, expected some of A,B,C,D,E,F"),
        ({"networks": ()}, "networks: found none"),
        ({"batches": ()}, "batch: found none"),
        ({"batches": (0,)}, "batch: found 0"),
        ({"batches": (10, 20_001)}, "batch: found 20001, expected 1 to 20000"),
        ({"threads": 0}, "threads: found 0"),
        ({"rounds": -1}, "rounds: found -1"),
    ],
)
def test_settings_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**changes)


def test_settings_give_every_problem() -> None:
    found = [(name, problem.batch_size) for name, problem in Settings().problems()]
    assert found == [(name, batch) for name, one in NETWORKS.items() for batch in one.batches]
    quick = list(Settings(**QUICK).problems())
    assert [(name, problem.batch_size) for name, problem in quick] == [(n, 100) for n in NETWORKS]


def test_peak_memory_is_that_of_the_process_alone() -> None:
    # Linux hands the peak of a parent on to its children, in what getrusage says.
    weight = np.ones(2**25)  # 256 MB
    script = (
        "import numpy as np; from fastmlp.bench.footprint import peak_bytes;"
        "np.ones(2**23); print(peak_bytes())"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stderr == ""
    if found.stdout == "None\n":
        pytest.skip("this system does not tell")
    assert 8 * 2**23 < int(found.stdout) < weight.nbytes
