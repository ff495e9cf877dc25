"""Every peer must do the same mathematics: each is compared with a plain float64 loop."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from fastmlp.bench.peers import PEERS, Peer, _compiles_extensions
from fastmlp.bench.problem import Problem, WeightsAndBiases
from fastmlp.errors import ConfigError

# torch.compile's own modules use what torch has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)

# Steps and decay large enough that dropping momentum, decay or a bias update shows.
STRONG: dict[str, Any] = {"learning_rate": 0.05, "weight_decay": 0.1}
EAGER, FUSED, COMPILED, BFLOAT16, JAX, SKLEARN = PEERS


def usable(peer: Peer) -> Peer:
    if not peer.available():
        pytest.skip(f"{peer.name} is not installed here")
    return peer


def train_by_hand(
    problem: Problem, steps: int, decays_biases: bool
) -> tuple[WeightsAndBiases, list[float]]:
    """Train with torch.optim.SGD's formulas in float64; also its losses.

    ``losses[k]`` is the loss of the batch that step ``k`` trains on, before that step: the loss
    after ``k`` steps where a batch is the whole data.
    """
    weights: list[Any] = [w.astype(np.float64) for w in problem.start.weights]
    biases: list[Any] = [b.astype(np.float64) for b in problem.start.biases]
    arrays = weights + biases
    velocities = [np.zeros_like(a) for a in arrays]
    decays = [problem.weight_decay] * len(weights)
    decays += [problem.weight_decay * decays_biases] * len(biases)
    losses = []
    for step in range(steps + 1):
        epoch, batch = divmod(step, problem.steps_per_epoch)
        rows = problem.order(epoch)[batch]
        inputs = [problem.inputs[rows].astype(np.float64)]
        for w, b in zip(weights, biases, strict=True):
            inputs.append(np.maximum(inputs[-1] @ w + b, 0))
        logits = inputs[-2] @ weights[-1] + biases[-1]
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        target = np.eye(problem.sizes[-1])[problem.labels[rows]]
        losses.append(-np.log((chances * target).sum(axis=1)).mean())
        if step == steps:
            break
        delta = (chances - target) / len(rows)
        gradients = []
        for w, x in zip(weights[::-1], inputs[-2::-1], strict=True):
            gradients.append((x.T @ delta, delta.sum(axis=0)))
            delta = (delta @ w.T) * (x > 0)
        gradients.reverse()
        flat = [g for g, _ in gradients] + [g for _, g in gradients]
        for a, v, g, decay in zip(arrays, velocities, flat, decays, strict=True):
            v *= problem.momentum
            v += g + decay * a
            a -= problem.learning_rate * v
    return WeightsAndBiases(weights, biases), losses


def assert_same(found: WeightsAndBiases, expected: WeightsAndBiases) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def named(peer: Peer) -> str:
    return peer.name


@pytest.mark.parametrize("sizes", [(12, 16, 8, 2), (12, 5)], ids=["deep", "softmax"])
@pytest.mark.parametrize("peer", [EAGER, FUSED, JAX, SKLEARN], ids=named)
def test_peer_trains_as_the_formulas_say(peer: Peer, sizes: tuple[int, ...]) -> None:
    # One batch is the whole data, so scikit-learn's own order of rows does not matter.
    problem = Problem(sizes, batch_size=32, samples=32, **STRONG)
    training = usable(peer).prepare(problem, threads=1)
    assert_same(training.parameters(), problem.start)
    training.run(5)
    expected, losses = train_by_hand(problem, 5, peer.decays_biases)
    assert_same(training.parameters(), expected)
    assert problem.loss(problem.start) == pytest.approx(losses[0], abs=1e-6)
    assert problem.loss(training.parameters()) == pytest.approx(losses[5], abs=1e-4)
    assert losses[5] < losses[0] - 0.01
    assert_same(problem.start, Problem(sizes, 32, 32).start)  # nobody trained it in place


@pytest.mark.parametrize("peer", [EAGER, COMPILED, JAX], ids=named)
def test_runs_go_on_through_batches_and_epochs(peer: Peer) -> None:
    problem = Problem((12, 8, 3), batch_size=8, samples=27, **STRONG)  # 3 full batches, 3 rows over
    training = usable(peer).prepare(problem, threads=2)
    for steps in (1, 5, 3):  # part of an epoch; over an end; exactly one
        training.run(steps)
    expected, _ = train_by_hand(problem, 9, peer.decays_biases)
    assert_same(training.parameters(), expected)


def test_sklearn_trains_the_steps_asked_for() -> None:
    problem = Problem((12, 8, 3), batch_size=8, samples=400)
    training = usable(SKLEARN).prepare(problem, threads=1)
    training.run(60)
    training.run(40)
    found = problem.loss(training.parameters())
    by_hand = {k: problem.loss(train_by_hand(problem, k, False)[0]) for k in (90, 100, 110)}
    # Its batches are others, so only nearly the loss of a hundred steps by hand.
    assert by_hand[90] > found > by_hand[110], (found, by_hand)


def test_bfloat16_stays_near_and_returns_float32() -> None:
    problem = Problem((64, 32, 4), batch_size=16, samples=64, **STRONG)
    training = usable(BFLOAT16).prepare(problem, threads=1)
    training.run(8)
    expected, _ = train_by_hand(problem, 8, decays_biases=True)
    found = training.parameters()
    for a, b in zip(found.weights, expected.weights, strict=True):
        assert a.dtype == np.float32
        assert 1e-5 < np.abs(a - b).max() < 0.02  # exact would mean that autocast was off
    assert problem.loss(found) == pytest.approx(problem.loss(expected), abs=0.02)


def test_available_looks_and_does_not_import() -> None:
    script = (
        "import sys; from fastmlp.bench.peers import PEERS; [p.available() for p in PEERS];"
        "print({'torch', 'jax', 'sklearn'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_torch_compile_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    _compiles_extensions.cache_clear()
    try:
        assert not COMPILED.available()
    finally:
        _compiles_extensions.cache_clear()


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"sizes": (3,)}, "sizes"),
        ({"sizes": (3, 0, 2)}, "sizes"),
        ({"batch_size": 11}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_problem_refuses_what_has_no_step(fields: dict[str, Any], parameter: str) -> None:
    with pytest.raises(ConfigError, match=parameter):
        Problem(**{"sizes": (3, 2), "batch_size": 4, "samples": 10, **fields})
