"""No file is ever unpickled or evaluated, anywhere in the package, but for machine code.

Machine code is executed, whatever form it is kept in: `fastmlp.machine.own_folder` sees to it that it is this user's. A
process that draws is asked through a pipe that only the process that started it writes to, and answers with pictures.
"""

import ast
from pathlib import Path

import pytest

import fastmlp

MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__"}
PACKAGE = Path(fastmlp.__file__).parent
ALLOWED = {
    PACKAGE / "kernels" / "cache.py": ["pickle", "pickle.loads"],
    PACKAGE / "reporting" / "beside.py": ["pickle", "pickle.dumps", "pickle.load"],
}


def forbidden(source: str) -> list[str]:
    """Return what a module does that could run the content of a file."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.Name) and node.id in CALLS:
            faults.append(node.id)
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            faults += [] if ast.unparse(node.value) == "False" else ["allow_pickle"]
        for name in names:
            if name.split(".")[0] in MODULES or name in ("joblib.load", "torch.load"):
                faults.append(name)
    return faults


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_executes_a_file(path: Path) -> None:
    found = forbidden(path.read_text(encoding="utf-8"))
    assert sorted(found) == ALLOWED.get(path, [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import marshal as m",
        "from shelve import open",
        "from joblib import load",
        "import joblib; joblib.load('x')",
        "numpy.load(x, allow_pickle=True)",
        "numpy.load(x, allow_pickle=flag)",
        "eval('1')",
    ],
)
def test_the_check_sees(source: str) -> None:
    assert forbidden(source)
