"""Programs: no two threads ever touch what one of them writes, and the team meets no more often than that takes.

The oracles of ``program_oracle.py`` and ``image_oracle.py`` are independent of the Builder.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from image_oracle import ImageInterpreter
from kernel_helpers import batches_of

from fastmlp.kernels import builder, codes, program
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.arguments import PAIR, Record, Rule, Team, World
from fastmlp.kernels.builder import Builder
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.kernels.plan import Layout, Loss, Plan, evaluation_plan, lay_out, training_plan
from fastmlp.kernels.program import BATCH, WORKSPACE, Kind, needs_of
from fastmlp.kernels.run import run
from fastmlp.training.engine import Engine
from fastmlp.training.fusing import fused
from fastmlp.training.layers import Layer, network_layers
from fastmlp.training.shapes import parameter_shapes

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
    """A network and its team; `sizes` begin with features or an image's shape, and end with the outputs."""

    sizes: tuple[Any, ...]
    batch: int
    threads: int
    kind: Kind
    penalties: bool
    options: dict[str, Any]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return network_layers(self.sizes[1:-1], self.sizes[-1], **self.options)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what the first layer takes."""
        return self.sizes[0] if isinstance(self.sizes[0], tuple) else self.sizes[:1]

    @property
    def layout(self) -> Layout:
        return lay_out(fused(self.layers, self.shape), self.kind)

    def plan(self) -> Plan:
        """Return the plan of its training."""
        return training_plan(self.layout, LOSS, self.batch, self.threads, penalties=self.penalties)

    def interpreter(self, whole: bool = False) -> ImageInterpreter:
        """Return the oracle of its training."""
        return ImageInterpreter(self.layout, self.plan(), self.threads, whole)


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


def draw_image_net(rng: np.random.Generator) -> Net:
    """Draw a network of images, whose batches are more or fewer than a team takes whole groups of."""
    kind, threads = KINDS[rng.integers(len(KINDS))], int(rng.integers(2, 5))
    shape = channels, height, width = tuple(map(int, rng.integers((1, 4, 4), (4, 13, 13))))
    hidden: list[Any] = []
    for _ in range(int(rng.integers(1, 5))):
        smallest = min(height, width)
        match rng.choice(["conv", "conv", "pool", "pool", "same"]):
            case "conv":
                kernel, stride = int(rng.integers(1, min(6, smallest + 1))), int(rng.integers(1, 4))
                padding = int(rng.integers(0, kernel))
                channels = int(rng.integers(1, 8 + 12 * (rng.random() < 0.2)))
                hidden.append(f"conv {channels} {kernel} stride {stride} padding {padding}")
                height, width = (
                    (one + 2 * padding - kernel) // stride + 1 for one in (height, width)
                )
            case "same":
                hidden.append(f"conv {channels} {rng.choice([1, 3, 5])} padding same")
            case "pool" if smallest > 1:
                size = int(rng.integers(2, min(4, smallest + 1)))
                hidden.append(f"{rng.choice(['maxpool', 'avgpool'])} {size}")
                height, width = height // size, width // size
        if hidden and hidden[-1].startswith("conv") and rng.random() < 0.3:
            hidden.append("batchnorm")
    for width in rng.integers(1, 12 * kind.lanes, rng.integers(0, 3)):
        hidden += [int(width), *["batchnorm"] * int(rng.random() < 0.2)]
    options = {
        "activation": str(rng.choice(["relu", "relu", "identity", "tanh", "gelu"])),
        "residual": bool(rng.random() < 0.5),
        "dropout": float(rng.choice([0, 0.3])),
    }
    few = rng.random() < 0.5
    batch = int(rng.integers(1, 16 * threads) if few else rng.integers(16 * threads, 80))
    outputs = int(rng.integers(1, 40))
    return Net((shape, *hidden, outputs), batch, threads, kind, bool(rng.random() < 0.4), options)


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small layers be shared by panels, so that an oracle in Python can follow them."""
    monkeypatch.setattr(builder, "PANELS_FROM_BYTES", 4096)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("own_copies", [True, False])
