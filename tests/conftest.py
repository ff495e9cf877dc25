"""What every test can ask for."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

# Limits, calls of the system and signals that only POSIX has.
collect_ignore = ["robustness"] if sys.platform == "win32" else []

# The first example of a test may compile kernels, which no deadline allows for.
hypothesis.settings.register_profile("fastmlp", deadline=None)
hypothesis.settings.load_profile("fastmlp")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder that holds the real CIFAR-10 and MNIST."""
    folder = os.environ.get("FASTMLP_DATA")
    if not folder:
        pytest.skip("FASTMLP_DATA is not set: no real data")
    return Path(folder)
