"""Every tile on this machine: the tests of the arithmetic again, in a process for each tile.

A tile is chosen while fastmlp is imported, so another one needs another process. What differs there
is the number of lanes and the shapes, not the element type: float32 and bfloat16 stand for all, and
whole networks are trained with the tile that differs most.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp.errors import ConfigError
from fastmlp.kernels.tiles import NATIVE_BF16, TILE, TILES, choose

HERE = Path(__file__).parent
KERNELS = (str(HERE / "test_twins.py"), str(HERE / "test_functions.py"))
NETWORKS = (*KERNELS, str(HERE / "test_gradients.py"))
ONE_TYPE = "not float64 and not narrower and (not gather or uint8)"


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with some environment variables set."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | environment,
    )


@pytest.mark.skipif("FASTMLP_TILE" in os.environ, reason="this is one of those processes")
@pytest.mark.timeout(300)  # most of it compiles, the first time
@pytest.mark.parametrize("tile", sorted(set(TILES) - {TILE.name}))
def test_arithmetic_with_every_other_tile(tile: str) -> None:
    files = NETWORKS if tile == "portable" else KERNELS
    command = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", ONE_TYPE, *files)
    done = run(*command, FASTMLP_TILE=tile)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.skipif(not NATIVE_BF16, reason="this CPU has no instruction for bfloat16")
def test_emulated_bfloat16_gives_the_bits_of_the_instruction() -> None:
    program = (
        f"import hashlib, runpy; module = runpy.run_path({str(HERE / 'test_team.py')!r})\n"
        "for name in ('bfloat16', 'bfloat16, columns'):\n"
        "    left = module['trained'](module['NETWORKS'][name], 1)\n"
        "    print(hashlib.sha256(b''.join(left)).hexdigest())"
    )
    native, emulated = (
        run("-W", "ignore", "-c", program, FASTMLP_BF16=how) for how in ("", "emulated")
    )
    assert len(native.stdout.split()) == 2, native.stderr
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


def test_an_unknown_tile_is_refused() -> None:
    with pytest.raises(ConfigError, match="FASTMLP_TILE is 'sse9'; expected one of avx512, avx2"):
        choose({}, "x86_64-linux", "sse9")


@pytest.mark.parametrize("tile", TILES)
def test_accumulators_fit_the_registers(tile: str) -> None:
    chosen = TILES[tile]
    registers = 32 if tile in ("avx512", "neon") else 16
    shapes = [*chosen.shapes, *chosen.update_shapes]
    for rows, vectors in shapes:  # sums, operands and one broadcast
        assert rows * vectors + vectors + 1 <= registers
    assert (1, 1) in chosen.shapes
    assert (1, 1) in chosen.update_shapes