def test_no_two_threads_touch_what_one_writes(
    seed: int, own_copies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not own_copies:
        monkeypatch.setattr(builder, "OWN_COPY_BYTES", 0)
    rng = np.random.default_rng(seed)
    for _ in range(8):
        net = draw_net(rng)
        # The end of a batch comes before the beginning of the next, which may be smaller.
        batches = (net.batch, net.batch, int(rng.integers(1, net.batch + 1)))
        assert not net.interpreter().conflicts(batches), net


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("few_groups", [builder.FEW_GROUPS, 1])  # with 1, threads are left over
@pytest.mark.parametrize("seed", range(12))
def test_no_two_threads_touch_what_one_writes_of_images(
    seed: int, few_groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "FEW_GROUPS", few_groups)
    rng = np.random.default_rng(seed)
    for _ in range(12):
        net = draw_image_net(rng)
        batches = (net.batch, net.batch, int(rng.integers(1, net.batch + 1)))
        assert not net.interpreter().conflicts(batches), net


@pytest.mark.usefixtures("small_limits")
def test_the_drawn_networks_of_images_have_every_operation_shared_in_every_way() -> None:
    ways = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        for _ in range(12):
            code = draw_image_net(rng).plan().program.code
            ways |= {(int(one["operation"]), int(one["share"])) for one in code}
    elsewhere = {codes.GATHER, codes.GATHER_MULTIPLY, codes.LOGITS}
    by_panels = {codes.MEASURE, codes.MEASURE_GRADIENTS}
    for operation in set(range(int(codes.NORMALIZATION_GRADIENT) + 1)) - elsewhere:
        found = {share for one, share in ways if one == operation}
        assert found, operation
        if operation >= codes.GATHER_IMAGES and operation not in {*by_panels, codes.STEP_OF_SUMS}:
            assert found == {int(codes.GROUPS), int(codes.INSIDE)}, operation
    products = {share for one, share in ways if one == codes.MULTIPLY}
    assert products == {int(one) for one in (codes.GROUPS, codes.ROWS, codes.PANELS)}


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
SMALL, SAME, BOTH = (2, 9, 9), "conv 20 3 padding same", {"residual": True, "dropout": 0.2}
FULL = [
    Net((40, 60, 10), 13, 2, KINDS[0], False, {}),
    Net((40, 60, 60, 10), 13, 3, KINDS[3], True, {"residual": True, "dropout": 0.2}),
    Net((70, 80, 80, 90, 30), 12, 2, KINDS[2], False, {"residual": True}),
    Net((70, 80, 80, 90, 30), 12, 2, KINDS[3], False, {"activation": "tanh"}),
    Net((50, 50), 12, 3, KINDS[4], True, {}),
    Net((33, 40, 33, 20), 16, 4, KINDS[6], False, {"dropout": 0.5}),
    *(
        Net(
            (SMALL, "conv 20 3", "maxpool 2", "conv 18 2", 40, 20, 10),
            batch,
            2,
            KINDS[0],
            False,
            {},
        )
        for batch in (48, 16)
    ),
    *(
        Net(
            (SMALL, "conv 20 3", "batchnorm", SAME, "avgpool 2", 40, 10), batch, 3, kind, True, BOTH
        )
        for batch, kind in ((64, KINDS[4]), (20, KINDS[1]))
    ),
    Net(
        (SMALL, "conv 20 3 stride 2", "maxpool 2", 40, "batchnorm", 10), 40, 2, KINDS[3], False, {}
    ),
]


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    "net", FULL, ids=lambda net: f"{'-'.join(map(str, net.sizes))} {net.batch} {net.kind.lanes}"
)
def test_no_meeting_is_superfluous(net: Net) -> None:
    interpreter = net.interpreter(whole=True)
    batches = (net.batch, net.batch)
    assert not interpreter.conflicts(batches)
    meetings = np.flatnonzero(interpreter.program.code["operation"] == codes.MEET)
    assert len(meetings) > 1
    for number in meetings:
        assert interpreter.conflicts(batches, without=int(number)), number


# LeNet-5 for MNIST, as everybody draws it.
LENET = ((1, 28, 28), "conv 6 5", "maxpool 2", "conv 16 5", "maxpool 2", 120, 84, 10)


@pytest.mark.parametrize(
    ("batch", "kind", "most"),
    [(256, KINDS[0], 2), (64, KINDS[0], 2), (256, KINDS[4], 2), (256, KINDS[1], 2)],
)
def test_a_team_that_takes_whole_images_meets_twice_a_step(
    batch: int, kind: Kind, most: int
) -> None:
    # Once before the weights are read, once before they are changed.
    for threads in (2, 4):
        code = Net(LENET, batch, threads, kind, False, {}).plan().program.code
        assert (code["operation"] == codes.MEET).sum() == most


@pytest.mark.parametrize("kind", KINDS[:2], ids=["float32", "bfloat16"])
def test_a_network_of_full_size(kind: Kind) -> None:
    net = Net((784, 520, 270, 3), 33, 2, kind, False, {})
    interpreter = net.interpreter()
    assert codes.PANELS in interpreter.program.code["share"]
    assert not interpreter.conflicts((33, 33, 5))


