"""``python -m tests.emulation``: the kernels on an ARM processor, which this machine need not have.

QEMU runs Debian's Python for arm64 and the wheels for aarch64 that pip finds, in a folder that is made the first time
and needs no rights: ``apt install qemu-user-static`` is all that the machine must have. Emulated arithmetic is ten to a
hundred times slower, so that a few tests are run by default; ``--all`` takes hours.

Two things are checked. The tests pass there. And the bits of many short trainings (``trainings.py``) are those of this
machine, with the tiles of AVX2 and AVX-512.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs
from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
QEMU = "qemu-aarch64-static"
PYTHON = "python3.11"
# What Python loads, and what wheels expect of the system.
DEBIAN = (PYTHON, "libstdc++6", "libgomp1", "libatomic1")
TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (17, 24, 26, 27, 28)]
TILES = ("avx2", "avx512")

APT = """\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "false";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
"""
SOURCE = (
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    "http://deb.debian.org/debian bookworm main\n"
)
# A program that this system can start, so that emulated processes can start others.
LAUNCHER = """\
#!/bin/sh
exec env QEMU_CPU="${{QEMU_CPU:-neoverse-n1}}" {qemu} -L {root} -0 "$0" {root}/usr/bin/{python} "$@"
"""
# What is run by default, and with ``--all``.
KERNELS = ("test_gather", "test_multiply", "test_update")
MORE = ("tests/kernels", "tests/training/test_digests.py", "tests/training/test_torch_training.py")


def main() -> int:
    """Prepare what is missing, then run tests and trainings."""
    parser = argparse.ArgumentParser("python -m tests.emulation", description=__doc__)
    parser.add_argument("--all", action="store_true", help="all kernel tests, digests and widths")
    folder = Path(platformdirs.user_cache_dir("fastmlp-emulation"))
    parser.add_argument("--folder", type=Path, default=folder, help=f"default: {folder}")
    parser.add_argument("tests", nargs="*", help="files for pytest, instead of its own")
    options = parser.parse_args()
    folder = options.folder.resolve()
    python = prepare(folder)
    environment = {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(folder / "cache")}
    environment["MPLCONFIGDIR"] = str(folder / "matplotlib")
    environment["FASTMLP_TILE"] = ""
    return max(
        run_tests(python, environment, options.tests or default_tests(options.all)),
        0 if options.tests else compare_trainings(python, environment, options.all),
    )


def prepare(folder: Path) -> Path:
    """Return the emulated Python; the folder is made once for each set of versions."""
    if shutil.which(QEMU) is None:
        sys.exit(f"{QEMU}: not found; apt install qemu-user-static")
    packages = requirements()
    stamp, root = folder / "packages.json", folder / "root"
    python = root / "usr" / "bin" / "python"
    if stamp.exists() and json.loads(stamp.read_text("utf-8")) == packages:
        return python
    shutil.rmtree(root, ignore_errors=True)
    stamp.unlink(missing_ok=True)
    unpack_debian(folder / "apt", root)
    target = root / "usr" / "lib" / "python3" / "dist-packages"
    platforms = [option for name in PLATFORMS for option in ("--platform", name)]
    check(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:"),
        *("--python-version", PYTHON.removeprefix("python"), "--implementation", "cp", *platforms),
        *("--target", str(target), *packages),
    )
    launcher = LAUNCHER.format(qemu=QEMU, root=root, python=PYTHON)
    python.write_text(launcher, "utf-8")
    python.chmod(0o755)
    stamp.write_text(json.dumps(packages), "utf-8")
    return python


def unpack_debian(folder: Path, root: Path) -> None:
    """Download Python for arm64 and all that it needs, and unpack it: nothing of this system changes."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text("")
    (folder / "sources.list").write_text(SOURCE)
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    apt = ("apt-get", "--config-file", str(folder / "apt.conf"), "--quiet")
    check(*apt, "update")
    check(*apt, "install", "--yes", "--download-only", *DEBIAN)
    for package in sorted((folder / "archives").glob("*.deb")):
        check("dpkg-deb", "--extract", str(package), str(root))


def requirements() -> list[str]:
    """Return fastmlp's dependencies in the versions that are installed here, and what runs its tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = [Requirement(text).name for text in project["dependencies"]]
    found = []
    for name in (*names, *TESTS):
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            found.append(name)
    return found


def default_tests(all_of_them: bool) -> list[str]:
    """Return what pytest is given: the kernels with tiles, or everything with arithmetic."""
    return [*MORE] if all_of_them else [f"tests/kernels/{name}.py" for name in KERNELS]


def run_tests(python: Path, environment: dict[str, str], given: list[str]) -> int:
    """Run tests of fastmlp in emulation."""
    # Compilation alone takes minutes.
    options = ("-q", "-p", "no:cacheprovider", "--timeout", "3600")
    command = (str(python), "-m", "pytest", *options, *given)
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment).returncode


def compare_trainings(python: Path, environment: dict[str, str], all_of_them: bool) -> int:
    """Return 1 if trainings have other bits in emulation than on this machine, else 0."""
    given = ["-W", "ignore", str(HERE / "trainings.py"), *(["all"] if all_of_them else [])]
    emulated = digests(str(python), given, environment)
    failed = False
    for tile in TILES:
        here = digests(sys.executable, given, {"PYTHONPATH": str(ROOT), "FASTMLP_TILE": tile})
        other = [name for name in here if here[name] != emulated[name]]
        print(f"{len(here) - len(other)} of {len(here)} trainings have the bits of {tile}")
        print("".join(f"  other bits: {name}\n" for name in other), end="")
        failed = failed or bool(other)
    return int(failed)


def digests(python: str, given: list[str], environment: dict[str, str]) -> dict[str, str]:
    """Return what ``trainings.py`` prints."""
    done = subprocess.run(
        [python, *given], cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def check(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
