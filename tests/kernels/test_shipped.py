"""Machine code that comes with the package: when it is used, and that nothing else depends on it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp.kernels import cache
from fastmlp.kernels.cache import BUILT_FOR, SHIPPED, SHIPPED_VARIABLE, ShippedFolder, digest
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.tiles import COMPILED_FOR
from fastmlp.machine.own_folder import OwnFolder

SOURCES = Path(fastmlp.__file__).parents[1]
HOST = ("x86_64-unknown-linux-gnu", "znver3", "+avx,+avx2,+fma,-avx512f,+sse2")


def tripled(x):
    return x + x + x


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """A folder of machine code of a package, with that of `tripled` for float64."""
    monkeypatch.setattr(cache, "_told", set())
    monkeypatch.setattr("fastmlp.kernels.jit.shipped", lambda: ())
    folder = OwnFolder(tmp_path / "built")
    monkeypatch.setattr("fastmlp.kernels.jit.cache_folder", lambda: folder)
    assert kernel(tripled)(2.0) == 6
    own = OwnFolder(tmp_path / "own")
    monkeypatch.setattr("fastmlp.kernels.jit.cache_folder", lambda: own)
    monkeypatch.setattr("fastmlp.kernels.jit.shipped", lambda: (ShippedFolder(folder.path),))
    return folder.path


def is_loaded(argument: Any) -> bool:
    dispatcher = kernel(tripled)
    assert dispatcher(argument) == tripled(argument)
    return bool(dispatcher.stats.cache_hits)


def test_shipped_code_is_used_and_nothing_is_written(shipped, tmp_path):
    assert is_loaded(2.0)
    assert list((tmp_path / "own").iterdir()) == []
    assert not is_loaded(np.float32(2)), "not shipped"
    assert is_loaded(np.float32(2)), "kept by the user"


def test_shipped_code_is_used_where_no_folder_can_be_written(shipped, monkeypatch):
    monkeypatch.setattr("fastmlp.kernels.jit.cache_folder", lambda: None)
    assert is_loaded(2.0)
    assert not is_loaded(np.float32(2))


def test_damaged_shipped_code_is_compiled_once_after_one_line(shipped):
    (path,) = shipped.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(RuntimeWarning, match="damaged machine code") as told:
        assert not is_loaded(2.0)
    assert len(told) == 1
    assert is_loaded(2.0)


def make(sources: Path, built_for: tuple[str, str, str], name: str | None = None) -> None:
    sources.joinpath("a.py").touch()
    folder = sources / SHIPPED / (name or digest(sources, built_for) or "")
    folder.mkdir(parents=True)
    (folder / BUILT_FOR).write_text(json.dumps(built_for))


def found(sources: Path) -> list[str]:
    return [
        json.loads((one.path / BUILT_FOR).read_text())[1] for one in cache.shipped_folders(sources)
    ]


def test_code_for_levels_that_the_cpu_contains_is_found_the_best_first(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "COMPILED_FOR", HOST)
    monkeypatch.delenv(SHIPPED_VARIABLE, raising=False)
    triple = HOST[0]
    make(tmp_path, (triple, "x86-64-v2", "+sse2"))
    make(tmp_path, (triple, "x86-64-v3", "+avx,+avx2,+fma,+sse2"))
    make(tmp_path, (triple, "x86-64-v4", "+avx,+avx2,+fma,+sse2,+avx512f"))
    make(tmp_path, ("aarch64-unknown-linux-gnu", "generic", "+sse2"))
    make(tmp_path, (triple, "unknown", ""))
    make(tmp_path, (triple, "other sources", "+sse2"), "0123456789abcdef")
    assert found(tmp_path) == ["x86-64-v3", "x86-64-v2"]
    make(tmp_path, HOST)
    assert found(tmp_path) == ["znver3", "x86-64-v3", "x86-64-v2"]
    monkeypatch.setattr(cache.numba, "__version__", "0.0")
    assert found(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setenv(SHIPPED_VARIABLE, "none")
    monkeypatch.setattr(cache, "COMPILED_FOR", HOST)
    assert found(tmp_path) == []


@pytest.mark.parametrize("text", ["", "[1, 2]", '["a", "b", 3]', "\xff", "null"])
def test_a_folder_that_nobody_can_read_is_not_used(tmp_path, text):
    make(tmp_path, HOST)
    (file,) = tmp_path.rglob(BUILT_FOR)
    file.write_bytes(text.encode("latin-1"))
    assert cache.shipped_folders(tmp_path) == []


def test_another_version_with_the_same_kernels_compiles_nothing(tmp_path):
    (tmp_path / "module.py").write_text("def doubled(x):\n    return x + x\n")
    script = (
        "import fastmlp, module; from fastmlp.kernels.jit import kernel; one = kernel(module.doubled);"
        "one(4); print(fastmlp.__version__, sum(one.stats.cache_hits.values()))"
    )
    told = []
    for version in ("1.0", "2.0", "3.0"):
        place = tmp_path / version
        shutil.copytree(
            SOURCES / "fastmlp", place / "fastmlp", ignore=lambda *_: {"__pycache__", SHIPPED}
        )
        (place / "fastmlp" / "_version.py").write_text(f'__version__ = "{version}"\n')
        if version == "3.0":
            changed = place / "fastmlp" / "kernels" / "emit" / "steps.py"
            changed.write_text(changed.read_text() + "\n# another kernel\n")
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={
                **os.environ,
                "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
                "PYTHONPATH": f"{place}{os.pathsep}{tmp_path}",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        told.append(done.stdout.split())
    assert told == [["1.0", "0"], ["2.0", "1"], ["3.0", "0"]]


@pytest.mark.skipif(COMPILED_FOR[2] == "", reason="no features are known")
def test_this_cpu_can_execute_its_own_code_and_none_with_more():
    triple, cpu, features = COMPILED_FOR
    assert cache.can_execute(COMPILED_FOR)
    assert cache.can_execute((triple, "other", features))
    assert not cache.can_execute((triple, cpu, f"{features},+of-another-world"))
