"""The size of every file and function of the package, the manner of its prose, and the files that recipes name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastmlp

PACKAGE = Path(fastmlp.__file__).parent
ROOT = Path(__file__).resolve().parents[1]
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
MOST_FILES_AT_THE_TOP = 8
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_PARAMETERS = 9
# There a function emits one stretch of machine code. Its parts would only hand registers to each other.
LONG_FUNCTIONS = "kernels/emit/"
TRANSLATED = re.compile(r'(#|""") *Tells? whether')

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[tuple[Function, ast.AST]]:
    """Yield every function at any depth, and what it is defined in."""
    for parent in ast.walk(tree):
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, Function):
                yield node, parent


def is_sklearn_estimator(parent: ast.AST) -> bool:
    """Return whether a class declares its parameters as scikit-learn's estimators do."""
    return isinstance(parent, ast.ClassDef) and any(
        isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_parameter_constraints"
        for node in parent.body
    )


def handed_on(constructor: Function) -> set[int]:
    """Return the lines that only declare a keyword-only parameter, pass it on or store it under its own name."""
    lines = {one.lineno for one in constructor.args.kwonlyargs}
    for node in ast.walk(constructor):
        if isinstance(node, ast.keyword) and ast.unparse(node.value) == node.arg:
            lines.add(node.lineno)
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            if ast.unparse(target) == f"self.{ast.unparse(node.value)}":
                lines.add(node.lineno)
    return lines


def length(function: Function, parent: ast.AST) -> int:
    """Return the lines of a function, from its first decorator to its end.

    scikit-learn reads an estimator's parameters off the signature of its constructor, which must name and store each
    of them: these lines do not count.
    """
    first = min(node.lineno for node in (function, *function.decorator_list))
    assert function.end_lineno is not None
    lines = set(range(first, function.end_lineno + 1))
    if function.name == "__init__" and is_sklearn_estimator(parent):
        lines -= handed_on(function)
    return len(lines)


def count_parameters(function: Function, parent: ast.AST) -> int:
    """Return the parameters of a function, without self, and without the options of what is public."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args)]
    if isinstance(parent, ast.ClassDef) and names[:1] in (["self"], ["cls"]):
        del names[0]
    names += [one.arg for one in (given.vararg, given.kwarg) if one is not None]
    is_public = function.name == "__init__" or not function.name.startswith("_")
    if is_public and isinstance(parent, ast.Module | ast.ClassDef):
        return len(names) - len(given.defaults)
    return len(names) + len(given.kwonlyargs)


def faults(name: str, source: str) -> list[str]:
    """Return what is too long, too wide or badly said in a file."""
    found = []
    if (lines := len(source.splitlines())) > MOST_LINES:
        found.append(f"{name}: {lines} lines")
    for function, parent in functions(ast.parse(source)):
        place = f"{name}:{function.lineno} {function.name}"
        lines = length(function, parent)
        if lines > MOST_LINES_OF_A_FUNCTION and not name.startswith(LONG_FUNCTIONS):
            found.append(f"{place}: {lines} lines")
        if (count := count_parameters(function, parent)) > MOST_PARAMETERS:
            found.append(f"{place}: {count} parameters")
    for number, line in enumerate(source.splitlines(), 1):
        if TRANSLATED.search(line):
            found.append(f"{name}:{number}: {line.strip()} (say 'Return whether')")
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_file_keeps_the_limits(name: str) -> None:
    assert faults(name, FILES[name].read_text(encoding="utf-8")) == []


def test_few_files_lie_at_the_top() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= MOST_FILES_AT_THE_TOP


def test_the_files_of_the_recipes_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:fastmlp|tests|benchmarks|reports)/[\w./-]*[\w/]", text))
    assert len(named) > 40
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def lines_of(count: int) -> str:
    return "".join(f"    x = {number}\n" for number in range(count))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\n" * 400, []),
        ("x = 1\n" * 401, ["a.py: 401 lines"]),
        ("def f():\n" + lines_of(59), []),
        ("def f():\n" + lines_of(60), ["a.py:1 f: 61 lines"]),
        ("@g\ndef f():\n" + lines_of(59), ["a.py:2 f: 61 lines"]),
        ("def f(a, b, c, d, e, /, f, g, h, i): ...", []),
        ("def f(a, b, c, d, e, f, g, h, i, *j): ...", ["a.py:1 f: 10 parameters"]),
        ("def f(a, *, b, c, d, e, f, g, h, i, j): ...", []),
        ("def _f(a, *, b, c, d, e, f, g, h, i, j): ...", ["a.py:1 _f: 10 parameters"]),
        ("class C:\n def f(self, a, b, c, d, e, f, g, h, i): ...", []),
        ("class C:\n def __init__(self, *, a, b, c, d, e, f, g, h, i, j): ...", []),
        (
            "def f():\n def g(*, a, b, c, d, e, f, g, h, i, j): ...",
            ["a.py:2 g: 10 parameters"],
        ),
        ("x = 1  # Tell whether", ["a.py:1: x = 1  # Tell whether (say 'Return whether')"]),
    ],
)
def test_the_limits_are_seen(source: str, expected: list[str]) -> None:
    assert faults("a.py", source) == expected


def test_only_an_estimators_parameters_are_left_out() -> None:
    names = [f"p{number}" for number in range(40)]
    lines = ["    def __init__(", "        self,", "        *,"]
    lines += [f"        {name}=1," for name in names] + ["    ):"]
    lines += [f"        self.{name} = {name}" for name in names]
    plain = "class C:\n    x: int = 1\n" + "\n".join(lines)
    assert faults("a.py", plain) == ["a.py:3 __init__: 84 lines"]
    estimator = plain.replace("x: int", "_parameter_constraints: dict")
    assert faults("a.py", estimator) == []
    other = estimator + "\n" + "".join(f"        self.{name} = 1\n" for name in "ab" * 30)
    assert faults("a.py", other) == ["a.py:3 __init__: 64 lines"]
