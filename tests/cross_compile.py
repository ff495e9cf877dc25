"""Kernels as Numba would compile them for another processor: the code of its tiles, without the processor.

A tile is chosen while fastmlp is imported, and the code that Numba emits must be seen before it is optimised for this
processor. So `assembly` runs this file in a process of its own.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys

ARM = "aarch64-unknown-linux-gnu"
X86 = "x86_64-unknown-linux-gnu"


@functools.cache
def assembly(kernel: str, tile: str, dtype: str, triple: str, cpu: str) -> list[str]:
    """Return the lines of assembly of a kernel.

    Parameters
    ----------
    kernel : {"multiply", "update"}
    tile : str
        A name in ``TILES``.
    dtype : {"float32", "float64"}
    triple, cpu : str
        The processor, as LLVM calls it.
    """
    environment = {"FASTMLP_TILE": tile, "NUMBA_OPT": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, __file__, kernel, dtype, triple, cpu],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environment,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def innermost_loops(lines: list[str]) -> list[list[str]]:
    """Return the innermost loops: from a label to the jump back to it, with no other inside."""
    labels: dict[str, int] = {}
    found = []
    for i, line in enumerate(lines):
        if label := re.match(r"(\.L\w+):", line):
            labels[label[1]] = i
        elif (jump := re.match(r"\s+(?:j\w+|b[.\w]*|t?cbn?z)\s.*?(\.L\w+)", line)) and jump[
            1
        ] in labels:
            found.append((labels[jump[1]], i))
    return [
        lines[a : b + 1]
        for a, b in found
        if not any((a, b) != (c, d) and a <= c and d <= b for c, d in found)
    ]


def largest_tile(lines: list[str], instruction: str) -> list[str]:
    """Return the loop with most multiply-adds among those that do little else: the loop of the largest tile."""

    def count(loop: list[str]) -> int:
        return sum(re.match(rf"\s+{instruction}\b", line) is not None for line in loop)

    loops = [loop for loop in innermost_loops(lines) if 3 * count(loop) >= len(loop)]
    return max(loops, key=count)


def compiled(code: str, triple: str, cpu: str) -> str:
    """Return the assembly of LLVM code for a processor, after passes like those that Numba runs."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3, jit=True)
    code = re.sub('target (triple|datalayout) = ".*"', "", code)
    code = re.sub('"target-(cpu|features)"="[^"]*"', "", code)
    module = llvm.parse_assembly(code)
    module.triple, module.data_layout = triple, str(target.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    passes = llvm.create_pass_builder(target, options)
    passes.getModulePassManager().run(module, passes)
    return target.emit_assembly(module)


if __name__ == "__main__":
    kernel, dtype, triple, cpu = sys.argv[1:]
    from fastmlp.bench.assembly import code_of

    print(compiled(code_of(kernel, dtype).ir, triple, cpu))  # before any pass: NUMBA_OPT is 0
