"""Examples: of the README for people who come from elsewhere, and of the two docstrings."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from fastmlp.estimator import classifier, regressor

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
SECTIONS = dict(re.findall(r"^## (Coming from .+?)\n(.*?)(?=^## |\Z)", README, re.M | re.S))
EXAMPLES = {
    f"{name} {number}": example
    for name, section in SECTIONS.items()
    for number, example in enumerate(re.findall(r"^```py\n(.*?)^```$", section, re.M | re.S))
}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_example_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "import torch" in EXAMPLES[name]:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[name], name, "exec"), {})
    printed = capsys.readouterr().out
    assert printed
    assert "False" not in printed


def test_both_sections_have_examples() -> None:
    assert [name.split()[0] for name in EXAMPLES] == ["Coming"] * 3
    assert list(SECTIONS) == ["Coming from scikit-learn", "Coming from PyTorch"]


@pytest.mark.parametrize("module", [classifier, regressor])
def test_a_docstring_tells_the_truth(module: object) -> None:
    failed, attempted = doctest.testmod(module)  # type: ignore[arg-type]
    assert (failed, attempted) == (0, 5)
