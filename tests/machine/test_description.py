"""The description of the machine."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import fastmlp
from fastmlp.machine.cores import usable_cores
from fastmlp.machine.description import _caches, describe


def test_describe_is_json_and_names_what_is_here() -> None:
    found = json.loads(json.dumps(describe()))
    assert set(found) == {"cpu", "cores", "usable_cores", "caches", "system", "versions"}
    assert found["cpu"]
    assert 1 <= found["usable_cores"] == usable_cores() <= found["cores"]
    assert found["versions"]["fastmlp"] == fastmlp.__version__
    assert found["versions"]["numpy"] == version("numpy")


def test_describe_imports_none_of_the_packages() -> None:
    script = (
        "import sys; from fastmlp.machine.description import describe; describe();"
        "print({'numba', 'llvmlite', 'torch', 'jax', 'sklearn'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_caches_are_read_in_bytes(tmp_path: Path) -> None:
    cores = [path.parent for path in Path("/sys/devices/system/cpu").glob("cpu*/cache")]
    names = [core.name for core in cores] or ["cpu0"]
    for core in names:
        for index, (level, kind, size) in enumerate(
            [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("3", "Unified", "32768K")]
        ):
            folder = tmp_path / core / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, text in (("level", level), ("type", kind), ("size", size)):
                (folder / name).write_text(text + "\n")
    assert _caches(tmp_path) == {
        "L1 data": 48 << 10,
        "L1 instruction": 32 << 10,
        "L3": 32 << 20,
    }
    assert _caches(tmp_path / "absent") == {}
