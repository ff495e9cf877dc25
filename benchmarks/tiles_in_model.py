"""Tiles of processors that nobody here has, by llvm-mca's models of them: ``python benchmarks/tiles_in_model.py``.

Each kernel is compiled for the processor by the LLVM that comes with Numba, and the loop of its largest tile is handed
to ``llvm-mca`` (Debian: ``apt install llvm-19``; LLVM_MCA is its path). A model knows registers, units and latencies
but no caches: its figures are predictions and bounds, not measurements.
"""

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("", "tests")]
from cross_compile import ARM, X86, assembly, largest_tile  # noqa: E402

MCA = os.environ.get("LLVM_MCA", "llvm-mca")
ROUNDS = 200
# Tile, triple, processor, what multiplies and adds, and how many of it the processor can begin in a cycle.
PROCESSORS = (
    ("neon", ARM, "neoverse-n1", "fmla", 2),
    ("neon", ARM, "neoverse-v1", "fmla", 4),
    ("avx2", X86, "haswell", r"vfn?madd\w+", 2),
    ("avx2", X86, "znver3", r"vfn?madd\w+", 2),
    ("avx512", X86, "skylake-avx512", r"vfn?madd\w+", 2),
)


def cycles(loop: list[str], triple: str, cpu: str) -> float:
    """Return the cycles of one round of a loop."""
    text = "\n".join(loop[1:])  # without the label
    command = [MCA, f"-mtriple={triple}", f"-mcpu={cpu}", f"-iterations={ROUNDS}"]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=True)
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert found is not None, done.stdout
    return int(found[1]) / ROUNDS


def main() -> None:
    """Print a table."""
    print("| kernel | type | processor | multiply-adds of the tile | a cycle | of |")
    print("| --- | --- | --- | --: | --: | --: |")
    for (tile, triple, cpu, instruction, most), kernel, dtype in product(
        PROCESSORS, ("multiply", "update"), ("float32", "float64")
    ):
        loop = largest_tile(assembly(kernel, tile, dtype, triple, cpu), instruction)
        count = sum(re.match(rf"\s+{instruction}\b", line) is not None for line in loop)
        share = count / cycles(loop, triple, cpu)
        print(f"| {kernel} | {dtype} | {cpu} | {count} | {share:.2f} | {most} |", flush=True)


if __name__ == "__main__":
    main()
