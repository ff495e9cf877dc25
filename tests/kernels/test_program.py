"""Programs: no two threads ever touch what one of them writes, and the team meets no more often than that takes.

The oracle of ``program_oracle.py`` is independent of the Builder.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_helpers import batches_of
from program_oracle import Interpreter

from fastmlp.kernels import codes, program
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.arguments import PAIR, Record, Rule, Team
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.kernels.plan import Layout, Loss, Plan, evaluation_plan, lay_out, training_plan
from fastmlp.kernels.program import BATCH, WORKSPACE, Builder, Kind
from fastmlp.kernels.run import run
from fastmlp.training.engine import Engine, fused
from fastmlp.training.layers import network_layers

KINDS = [
    Kind(16, 4, False),
    Kind(16, 4, True),
    Kind(8, 4, False),
    Kind(8, 4, True),
    Kind(8, 8, False),
    Kind(4, 4, True),
    Kind(2, 8, False),
]
LOSS = Loss(int(codes.SOFTMAX))
BARRIER = np.zeros(16, np.int64)


class Net(NamedTuple):
    """A network and its team."""

    sizes: tuple[int, ...]
    batch: int
    threads: int
    kind: Kind
    penalties: bool
    options: dict[str, Any]

    @property
    def layout(self) -> Layout:
        layers = network_layers(self.sizes[1:-1], self.sizes[-1], **self.options)
        return lay_out(fused(layers, self.sizes[0]), self.kind)

    def plan(self) -> Plan:
        """Return the plan of its training."""
        return training_plan(self.layout, LOSS, self.batch, self.threads, penalties=self.penalties)

    def interpreter(self, whole: bool = False) -> Interpreter:
        """Return the oracle of its training."""
        return Interpreter(self.layout, self.plan(), self.threads, whole)


def draw_net(rng: np.random.Generator) -> Net:
    """Draw a network whose layers are narrower and wider than what is shared by panels."""
    kind = KINDS[rng.integers(len(KINDS))]
    widths = [int(rng.integers(1, 3 + kind.lanes * most)) for most in (1, 3, 12, 12, 12)]
    hidden = list(rng.choice(widths, int(rng.integers(0, 5))))
    if len(hidden) > 1 and rng.random() < 0.6:  # equal neighbours, for a residual connection
        hidden[1] = hidden[0]
    sizes = (int(rng.choice(widths)), *map(int, hidden), int(rng.choice(widths)))
    options = {
        "activation": str(rng.choice(["identity", *ACTIVATIONS])),
        "residual": bool(rng.random() < 0.6),
        "dropout": float(rng.choice([0, 0.3])),
    }
    threads, batch = int(rng.integers(2, 6)), int(rng.integers(1, 14))
    return Net(sizes, batch, threads, kind, bool(rng.random() < 0.4), options)


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small layers be shared by panels, so that an oracle in Python can follow them."""
    monkeypatch.setattr(program, "PANELS_FROM_BYTES", 4096)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("own_copies", [True, False])
def test_no_two_threads_touch_what_one_writes(
    seed: int, own_copies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not own_copies:
        monkeypatch.setattr(program, "OWN_COPY_BYTES", 0)
    rng = np.random.default_rng(seed)
    for _ in range(8):
        net = draw_net(rng)
        # The end of a batch comes before the beginning of the next, which may be smaller.
        batches = (net.batch, net.batch, int(rng.integers(1, net.batch + 1)))
        assert not net.interpreter().conflicts(batches), net


@pytest.mark.usefixtures("small_limits")
def test_the_drawn_networks_are_shared_in_every_way() -> None:
    ways, copies = set(), set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        for _ in range(8):
            plan = draw_net(rng).plan()
            code = plan.program.code
            ways |= {(int(one["operation"]), int(one["share"])) for one in code}
            copies |= {bool(plan.program.buffers[one["out"]]["copy"]) for one in code[:1]}
    by_both = {int(codes.ROWS), int(codes.PANELS)}
    for operation in (codes.MULTIPLY, codes.ELEMENTWISE, codes.MASK, codes.OPERANDS):
        assert {share for found, share in ways if found == operation} == by_both
    for operation in (codes.UPDATE, codes.TRANSPOSE):
        assert {share for found, share in ways if found == operation} == {
            int(codes.PANELS),
            int(codes.SLABS),
        }
    assert copies == {True, False}


# Networks whose every thread has something to do.
FULL = [
    Net((40, 60, 10), 13, 2, KINDS[0], False, {}),
    Net((40, 60, 60, 10), 13, 3, KINDS[3], True, {"residual": True, "dropout": 0.2}),
    Net((70, 80, 80, 90, 30), 12, 2, KINDS[2], False, {"residual": True}),
    Net((70, 80, 80, 90, 30), 12, 2, KINDS[3], False, {"activation": "tanh"}),
    Net((50, 50), 12, 3, KINDS[4], True, {}),
    Net((33, 40, 33, 20), 16, 4, KINDS[6], False, {"dropout": 0.5}),
]


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    "net", FULL, ids=lambda net: f"{'-'.join(map(str, net.sizes))} {net.kind.lanes}"
)
def test_no_meeting_is_superfluous(net: Net) -> None:
    interpreter = net.interpreter(whole=True)
    batches = (net.batch, net.batch)
    assert not interpreter.conflicts(batches)
    meetings = np.flatnonzero(interpreter.program.code["operation"] == codes.MEET)
    assert len(meetings) > 1
    for number in meetings:
        assert interpreter.conflicts(batches, without=int(number)), number


