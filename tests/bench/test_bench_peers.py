"""Every peer must do the same mathematics: each is compared with a plain float64 loop."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmlp.bench.contender import CONTENDERS
from fastmlp.bench.peer import Peer
from fastmlp.bench.peers import IMAGE_PEERS, PEERS
from fastmlp.bench.problem import NETWORKS, Problem, WeightsAndBiases
from fastmlp.bench.torch_peer import _compiles_extensions
from fastmlp.errors import ConfigError
from fastmlp.training.layers import Activation, Convolution, Flatten, Linear, MaxPool

# torch.compile's own modules use what torch has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)

# Steps and decay large enough that dropping momentum, decay or a bias update shows.
STRONG: dict[str, Any] = {"learning_rate": 0.05, "weight_decay": 0.1}
EAGER, FUSED, COMPILED, BFLOAT16, JAX, SKLEARN = PEERS
NCHW, CHANNELS_LAST, COMPILED_IMAGES, BFLOAT16_IMAGES, *JAX_IMAGES = IMAGE_PEERS

# Pooling leaves a column over, and a row of the second convolution mixes channels and places.
IMAGES: Any = ((2, 11, 12), "conv 3 4", "maxpool 2", "conv 4 2", 5, 3)
ADAM: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.1}


def usable(peer: Peer) -> Peer:
    if not peer.available():
        pytest.skip(f"{peer.name} is not installed here")
    return peer


def windows(values: Any, kernel: int) -> Any:
    return np.lib.stride_tricks.sliding_window_view(values, (kernel, kernel), (2, 3))


def convolve(x: Any, w: Any, b: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return a convolution's outputs, and what turns their gradient into those of x, w and b."""
    seen = windows(x, w.shape[2])

    def back(delta: Any) -> Any:
        edge = (w.shape[2] - 1,) * 2
        around = windows(np.pad(delta, [(0, 0), (0, 0), edge, edge]), w.shape[2])
        below = np.einsum("boyxij,ocij->bcyx", around, w[:, :, ::-1, ::-1])
        return below, np.einsum("bcyxij,boyx->ocij", seen, delta), delta.sum(axis=(0, 2, 3))

    return np.einsum("bcyxij,ocij->boyx", seen, w) + b[:, None, None], back


