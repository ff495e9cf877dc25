"""The build hook: a wheel has machine code where it can be made, and is built without where it cannot."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastmlp.kernels import cache

ROOT = Path(__file__).resolve().parents[1]

pytest.importorskip("hatchling")
if not (ROOT / "hatch_build.py").exists():
    pytest.skip("the package is installed without it", allow_module_level=True)

# Writes what the hook's process would write, or fails.
FAKE = """
import os, sys
from pathlib import Path
assert os.environ["FASTMLP_MACHINE_CODE"] == "none"
folder = Path(os.environ["NUMBA_CACHE_DIR"], "fastmlp-0123-7")
folder.mkdir(exist_ok=True)
root, one, built_for = {!r}, {!r}, {!r}
assert Path(root).is_dir()
if "bfloat16" in one:
    sys.exit("ValueError: out of luck")
(folder / str(abs(hash(one)))).touch()
(folder / built_for).write_text(os.environ.get("NUMBA_CPU_NAME", "host"))
for path in (folder, *folder.iterdir()):
    path.chmod(0o700)
"""


@pytest.fixture
def module(monkeypatch) -> Any:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    monkeypatch.delenv(found.VARIABLE, raising=False)
    return found


def umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


class Build:
    """A build with the hook, of a source tree in a folder of its own."""

    def __init__(self, module: Any, root: Path, version: str = "standard") -> None:
        self.told: list[str] = []
        app = SimpleNamespace(display_info=self.told.append, display_warning=self.told.append)
        self.hook = module.MachineCode(str(root), {}, None, None, str(root), "wheel", app)
        self.data: dict[str, Any] = {"force_include": {}, "pure_python": True, "infer_tag": False}
        self.hook.initialize(version, self.data)
        self.files = sorted(
            str(path.relative_to(source))
            for source in map(Path, self.data["force_include"])
            for path in source.rglob("*")
            if path.is_file()
        )
        self.hook.finalize(version, self.data, "")
        assert self.hook.folder is None or not self.hook.folder.exists()

    @property
    def is_pure(self) -> bool:
        return bool(self.data["pure_python"]) and not self.data["infer_tag"]


def test_the_names_are_those_of_the_package(module):
    assert Path(module.SHIPPED).parts == ("fastmlp", "kernels", cache.SHIPPED)
    assert (module.BUILT_FOR, module.VARIABLE) == (cache.BUILT_FOR, cache.SHIPPED_VARIABLE)


def test_what_could_be_compiled_is_in_a_wheel_for_this_platform(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SCRIPT", FAKE)
    build = Build(module, tmp_path)
    assert list(build.data["force_include"].values()) == [module.SHIPPED]
    assert not build.is_pure
    assert len(build.files) == len(module.NETWORKS) - 1 + 1
    assert all(Path(name).parent == Path("0123") for name in build.files)
    assert build.told == ["machine code of some networks is missing: ValueError: out of luck"]


def test_an_editable_installation_gets_it_where_it_is(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SCRIPT", FAKE)
    for _ in range(2):  # the second replaces what the first left
        build = Build(module, tmp_path, "editable")
        assert build.is_pure
        (folder,) = (tmp_path / module.SHIPPED).iterdir()
        assert (folder / module.BUILT_FOR).read_text() == "host"
        modes = {path.stat().st_mode & 0o044 for path in (folder, *folder.iterdir())}
        assert modes == {0o666 & ~umask() & 0o044}, "readable by whom the user's files are"
    monkeypatch.setenv(module.VARIABLE, "none")
    Build(module, tmp_path, "editable")
    assert not (tmp_path / module.SHIPPED).exists()


def test_levels_are_what_numba_is_told(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SCRIPT", FAKE)
    monkeypatch.setattr(module, "NETWORKS", ("'float32'",))
    monkeypatch.setenv(module.VARIABLE, "x86-64-v3")
    Build(module, tmp_path, "editable")
    (file,) = tmp_path.rglob(module.BUILT_FOR)
    assert file.read_text() == "x86-64-v3"


@pytest.mark.parametrize(
    ("value", "told"),
    [("none", None), ("x86-64-v9", "found 'x86-64-v9', expected one of host, none, x86-64-v3")],
)
def test_a_wheel_without(module, tmp_path, monkeypatch, value, told):
    monkeypatch.setenv(module.VARIABLE, value)
    build = Build(module, tmp_path)
    assert build.is_pure
    assert build.files == []
    assert told is None if not build.told else told in build.told[0]


@pytest.mark.parametrize("fault", ["no numba", "fails", "hangs", "no temporary folder"])
def test_a_wheel_is_built_whatever_goes_wrong(module, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(module, "NETWORKS", ("'float32'",))
    monkeypatch.setattr(module, "SCRIPT", "raise RuntimeError('no luck')")
    if fault == "no numba":
        monkeypatch.setattr(module, "NEEDED", ("numba", "of_another_world"))
    elif fault == "hangs":
        monkeypatch.setattr(module, "SCRIPT", "import time; time.sleep(600)")
        monkeypatch.setattr(module, "TIMEOUT", 0.5)
    elif fault == "no temporary folder":
        monkeypatch.setattr(module.tempfile, "mkdtemp", lambda **_: (tmp_path / "a/b").mkdir())
    build = Build(module, tmp_path)
    assert build.is_pure
    assert build.files == []
    assert len(build.told) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_shipped_is_not_compiled_again(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NETWORKS", ("TrainConfig()",))
    shutil.copytree(
        ROOT / "fastmlp",
        tmp_path / "fastmlp",
        ignore=shutil.ignore_patterns("__pycache__", cache.SHIPPED),
    )
    assert Build(module, tmp_path, "editable").told == []
    script = (
        "import fastmlp; digits = fastmlp.load_digits().train;"
        "fastmlp.train(fastmlp.TrainConfig(epochs=1, optimizer='adam', activation='tanh'), digits);"
        "from fastmlp.kernels.run import run;"
        "print(fastmlp.__file__, sum(run.stats.cache_hits.values()), sum(run.stats.cache_misses.values()))"
    )
    told = []
    for use in ("", "none"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={
                **os.environ,
                "NUMBA_CACHE_DIR": str(tmp_path / "empty"),
                "PYTHONPATH": str(tmp_path),
                module.VARIABLE: use,
            },
            capture_output=True,
            text=True,
        )
        told.append((done.stdout, done.stderr.count("compiling kernels")))
    place = tmp_path / "fastmlp" / "__init__.py"
    assert told == [(f"{place} 1 0\n", 0), (f"{place} 0 1\n", 1)]