@pytest.mark.parametrize("kind", KINDS[:2], ids=["float32", "bfloat16"])
def test_a_network_of_full_size(kind: Kind) -> None:
    net = Net((784, 520, 270, 3), 33, 2, kind, False, {})
    interpreter = net.interpreter()
    assert codes.PANELS in interpreter.program.code["share"]
    assert not interpreter.conflicts((33, 33, 5))


def test_one_thread_meets_nobody() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        net = draw_net(rng)._replace(threads=1)
        for plan in (net.plan(), evaluation_plan(net.layout, net.batch)):
            assert codes.MEET not in plan.program.code["operation"]


@pytest.mark.usefixtures("small_limits")
def test_only_named_buffers_overlap() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        net = draw_net(rng)
        plan = net.plan()
        taken: dict[tuple[int, int], int] = {}
        for one in plan.program.buffers:
            rows = {0: net.batch, -1: -(-net.batch // 2)}.get(int(one["rows"]), int(one["rows"]))
            size = int(one["panels"]) * rows * net.kind.lanes
            place = int(one["memory"]), int(one["offset"])
            taken[place] = max(taken.get(place, 0), size)
        for memory in (program.WORKSPACE, program.OPERANDS):
            stretches = sorted((at, size) for (where, at), size in taken.items() if where == memory)
            for (at, size), (following, _) in pairwise(stretches):
                assert at + size <= following


def test_a_program_that_repeats_meets_where_its_end_and_its_beginning_touch() -> None:
    def built(repeats: bool) -> list[int]:
        b = Builder(Kind(4, 4, False), 8, 2, dict.fromkeys((WORKSPACE, program.OPERANDS), 0))
        first, second = b.reserve(2), b.reserve(2, BATCH)
        b.elementwise(int(codes.IDENTITY), first, first, second, int(codes.ROWS))
        b.elementwise(int(codes.IDENTITY), second, second, first, int(codes.PANELS))
        return b.program(repeats=repeats).code["operation"].tolist()

    meet, elementwise = int(codes.MEET), int(codes.ELEMENTWISE)
    assert built(False) == [elementwise, meet, elementwise]
    assert built(True) == [meet, elementwise, meet, elementwise]


def draw_bits(rng: np.random.Generator, array: np.ndarray) -> None:
    """Fill an array with numbers around 1; pairs of bfloat16 too."""
    if array.dtype == PAIR:
        bits = rng.integers(0x3F00, 0x3FFF, (array.size, 2), dtype=np.uint16)
        array[...] = bits.view(PAIR)[:, 0]
    else:
        array[...] = rng.random(array.size) + 0.5


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")
def test_kernels_write_no_more_than_the_oracle_says(dtype: str) -> None:
    rng = np.random.default_rng(2)
    lanes, threads, batch = lanes_of(np.float32), 3, 11
    wide = 9 * lanes + 1
    sizes = (wide - 5, wide, wide, 2 * lanes + 3, 4)
    layers = network_layers(sizes[1:-1], sizes[-1], residual=True, dropout=0.3)
    shapes = [(n, k) for k, n in pairwise(sizes)]
    engine = Engine(
        [np.zeros(shape) for shape in shapes],
        [np.zeros(n) for n, _ in shapes],
        layers=layers,
        batch_size=batch,
        dtype=dtype,
        threads=threads,
    )
    plan = training_plan(engine.layout, LOSS, batch, threads, penalties=True)
    oracle = Interpreter(engine.layout, plan, threads)
    images = rng.integers(0, 256, (batch, sizes[0])).astype(np.uint8)
    one = np.ones(sizes[0])
    samples = engine.samples(images, one, one, labels=rng.integers(0, sizes[-1], batch))
    batches = batches_of(np.float32, np.arange(batch))
    rule = Rule(codes.ADAM, np.full((1, 2, codes.COLUMNS), 0.1, np.float32))
    record = Record(
        np.zeros(3 * batch),
        np.zeros(3 * batch, bool),
        np.zeros(plan.squares),
        np.zeros(3),
        np.zeros((0, 0), np.float32),
    )
    mirrored = np.empty((threads, 1, 1), np.uint8)
    room = engine.room._replace(mirrored=mirrored)
    arrays = {
        "parameters": engine.parameters,
        "velocity and squares": engine.velocity,
        "right": engine.right,
        "workspace": room.workspace,
        "operands": room.operands,
        "losses": record.losses,
        "record.squares": record.squares,
        "penalties": record.penalties,
    }
    if dtype == "float32":
        del arrays["right"], arrays["operands"]  # the parameters, and the workspace
    seen = set()
    for number in range(len(plan.program.code)):
        line = plan.program._replace(code=plan.program.code[number : number + 1])
        if line.code["operation"][0] == codes.MEET:
            continue
        for rank in range(threads):
            for array in (*arrays.values(), engine.squares):
                draw_bits(rng, array)
            before = {name: array.copy() for name, array in arrays.items()}
            run(
                line,
                samples,
                batches,
                engine.model,
                room,
                rule,
                record,
                Team(rank, threads, BARRIER),
            )
            written = oracle.written(line.code[0], batch, rank)
            for name, array in arrays.items():
                changed = array != before[name]
                assert not (changed & (written[name] == 0)).any(), (number, rank, name)
                seen |= {name} if changed.any() else set()
    assert seen == set(arrays)
