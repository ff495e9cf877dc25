"""The machine code of tiles for processors that this machine need not have: LLVM compiles for all of them."""

import math
import re

import llvmlite.binding as llvm
import pytest
from cross_compile import ARM, X86, assembly, compiled, innermost_loops, largest_tile
from llvmlite import ir

from fastmlp.kernels.emit import barrier
from fastmlp.kernels.tiles import TILES

pytestmark = pytest.mark.timeout(300)  # each case compiles in a process of its own
NEON, PORTABLE = TILES["neon"], TILES["portable"]
BYTES = {"float32": 4, "float64": 8}


def knows_arm() -> bool:
    """Return whether this LLVM compiles for ARM."""
    llvm.initialize_all_targets()
    try:
        llvm.Target.from_triple(ARM)
    except RuntimeError:
        return False
    return True


on_arm = pytest.mark.skipif(not knows_arm(), reason="this LLVM does not compile for ARM")


def counted(loop: list[str], pattern: str) -> int:
    return sum(re.match(rf"\s+(?:{pattern})\b", line) is not None for line in loop)


@on_arm
@pytest.mark.parametrize("dtype", BYTES)
def test_a_weight_gradient_on_arm_stays_in_registers_and_broadcasts_for_nothing(dtype: str) -> None:
    rows, vectors = NEON.largest_update(BYTES[dtype])
    loop = largest_tile(assembly("update", "neon", dtype, ARM, "neoverse-n1"), "fmla")
    assert counted(loop, "fmla") == rows * vectors >= 16
    by_lane = [line for line in loop if re.search(r"fmla\t.*\.[sd]\[\d\]", line)]
    assert len(by_lane) == rows * vectors
    assert counted(loop, "ld1r|dup|fmov|mov\tv") == 0
    assert counted(loop, "str|stp|st1") == 0  # nothing is spilled
    assert not [line for line in loop if "[sp" in line]
    # A load of each panel and one of the inputs: a pair counts for two.
    assert counted(loop, "ldr") + counted(loop, "ld1") + 2 * counted(loop, "ldp") <= vectors + 2


@on_arm
@pytest.mark.parametrize("dtype", BYTES)
def test_a_product_on_arm_stays_in_registers(dtype: str) -> None:
    loop = largest_tile(assembly("multiply", "neon", dtype, ARM, "neoverse-n1"), "fmla")
    assert counted(loop, "fmla") == NEON.rows * NEON.vectors
    assert counted(loop, "ld1r|dup|str|stp|st1") == 0
    assert counted(loop, "prfm") == 1
    assert not [line for line in loop if "[sp" in line]


@on_arm
@pytest.mark.parametrize("dtype", BYTES)
def test_each_line_of_weights_is_asked_for_once_on_arm(dtype: str) -> None:
    lines = assembly("update", "neon", dtype, ARM, "neoverse-n1")
    _, vectors = NEON.largest_update(BYTES[dtype])
    # Of weights and velocities a line for each panel of each tile: these of all widths, of full height and of one row.
    tiles = 2 * 2 * sum(range(1, vectors + 1))
    assert tiles <= counted(lines, "prfm") <= tiles + 2 * NEON.slabs


@pytest.mark.parametrize(
    ("triple", "cpu", "expected"),
    [
        pytest.param(ARM, "neoverse-n1", "isb", marks=on_arm),
        pytest.param("arm64-apple-darwin", "apple-m1", "isb", marks=on_arm),
        (X86, "x86-64", "pause"),
    ],
)
def test_who_waits_really_pauses(triple: str, cpu: str, expected: str) -> None:
    module = ir.Module()
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    barrier.pause(builder)
    builder.ret_void()
    assert counted(compiled(str(module), triple, cpu).splitlines(), expected) == 1
    assert 8 * barrier.OTHER_LINE == 128  # bytes: a line of Apple's processors


@pytest.mark.parametrize(
    ("tile", "cpu", "register"), [("avx512", "skylake-avx512", "zmm"), ("avx2", "haswell", "ymm")]
)
@pytest.mark.parametrize("kernel", ["multiply", "update"])
def test_tiles_of_x86_stay_in_registers(kernel: str, tile: str, cpu: str, register: str) -> None:
    chosen = TILES[tile]
    loop = largest_tile(assembly(kernel, tile, "float32", X86, cpu), r"vfn?madd\w+ps")
    expected = chosen.rows * chosen.vectors
    if kernel == "update":
        expected = math.prod(chosen.largest_update(4))
    found = counted(loop, r"vfn?madd\w+ps")
    assert found
    assert found % expected == 0  # LLVM may take two steps at a time
    assert not [line for line in loop if f"%{register}" in line and re.search(r"\(%r[sb]p\)", line)]


@pytest.mark.parametrize("dtype", BYTES)
def test_doubles_without_fma_have_a_tile_of_their_own(dtype: str) -> None:
    rows, vectors = PORTABLE.largest_update(BYTES[dtype])
    suffix = "s" if dtype == "float32" else "d"
    lines = assembly("update", "portable", dtype, X86, "x86-64")
    most = max(counted(loop, f"mulp{suffix}") for loop in innermost_loops(lines))
    assert most >= rows * vectors == 8
