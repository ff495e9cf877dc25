"""The machine code on disk: whose it is, and what happens where none can be kept or what is there is damaged."""

import compileall
import errno
import gc
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target
from users import OTHER, VICTIM, as_user, root

import fastmlp
from fastmlp.kernels import cache
from fastmlp.kernels.cache import MachineCode, cache_folder, digest
from fastmlp.kernels.jit import kernel
from fastmlp.machine.own_folder import OwnFolder


def doubled(x):
    return x + x


def halved(x):
    return x / 2


@pytest.fixture
def folder(tmp_path, monkeypatch) -> OwnFolder:
    """Keep machine code in a new folder, and say again what was said."""
    own = OwnFolder(tmp_path / "own")
    monkeypatch.setattr("fastmlp.kernels.jit.cache_folder", lambda: own)
    monkeypatch.setattr(cache, "_told", set())
    return own


def is_loaded(function: Any, argument: Any) -> bool:
    """Call a function in what another process would have, and return whether it found its machine code."""
    dispatcher = kernel(function)
    assert dispatcher(argument) == function(argument)
    return bool(dispatcher.stats.cache_hits)


def test_two_processes_that_compile_at_once_never_mix_their_code_up(folder, monkeypatch):
    # Each dispatcher is what one process has. The first writes its code after the second has.
    first, second = kernel(doubled), kernel(doubled)
    late = []
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write", lambda *given: late.append(given))
        assert first(np.float32(1.5)) == 3
    assert second(np.float64(1.5)) == 3
    folder.write(*late.pop())
    third = kernel(doubled)
    assert third(np.float64(0.1)) == 0.2
    assert third(np.float32(1.5)) == 3
    assert sum(third.stats.cache_hits.values()) == 2
    assert [one.return_type.bitwidth for one in third.nopython_signatures] == [64, 32]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_while_llvm_works_is_not_lost(folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    compiled = kernel(doubled)
    with monkeypatch.context() as patch:
        # LLVM calls this with the code that it made.
        engine = cpu_target.target_context.codegen()._engine._ee
        patch.setattr(engine, "_object_cache_notify", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compiled(np.float32(1.5))
    assert compiled(np.float32(1.5)) == kernel(doubled)(np.float32(1.5)) == 3


def test_a_full_disk_costs_a_warning_and_not_the_call(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    compiled = kernel(doubled)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        assert compiled(np.int32(2)) == 4
    assert compiled(np.int64(2)) == 4, "said once"


class Trap:
    """A pickle that leaves a file behind if it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def foreign(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap(path.with_name("trap"))))


def others(path: Path) -> None:
    """Put another function's machine code in its place, whole as it is."""
    kernel(halved)(np.float64(3))
    (found,) = (one for one in path.parent.iterdir() if one != path)
    found.replace(path)


def with_checksum(path: Path) -> None:
    """Write a pickle that no version of Numba can read, with the right checksum."""
    data = b"cnumba\nnonsense\n."
    path.write_bytes(cache.hashlib.sha256(data).digest() + data)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


@pytest.mark.parametrize(
    "damage",
    [
        *(cut, flipped, foreign, others, with_checksum, a_folder),
        *(lambda path: path.write_bytes(b""), lambda path: path.chmod(0o666)),
        lambda path: path.write_bytes(bytes(40)),
    ],
)
def test_damaged_code_is_compiled_again_after_one_line(folder, damage: Callable[[Path], Any]):
    assert not is_loaded(doubled, np.float64(3))
    (path,) = folder.path.iterdir()
    damage(path)
    with pytest.warns(
        RuntimeWarning, match="damaged machine code, which is compiled again"
    ) as told:
        assert not is_loaded(doubled, np.float64(3))
    assert len(told) == 1
    assert is_loaded(doubled, np.float64(3))
    assert not path.with_name("trap").exists()


def test_code_that_was_deleted_is_compiled_again_without_a_word(folder):
    is_loaded(doubled, 3)
    shutil.rmtree(folder.path)
    assert not is_loaded(doubled, 3)
    assert is_loaded(doubled, 3)


def test_a_change_of_a_file_compiles_its_kernels_again(folder, tmp_path, monkeypatch):
    hits = []
    for number in (1, 2, 1):
        file = tmp_path / "changing.py"
        file.write_text(f"NUMBER = {number}\ndef plus(x):\n    return x + NUMBER\n")
        module = ModuleType("changing")
        # Numba looks a function's module up by its name when it loads the function's code.
        monkeypatch.setitem(sys.modules, "changing", module)
        exec(compile(file.read_text(), file, "exec"), module.__dict__)
        compiled = kernel(module.plus)
        assert compiled(5) == 5 + number
        hits.append(bool(compiled.stats.cache_hits))
        del compiled, module
        gc.collect()  # a new process would have neither
    assert hits == [False, False, True]


def test_the_name_of_the_cache_follows_from_sources_at_any_depth(tmp_path):
    assert digest(tmp_path) is None
    names = []
    for path in ("a.py", "deep/b.py", "deep/deeper/c.py", "deep/d.py", "deep/e.pyc"):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text("x = 1")
        names.append(digest(tmp_path))
    file.write_text("x = 2")
    names.append(digest(tmp_path))
    file.rename(tmp_path / "deep" / "deeper" / "d.py")
    names.append(digest(tmp_path))
    assert len(set(names)) == len(names)
    (tmp_path / "deep" / "__pycache__").mkdir()
    (tmp_path / "deep" / "__pycache__" / "b.pyc").touch()
    assert digest(tmp_path) == names[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPT", 0),
        ("OPT", 2),
        ("LOOP_VECTORIZE", 0),
        ("SLP_VECTORIZE", 1),
        ("BOUNDSCHECK", 1),
        ("DEBUGINFO_DEFAULT", 1),
        ("LLVM_REFPRUNE_PASS", 0),
        ("LLVM_REFPRUNE_FLAGS", "per_bb"),
    ],
)
def test_options_of_the_compiler_are_part_of_the_name(name, value, tmp_path, monkeypatch):
    (tmp_path / "a.py").touch()
    usual = digest(tmp_path)
    monkeypatch.setattr(numba.config, name, value)
    assert digest(tmp_path) != usual


def test_options_that_change_no_code_are_not(tmp_path, monkeypatch):
    (tmp_path / "a.py").touch()
    usual = digest(tmp_path)
    for name, value in {"NUMBA_NUM_THREADS": 1, "CACHE_DIR": "x", "FULL_TRACEBACKS": 1}.items():
        monkeypatch.setattr(numba.config, name, value)
    assert digest(tmp_path) == usual


# -- whose folder it is ------------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can write to."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def chosen_folder(**environment: str) -> tuple[str | None, list[str]]:
    """Return where this process keeps machine code, and what it says."""
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    tempfile.tempdir = None
    cache_folder.cache_clear()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = cache_folder()
    if found is not None:
        found.write("file", b"1")
        assert found.read("file") == b"1"
    return found and str(found.path), [str(one.message) for one in told]


@root
def test_a_user_without_a_home_has_a_closed_folder(public):
    for _ in range(2):
        found, told = as_user(
            VICTIM, lambda: chosen_folder(HOME="/proc/nothing", TMPDIR=str(public))
        )
        assert told == []
        assert found is not None
        for path in (Path(found), Path(found).parent):
            assert path.stat().st_mode & 0o777 == 0o700
            assert path.stat().st_uid == VICTIM


@root
@pytest.mark.parametrize("trick", ["a folder", "a link", "a file", "a link to nothing"])
@pytest.mark.parametrize("place", ["temporary", "chosen"])
def test_no_other_user_can_put_code_where_it_is_executed(public, place, trick):
    options = {"TMPDIR": str(public), "HOME": "/proc/nothing"}
    if place == "chosen":
        options["NUMBA_CACHE_DIR"] = str(public)
    usual, _ = as_user(VICTIM, lambda: chosen_folder(**options))
    target = Path(usual) if place == "chosen" else Path(usual).parent
    shutil.rmtree(target)

    def attack() -> None:
        if trick == "a folder":
            target.mkdir()
            target.chmod(0o777)
        elif trick == "a file":
            target.touch()
        else:
            elsewhere = public / "elsewhere"
            if trick == "a link":
                elsewhere.mkdir()
                elsewhere.chmod(0o777)
            target.symlink_to(elsewhere)

    as_user(OTHER, attack)
    before = sorted(public.rglob("*"))
    found, told = as_user(VICTIM, lambda: chosen_folder(**options))
    assert found is None
    (line,) = told
    assert str(public) in line
    assert "compiled anew in each process" in line
    assert trick != "a folder" or str(OTHER) in line
    assert sorted(public.rglob("*")) == before


@root
def test_users_may_share_the_folder_that_they_choose(public):
    public.chmod(0o777)
    options = {"NUMBA_CACHE_DIR": str(public)}
    folders = [as_user(user, lambda: chosen_folder(**options)) for user in (OTHER, VICTIM, OTHER)]
    assert folders[0] == folders[2] != folders[1]
    assert all(found and not told for found, told in folders)


@root
def test_a_folder_that_was_opened_to_others_is_left_for_another_one(public):
    home = public / "home"
    home.mkdir()
    os.chown(home, VICTIM, -1)
    options = {"HOME": str(home), "TMPDIR": str(public)}
    usual, told = as_user(VICTIM, lambda: chosen_folder(**options))
    assert Path(usual).is_relative_to(home)
    assert told == []
    Path(usual).chmod(0o770)
    found, told = as_user(VICTIM, lambda: chosen_folder(**options))
    assert not Path(found).is_relative_to(home)
    (line,) = told
    assert "others can write to it (mode 0770)" in line


# -- programs that differ ----------------------------------------------------------------------------------


def run(script: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "TMPDIR")}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=kept | {"PYTHONPATH": str(path)} | environment,
        capture_output=True,
        text=True,
    )


