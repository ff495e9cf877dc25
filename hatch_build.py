"""Build hook: machine code of the common networks, made while a wheel is built, so that no user waits for it.

``FASTMLP_MACHINE_CODE`` says for which CPUs: "host" (the default) for the one that builds, "none", or names of `LEVELS`
with commas between them, for wheels that are published; the building CPU must be able to execute them. A CPU uses the
level whose tile it would choose itself, and bfloat16 if it has it: each needs its own.

Where Numba is missing or something fails, the wheel is built without. Code is used where Numba, LLVM, Python and the
kernels are those that it was built with, and the CPU can execute it; `fastmlp.kernels.cache` checks this, and otherwise
kernels are compiled on first use, as ever.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "FASTMLP_MACHINE_CODE"
SHIPPED, BUILT_FOR = "fastmlp/kernels/compiled", "built_for.json"  # as in fastmlp/kernels/cache.py
V2 = "+64bit,+cmov,+crc32,+cx16,+cx8,+fxsr,+mmx,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3"
V3 = f"{V2},+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+xsave"
V4 = f"{V3},+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vl"
# Name: what LLVM calls the CPU, and the features it may use.
LEVELS = {
    "x86-64-v3": ("x86-64-v3", V3),
    "x86-64-v4": ("x86-64-v4", V4),
    "x86-64-v4-bf16": ("x86-64-v4", f"{V4},+avx512bf16"),
}
# Each is a process. Widths, activations, optimisers and further layers need no other kernels.
NETWORKS = (
    "'float32'",
    "'float64'",
    "TrainConfig(dtype='bfloat16'), TrainConfig(hidden=())",
    "TrainConfig(hidden=('conv 8 3',)), TrainConfig(hidden=('conv 8 3', 'batchnorm'))",
)
SCRIPT = """
import json, sys
sys.path.insert(0, {!r})  # pip takes the sources off the path where an environment has them, too, as with `-e`
from fastmlp import TrainConfig, warm_up
from fastmlp.kernels.cache import cache_folder
from fastmlp.kernels.tiles import COMPILED_FOR

for one in ({},):
    warm_up(one)
cache_folder().write({!r}, json.dumps(COMPILED_FOR).encode())
"""
NEEDED = ("filelock", "numba", "platformdirs", "safetensors")
TIMEOUT = 600  # seconds for each process


class MachineCode(BuildHookInterface[Any]):
    """Compile into a folder of its own, and make it part of the wheel, or of the source tree that is installed."""

    PLUGIN_NAME = "custom"
    folder: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this platform and Python alone."""
        wanted = os.environ.get(VARIABLE, "host")
        installed = Path(self.root, SHIPPED)
        if version == "editable":
            shutil.rmtree(installed, ignore_errors=True)  # that of other sources
        if wanted == "none":
            return
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            self.app.display_info(f"without machine code: found no {', '.join(missing)}")
            return
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="fastmlp-build-"))
            found = self._compiled(_environments(wanted))
            if found is not None and version == "editable":
                shutil.copytree(found, installed)
        except (OSError, ValueError) as error:
            self.app.display_warning(f"without machine code: {error}")
            return
        if found is not None and version != "editable":
            build_data["force_include"][str(found)] = SHIPPED
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what is in the wheel now."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _compiled(self, environments: list[dict[str, str]]) -> Path | None:
        """Return a folder with a folder for each CPU; None, after a warning, if nothing could be compiled."""
        assert self.folder is not None
        work = [(settings, networks) for settings in environments for networks in NETWORKS]
        # In pairs, because each takes 0.4 GB.
        with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
            for problem in pool.map(self._compile, work):
                if problem is not None:
                    self.app.display_warning(f"machine code of some networks is missing: {problem}")
        made = self.folder / "made"
        for folder in self.folder.glob("fastmlp-*"):
            if (folder / BUILT_FOR).exists():
                place = made / folder.name.split("-")[1]
                place.mkdir(parents=True)
                for file in folder.iterdir():  # which only who builds may read, unlike the copies
                    shutil.copyfile(file, place / file.name)
        return made if made.exists() else None

    def _compile(self, work: tuple[dict[str, str], str]) -> str | None:
        """Compile some networks in a process of its own; return what is wrong, if something is."""
        settings, networks = work
        own = {
            VARIABLE: "none",
            "NUMBA_CACHE_DIR": str(self.folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        try:
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT.format(self.root, networks, BUILT_FOR)],
                cwd=self.folder,
                env={**os.environ, **own, **settings},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return f"it takes longer than {TIMEOUT} s"
        if done.returncode == 0:
            return None
        return (done.stderr.splitlines() or [f"a process ended with {done.returncode}"])[-1]


def _environments(wanted: str) -> list[dict[str, str]]:
    """Return what tells Numba for which CPU it compiles, for each that is wanted."""
    found: list[dict[str, str]] = []
    for name in wanted.split(","):
        if name == "host":
            found.append({})
        elif name in LEVELS:
            cpu, features = LEVELS[name]
            found.append({"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features})
        else:
            known = ", ".join(["host", "none", *LEVELS])
            raise ValueError(f"{VARIABLE}: found {name!r}, expected one of {known}")
    return found
