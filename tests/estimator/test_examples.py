"""Examples: of the pages for people who come from elsewhere, and of the two docstrings."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from fastmlp.estimator import classifier, regressor

DOCS = Path(__file__).resolve().parents[2] / "docs"
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```$", re.M | re.S)
PAGES = {"tutorials/scikit-learn.md": 5, "how-to/pytorch.md": 2}  # and the number of their examples


def examples(page: str) -> list[str]:
    """Return the cells of a page that are plain Python."""
    cells = CELL.findall((DOCS / page).read_text(encoding="utf-8"))
    return [cell for cell in cells if not cell.startswith("%%")]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_examples_run(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}  # of the whole page, as in a notebook
    for example in examples(page):
        if "import torch" in example:
            pytest.importorskip("torch")
        exec(compile(example, page, "exec"), namespace)
        printed = capsys.readouterr().out
        assert printed
        assert "False" not in printed


@pytest.mark.parametrize("page", PAGES)
def test_both_pages_have_examples(page: str) -> None:
    assert len(examples(page)) == PAGES[page]


@pytest.mark.parametrize("module", [classifier, regressor])
def test_a_docstring_tells_the_truth(module: object) -> None:
    failed, attempted = doctest.testmod(module)  # type: ignore[arg-type]
    assert (failed, attempted) == (0, 5)