SOURCES = Path(fastmlp.__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUMBA_DISABLE_JIT", "1"),
        ("NUMBA_DISABLE_JIT", "2"),
        ("NUMBA_NUM_THREADS", "0"),
        ("NUMBA_NUM_THREADS", "-1"),
    ],
)
def test_what_numba_cannot_work_with_is_refused_in_one_line(tmp_path, name, value):
    script = "import sys; from fastmlp.cli import main; sys.exit(main(['train', '--out', 'x']))"
    code = f"import os; os.chdir({str(tmp_path)!r}); {script}"
    done = run(code, SOURCES, **{name: value})
    assert done.returncode == 2
    *_, line = done.stderr.splitlines()
    assert line.startswith(f"fastmlp: error: {name}: found {value}")
    assert "Traceback" not in done.stderr


def test_a_package_of_compiled_modules_keeps_its_code_too(tmp_path):
    for name in ("fastmlp", "module"):
        if name == "fastmlp":
            shutil.copytree(SOURCES / name, tmp_path / name, ignore=lambda *_: {"__pycache__"})
        else:
            (tmp_path / "module.py").write_text("def doubled(x):\n    return x + x\n")
    compileall.compile_dir(tmp_path, quiet=2, legacy=True)
    for source in tmp_path.rglob("*.py"):
        source.unlink()
    script = (
        "import module; from fastmlp.kernels.jit import kernel; one = kernel(module.doubled);"
        "print(one(4), sum(one.stats.cache_hits.values()))"
    )
    for hits in (0, 1):
        done = run(script, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        assert (done.stdout, done.stderr) == (f"8 {hits}\n", "")


def test_no_function_with_a_closure_is_kept(folder):
    with pytest.raises(AssertionError, match="closes over"):
        MachineCode(lambda x: x + folder, folder)
