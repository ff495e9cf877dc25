"""Every tile on this machine: the tests of the arithmetic again, in a process for each tile.

A tile is chosen while fastmlp is imported, so another one needs another process. What differs there
is the number of lanes and the shapes, not the element type: float32 and bfloat16 stand for all.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kernel_helpers import BFLOAT16, draw, draw_factors, entry, everything, in_pairs

from fastmlp.errors import ConfigError
from fastmlp.kernels.arguments import Epilogue
from fastmlp.kernels.codes import IDENTITY
from fastmlp.kernels.emit.convolution import PIXELS
from fastmlp.kernels.emit.weight_gradients import TAPS
from fastmlp.kernels.loops import multiply as module
from fastmlp.kernels.tiles import COMPILED_FOR, NATIVE_BF16, TILE, TILES, choose, features_of

HERE = Path(__file__).parent
KERNELS = (
    "test_elementwise.py",
    "test_error_function.py",
    "test_functions.py",
    "test_gather.py",
    "test_image_kernels.py",
    "test_losses.py",
    "test_multiply.py",
    "test_operands.py",
    "test_twins.py",
    "test_update.py",
)
NETWORKS = (
    "test_convolution_gradients.py",
    "test_gradients.py",
    "test_program.py",
    "test_torch_steps.py",
    "test_team.py",
)
OTHERS = sorted(set(TILES) - {TILE.name})


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with some environment variables set."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=580,
        env=os.environ | environment,
    )


def passes(tile: str, only: str, *names: str) -> None:
    """Assert that files of tests pass with a tile."""
    if "FASTMLP_TILE" in os.environ:
        pytest.skip("this is one of those processes")
    files = [str(HERE / name) for name in names]
    done = run(
        "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", only, *files, FASTMLP_TILE=tile
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.timeout(600)  # most of it compiles, the first time
@pytest.mark.parametrize("tile", OTHERS)
def test_kernels_with_every_other_tile(tile: str) -> None:
    passes(tile, "not float64 and (not gather_in or uint8)", *KERNELS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tile", OTHERS)
def test_all_with_every_other_tile(tile: str) -> None:
    passes(tile, "not live", *KERNELS, *NETWORKS)


def bits_of_products() -> str:
    """Return a digest of products of bfloat16."""
    rng, multiply = np.random.default_rng(0), entry(module.multiply)
    digest = hashlib.sha256()
    for size in (1e-38, 1e-36, 1.0, 3e37):  # from products that are denormal to sums that overflow
        for _ in range(20):
            rows, depth, columns = rng.integers(1, 70, 3)
            source = draw(rng, np.float32, rows, depth)
            source *= np.float32(size)
            A, _ = in_pairs(source)
            _, W = draw_factors(rng, BFLOAT16, 1, depth, columns)
            start = np.zeros((len(W), rows, W.shape[2]), np.float32)
            out = np.zeros_like(start)
            multiply(A, W, start, out, Epilogue(int(IDENTITY), out, out), everything(out))
            digest.update(out.tobytes())
    return digest.hexdigest()


@pytest.mark.skipif(not NATIVE_BF16, reason="this CPU has no instruction for bfloat16")
def test_emulated_bfloat16_gives_the_bits_of_the_instruction() -> None:
    program = f"import runpy; print(runpy.run_path({__file__!r})['bits_of_products']())"
    native, emulated = (run("-c", program, FASTMLP_BF16=how) for how in ("", "emulated"))
    assert len(native.stdout.split()) == 1, native.stderr
    assert native.stdout == emulated.stdout, emulated.stderr


@pytest.mark.parametrize(
    ("features", "machine", "override", "expected"),
    [
        ({"avx512f": True, "avx2": True, "fma": True}, "x86_64-linux", None, "avx512"),
        ({"avx512f": False, "avx2": True, "fma": True}, "x86_64-linux", None, "avx2"),
        ({"avx2": True, "fma": False}, "x86_64-linux", "", "portable"),
        ({}, "aarch64-linux", None, "neon"),
        ({}, "arm64-apple-darwin", None, "neon"),
        ({}, "riscv64-linux", None, "portable"),
        ({"avx512f": True}, "x86_64-linux", "avx2", "avx2"),
    ],
)
def test_choice(
    features: dict[str, bool], machine: str, override: str | None, expected: str
) -> None:
    assert choose(features, machine, override).name == expected


x86 = pytest.mark.skipif(not COMPILED_FOR[0].startswith("x86_64"), reason="LLVM knows one kind")


@x86
@pytest.mark.parametrize(
    ("cpu", "features", "expected"),
    [
        ("generic", "", "portable"),
        ("nocona", "", "portable"),
        ("sandybridge", "", "portable"),
        ("bdver1", "", "portable"),  # has AVX and another instruction set's multiply-add
        ("haswell", "", "avx2"),
        ("znver3", "", "avx2"),
        ("skylake-avx512", "", "avx512"),  # which LLVM would rather not use
        ("znver4", "-avx512f", "avx2"),
        ("znver4", "-avx512f,-fma", "portable"),
        ("znver4", "-avx2", "portable"),  # what builds on it goes, too
        ("generic", "+avx2,+fma", "avx2"),
        ("generic", "+avx512f", "avx512"),
    ],
)
def test_the_tile_is_that_of_the_cpu_that_is_compiled_for(
    cpu: str, features: str, expected: str
) -> None:
    triple = COMPILED_FOR[0]
    assert choose(features_of(triple, cpu, features), triple, None).name == expected


@x86
@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""}],
)
def test_the_options_of_the_compiler_choose_the_tile(environment: dict[str, str]) -> None:
    program = "from fastmlp.kernels.tiles import *; print(TILE.name, NATIVE_BF16)"
    done = run("-c", program, FASTMLP_TILE="", **environment)
    assert done.stdout == "portable False\n", done.stderr


def test_an_unknown_tile_is_refused() -> None:
    with pytest.raises(ConfigError, match="FASTMLP_TILE is 'sse9'; expected one of avx512, avx2"):
        choose({}, "x86_64-linux", "sse9")


@pytest.mark.parametrize("tile", TILES)
def test_accumulators_fit_the_registers(tile: str) -> None:
    chosen = TILES[tile]
    registers = 32 if tile in ("avx512", "neon") else 16
    shapes = [*chosen.shapes, *chosen.update_shapes(4), *chosen.update_shapes(8)]
    # Of convolutions a tile is four pixels for some outputs, and five taps of the weights for some outputs.
    shapes += [(PIXELS, filters) for filters in chosen.filters]
    shapes += [(TAPS, filters) for filters in chosen.gradient_filters]
    for rows, vectors in shapes:  # sums, operands and one broadcast
        assert rows * vectors + vectors + 1 <= registers
    assert (1, 1) in chosen.shapes
    for item_bytes in (4, 8):
        rows, _ = chosen.largest_update(item_bytes)
        assert (
            chosen.lanes(item_bytes) % rows == 0
        )  # all rows within a panel: others would be taken one by one
        assert (1, 1) in chosen.update_shapes(item_bytes)
