"""The package as a whole: its ladder of imports, its import time, and what its papers say of it."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import fastmlp

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastmlp"
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# The ladder, a folder a line, from below. Imports run downwards only; those on one line do not see each other, but
# for surfaces, which call each other in the order that is given.
LADDER = (
    {"errors", "_version", "_moved", "autograd"},
    {"machine"},
    {"reporting"},
    {"datasets"},
    {"kernels"},
    {"training"},
    {"search"},
    {"bench", "estimator", "runs"},
    {"studies"},
    {"cli"},
)
SURFACES = {"bench", "cli", "estimator", "runs", "studies"}
DOORS = {"__init__", "__main__"}  # above all of them: public names, and the command
# The one place of each package that is slow to load or ties code to a technique. "cli.doctor" and
# "bench" describe and measure what lies below.
HOMES = {
    "click": {"cli"},
    "llvmlite": {"kernels", "cli.doctor", "bench"},
    "matplotlib": {"reporting.style"},
    "numba": {"kernels", "bench"},
    "torch": {"bench", "studies.peer", "studies.twins"},
}
SEES_KERNELS = {"cli.doctor", "bench"}


def modules() -> dict[str, Path]:
    """Return every file of the package by module name, without ``fastmlp.``."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != PACKAGE or path.stem not in DOORS
    }


def imports(path: Path) -> Iterator[str]:
    """Yield what a file imports, anywhere in it, as full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: found a relative import, expected absolute ones"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lies_in(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def step(name: str) -> int:
    """Return how high on the ladder a module stands."""
    top = name.partition(".")[0]
    (found,) = (height for height, step in enumerate(LADDER) if top in step)
    return found


def own_imports(name: str) -> list[str]:
    """Return the modules of fastmlp that a module imports."""
    found = (one for one in imports(modules()[name]) if one.startswith("fastmlp."))
    return [one.removeprefix("fastmlp.") for one in found if one != "fastmlp.__version__"]


def test_every_folder_is_a_step_of_the_ladder() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    names = {path.stem for path in entries if path.is_dir() or path.suffix == ".py"}
    assert names - DOORS == set().union(*LADDER)


@pytest.mark.parametrize("name", modules())
def test_imports_run_down_the_ladder(name: str) -> None:
    own, top = own_imports(name), name.partition(".")[0]
    climbing = [
        one
        for one in own
        if step(one) > step(name) or (step(one) == step(name) and one.partition(".")[0] != top)
    ]
    assert not climbing, f"fastmlp.{name} imports from above: {climbing}"
    kernels = [one for one in own if lies_in(one, {"kernels"})]
    if top in SURFACES and not lies_in(name, SEES_KERNELS):
        assert not kernels, f"fastmlp.{name} is a surface and imports kernels: {kernels}"
    found = {one.partition(".")[0] for one in imports(modules()[name])}
    for package, homes in HOMES.items():
        if not lies_in(name, homes):
            assert package not in found, f"fastmlp.{name} imports {package}"


def test_no_modules_need_each_other() -> None:
    edges: dict[str, set[str]] = {}
    for name in modules():
        named = {one if one in modules() else one.rpartition(".")[0] for one in own_imports(name)}
        edges[name] = named & set(modules()) - {name}
    left = set(edges)
    while ends := {
        name
        for name in left
        if not edges[name] & left or not any(name in edges[other] for other in left)
    }:
        left -= ends
    assert not left, f"these modules import each other: {sorted(left)}"


def test_the_ladder_test_sees_imports_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("import a.b\ndef f():\n    from c import d\n    if f:\n        import e as g\n")
    assert sorted(imports(file)) == ["a.b", "c.d", "e"]
    assert {"kernels.jit", "cli", "cli.train", "training.trainer", "datasets"} <= set(modules())
    assert step("errors") < step("kernels.jit") < step("training.trainer") < step("cli.train")


def test_importing_the_package_loads_and_compiles_nothing() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import fastmlp"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    times = {
        fields[2].strip(): int(fields[1])
        for line in lines
        if (fields := line.removeprefix("import time:").split("|"))[1].strip().isdecimal()
    }
    heavy = ("PIL", "llvmlite", "matplotlib", "numba", "pooch", "scipy", "sklearn", "torch")
    assert not [one for one in times if one.partition(".")[0] in heavy]
    assert times["fastmlp"] < 1_000_000  # microseconds


def test_asking_for_help_loads_no_compiler() -> None:
    script = (
        "import sys; from fastmlp.cli import main; main(['train', '--help']);"
        "print({'numba', 'matplotlib', 'sklearn'} & set(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "set()\n")
    assert "--learning-rate" in result.stdout


def test_the_package_is_a_command() -> None:
    command = [sys.executable, "-m", "fastmlp"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"fastmlp {fastmlp.__version__}\n", "")
    done = subprocess.run([*command, "nonsense"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastmlp: error: ")


@pytest.mark.parametrize("name", fastmlp.__all__)
def test_every_public_name_is_there_and_described(name: str) -> None:
    assert getattr(fastmlp, name).__doc__
    assert name in dir(fastmlp)


def test_modules_need_no_import_of_their_own() -> None:
    code = (
        "import fastmlp; print(len(fastmlp.datasets.load('digits')), fastmlp.errors.ConfigError.__name__,"
        " fastmlp.autograd.Tensor.__name__, fastmlp.estimator.MLPClassifier.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1797", "ConfigError", "Tensor", "MLPClassifier"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fastmlp.nonsense


def test_the_installed_version_is_this_one() -> None:
    try:
        installed = version("fastmlp")
    except PackageNotFoundError:
        pytest.skip("fastmlp is not installed")
    assert installed == fastmlp.__version__
    assert (PACKAGE / "py.typed").exists()


def test_continuous_integration_runs_the_two_commands_of_the_readme() -> None:
    marked = re.findall(r"^<!-- command: (\w+) -->\n```sh\n(.+)\n```$", README, re.MULTILINE)
    assert marked == [
        ("run", "pip install . && fastmlp train"),
        ("test", 'pip install ".[test]" && python -m pytest -n 2'),
    ]
    ci = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r'^eval "\$\(readme (\w+)\)"$', ci, re.MULTILINE) == ["run", "test"]


def test_the_files_the_readme_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert "'accuracy': 0.9" in capsys.readouterr().out


def test_extras_and_dependencies() -> None:
    names = {re.split(r"[<>=~!]", one)[0].lower() for one in PROJECT["dependencies"]}
    core = {"numpy", "numba", "scikit-learn", "matplotlib", "click", "tqdm", "safetensors"}
    assert core | {"pooch", "pillow", "platformdirs"} <= names
    assert {"test", "bench", "peers"} <= set(PROJECT["optional-dependencies"])
    assert PROJECT["requires-python"] == ">=3.11"
