"""What LLVM made of the kernels: no fast-math flag, no register spilled inside a tile's loop."""

import importlib
import math
import pkgutil
import re
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from kernel_helpers import IMAGE_MODULES, entry
from numba.core.dispatcher import Dispatcher

from fastmlp import kernels
from fastmlp.bench.assembly import code_of
from fastmlp.kernels.arguments import PAIR, Epilogue, Part
from fastmlp.kernels.codes import IDENTITY
from fastmlp.kernels.emit.convolution import PIXELS
from fastmlp.kernels.emit.weight_gradients import TAPS
from fastmlp.kernels.loops import multiply as multiply_module
from fastmlp.kernels.run import run
from fastmlp.kernels.tiles import NATIVE_BF16, TILE
from fastmlp.training.engine import Engine

pytestmark = pytest.mark.timeout(300)  # compiling the epoch anew takes longest of all

FLAGS = {"fast", "nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc"}
HARMLESS = {"contract"}  # one rounding less: no NaN is lost and no order changed
VECTORS = {"avx512": "zmm", "avx2": "ymm"}


class Code(NamedTuple):
    """A function as LLVM's optimiser left it, and as machine code."""

    ir: str
    assembly: list[str]


def compiled(function: Any, signature: Any) -> Code:
    """Compile anew: Numba shows no code that came out of its cache."""
    fresh = type(function)(function.py_func, targetoptions=function.targetoptions)
    fresh.compile(signature)
    (ir,), (assembly,) = fresh.inspect_llvm().values(), fresh.inspect_asm().values()
    return Code(ir, assembly.splitlines())


@pytest.fixture(scope="module")
def epoch() -> Code:
    """Return the code of `run` for linear networks, which contains all their kernels, for uint8 and float32."""
    engine = Engine([np.zeros((3, 4))], [np.zeros(3)], batch_size=1, threads=1)
    one = np.ones(4)
    engine.warm_up(engine.samples(np.zeros((1, 4), np.uint8), one, one))
    signatures = {str(signature): signature for signature in run.signatures}
    wanted = ("array(uint8", "array(float32")
    name = next(
        name
        for name, signature in signatures.items()
        if all(part in name for part in wanted)
        and "Record(first" not in name  # no pairs
        and all(one == numba.none for one in signature[-3:])  # nothing that few programs have
    )
    return compiled(run, signatures[name])


@pytest.fixture(scope="module")
def convolutions() -> dict[str, Code]:
    """Return the code of the kernels that multiply images, for float32."""
    found = {name: code_of(name) for name in ("convolve", "gradients")}
    return {name: Code(code.ir, code.assembly.splitlines()) for name, code in found.items()}


def fast_math(ir: str) -> set[str]:
    """Return the fast-math flags on instructions, calls included."""
    words = re.findall(r"= (?:tail |notail |musttail )?(?:f[a-z]+|call|select|phi) ([a-z ]*)", ir)
    return {word for line in words for word in line.split()} & FLAGS


def test_no_fast_math_flag(epoch: Code, convolutions: dict[str, Code]) -> None:
    least = {"epoch": 100, "convolve": 30, "gradients": 100}
    for name, code in {"epoch": epoch, **convolutions}.items():
        operations = len(re.findall(r"= f(?:add|mul|neg|sub|div) |@llvm\.fma", code.ir))
        assert operations > least[name]  # there is arithmetic to look at
        assert fast_math(code.ir) <= HARMLESS


def test_linear_networks_compile_no_kernel_of_images(
    epoch: Code, convolutions: dict[str, Code]
) -> None:
    def modules(code: Code) -> set[str]:
        return set(re.findall(r"fastmlp7kernels5loops\d+([a-z_]+)\d", code.ir))

    assert "multiply" in modules(epoch)
    assert not modules(epoch) & set(IMAGE_MODULES)
    assert "convolution" in modules(convolutions["convolve"])  # the names are there to be seen


def test_the_check_sees_fast_math() -> None:
    @numba.njit("float32(float32[:])", fastmath=True)
    def total(x):  # type: ignore[no-untyped-def]
        result = np.float32(0)
        for value in x:
            result += value * value
        return result

    (ir,) = total.inspect_llvm().values()
    assert "fast" in fast_math(ir)


