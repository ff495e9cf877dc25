"""CPU features -> the shape of the register tile.

``FASTMLP_TILE`` (avx512, avx2, neon, portable) overrides the choice, so that every shape can be tested on one
machine. A narrower tile than the CPU offers is always correct, a wider one runs but is slow.
"""

import os
from dataclasses import dataclass

import llvmlite.binding as llvm

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
    update_rows : int
        Rows of a full weight-gradient tile, all within one panel of the layer's input; divides the vector length.
    update_vectors : int
        Panels side by side in a weight-gradient tile.
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
    """

    name: str
    bytes: int
    rows: int
    vectors: int
    narrow_rows: tuple[int, ...]
    update_rows: int
    update_vectors: int
    filters: tuple[int, int]
    gradient_filters: tuple[int, ...]
    slabs: int
    sparse_below: float
    fma: bool

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """All (rows, vectors) of a forward tile; each costs some 100 ms of compilation."""
        even = [1, *range(2, self.rows + 1, 2)]
        full = [(m, self.vectors) for m in even]
        return full + [(m, p) for p in range(1, self.vectors) for m in self.narrow_rows]

    @property
    def update_shapes(self) -> list[tuple[int, int]]:
        """All (rows, vectors) of a weight-gradient tile; the single row is for what no full tile covers."""
        return [(m, p) for p in range(1, self.update_vectors + 1) for m in (1, self.update_rows)]

    def lanes(self, element_bytes: int) -> int:
        """Elements in a vector."""
        return self.bytes // element_bytes


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
            update_rows=8,
            update_vectors=3,
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
            update_rows=4,
            update_vectors=2,
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
            update_rows=4,
            update_vectors=2,
            filters=(6, 4),
            gradient_filters=(4, 3),
            slabs=8,
            sparse_below=0.6,
            fma=True,
        ),
        Tile(
            "portable",
            bytes=16,
            rows=6,
            vectors=2,
            narrow_rows=SHORT,
            update_rows=4,
            update_vectors=2,
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


FEATURES = dict(llvm.get_host_cpu_features())
TILE = choose(FEATURES, llvm.get_process_triple(), os.environ.get("FASTMLP_TILE"))

# Whether pairs of bfloat16 are multiplied by the CPU's own instruction. Without it, or with FASTMLP_BF16=emulated,
# two multiply-adds and their rounding give the same bits.
NATIVE_BF16 = (
    bool(FEATURES.get("avx512bf16"))
    and TILE.name == "avx512"
    and os.environ.get("FASTMLP_BF16") != "emulated"
)