def test_one_thread_meets_nobody() -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        net = (draw_net if number % 2 else draw_image_net)(rng)._replace(threads=1)
        for plan in (net.plan(), evaluation_plan(net.layout, net.batch)):
            assert codes.MEET not in plan.program.code["operation"]


@pytest.mark.usefixtures("small_limits")
def test_only_named_buffers_overlap() -> None:
    rng = np.random.default_rng(1)
    for number in range(80):
        net = (draw_net if number % 2 else draw_image_net)(rng)
        plan = net.plan()
        taken: dict[tuple[int, int], int] = {}
        for one in plan.program.buffers:
            rows = {0: net.batch, -1: -(-net.batch // 2)}.get(int(one["rows"]), int(one["rows"]))
            size = int(one["panels"]) * rows * net.kind.lanes
            if one["copy"]:  # not all of a thread's own memory is panels
                size = int(one["copy"]) * net.threads
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


LANES = lanes_of(np.float32)
WIDE = 9 * LANES + 1
LAST = (2 * LANES + 3, 4)
WRITTEN = {
    "linear": ((WIDE - 5, WIDE, WIDE, *LAST), 11, BOTH),
    # A last group of images that is not whole, and kernels in strips.
    "whole images": (((2, 12, 11), "conv 7 3", "maxpool 2", "conv 18 2 padding 1", *LAST), 59, {}),
    "parts of images": (
        ((2, 12, 11), "conv 7 3", "maxpool 2", "conv 18 2 padding 1", *LAST),
        5,
        {},
    ),
    "strips": (((3, 12, 11), "conv 17 4 padding 2", "maxpool 4", 5, "batchnorm", 4), 50, BOTH),
    "one pixel": (((2, 5, 4), "conv 5 3 stride 3", "avgpool 1", "conv 3 3 padding 1", 4), 33, {}),
    "residual": (((3, 7, 8), "conv 3 3 padding same", "batchnorm", "avgpool 3", 4), 49, BOTH),
    "residual, few": (((3, 7, 8), "conv 3 5 padding same", "batchnorm", "avgpool 3", 4), 19, BOTH),
    "pools": (((1, 11, 9), "conv 17 2 stride 2", "gelu", "maxpool 3", 4), 35, {"dropout": 0.3}),
    "pools, few": (((1, 11, 9), "maxpool 2", "conv 2 2", "maxpool 2", 3, "batchnorm", 4), 3, {}),
}


@pytest.mark.timeout(300)  # the first compiles
@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")
def test_kernels_write_no_more_than_the_oracle_says(name: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    threads, (sizes, batch, options) = 3, WRITTEN[name]
    kind = Kind(lanes_of(np.dtype("float64" if dtype == "float64" else "float32")), 4, False)
    net = Net(sizes, batch, threads, kind, True, options)
    shapes = parameter_shapes(net.layers, net.shape)
    engine = Engine(
        [np.zeros(shape) for shape, _ in shapes],
        [np.zeros(shape) for _, shape in shapes],
        layers=net.layers,
        shape=net.shape,
        batch_size=batch,
        dtype=dtype,
        threads=threads,
    )
    plan = training_plan(engine.layout, LOSS, batch, threads, penalties=True)
    oracle = ImageInterpreter(engine.layout, plan, threads)
    features = int(np.prod(net.shape))
    images = rng.integers(0, 256, (batch, features)).astype(np.uint8)
    one = np.ones(features)
    samples = engine.samples(images, one, one, labels=rng.integers(0, sizes[-1], batch))
    batches = batches_of(engine.dtype, np.arange(batch))
    rule = Rule(codes.ADAM, np.full((1, 2, codes.COLUMNS), 0.1, engine.dtype))
    record = Record(
        np.zeros(3 * batch),
        np.zeros(3 * batch, bool),
        np.zeros(plan.squares),
        np.zeros(3),
        np.zeros((0, 0), engine.dtype),
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
    if dtype != "bfloat16":
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
                World(samples, batches, engine.model, room, rule, record),
                Team(rank, threads, BARRIER),
                *needs_of(plan.program),
            )
            written = oracle.written(line.code[0], batch, rank)
            if room.workspace.size:
                of_numbers = written["bytes"].reshape(room.workspace.size, -1)
                written["workspace"] |= of_numbers.max(axis=1)
            for name, array in arrays.items():
                changed = array != before[name]
                assert not (changed & (written[name] == 0)).any(), (number, rank, name)
                seen |= {name} if changed.any() else set()
    assert seen == set(arrays)
    engine.close()
