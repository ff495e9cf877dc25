"""The docstrings of public names: their examples run, and numpydoc finds nothing missing."""

import doctest
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
# No See Also, no Examples and no extended summary where one line says all.
CHECKS_LEFT_OUT = {"SA01", "EX01", "ES01"}


def listed() -> Iterator[str]:
    """Yield the full names of the page of the Python API."""
    for part in PYTHON.split(".. currentmodule:: ")[1:]:
        module, body = part.split("\n", 1)
        yield from (f"{module}.{name}" for name in re.findall(r"^   ([\w.]+)$", body, re.M))


def found(name: str) -> Any:
    """Return the object of a full name."""
    module, value = name, None
    while module not in sys.modules:
        try:
            importlib.import_module(module)
        except ImportError:
            module = module.rpartition(".")[0]
    value = sys.modules[module]
    for part in name.removeprefix(module).split(".")[1:]:
        value = getattr(value, part)
    return value


def members(name: str) -> Iterator[str]:
    """Yield a name and, of a class, the public methods and properties that are fastmlp's own."""
    yield name
    value = found(name)
    for one in dir(value) if inspect.isclass(value) else ():
        static = inspect.getattr_static(value, one)
        function = getattr(static, "fget", None) or getattr(static, "__func__", static)
        if not one.startswith("_") and str(getattr(function, "__module__", "")).startswith(
            "fastmlp"
        ):
            yield f"{name}.{one}"


NAMES = sorted(listed())
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "fastmlp").rglob("*.py")
    if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.M)
)


def findings(errors: list[tuple[str, str]], summary: str) -> list[tuple[str, str]]:
    """Return what must be mended: no Returns section where the first line says what is returned."""
    left_out = CHECKS_LEFT_OUT | ({"RT01"} if summary.startswith("Return") else set())
    return [(code, text) for code, text in errors if code not in left_out]


@pytest.mark.parametrize("name", NAMES)
def test_numpydoc_finds_nothing(name: str) -> None:
    validate = pytest.importorskip("numpydoc.validate").validate
    bad = {}
    for one in members(name):
        result = validate(one)
        if problems := findings(result["errors"], result["docstring"].strip()):
            bad[one] = problems
    assert bad == {}


def test_the_page_lists_much() -> None:
    assert len(NAMES) > 40
    assert {"fastmlp.train", "fastmlp.search.adaptive.adaptive_search"} <= set(NAMES)
    assert "fastmlp.Dataset.split" in set(members("fastmlp.Dataset"))
    assert findings([("PR01", "a")], "Return x.") == [("PR01", "a")]
    assert findings([("RT01", "a")], "Take x.") == [("RT01", "a")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    if "adaptive" in name:
        pytest.importorskip("optuna")
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert failed == 0
    assert attempted > 0