def test_no_kernel_asks_for_fast_math_or_a_thread_pool() -> None:
    seen = 0
    for module in pkgutil.walk_packages(kernels.__path__, "fastmlp.kernels."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Dispatcher):
                seen += 1
                assert not value.targetoptions.get("fastmath")
                assert not value.targetoptions.get("parallel")
    assert seen > 10


def loops(assembly: list[str]) -> list[list[str]]:
    """Return the innermost loops: from a label to the jump back to it, with no other inside."""
    labels: dict[str, int] = {}
    found = []
    for i, line in enumerate(assembly):
        if label := re.match(r"(\.L\w+):", line):
            labels[label[1]] = i
        elif (jump := re.match(r"\s+j\w+\s+(\.L\w+)", line)) and jump[1] in labels:
            found.append((labels[jump[1]], i))
    return [
        assembly[a : b + 1]
        for a, b in found
        if not any((a, b) != (c, d) and a <= c and d <= b for c, d in found)
    ]


@pytest.mark.skipif(TILE.name not in VECTORS, reason="reads the assembly of AVX2 and AVX-512")
@pytest.mark.skipif(
    numba.core.config.CPU_NAME is not None, reason="Numba compiles for another processor"
)
def test_tiles_stay_in_registers(epoch: Code) -> None:
    most = multiply_adds_in_registers(epoch.assembly, r"vfn?madd\w+p[sd]")
    assert most >= TILE.rows * TILE.vectors
    assert most >= math.prod(TILE.largest_update(4))


@pytest.mark.skipif(TILE.name not in VECTORS, reason="reads the assembly of AVX2 and AVX-512")
@pytest.mark.skipif(
    numba.core.config.CPU_NAME is not None, reason="Numba compiles for another processor"
)
def test_tiles_of_convolutions_stay_in_registers(convolutions: dict[str, Code]) -> None:
    found = {
        name: multiply_adds_in_registers(code.assembly, r"vfn?madd\w+p[sd]")
        for name, code in convolutions.items()
    }
    assert found["convolve"] >= TILE.filters[0] * PIXELS
    assert found["gradients"] >= TILE.filters[0] * PIXELS
    assert found["gradients"] >= TILE.gradient_filters[0] * TAPS


@pytest.mark.skipif(not NATIVE_BF16, reason="this CPU has no instruction for bfloat16")
def test_bfloat16_is_multiplied_by_the_instruction() -> None:
    multiply = entry(multiply_module.multiply)
    A, W = np.zeros((1, 1, 16), PAIR), np.zeros((1, 16, 16), PAIR)
    out = np.zeros((1, 1, 16), np.float32)
    multiply(A, W, out, out, Epilogue(int(IDENTITY), out, out), Part(0, 1, 0, 1))
    (signature,) = multiply.signatures
    assembly = compiled(multiply, signature).assembly
    assert multiply_adds_in_registers(assembly, "vdpbf16ps") >= TILE.rows * TILE.vectors


def multiply_adds_in_registers(assembly: list[str], instruction: str) -> int:
    """Return the most of them in a loop, after checking that all take whole registers and none spills."""
    register = VECTORS[TILE.name]
    frames = any(re.search(r"mov\w*\s+%rsp, %rbp", line) for line in assembly)
    # Without an index: memory of a tile's own is on the stack, too.
    stack = re.compile(r"\(%r[sb]p\)" if frames else r"\(%rsp\)")
    most = 0
    for loop in loops(assembly):
        multiply_adds = [line for line in loop if re.search(rf"\t{instruction}\t", line)]
        if len(multiply_adds) < max(4, len(loop) / 8):  # not the loop of a tile
            continue
        # No tile's: a step with roots, which reads its gradient from the stack, or exp's loop, whose constants are more
        # than AVX2 has registers.
        if any(re.search(r"vsqrt|vround|vrndscale", line) for line in loop):
            continue
        most = max(most, len(multiply_adds))
        assert all(f"%{register}" in line for line in multiply_adds)
        spilled = [line for line in loop if f"%{register}" in line and stack.search(line)]
        assert not spilled, spilled
    return most


def test_the_check_sees_a_spill() -> None:
    lines = ["\t.p2align 4", ".LBB0_1:", "\tvmovups\t64(%rsp), %zmm1", "\tjne\t.LBB0_1", "\tretq"]
    assert loops(lines) == [lines[1:4]]
