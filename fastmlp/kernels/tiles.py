"""CPU features -> the shape of the register tile.

``FASTMLP_TILE`` (avx512, avx2, neon, portable) overrides the choice, so that every shape can be tested on one
machine. A narrower tile than the CPU offers is always correct, a wider one runs but is slow.
"""

import os
import re
from dataclasses import dataclass

import llvmlite.binding as llvm
from numba.core.registry import cpu_target

from fastmlp.errors import ConfigError


@dataclass(frozen=True)
class Tile:
    """How many registers a tile may use.

    Attributes
    ----------
    name : str
        The value of ``FASTMLP_TILE`` that selects it.
    bytes : int
        Width of a vector register.
    rows : int
        Most rows of a forward tile, an even number: rows * vectors accumulators, `vectors` operands and one
        broadcast must stay below the register count (32 with AVX-512 and NEON, 16 otherwise), or LLVM spills.
    vectors : int
        Panels side by side in a tile.
    narrow_rows : tuple of int
        Heights of forward tiles fewer panels wide, largest first and down to 1; a batch is cut
        into them greedily.
    update, update_double : (int, int)
        Rows of a full weight-gradient tile, all within one panel of the layer's input, and panels side by side: of
        elements of 4 bytes, and of 8. The rows divide the vector length.
    filters : (int, int)
        Outputs of a convolution side by side in a tile with four pixels, and where few are left.
    gradient_filters : tuple of int
        The same in a tile of its weights' gradient with five taps.
    slabs : int
        Panels of the input in a tile of ``loops/nonzeros.py``: as many accumulators.
    sparse_below : float
        The share of nonzeros in a gradient below which that tile is faster.
    fma : bool
        Whether multiply-add rounds once.
    by_lane : bool
        Whether a multiply-add can take one lane of a register for all lanes. Broadcasts are then free, while those
        from memory take the place of a multiply-add.
    """

    name: str
    bytes: int
    rows: int
    vectors: int
    narrow_rows: tuple[int, ...]
    update: tuple[int, int]
    update_double: tuple[int, int]
    filters: tuple[int, int]
    gradient_filters: tuple[int, ...]
    slabs: int
    sparse_below: float
    fma: bool
    by_lane: bool = False

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """All (rows, vectors) of a forward tile; each costs some 100 ms of compilation."""
        even = [1, *range(2, self.rows + 1, 2)]
        full = [(m, self.vectors) for m in even]
        return full + [(m, p) for p in range(1, self.vectors) for m in self.narrow_rows]

    def largest_update(self, element_bytes: int) -> tuple[int, int]:
        """(rows, vectors) of a full weight-gradient tile."""
        return self.update if element_bytes == 4 else self.update_double

    def update_shapes(self, element_bytes: int) -> list[tuple[int, int]]:
        """All (rows, vectors) of a weight-gradient tile; the single row is for what no full tile covers."""
        rows, vectors = self.largest_update(element_bytes)
        return [(m, p) for p in range(1, vectors + 1) for m in (1, rows)]

    def lanes(self, element_bytes: int) -> int:
        """Elements in a vector."""
        return self.bytes // element_bytes


# Bytes of a cache line, where prefetches are concerned.
LINE = 64

TALL = (16, 10, 8, 4, 2, 1)
SHORT = (8, 4, 2, 1)
TILES = {
    tile.name: tile
    for tile in (
        Tile(
            "avx512",
            bytes=64,
            rows=14,
            vectors=2,
            narrow_rows=TALL,
            update=(8, 3),
            update_double=(8, 3),
            filters=(6, 4),
            gradient_filters=(4, 3),
            slabs=8,
            sparse_below=0.6,
            fma=True,
        ),
        Tile(
            "avx2",
            bytes=32,
            rows=6,
            vectors=2,
            narrow_rows=SHORT,
            update=(4, 2),
            update_double=(4, 2),
            filters=(3, 2),
            gradient_filters=(2,),
            slabs=8,
            sparse_below=0.8,
            fma=True,
        ),
        Tile(
            "neon",
            bytes=16,
            rows=12,
            vectors=2,
            narrow_rows=TALL,
            update=(4, 6),
            update_double=(2, 8),
            filters=(6, 4),
            gradient_filters=(4, 3),
            slabs=8,
            sparse_below=0.6,
            fma=True,
            by_lane=True,
        ),
        Tile(
            "portable",
            bytes=16,
            rows=6,
            vectors=2,
            narrow_rows=SHORT,
            update=(4, 2),
            update_double=(2, 4),
            filters=(3, 2),
            gradient_filters=(2,),
            slabs=8,
            sparse_below=0.7,
            fma=False,
        ),
    )
}


def choose(features: dict[str, bool], machine: str, override: str | None) -> Tile:
    """The widest tile that the CPU's `features` allow, or the one that `override` names."""
    if override:
        if override not in TILES:
            raise ConfigError(f"FASTMLP_TILE is {override!r}; expected one of {', '.join(TILES)}")
        return TILES[override]
    if features.get("avx512f"):
        return TILES["avx512"]
    if features.get("avx2") and features.get("fma"):
        return TILES["avx2"]
    if machine.startswith(("aarch64", "arm64")):
        return TILES["neon"]
    return TILES["portable"]


# What Numba compiles for: triple, CPU and features. That is this machine, unless NUMBA_CPU_NAME, NUMBA_CPU_FEATURES
# or NUMBA_ENABLE_AVX say otherwise.
COMPILED_FOR: tuple[str, str, str] = cpu_target.target_context.codegen().magic_tuple()


def features_of(triple: str, cpu: str, features: str) -> dict[str, bool]:
    """Return which of the instruction sets that `choose` asks for LLVM uses when it compiles for a CPU.

    LLVM is asked by what it makes of a sum or product of whole vectors: it knows what a CPU's name implies, and which
    features imply others.
    """
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    asked = {
        "avx512f": (r"paddd\t%zmm", "<16 x i32>", "add <16 x i32> %a, %a"),
        "avx2": (r"paddd\t%ymm", "<8 x i32>", "add <8 x i32> %a, %a"),
        "fma": (r"vfmadd\d+ps", "<4 x float>", "call <4 x float> @llvm.fma.v4f32({0}, {0}, {0})"),
    }
    found = {}
    for name, (sign, kind, operation) in asked.items():
        code = operation.format("<4 x float> %a")
        text = f"""
            declare <4 x float> @llvm.fma.v4f32(<4 x float>, <4 x float>, <4 x float>)
            define {kind} @f({kind} %a) {{ %b = {code} ret {kind} %b }}
        """
        assembly = machine.emit_assembly(llvm.parse_assembly(text))
        found[name] = re.search(sign, assembly) is not None
    return found


FEATURES = features_of(*COMPILED_FOR)
TILE = choose(FEATURES, COMPILED_FOR[0], os.environ.get("FASTMLP_TILE"))

# Whether pairs of bfloat16 are multiplied by the CPU's own instruction. Without it, or with FASTMLP_BF16=emulated,
# two multiply-adds and their rounding give the same bits.
NATIVE_BF16 = (
    "+avx512bf16" in COMPILED_FOR[2].split(",")
    and TILE.name == "avx512"
    and FEATURES["avx512f"]
    and os.environ.get("FASTMLP_BF16") != "emulated"
)
