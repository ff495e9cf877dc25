"""A notebook of every result type, executed: each shows itself, plots are there, and nothing is on standard error."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

BEGIN = """
import fastmlp
from tempfile import mkdtemp
digits = fastmlp.load_digits()
train, valid = digits.train.split((0.9, 0.1), seed=0)
config = fastmlp.TrainConfig(hidden=(8,), epochs=2)
fastmlp.train(config, train)
"""
WITHOUT_WIDGETS = "import sys; sys.modules['ipywidgets'] = None"
TABLES = {
    "digits": "Dataset",
    "config": "TrainConfig",
    "(result := fastmlp.train(config, train, valid, verbose=True))": "TrainResult",
    "result.network": "Network",
    """(search := fastmlp.grid_search(config, {"learning_rate": [0.3, 0.1], "momentum": [0.0, 0.9]}, train, valid,
                           store=mkdtemp(), verbose=True))""": "SearchResult",
}
PLOTS = (
    "result.plot();",
    "result.network.plot();",
    "digits.plot();",
    "search.plot();",
    "search.plot(kind='heat_map');",
    "search.plot(kind='importance');",
)


def test_every_result_shows_itself() -> None:
    cells = executed(BEGIN, *TABLES, *PLOTS)[1:]
    for cell, name in zip(cells, TABLES.values(), strict=False):
        assert any(name in html for html in of_kind(cell, "text/html")), cell.source
    for cell in cells[len(TABLES) :]:
        assert len(of_kind(cell, "image/png")) == 1, cell.source
    for cell in cells:
        assert text(cell, "stderr") == "", cell.source


@pytest.mark.parametrize("widgets", [True, False])
def test_it_says_what_takes_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widgets: bool
) -> None:
    if widgets:
        pytest.importorskip("ipywidgets")
    monkeypatch.setenv("FASTMLP_MACHINE_CODE", "none")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    before = "" if widgets else WITHOUT_WIDGETS
    _, first, second, warned = executed(
        before,
        BEGIN,
        "result = fastmlp.train(config, train, valid, verbose=True)",
        "import warnings; warnings.warn('careful')",
    )
    assert text(first, "stdout").count("fastmlp: compiling kernels, about ") == 1
    assert "compiling" not in text(second, "stdout")
    errors = text(second, "stderr")
    if widgets:
        assert len(of_kind(second, "application/vnd.jupyter.widget-view+json")) == 1
        assert errors == ""
    else:
        assert "| 2/2 [" in text(second, "stdout")
        assert "valid loss" in text(second, "stdout")
        assert "TqdmWarning" in errors  # which misses the widgets
        assert "| 2/2 [" not in errors
    assert "careful" in text(warned, "stderr")


def executed(*sources: str) -> list[Any]:
    """Return the cells of a notebook that has been executed."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    return list(notebook.cells)


def text(cell: Any, stream: str) -> str:
    """Return what a cell wrote to a stream."""
    return "".join(one["text"] for one in cell.outputs if one.get("name") == stream)


def of_kind(cell: Any, kind: str) -> list[str]:
    """Return the outputs of a cell of a kind."""
    return [one["data"][kind] for one in cell.outputs if kind in one.get("data", {})]
