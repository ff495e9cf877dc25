"""A notebook of every result type, executed: each shows itself, plots are there, and nothing is on standard error."""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

BEGIN = """
import fastmlp
from tempfile import mkdtemp
digits = fastmlp.load_digits()
train, valid = digits.train.split((0.9, 0.1), seed=0)
config = fastmlp.TrainConfig(hidden=(8,), epochs=2)
fastmlp.train(config, train)  # whatever there is to compile
"""
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
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [nbformat.v4.new_code_cell(source) for source in (BEGIN, *TABLES, *PLOTS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    for cell, name in zip(notebook.cells[1:], TABLES.values(), strict=False):
        assert any(name in html for html in of_kind(cell, "text/html")), cell.source
    for cell in notebook.cells[1 + len(TABLES) :]:
        assert len(of_kind(cell, "image/png")) == 1, cell.source


def of_kind(cell: Any, kind: str) -> list[str]:
    """Return the outputs of a cell of a kind."""
    return [one["data"][kind] for one in cell.outputs if kind in one.get("data", {})]
