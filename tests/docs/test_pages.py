"""The pages of the documentation, without building them: what they name is there, and their code parses."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import fastmlp
import fastmlp.autograd
from fastmlp.cli import COMMANDS
from fastmlp.machine import limits

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(DOCS)): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if not {"_build", "_generated"} & set(path.parts) and path.parent.parent != DOCS / "reports"
}
FENCE = re.compile(r"^( *)(`{3,})(\S+(?: \S+)*)?\n(.*?)^\1\2$", re.M | re.S)
# What no reader can copy and run, or is for another machine: all other code is a cell, which is run.
NOT_RUN = {"text", "console", "dockerfile"}


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the kind and the text of each fenced block."""
    return [(kind, body) for _, _, kind, body in FENCE.findall(PAGES[page])]


def cells(page: str) -> list[str]:
    """Return the code cells, without their tags."""
    found = [body for kind, body in blocks(page) if kind == "{code-cell} ipython3"]
    return [re.sub(r"\A(:.*\n)+\n*", "", one) for one in found]


def test_every_public_name_has_a_page() -> None:
    text = PAGES["reference/python.md"]
    own, autograd = text.split("{eval-rst}\n.. currentmodule:: fastmlp.autograd")
    listed = re.findall(r"^   ([\w.]+)$", own, re.M)
    assert set(fastmlp.__all__) - {"__version__"} - set(listed) == set()
    assert set(re.findall(r"^   (\w+)$", autograd, re.M)) == set(fastmlp.autograd.__all__)
    assert len(listed) == len(set(listed))


def test_every_command_is_on_the_page() -> None:
    # The page is made of the group itself; this is what makes it so.
    assert ".. click:: fastmlp.cli:fastmlp\n" in PAGES["reference/commands.md"]
    assert ":nested: full" in PAGES["reference/commands.md"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"fastmlp {name}" not in readme] == []


def test_every_environment_variable_is_on_the_page() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "fastmlp").rglob("*.py"))
    named = set(re.findall(r"\b(?:FASTMLP|NUMBA)_[A-Z_]*[A-Z]\b", sources))
    asked = set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", sources)) | set(limits.VARIABLES)
    page = PAGES["reference/environment.md"]
    constants = {"FASTMLP_BF16"}  # also the name of a constant of the benchmark
    assert {"FASTMLP_DATA", "NUMBA_CACHE_DIR"} <= asked
    assert [one for one in sorted(named | asked | constants) if f"`{one}`" not in page] == []


@pytest.mark.parametrize("page", PAGES)
def test_code_parses(page: str) -> None:
    for kind, body in blocks(page):
        if kind == "dockerfile":
            assert body.startswith("FROM ")
        elif kind == "console":
            assert all(line.lstrip().startswith("$ ") for line in body.splitlines())
        elif not kind.startswith("{"):
            assert kind in NOT_RUN, f"{kind}: code that is not run"
    for cell in cells(page):
        magic, _, text = cell.partition("\n")
        if magic.startswith("%%bash"):
            done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
            assert done.stderr == ""
        elif magic.startswith("%%writefile") and magic.endswith(".toml"):
            tomllib.loads(text)
        elif not magic.startswith("%%writefile") or magic.endswith(".py"):
            compile(text if magic.startswith("%%") else cell, page, "exec")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", PAGES[page]):
        if target.startswith("http"):
            continue
        # A stored report is a page once the site is built.
        target = re.sub(
            r"^(?:\.\./)?reports/([\w-]+)/report.md$", r"../../reports/\1/report.md", target
        )
        assert (DOCS / page).parent.joinpath(target).exists(), target


def test_every_stored_report_is_a_page() -> None:
    text = (DOCS / "generate.py").read_text()
    assert '(ROOT / "reports").glob("*/report.md")' in text


def test_the_fences_are_seen() -> None:
    assert len(PAGES) > 25
    assert sum(len(cells(page)) for page in PAGES) > 60
    assert {kind for page in PAGES for kind, _ in blocks(page)} >= {"console", "text", "{toctree}"}
