"""All of it, for hours; the results go to reports/robustness. ``python -m tests.robustness`` runs a part alone."""

import pytest
from robustness.__main__ import main


@pytest.mark.robustness
@pytest.mark.timeout(0)
def test_everything() -> None:
    assert main(["all"]) == 0