def pool(x: Any, size: int) -> tuple[Any, Callable[[Any], Any]]:
    """Return max-pooled values, and what turns their gradient into that of x; ties are zeros of ReLU."""
    rows, columns = (one // size for one in x.shape[2:])
    squares = x[:, :, : rows * size, : columns * size]
    squares = squares.reshape(*x.shape[:2], rows, size, columns, size)
    greatest = squares.max(axis=(3, 5), keepdims=True)

    def back(delta: Any) -> Any:
        below = np.zeros_like(x)
        found = (squares == greatest) * delta[:, :, :, None, :, None]
        below[:, :, : rows * size, : columns * size] = found.reshape(
            *x.shape[:2], rows * size, columns * size
        )
        return below

    return greatest[:, :, :, 0, :, 0], back


def gradients_by_hand(
    problem: Problem, parameters: list[Any], rows: Any
) -> tuple[float, list[Any]]:
    """Return the mean loss of some samples, and its gradients of weights and biases in turn."""
    values = problem.inputs[rows].astype(np.float64).reshape(-1, *problem.shape)
    backs: list[Callable[[Any], Any]] = []
    pairs = zip(parameters[::2], parameters[1::2], strict=True)
    for layer in problem.layers:
        x = values
        match layer:
            case Linear():
                w, b = next(pairs)
                values = x @ w + b
                backs.append(lambda d, x=x, w=w: (d @ w.T, x.T @ d, d.sum(axis=0)))
            case Convolution():
                values, back = convolve(x, *next(pairs))
                backs.append(back)
            case Activation():
                values = np.maximum(x, 0)
                backs.append(lambda d, x=x: d * (x > 0))
            case MaxPool(size):
                values, back = pool(x, size)
                backs.append(back)
            case Flatten():
                values = x.reshape(len(x), -1)
                backs.append(lambda d, x=x: d.reshape(x.shape))
    chances = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    target = np.eye(problem.classes)[problem.labels[rows]]
    delta = (chances - target) / len(rows)
    gradients: list[Any] = []
    for back in backs[::-1]:
        below = back(delta)
        if isinstance(below, tuple):
            gradients[:0] = below[1:]
            below = below[0]
        delta = below
    return -np.log((chances * target).sum(axis=1)).mean(), gradients


def train_by_hand(
    problem: Problem, steps: int, decays_biases: bool
) -> tuple[WeightsAndBiases, list[float]]:
    """Train with the formulas of torch.optim's SGD or Adam in float64; also its losses.

    ``losses[k]`` is the loss of the batch that step ``k`` trains on, before that step: the loss
    after ``k`` steps where a batch is the whole data.
    """
    pairs = zip(*problem.start, strict=True)
    arrays: list[Any] = [one.astype(np.float64) for pair in pairs for one in pair]
    means = [np.zeros_like(a) for a in arrays]
    squares = [np.zeros_like(a) for a in arrays]
    losses = []
    for step in range(steps + 1):
        epoch, batch = divmod(step, problem.steps_per_epoch)
        loss, gradients = gradients_by_hand(problem, arrays, problem.order(epoch)[batch])
        losses.append(loss)
        if step == steps:
            break
        for number, (a, m, s, g) in enumerate(zip(arrays, means, squares, gradients, strict=True)):
            if number % 2 == 0 or decays_biases:
                g = g + problem.weight_decay * a
            if problem.optimizer == "adam":
                m += 0.1 * (g - m)
                s += 0.001 * (g**2 - s)
                unbiased = m / (1 - 0.9 ** (step + 1)), s / (1 - 0.999 ** (step + 1))
                a -= problem.learning_rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
            else:
                m *= problem.momentum
                m += g
                a -= problem.learning_rate * m
    return WeightsAndBiases(arrays[::2], arrays[1::2]), losses


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


@pytest.mark.parametrize(
    "peer", [CONTENDERS[0], NCHW, CHANNELS_LAST, COMPILED_IMAGES, *JAX_IMAGES], ids=named
)
def test_peer_trains_networks_of_images(peer: Peer) -> None:
    """Convolution, pooling with a remainder, flattening and Adam, through batches and over an epoch's end."""
    problem = Problem(IMAGES, batch_size=8, samples=27, **ADAM)
    training = usable(peer).prepare(problem, threads=1)
    assert_same(training.parameters(), problem.start)
    for steps in (1, 3, 3):
        training.run(steps)
    expected, _ = train_by_hand(problem, 7, peer.decays_biases)
    assert_same(training.parameters(), expected)
    whole, _ = gradients_by_hand(
        problem,
        [one.astype(np.float64) for pair in zip(*problem.start, strict=True) for one in pair],
        np.arange(27),
    )
    assert problem.loss(problem.start) == pytest.approx(whole, abs=1e-6)
    assert problem.loss(training.parameters()) < whole - 0.005


@pytest.mark.parametrize("network", ["E", "F"])
def test_peers_agree_about_the_networks_of_images(network: str) -> None:
    problem = NETWORKS[network].problem(16, 64)
    losses = {"start": problem.loss(problem.start)}
    for peer in (CONTENDERS[0], NCHW, CHANNELS_LAST, BFLOAT16_IMAGES, *JAX_IMAGES):
        if peer.available():
            training = peer.prepare(problem, threads=1)
            training.run(20)
            losses[peer.name] = problem.loss(training.parameters())
    start, *found = losses.values()
    assert found == pytest.approx([found[0]] * len(found), abs=0.01), losses
    assert found[0] < start - 0.05


def test_layouts_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    layouts = []
    forward = torch.nn.Conv2d.forward

    def noted(self: Any, x: Any) -> Any:
        layouts.append(x.is_contiguous(memory_format=torch.channels_last))
        return forward(self, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", noted)
    for peer, expected in ((NCHW, False), (CHANNELS_LAST, True)):
        layouts.clear()
        peer.prepare(Problem(IMAGES, batch_size=8, samples=27, **ADAM), threads=1).run(1)
        assert layouts
        assert set(layouts) == {expected}, peer.name


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
        ({"sizes": ((1, 0, 5), 2)}, "sizes"),
        ({"sizes": ((1, 5, 5), "avgpool 2", 2)}, "sizes: found 'avgpool 2'"),
        ({"sizes": ((1, 5, 5), "conv 2 3 padding 1", 2)}, "sizes: found 'conv 2 3 padding 1'"),
    ],
)
def test_problem_refuses_what_has_no_step(fields: dict[str, Any], parameter: str) -> None:
    with pytest.raises(ConfigError, match=parameter):
        Problem(**{"sizes": (3, 2), "batch_size": 4, "samples": 10, **fields})
